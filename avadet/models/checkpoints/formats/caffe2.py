"""Checkpoints of caffe2 in PySlowFast's model zoo."""

from __future__ import annotations

from avadet.models.checkpoints.formats.format import CheckpointFormat, Evidence, Recipe
from avadet.models.checkpoints.formats.resnets import infer_resnet


def _infer(found: Evidence) -> Recipe:
    """As `infer_resnet`; raises AvadetError for the models whose names are the same and whose norms are no norms."""
    if any(name.endswith(".running_mean") for name in found.tensors):
        return infer_resnet(found)
    raise found.error(
        "its norms have no statistics, as those of the caffe2 models of video-long-term-feature-banks, with a feature "
        "bank (LFB) or without; avadet does not build these, whose non-local blocks look at frames in groups; `avadet "
        "models` lists models it does build"
    )


CAFFE2 = CheckpointFormat(
    "pyslowfast caffe2",
    r"^(t_)?res_conv1_bn_s$",
    (
        (r"^pred_", "head.proj."),
        (r"^t_pool1_subsample_", "backbone.lateral.stem.conv."),
        (r"^t_res(\d)_\d+_branch2c_bn_subsample_", r"backbone.lateral.res\1.conv."),
        # The fast pathway is the slow one's names after "t_".
        (r"^(?!t_|head\.|backbone\.)", "backbone.slow."),
        (r"^t_", "backbone.fast."),
        (r"\.(?:res_)?conv1_", ".stem.conv."),
        (r"\.nonlocal_conv(\d)_(\d+)_", r".res\1.nonlocal\2.conv_"),
        (r"\.res(\d)_(\d+)_branch1_", r".res\1.\2.branch1_conv."),
        (r"\.res(\d)_(\d+)_branch2([abc])_", r".res\1.\2.branch2.conv_\3."),
        # A norm is called by its convolution's name and "bn"; that of a non-local block stands alone.
        (r"(nonlocal\d+)\.conv_bn_", r"\1.norm."),
        (r"(nonlocal\d+\.conv_\w+)_(?=[wb]$)", r"\1."),
        (r"(?<=\.)conv\.bn_", "norm."),
        (r"branch1_conv\.bn_", "branch1_norm."),
        (r"branch2\.conv_([abc])\.bn_", r"branch2.norm_\1."),
        (r"\.[ws]$", ".weight"),
        (r"\.b$", ".bias"),
        (r"\.rm$", ".running_mean"),
        (r"\.riv$", ".running_var"),
    ),
    ignore=r"_momentum$|^lr$|^model_iter$",
    infer=_infer,
)

FORMATS = (CAFFE2,)
