"""People from torchvision's Faster R-CNN (Ren et al. 2015; with FPN, Lin et al. 2017) and its official COCO weights.

The weights lie in the folder named by AVADET_CACHE (default ~/.cache/avadet), under detectors/. A copy that torch.hub
already keeps (TORCH_HOME) is used where it stands. Neither variable is changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import detection

from avadet.errors import AvadetError, unknown_name
from avadet.persons.tidy import tidy
from avadet.types import PersonBoxes, UInt8Array

PERSON_LABEL = 1
"""COCO's category id of "person", which torchvision keeps."""


@dataclass(frozen=True)
class RcnnEntry:
    """One published Faster R-CNN.

    Attributes:
        builder: the function of torchvision.models.detection that builds it.
        url: the official COCO weights; the file name ends in the first digits of its sha256.
        megabytes: size of that file.
        box_map: mean average precision of all classes on COCO val2017 as torchvision states it, percent.
    """

    builder: str
    url: str
    megabytes: int
    box_map: float


ENTRIES = {
    "fasterrcnn_resnet50_fpn_v2": RcnnEntry(
        builder="fasterrcnn_resnet50_fpn_v2",
        url="https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        megabytes=167,
        box_map=46.7,
    ),
    "fasterrcnn_mobilenet_v3_large_320_fpn": RcnnEntry(
        builder="fasterrcnn_mobilenet_v3_large_320_fpn",
        url="https://download.pytorch.org/models/fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        megabytes=74,
        box_map=22.8,
    ),
}


class TorchvisionRcnn:
    """A Faster R-CNN of torchvision as a `PersonDetector`.

    Attributes:
        name: key of `ENTRIES`.
        model: the network, in eval mode, on `device`.
        threshold: lowest person score that is returned, 0-1.
    """

    def __init__(
        self, name: str, device: str | torch.device = "cpu", threshold: float | None = None, pretrained: bool = True
    ) -> None:
        """Build the network and load its weights, downloading them at first use.

        Args:
            name: key of `ENTRIES`.
            device: where to run it.
            threshold: lowest person score, 0-1; None = 0.5.
            pretrained: False leaves the weights random, for tests.

        Raises:
            AvadetError: for an unknown name, or weights that can neither be found, downloaded nor read.
        """
        if name not in ENTRIES:
            raise unknown_name("detector", name, ENTRIES)
        self.name, self.threshold = name, 0.5 if threshold is None else threshold
        build = getattr(detection, ENTRIES[name].builder)
        self.model: torch.nn.Module = build(weights=None, weights_backbone=None)
        if pretrained:
            self.model.load_state_dict(_read_weights(find_weights(ENTRIES[name])))
        self._device = torch.device(device)
        self.model.to(self._device).eval()

    @torch.inference_mode()
    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        """Find the people in one frame.

        Args:
            frame: uint8 (H, W, 3) RGB.

        Returns:
            people in pixels of `frame`, best first.
        """
        image = torch.from_numpy(frame.copy()).to(self._device).permute(2, 0, 1).float() / 255
        output: dict[str, Tensor] = self.model([image])[0]
        person = output["labels"] == PERSON_LABEL
        boxes_px, scores = output["boxes"][person].cpu().numpy(), output["scores"][person].cpu().numpy()
        return tidy(boxes_px, scores, frame.shape[:2], self.threshold)


def weights_folder() -> Path:
    """Where avadet keeps detectors' weights: AVADET_CACHE (default ~/.cache/avadet), detectors/."""
    return Path(os.environ.get("AVADET_CACHE") or Path.home() / ".cache" / "avadet").expanduser() / "detectors"


def find_weights(entry: RcnnEntry) -> Path:
    """Path of the official weights: avadet's copy, else torch.hub's, else downloaded now (progress on stderr).

    Raises:
        AvadetError: if the download fails; says what to fetch and where to put it.
    """
    file_name = entry.url.rsplit("/", 1)[1]
    mine, hubs = weights_folder() / file_name, Path(torch.hub.get_dir()) / "checkpoints" / file_name
    for path in (mine, hubs):
        if path.is_file():
            return path
    hash_start = Path(file_name).stem.rsplit("-", 1)[1]
    try:
        mine.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(entry.url, str(mine), hash_prefix=hash_start, progress=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or error
        raise AvadetError(
            f"cannot download {file_name} ({reason}); fetch {entry.url} ({entry.megabytes} MB) and put it in "
            f"{mine.parent}, or use the bundled detector: --detector tiny"
        ) from error
    return mine


def _read_weights(path: Path) -> dict[str, Any]:
    """Read a state dict without running code that it may hold."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file raises whatever its unpickler meets
        raise AvadetError(f"{path}: broken or not a weights file; delete it and run again to download it") from error
    return state
