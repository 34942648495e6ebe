"""The person detector that ships with avadet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from avadet.models.engines.folding import fold_norms
from avadet.persons.person_net import SIZE_MULTIPLE, PersonNet, RawPersons, mirrored_cells
from avadet.persons.person_weights import load_person_net
from avadet.persons.postprocess import nms, postprocess
from avadet.types import PersonBoxes, UInt8Array

BUNDLED = Path(__file__).resolve().parent.parent / "models" / "bundled" / "tiny_persons.safetensors"
GREY = 114
CANDIDATES = 300
NMS_IOU = 0.5


class TinyPersons:
    """PersonNet with its weights as a `PersonDetector`.

    Attributes:
        threshold: lowest person score that is returned, 0-1.
        long_side: px that the longer side of a frame is resized to for the net.
        mirror: whether scores and boxes are averaged with those of the mirrored frame.
        card: what is known of the weights: data, training, numbers.
    """

    def __init__(
        self,
        device: str = "cpu",
        threshold: float | None = None,
        weights: str | Path = BUNDLED,
        nms_iou: float = NMS_IOU,
    ) -> None:
        """Load the weights.

        Args:
            device: where it runs, e.g. "cpu" or "cuda:0".
            threshold: lowest score, 0-1; None = the one in the card of the weights.
            weights: a .safetensors file written by `tools/train_persons.py`, its .json card beside it.
            nms_iou: of two boxes that overlap more than this, the better stays.

        Raises:
            AvadetError: if the weights or their card are missing or not those of a PersonNet.
        """
        net, self.card = load_person_net(weights)
        self._init_from(net, device, threshold, nms_iou)

    @classmethod
    def from_net(
        cls,
        net: PersonNet,
        long_side: int,
        threshold: float,
        mirror: bool = False,
        device: str = "cpu",
        nms_iou: float = NMS_IOU,
    ) -> TinyPersons:
        """Wrap a net that is already there, e.g. in training; the net itself is not changed."""
        self = cls.__new__(cls)
        self.card = {"long_side": long_side, "threshold": threshold, "mirror": mirror}
        copy = PersonNet(net.width, net.backbone_name)
        copy.load_state_dict(net.state_dict())
        self._init_from(copy, device, threshold, nms_iou)
        return self

    def _init_from(self, net: PersonNet, device: str, threshold: float | None, nms_iou: float) -> None:
        self.threshold = float(self.card["threshold"]) if threshold is None else threshold
        self.long_side = int(self.card["long_side"])
        self.mirror = bool(self.card.get("mirror", False))
        self._nms_iou = nms_iou
        self._device = torch.device(device)
        fold_norms(net.eval(), torch.linspace(0, 1, 3 * SIZE_MULTIPLE**2).view(1, 3, SIZE_MULTIPLE, SIZE_MULTIPLE))
        self._net = net.requires_grad_(False).to(self._device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        """Find the persons in one frame.

        Args:
            frame: uint8 (H, W, 3) RGB, any size.

        Returns:
            persons in pixels of `frame`, best first.
        """
        size_hw = (frame.shape[0], frame.shape[1])
        if min(size_hw) == 0:
            return PersonBoxes.empty(size_hw)
        canvas, scale_xy = letterbox(frame, self.long_side)
        image = torch.from_numpy(canvas).to(self._device).permute(2, 0, 1)[None].float().div_(255)
        boxes_px, logits = both_ways(self._net, image) if self.mirror else one_way(self._net, image)
        corners, scores = strongest(boxes_px, logits, self.threshold, self._nms_iou)
        in_frame = corners.cpu().numpy() / np.tile(scale_xy, 2)
        return postprocess(in_frame, scores.cpu().numpy(), size_hw, self.threshold)


def letterbox(frame: UInt8Array, long_side: int) -> tuple[UInt8Array, np.ndarray]:
    """Bring the longer side to `long_side` px, pad right and bottom with grey to multiples of 32.

    Returns:
        the canvas, uint8, and how much x and y were really scaled, float64 (2,).
    """
    height, width = frame.shape[:2]
    scale = long_side / max(height, width)
    new_hw = max(1, round(height * scale)), max(1, round(width * scale))
    canvas_hw = tuple(-(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE for side in new_hw)
    canvas = np.full((*canvas_hw, 3), GREY, np.uint8)
    averaged = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    canvas[: new_hw[0], : new_hw[1]] = cv2.resize(frame, new_hw[::-1], interpolation=averaged)
    return canvas, np.array([new_hw[1] / width, new_hw[0] / height])


def one_way(net: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (A, 4) px and logits (A,) of an image, float (1, 3, H, W) RGB 0-1."""
    raw: RawPersons = net(image)
    return raw.boxes_px[0], raw.logits[0]


def both_ways(net: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """As `one_way`, averaged cell by cell with the output for the mirrored image."""
    raw: RawPersons = net(torch.cat((image, image.flip(-1))))
    partner = mirrored_cells(image.shape[2:], image.device)
    left, top, right, bottom = raw.boxes_px[1, partner].unbind(-1)
    width = image.shape[-1]
    turned = torch.stack((width - right, top, width - left, bottom), dim=-1)
    return (raw.boxes_px[0] + turned) / 2, (raw.logits[0] + raw.logits[1, partner]) / 2


def strongest(boxes_px: Tensor, logits: Tensor, threshold: float, nms_iou: float) -> tuple[Tensor, Tensor]:
    """Threshold and NMS over all cells.

    Args:
        boxes_px: float (A, 4).
        logits: float (A,).
        threshold: lowest score, 0-1.
        nms_iou: of two boxes that overlap more than this, the better stays.

    Returns:
        boxes (N, 4) and scores (N,), best first.
    """
    scores, order = logits.sigmoid().topk(min(CANDIDATES, len(logits)))
    order, scores = order[scores >= threshold], scores[scores >= threshold]
    corners = boxes_px[order]
    kept = nms(corners.float().cpu().numpy(), scores.float().cpu().numpy(), nms_iou)
    return corners[kept], scores[kept]
