"""Models of video that start from a classifier of pictures, whatever they are built of.

Pictures are plenty and labelled videos are few. Nets of frames take the weights as they are (`frames`), 3-D nets
inflate them (`convs3d.inflate`), transformers make tubelets of patches (`image_start`).
"""

from __future__ import annotations

import re

from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.convs3d.inception import InceptionNet
from avadet.models.convs3d.inflate import load_inflated, resnet_name
from avadet.models.frames import FrameResNet, load_pictures
from avadet.models.image_start import image_vit_names, start_from_image
from avadet.models.layouts.classifiers import GOOGLENET, RESNET, VIT
from avadet.models.layouts.layout import Layout, Tensors
from avadet.models.slow import ResNet3d
from avadet.models.two_streams import FlowNet, cross_modality
from avadet.models.vit_blocks import Positions, Tubelets
from avadet.models.weights import COUNTER, LoadReport

INCEPTION_LAYERS = {
    **{"0": "conv1", "2": "conv2", "3": "conv3", "5": "inception3a", "6": "inception3b"},
    **{str(8 + index): f"inception4{letter}" for index, letter in enumerate("abcde")},
    **{"14": "inception5a", "15": "inception5b"},
}
"""Number of a layer of `InceptionNet` -> its name in torchvision's GoogLeNet."""


def start_from_pictures(model: nn.Module, tensors: Tensors, layout: Layout, source: str) -> LoadReport:
    """Fill what a model has in common with a classifier of pictures, in place.

    Args:
        model: a detector, or several in one.
        tensors: the classifier's, under its own names.
        layout: whose they are.
        source: the file, for messages.

    Returns:
        which parameters of the model were filled and which were not; the head never is.

    Raises:
        AvadetError: if no part of the model grew out of such a classifier, or it is of another size.
    """
    filled: set[str] = set()
    for path, part in model.named_modules():
        within = any(path.startswith(f"{done}.") for done in filled)
        try:
            fits = not within and _fill(part, tensors, layout)
        except AvadetError as error:
            raise AvadetError(f"{source}: {error}") from error
        if fits:
            filled.add(path)
    if not filled:
        raise AvadetError(f"{source}: weights of pictures ({layout.name}), from which no part of this model can start")
    names = [name for name in model.state_dict() if not name.endswith(COUNTER)]
    done = [name for name in names if any(name.startswith(f"{path}.") for path in filled)]
    missing = tuple(name for name in names if name not in set(done))
    return LoadReport(source, len(done), missing, unexpected=(), reshaped=())


def _fill(part: nn.Module, tensors: Tensors, layout: Layout) -> bool:
    """Fill one part of a model if it is of the layout's kind, and say whether it is."""
    if layout is RESNET and isinstance(part, FlowNet):
        flow = cross_modality(tensors["conv1.weight"], 2 * part.fields)
        load_pictures(part.trunk, {**tensors, "conv1.weight": flow})
    elif layout is RESNET and isinstance(part, FrameResNet):
        load_pictures(part, tensors)
    elif layout is RESNET and isinstance(part, ResNet3d):
        load_inflated(part, tensors, resnet_name)
    elif layout is GOOGLENET and isinstance(part, InceptionNet):
        load_inflated(part, tensors, inception_name)
    elif layout is VIT and _is_plain_vit(part):
        start_from_image(part, image_vit_names(tensors))
    else:
        return False
    return True


def inception_name(name: str) -> str:
    """Name of a tensor of `InceptionNet` -> its name in torchvision's GoogLeNet."""
    return re.sub(r"^features\.(\d+)\.", lambda found: f"{INCEPTION_LAYERS.get(found[1], found[0])}.", name)


def _is_plain_vit(part: nn.Module) -> bool:
    """Whether a part has the tubelets and the table of positions that an image transformer can fill."""
    children: dict[str, nn.Module | Tensor] = dict(part.named_children())
    return isinstance(children.get("patches"), Tubelets) and isinstance(children.get("positions"), Positions)
