"""Foreign names and shapes, understood without a single weight."""

from __future__ import annotations

import pytest
import torch
from each_case import each_case
from pytorchvideo.models import hub
from pytorchvideo.models.resnet import create_resnet
from torch import nn

from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.models.checkpoints.formats import FORMATS, recipe_of, recognise, translate
from avadet.models.checkpoints.formats.avadet import AVADET
from avadet.models.checkpoints.formats.caffe2 import CAFFE2
from avadet.models.checkpoints.formats.format import CheckpointFormat, Tensors
from avadet.models.checkpoints.formats.mmaction2 import MMACTION, mmaction_settings
from avadet.models.checkpoints.formats.pyslowfast import PYSLOWFAST
from avadet.models.checkpoints.formats.pytorchvideo import PYTORCHVIDEO
from avadet.models.checkpoints.formats.resnets import name_settings


def named(*names: str) -> Tensors:
    """Tensors of these names, of no interest otherwise."""
    return {name: torch.empty(1, device="meta") for name in names}


@each_case(
    ("layout", "foreign", "own"),
    [
        (PYTORCHVIDEO, "model.blocks.0.conv.weight", "backbone.stem.conv.weight"),
        (PYTORCHVIDEO, "blocks.0.norm.running_var", "backbone.stem.norm.running_var"),
        (PYTORCHVIDEO, "model.blocks.3.res_blocks.5.branch2.norm_c.bias", "backbone.res4.5.branch2.norm_c.bias"),
        (PYTORCHVIDEO, "model.blocks.0.multipathway_blocks.1.conv.weight", "backbone.fast.stem.conv.weight"),
        (
            PYTORCHVIDEO,
            "model.blocks.4.multipathway_blocks.0.res_blocks.0.branch1_conv.weight",
            "backbone.slow.res5.0.branch1_conv.weight",
        ),
        (
            PYTORCHVIDEO,
            "model.blocks.0.multipathway_fusion.conv_fast_to_slow.weight",
            "backbone.lateral.stem.conv.weight",
        ),
        (PYTORCHVIDEO, "model.blocks.2.multipathway_fusion.norm.weight", "backbone.lateral.res3.norm.weight"),
        (PYTORCHVIDEO, "detection_head.proj.bias", "head.proj.bias"),
        (PYTORCHVIDEO, "blocks.6.proj.weight", "head.proj.weight"),
        (PYSLOWFAST, "s1.pathway1_stem.bn.weight", "backbone.fast.stem.norm.weight"),
        (PYSLOWFAST, "s3.pathway0_res0.branch1.weight", "backbone.slow.res3.0.branch1_conv.weight"),
        (PYSLOWFAST, "s3.pathway0_res0.branch1_bn.bias", "backbone.slow.res3.0.branch1_norm.bias"),
        (
            PYSLOWFAST,
            "s4.pathway1_res22.branch2.b_bn.running_mean",
            "backbone.fast.res4.22.branch2.norm_b.running_mean",
        ),
        (PYSLOWFAST, "s2.pathway0_res1.branch2.a.weight", "backbone.slow.res2.1.branch2.conv_a.weight"),
        (PYSLOWFAST, "s1_fuse.conv_f2s.weight", "backbone.lateral.stem.conv.weight"),
        (PYSLOWFAST, "s4_fuse.bn.running_var", "backbone.lateral.res4.norm.running_var"),
        (PYSLOWFAST, "head.projection.weight", "head.proj.weight"),
        (PYSLOWFAST, "s4.pathway0_nonlocal13.conv_theta.bias", "backbone.slow.res4.nonlocal13.conv_theta.bias"),
        (PYSLOWFAST, "s3.pathway0_nonlocal1.bn.running_var", "backbone.slow.res3.nonlocal1.norm.running_var"),
        (CAFFE2, "conv1_w", "backbone.slow.stem.conv.weight"),
        (CAFFE2, "t_conv1_w", "backbone.fast.stem.conv.weight"),
        (CAFFE2, "res_conv1_bn_s", "backbone.slow.stem.norm.weight"),
        (CAFFE2, "t_res_conv1_bn_riv", "backbone.fast.stem.norm.running_var"),
        (CAFFE2, "res2_0_branch1_w", "backbone.slow.res2.0.branch1_conv.weight"),
        (CAFFE2, "t_res5_0_branch1_bn_rm", "backbone.fast.res5.0.branch1_norm.running_mean"),
        (CAFFE2, "res4_22_branch2a_w", "backbone.slow.res4.22.branch2.conv_a.weight"),
        (CAFFE2, "t_res3_3_branch2c_bn_b", "backbone.fast.res3.3.branch2.norm_c.bias"),
        (CAFFE2, "t_pool1_subsample_w", "backbone.lateral.stem.conv.weight"),
        (CAFFE2, "t_pool1_subsample_bn_s", "backbone.lateral.stem.norm.weight"),
        (CAFFE2, "t_res4_22_branch2c_bn_subsample_w", "backbone.lateral.res4.conv.weight"),
        (CAFFE2, "t_res2_2_branch2c_bn_subsample_bn_riv", "backbone.lateral.res2.norm.running_var"),
        (CAFFE2, "nonlocal_conv4_6_theta_w", "backbone.slow.res4.nonlocal6.conv_theta.weight"),
        (CAFFE2, "nonlocal_conv3_1_phi_b", "backbone.slow.res3.nonlocal1.conv_phi.bias"),
        (CAFFE2, "nonlocal_conv4_20_out_w", "backbone.slow.res4.nonlocal20.conv_out.weight"),
        (CAFFE2, "nonlocal_conv4_13_bn_s", "backbone.slow.res4.nonlocal13.norm.weight"),
        (CAFFE2, "pred_w", "head.proj.weight"),
        (CAFFE2, "pred_b", "head.proj.bias"),
        (MMACTION, "backbone.slow_path.conv1.conv.weight", "backbone.slow.stem.conv.weight"),
        (MMACTION, "backbone.fast_path.conv1.bn.running_mean", "backbone.fast.stem.norm.running_mean"),
        (MMACTION, "backbone.conv1.conv.weight", "backbone.slow.stem.conv.weight"),
        (MMACTION, "backbone.layer3.5.conv2.conv.weight", "backbone.slow.res4.5.branch2.conv_b.weight"),
        (MMACTION, "backbone.slow_path.layer1.0.conv1.conv.weight", "backbone.slow.res2.0.branch2.conv_a.weight"),
        (MMACTION, "backbone.fast_path.layer4.2.conv3.bn.bias", "backbone.fast.res5.2.branch2.norm_c.bias"),
        (MMACTION, "backbone.slow_path.layer2.0.downsample.conv.weight", "backbone.slow.res3.0.branch1_conv.weight"),
        (MMACTION, "backbone.slow_path.layer2.0.downsample.bn.weight", "backbone.slow.res3.0.branch1_norm.weight"),
        (MMACTION, "backbone.slow_path.conv1_lateral.conv.weight", "backbone.lateral.stem.conv.weight"),
        (MMACTION, "backbone.slow_path.layer3_lateral.conv.weight", "backbone.lateral.res4.conv.weight"),
        (MMACTION, "roi_head.bbox_head.fc_cls.weight", "head.proj.weight"),
        (AVADET, "backbone.trunk.anything", "backbone.trunk.anything"),
    ],
)
def test_names(layout: object, foreign: str, own: str) -> None:
    assert layout.rename(foreign) == own  # type: ignore[attr-defined]


