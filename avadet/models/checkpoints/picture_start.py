"""Models of video that start from a classifier of pictures, whatever they are built of.

Pictures are plenty and labelled videos are few. Nets of frames take the weights as they are (`frames`), 3-D nets
inflate them (`convs3d.inflate`), transformers make tubelets of patches (`image_start`).
"""

from __future__ import annotations

import re

from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.frames import FrameResNet, load_pictures
from avadet.models.backbones.inception import InceptionNet
from avadet.models.backbones.inflate import load_inflated, resnet_name
from avadet.models.backbones.slow import ResNet3d
from avadet.models.backbones.token_learner import LearnedTokensBlock
from avadet.models.backbones.vit_blocks import Positions, Tubelets
from avadet.models.checkpoints.formats.format import CheckpointFormat, Tensors
from avadet.models.checkpoints.formats.torchvision import GOOGLENET, RESNET, VIT
from avadet.models.checkpoints.image_start import image_vit_names, start_from_image
from avadet.models.checkpoints.weights import COUNTER, LoadReport
from avadet.models.detectors.two_streams import FlowNet, cross_modality

INCEPTION_LAYERS = {
    **{"0": "conv1", "2": "conv2", "3": "conv3", "5": "inception3a", "6": "inception3b"},
    **{str(8 + index): f"inception4{letter}" for index, letter in enumerate("abcde")},
    **{"14": "inception5a", "15": "inception5b"},
}
"""Number of a layer of `InceptionNet` -> its name in torchvision's GoogLeNet."""


def start_from_pictures(model: nn.Module, tensors: Tensors, layout: CheckpointFormat, source: str) -> LoadReport:
    """Fill what a model has in common with a classifier of pictures, in place.

    Args:
        model: a detector, or several in one.
        tensors: the classifier's, under its own names.
        layout: whose they are.
        source: the file, for messages.

    Returns:
        which parameters of the model were filled and which stay as they were drawn; the head always does.

    Raises:
        AvadetError: if no part of the model grew out of such a classifier, or it is of another size.
    """
    names = [name for name in model.state_dict() if not name.endswith(COUNTER)]
    filled: set[str] = set()
    drawn: set[str] = set()
    for path, part in model.named_modules():
        if any(path.startswith(f"{done}.") for done in filled):
            continue
        try:
            left = _fill(part, tensors, layout)
        except AvadetError as error:
            raise AvadetError(f"{source}: {error}") from error
        if left is not None:
            filled.add(path)
            drawn |= {f"{path}.{name}" for name in left}
    if not filled:
        raise AvadetError(f"{source}: weights of pictures ({layout.name}), from which no part of this model can start")
    done = [name for name in names if name not in drawn and any(name.startswith(f"{path}.") for path in filled)]
    missing = tuple(name for name in names if name not in set(done))
    return LoadReport(source, len(done), missing, unexpected=(), reshaped=())


def _fill(part: nn.Module, tensors: Tensors, layout: CheckpointFormat) -> list[str] | None:
    """Fill a part of a model if it is of the layout's kind: what pictures know nothing of in it; None if it is not."""
    if layout is RESNET and isinstance(part, FlowNet):
        flow = cross_modality(tensors["conv1.weight"], 2 * part.fields)
        return [f"trunk.{name}" for name in load_pictures(part.trunk, {**tensors, "conv1.weight": flow})]
    if layout is RESNET and isinstance(part, FrameResNet):
        return load_pictures(part, tensors)
    if layout is RESNET and isinstance(part, ResNet3d):
        load_inflated(part, tensors, resnet_name)
        return []
    if layout is GOOGLENET and isinstance(part, InceptionNet):
        load_inflated(part, tensors, inception_name)
        return []
    if layout is VIT and _is_plain_vit(part):
        return start_from_image(part, under_own_names(part, image_vit_names(tensors)))
    return None


def inception_name(name: str) -> str:
    """Name of a tensor of `InceptionNet` -> its name in torchvision's GoogLeNet."""
    return re.sub(r"^features\.(\d+)\.", lambda found: f"{INCEPTION_LAYERS.get(found[1], found[0])}.", name)


def under_own_names(net: nn.Module, tensors: Tensors) -> Tensors:
    """Tensors of a plain transformer as a net calls them that may have more around its blocks.

    Of a late block of TokenLearner the image fills the block itself; learner and fuser stay as they were drawn.
    """
    late = {f"{path}." for path, part in net.named_modules() if isinstance(part, LearnedTokensBlock)}

    def within(block: re.Match[str]) -> str:
        return f"{block[0]}block." if block[0] in late else block[0]

    return {re.sub(r"^blocks\.\d+\.", within, name): tensor for name, tensor in tensors.items()}


def _is_plain_vit(part: nn.Module) -> bool:
    """Whether a part has the tubelets and the table of positions that an image transformer can fill."""
    children: dict[str, nn.Module | Tensor] = dict(part.named_children())
    return isinstance(children.get("patches"), Tubelets) and isinstance(children.get("positions"), Positions)
