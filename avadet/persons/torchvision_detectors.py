"""People from torchvision's detectors and their official COCO weights.

Faster R-CNN (Ren et al. 2015; with FPN, Lin et al. 2017), RetinaNet (Lin et al., "Focal Loss for Dense Object
Detection", 2017; with the training of Zhang et al. 2020), FCOS (Tian et al. 2019) and SSDLite (Sandler et al. 2018;
Howard et al. 2019). All take RGB 0-1 of any size and scale and normalise it themselves.

The weights lie in the folder named by AVADET_CACHE (default ~/.cache/avadet), under detectors/. A copy that torch.hub
already keeps (TORCH_HOME) is used where it stands. Neither variable is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import detection

from avadet.errors import AvadetError, unknown_name
from avadet.models.download import cache_folder, download
from avadet.persons.postprocess import postprocess
from avadet.types import PersonBoxes, UInt8Array

PERSON_LABEL = 1
"""COCO's category id of "person", which torchvision keeps."""
HUB = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class DetectorEntry:
    """One published detector, built by the function of torchvision.models.detection that has its name.

    Attributes:
        url: the official COCO weights; the file name ends in the first digits of its sha256.
        megabytes: size of that file.
        box_map: mean average precision of all classes on COCO val2017 as torchvision states it, percent.
    """

    url: str
    megabytes: int
    box_map: float


ENTRIES = {
    "fasterrcnn_resnet50_fpn_v2": DetectorEntry(f"{HUB}fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", 167, 46.7),
    "fasterrcnn_mobilenet_v3_large_320_fpn": DetectorEntry(
        f"{HUB}fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth", 74, 22.8
    ),
    "retinanet_resnet50_fpn_v2": DetectorEntry(f"{HUB}retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", 146, 41.5),
    "fcos_resnet50_fpn": DetectorEntry(f"{HUB}fcos_resnet50_fpn_coco-99b0c9b7.pth", 124, 39.2),
    "ssdlite320_mobilenet_v3_large": DetectorEntry(f"{HUB}ssdlite320_mobilenet_v3_large_coco-a79551df.pth", 13, 21.3),
}


class TorchvisionDetector:
    """A detector of torchvision as a `PersonDetector`.

    Attributes:
        name: key of `ENTRIES`.
        model: the network, in eval mode, on `device`.
        threshold: lowest person score that is returned, 0-1. The networks themselves give nothing under 0.05
            (Faster R-CNN, RetinaNet), 0.2 (FCOS) or 0.001 (SSDLite).
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
        weights = find_weights(ENTRIES[name]) if pretrained else None
        self.model: torch.nn.Module = getattr(detection, name)(weights=None, weights_backbone=None)
        if weights is not None:
            _load_weights(self.model, weights)
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
        return postprocess(boxes_px, scores, frame.shape[:2], self.threshold)


def weights_folder() -> Path:
    """Where avadet keeps detectors' weights: AVADET_CACHE (default ~/.cache/avadet), detectors/."""
    return cache_folder() / "detectors"


def find_weights(entry: DetectorEntry) -> Path:
    """Path of the official weights: avadet's copy, else torch.hub's, else downloaded now (progress on stderr).

    Raises:
        AvadetError: if the download fails; says what to fetch and where to put it.
    """
    file_name = entry.url.rsplit("/", 1)[1]
    mine, hubs = weights_folder() / file_name, Path(torch.hub.get_dir()) / "checkpoints" / file_name
    for path in (mine, hubs):
        if path.is_file():
            return path
    try:
        download(entry.url, mine, sha256=Path(file_name).stem.rsplit("-", 1)[1])
    except AvadetError as error:
        raise AvadetError(f"{error} ({entry.megabytes} MB), or use the bundled detector: --detector tiny") from error
    return mine


def _load_weights(model: torch.nn.Module, path: Path) -> None:
    """Fill a network from a file of weights without running code that the file may hold."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # a broken file raises whatever its unpickler meets
        raise AvadetError(f"{path}: broken or not a weights file; delete it and run again to download it") from error