def test_one_pathway_is_no_slow_pathway() -> None:
    alone = translate(named("s1.pathway0_stem.conv.weight"), PYSLOWFAST)
    assert list(alone) == ["backbone.stem.conv.weight"]
    both = translate(named("s1.pathway0_stem.conv.weight", "s1.pathway1_stem.conv.weight"), PYSLOWFAST)
    assert list(both) == ["backbone.slow.stem.conv.weight", "backbone.fast.stem.conv.weight"]


@each_case(
    ("names", "layout"),
    [
        (["model.blocks.0.conv.weight", "detection_head.proj.bias"], "pytorchvideo"),
        (["blocks.0.multipathway_blocks.0.conv.weight"], "pytorchvideo"),
        (["s1.pathway0_stem.conv.weight", "head.projection.bias"], "pyslowfast"),
        (["patch_embed.proj.weight", "blocks.0.attn.pool_k.weight", "head.projection.weight"], "pyslowfast mvit"),
        (["conv1_w", "res_conv1_bn_s", "pred_w"], "pyslowfast caffe2"),
        (["backbone.slow_path.conv1.conv.weight", "roi_head.bbox_head.fc_cls.weight"], "mmaction2"),
        (["backbone.conv1.conv.weight"], "mmaction2"),
        (["backbone.trunk.stem.weight", "head.proj.weight"], "avadet"),
    ],
)
def test_family_is_recognised(names: list[str], layout: str) -> None:
    assert recognise(names, "x.pyth").name == layout


