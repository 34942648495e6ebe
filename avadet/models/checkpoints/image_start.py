"""Models of video that start from a classifier of images.

Images are plenty and labelled videos are few. What a net can take over, and how, it declares itself: nets of frames
take the weights as they are, 3-D nets inflate them, transformers make tubelets of patches.
"""

from __future__ import annotations

from torch import nn

from avadet.errors import AvadetError
from avadet.models.checkpoints.formats.format import CheckpointFormat, Tensors
from avadet.models.checkpoints.weights import COUNTER, LoadReport


def start_from_images(model: nn.Module, tensors: Tensors, format: CheckpointFormat, source: str) -> LoadReport:
    """Fill what a model has in common with a classifier of images, in place.

    Args:
        model: a detector, or several in one; its parts say what they take by `init_from_image`.
        tensors: the classifier's, under its own names.
        format: whose they are.
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
        if getattr(part, "init_from_image", None) != format.name or any(path.startswith(f"{done}.") for done in filled):
            continue
        try:
            left = part.fill_from_image(tensors)
        except AvadetError as error:
            raise AvadetError(f"{source}: {error}") from error
        filled.add(path)
        drawn |= {f"{path}.{name}" for name in left}
    if not filled:
        raise AvadetError(f"{source}: weights of images ({format.name}), from which no part of this model can start")
    done = [name for name in names if name not in drawn and any(name.startswith(f"{path}.") for path in filled)]
    missing = tuple(name for name in names if name not in set(done))
    return LoadReport(source, len(done), missing, unexpected=(), reshaped=())