@each_case(
    ("names", "layout"),
    [
        (["head.proj.weight", "blocks.0.attn.pool_k.weight"], "pyslowfast mvit"),  # pytorchvideo calls its head so
        (["head.proj.weight", "backbone.patch_embed.proj.weight"], "avadet"),  # as V-JEPA 2 does, but with a head
        (["of_motion.backbone.stem.weight", "of_appearance.weight"], "avadet"),
        (["backbone.patch_embed.proj.weight"], "v-jepa 2"),
        (["head.proj.weight", "head.proj.bias"], "avadet"),
    ],
)
def test_own_names_are_a_backbone_with_a_head(names: list[str], layout: str) -> None:
    assert recognise(names, "x.pyth").name == layout


def test_every_format_is_in_the_message_but_those_that_are_only_refused() -> None:
    with pytest.raises(AvadetError) as caught:
        recognise(["a.b"], "x.pth")
    known = str(caught.value).partition("known formats: ")[2].split(", ")
    assert known == [one.name for one in FORMATS if one.unbuilt is None] and len(known) == len(set(known)) > 20
    assert "yolo" not in known


@each_case("form", FORMATS, ids=lambda form: form.name)
def test_a_format_says_one_thing_of_its_weights(form: CheckpointFormat) -> None:
    """They are refused, or classify something else than persons in boxes, or a detector is inferred from them."""
    only_encoders = form.name in ("v-jepa 2", "transformers v-jepa 2")
    is_inferred = form.infer is not None and not form.classifies
    assert [form.unbuilt is not None, bool(form.classifies), is_inferred, only_encoders].count(True) == 1


def test_a_pool_among_the_numbered_blocks_is_stepped_over() -> None:
    kernels = ((3, 1, 1), [(3, 1, 1), (1, 1, 1)], [(3, 1, 1), (1, 1, 1)], [(1, 1, 1), (3, 1, 1)])
    with torch.device("meta"):
        hub = create_resnet(
            stem_conv_kernel_size=(5, 7, 7), stage1_pool=nn.MaxPool3d, stage_conv_a_kernel_size=kernels
        ).state_dict()
        own = build("i3d_r50", 400).state_dict()
    renamed = translate(hub, recognise(hub, "I3D_8x8_R50.pyth"))
    assert {name: value.shape for name, value in renamed.items()} == {name: own[name].shape for name in own}


def test_an_unknown_family_is_named_by_its_first_tensors() -> None:
    names = ["encoder.layer.0.weight", "classifier.weight"]
    with pytest.raises(AvadetError, match=r"x\.pth: tensors of no known format \(first names: encoder\.layer"):
        recognise(names, "x.pth")
    with pytest.raises(AvadetError, match=r"first names: none"):
        recognise([], "x.pth")


def test_architecture_is_read_off_the_shapes() -> None:
    with torch.device("meta"):
        i3d = build("i3d_r50", 7, width=16).state_dict()
        model = build(
            "slowfast",
            9,
            width=32,
            fast_width=4,
            depths=(3, 4, 23, 3),
            lateral_kernel=5,
            slow_kernels=((1,), (1,), (3, 1), (3,)),
        )
    found = recipe_of(i3d, PYSLOWFAST, {}, "x")
    assert (found.architecture, found.num_classes, found.clip.num_frames, found.clip.stride) == ("resnet3d", 7, 8, 8)
    assert found.arguments["width"] == 16
    assert found.arguments["stem_kernel"] == 5
    assert found.arguments["temporal_pool"] == 2
    assert found.arguments["temporal_kernels"] == [[3] * 3, [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]
    found = recipe_of(model.state_dict(), PYTORCHVIDEO, {}, "x")
    assert (found.architecture, found.num_classes, found.clip.num_frames, found.clip.stride) == ("slowfast", 9, 32, 2)
    assert found.arguments["depths"] == [3, 4, 23, 3]
    assert found.arguments["lateral_kernel"] == 5
    assert found.arguments["lateral_ratio"] == 2
    assert found.arguments["fast_width"] == 4
    assert found.arguments["slow_kernels"][2] == [3, 1] * 11 + [3]


def test_settings_speak_where_shapes_are_silent() -> None:
    with torch.device("meta"):
        tensors = build("slowfast", 3, width=8, fast_width=1).state_dict()
    settings = {
        "DATA": {"NUM_FRAMES": 64, "SAMPLING_RATE": 1, "TEST_CROP_SIZE": 320, "MEAN": [0.5, 0.4, 0.3]},
        "SLOWFAST": {"ALPHA": 8},
        "DETECTION": {"ALIGNED": False, "ROI_XFORM_RESOLUTION": 8},
    }
    found = recipe_of(tensors, PYSLOWFAST, settings, "x")
    assert found.arguments["alpha"] == 8
    assert found.arguments["head"] == {"aligned": False, "resolution": 8, "time_pool": "avg"}
    clip = found.clip
    assert (clip.num_frames, clip.stride, clip.fps, clip.short_side) == (64, 1, 30.0, 320)
    assert (clip.mean, clip.std) == ((0.5, 0.4, 0.3), (0.225, 0.225, 0.225))


def test_alignment_follows_the_project_without_settings() -> None:
    with torch.device("meta"):
        tensors = build("slow_r50", 3, width=8).state_dict()
    assert recipe_of(tensors, PYSLOWFAST, {}, "x").arguments["head"]["aligned"] is True
    assert recipe_of(tensors, PYTORCHVIDEO, {}, "x").arguments["head"]["aligned"] is False
    assert recipe_of(tensors, CAFFE2, {}, "x").arguments["head"]["aligned"] is False


@each_case(
    ("theirs", "kind", "family"),
    [("csn_r101", "CSN", "ir_csn_101"), ("r2plus1d_r50", r"R\(2\+1\)D", "r2plus1d_r50")],
)
def test_nets_of_the_same_names_are_told_apart(theirs: str, kind: str, family: str) -> None:
    """Of pytorchvideo's; their blocks differ from those of Slow in the middle only."""
    with torch.device("meta"):
        tensors = getattr(hub, theirs)().state_dict()
    message = rf"x\.pyth: weights of a {kind} of pytorchvideo that classify whole clips.*model\.family={family} model\."
    with pytest.raises(AvadetError, match=message):
        recipe_of(translate(tensors, recognise(tensors, "x.pyth")), PYTORCHVIDEO, {}, "x.pyth")


@each_case("tensor", ["lfb_1x1_w", "lfb_nl0_theta_w", "lfb_nl2_out_b"])
def test_feature_banks_of_caffe2_are_refused_by_name(tensor: str) -> None:
    with pytest.raises(AvadetError, match=rf"does not build the long-term feature bank .*\(tensor {tensor}\); .*zeros"):
        recognise(["conv1_w", "res_conv1_bn_s", tensor, "pred_w"], "model_final.pkl")


def test_norms_without_statistics_are_refused_by_name() -> None:
    names = ["conv1_w", "res_conv1_bn_s", "res_conv1_bn_b", "pred_w", "pred_b"]
    assert recognise(names, "x") is CAFFE2
    with pytest.raises(AvadetError, match=r"x\.pkl: its norms have no statistics, .*video-long-term-feature-banks"):
        recipe_of(translate(named(*names), CAFFE2), CAFFE2, {}, "x.pkl")


def test_what_is_no_resnet_is_refused() -> None:
    tensors = named("head.proj.weight", "backbone.patch_embed.proj.weight")
    with pytest.raises(AvadetError, match=r"mvit\.pyth: not a ResNet of the Slow, SlowFast, I3D or C2D family"):
        recipe_of(tensors, PYSLOWFAST, {}, "mvit.pyth")
    with pytest.raises(AvadetError, match="no classifier among its 1 tensors"):
        recipe_of(named("backbone.stem.conv.weight"), PYSLOWFAST, {}, "x")


def test_what_is_no_weight_and_what_is_no_class_are_left_out() -> None:
    names = ("conv1_w", "conv1_w_momentum", "lr", "model_iter", "pred_b", "pred_b_momentum")
    assert list(translate(named(*names), CAFFE2)) == ["backbone.stem.conv.weight", "head.proj.bias"]
    classifier = {"roi_head.bbox_head.fc_cls.bias": torch.arange(4.0)}
    assert translate(classifier, MMACTION)["head.proj.bias"].tolist() == [1, 2, 3]


def test_mmaction2_has_its_own_habits() -> None:
    with torch.device("meta"):
        fast = build("slowfast", 80, width=8, fast_width=1, lateral_norm=False).state_dict()
        faster = build("slowfast", 80, width=8, fast_width=1, lateral_kernel=5, lateral_norm=False).state_dict()
        slow = build("slow_r50", 80, width=8).state_dict()
    found = recipe_of(fast, MMACTION, {}, "x.pth")
    assert found.arguments["head"] == {"aligned": True, "resolution": 8, "time_pool": "avg"}
    assert (found.arguments["slow_sampling"], found.arguments["last_dilation"]) == ("nearest", 1)
    assert (found.arguments["lateral_norm"], found.arguments["alpha"]) == (False, 4)
    assert (found.clip.num_frames, found.clip.stride, found.clip.short_side) == (32, 2, 256)
    assert found.clip.mean == (0.485, 0.456, 0.406)
    assert found.clip.std == (0.229, 0.224, 0.225)
    assert recipe_of(faster, MMACTION, {}, "x.pth").arguments["alpha"] == 8
    found = recipe_of(slow, MMACTION, {}, "x.pth")
    assert (found.architecture, found.clip.num_frames, found.clip.stride) == ("resnet3d", 4, 16)
    assert found.arguments["last_dilation"] == 1


MMACTION_CONFIG = """
model = dict(
    backbone=dict(
        resample_rate=8, speed_ratio=8, channel_ratio=8,
        slow_pathway=dict(depth=50, fusion_kernel=7, conv1_kernel=(1, 7, 7))),
    data_preprocessor=dict(mean=[127.5, 102.0, 51.0], std=(51, 25.5, 51.0), format_shape='NCTHW'),
    roi_head=dict(
        bbox_head=dict(num_classes=81, topk=(3, 5)),
        bbox_roi_extractor=dict(output_size=8, temporal_pool_mode='max', with_temporal_pool=True)))
train_pipeline = [
    dict(clip_len=32, frame_interval=2, type='SampleAVAFrames'),
]
evil = __import__('os').system('false')
"""


def test_the_configuration_of_mmaction2_is_read_and_not_run() -> None:
    assert mmaction_settings(MMACTION_CONFIG) == {
        "DATA": {"NUM_FRAMES": 32, "SAMPLING_RATE": 2, "MEAN": [0.5, 0.4, 0.2], "STD": [0.2, 0.1, 0.2]},
        "DETECTION": {"ROI_XFORM_RESOLUTION": 8, "TIME_POOL": "max"},
        "SLOWFAST": {"ALPHA": 8},
    }
    assert mmaction_settings("nothing = 'known'") == {"DATA": {}, "DETECTION": {}, "SLOWFAST": {}}
    with torch.device("meta"):
        fast = build("slowfast", 80, width=8, fast_width=1, lateral_norm=False).state_dict()
    found = recipe_of(fast, MMACTION, mmaction_settings(MMACTION_CONFIG), "x.pth")
    assert (found.arguments["alpha"], found.arguments["head"]["time_pool"]) == (8, "max")
    assert (found.clip.mean, found.clip.std) == ((0.5, 0.4, 0.2), (0.2, 0.1, 0.2))


@each_case(
    ("name", "two_pathways", "is_mmaction", "frames", "stride", "alpha"),
    [
        ("SLOWFAST_64x2_R101_50_50.pkl", True, False, 64, 2, None),
        ("SLOWFAST_32x2_R101_50_50_v2.1.pkl", True, False, 32, 2, None),
        ("SLOWFAST_8x8_R50_DETECTION.pyth", True, False, 32, 2, 4),
        ("SLOWFAST_4x16_R50.pkl", True, False, 32, 2, 8),
        ("C2D_8x8_R50.pkl", False, False, None, None, None),
        ("slowfast_kinetics400-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb_20220906-5180ea3c.pth", True, True, 32, 2, 8),
        ("slowonly_kinetics700-pretrained-r50_8xb16-8x8x1-20e_ava21-rgb.pth", False, True, 8, 8, None),
        ("slowonly_omnisource_pretrained_r101_8x8x1_20e_ava_rgb_20201217-16378594.pth", False, True, 8, 8, None),
        ("/runs/224x224/best.pyth", True, True, None, None, None),
        ("slowfast_256x256.pyth", True, True, None, None, None),
    ],
)
def test_names_of_published_files_tell_the_frames(
    name: str, two_pathways: bool, is_mmaction: bool, frames: int | None, stride: int | None, alpha: int | None
) -> None:
    found = name_settings(name, two_pathways, is_mmaction)
    data = found.get("DATA", {})
    assert (data.get("NUM_FRAMES"), data.get("SAMPLING_RATE")) == (frames, stride)
    assert found.get("SLOWFAST", {}).get("ALPHA") == alpha
    assert "DETECTION" not in found


def test_the_name_of_a_temporal_max_model_tells_its_pool() -> None:
    name = "slowfast_kinetics400-pretrained-r50-temporal-max_8xb6-8x8x1-cosine-10e_ava22-rgb_20220906-0a2bb7ed.pth"
    assert name_settings(name, True, True)["DETECTION"] == {"TIME_POOL": "max"}
    with torch.device("meta"):
        fast = build("slowfast", 80, width=8, fast_width=1, lateral_norm=False).state_dict()
    assert recipe_of(fast, MMACTION, {}, name).arguments["head"]["time_pool"] == "max"


def test_nonlocal_blocks_are_found_by_their_names() -> None:
    after = ((), (1, 3), (1, 3, 5), ())
    with torch.device("meta"):
        one = build("i3d_r50", 5, width=8, nonlocal_after=after).state_dict()
        two = build("slowfast", 5, width=8, fast_width=1, nonlocal_after=after).state_dict()
    places = [[], [1, 3], [1, 3, 5], []]
    found = recipe_of(one, PYSLOWFAST, {}, "x").arguments
    assert (found["nonlocal_after"], found["nonlocal_options"]) == (places, {"softmax": True, "pool": [1, 2, 2]})
    found = recipe_of(two, CAFFE2, {}, "x").arguments
    assert (found["nonlocal_after"], found["nonlocal_options"]) == (places, {"softmax": False, "pool": [2, 2, 2]})
    pools = [[[9, 9, 9]], [[1, 4, 4]], [[1, 4, 4]], [[9, 9, 9]]]
    said = {"NONLOCAL": {"POOL": pools, "INSTANTIATION": "dot_product", "GROUP": [[1]] * 4}}
    found = recipe_of(one, PYSLOWFAST, said, "x").arguments
    assert found["nonlocal_options"] == {"softmax": False, "pool": [1, 4, 4]}
    for wrong in ({"POOL": [[[1, 2, 2]], [[1, 2, 2]], [[2, 2, 2]], [[1, 2, 2]]]}, {"GROUP": [[1], [1], [4], [1]]}):
        with pytest.raises(AvadetError, match=r"x\.pyth: non-local blocks must pool alike and look at all frames"):
            recipe_of(one, PYSLOWFAST, {"NONLOCAL": wrong}, "x.pyth")


def test_a_classifier_over_twice_the_channels_sees_the_whole_map() -> None:
    with torch.device("meta"):
        tensors = build("slow_r50", 80, width=8, head={"context": True}).state_dict()
        odd = build("slow_r50", 80, width=8).state_dict()
    head = recipe_of(tensors, MMACTION, {}, "x.pth").arguments["head"]
    assert (head["context"], head["context_cells"]) == (True, 8)
    odd["head.proj.weight"] = torch.empty(80, 384, device="meta")
    with pytest.raises(AvadetError, match=r"x\.pth: its classifier takes 384 features, expected the 256 of its maps"):
        recipe_of(odd, MMACTION, {}, "x.pth")


def test_dilation_follows_the_settings_of_detection_only() -> None:
    with torch.device("meta"):
        tensors = build("slow_r50", 3, width=8).state_dict()
    for strides, dilations, expected in (([1, 2, 2, 1], [1, 1, 1, 1], 1), ([1, 2, 2, 2], [1, 1, 1, 1], 2)):
        said = {"SPATIAL_STRIDES": [[s] for s in strides], "SPATIAL_DILATIONS": [[d] for d in dilations]}
        assert recipe_of(tensors, PYSLOWFAST, {"RESNET": said}, "x").arguments["last_dilation"] == expected
