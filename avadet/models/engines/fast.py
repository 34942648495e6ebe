"""The torch models made fast for inference: norms folded into convolutions, bf16, and the layout its kernels like."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.engines.export import sample_inputs
from avadet.models.engines.folding import fold_norms
from avadet.models.predict import predict

if TYPE_CHECKING:
    from avadet.models.zoo import LoadedModel

PROBES, PROBE_BOXES = 2, 4


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bf16; a processor that has to emulate it is slower than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & processor_flags())


def processor_flags(cpuinfo: str | Path = "/proc/cpuinfo") -> set[str]:
    """What Linux says the first processor can do: "avx2", "amx_bf16", ...; nothing on other systems.

    Args:
        cpuinfo: the kernel's list; its line is called "flags" on x86 and "Features" on ARM.
    """
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    named = (line.partition(":") for line in lines)
    return next((set(values.split()) for key, _, values in named if key.strip() in ("flags", "Features")), set())


class Fast(NamedTuple):
    """A model made fast.

    Attributes:
        model: for inference only.
        note: "", or in words what could not be done and why.
    """

    model: ActionModel
    note: str


def fast_model(model: ActionModel, dtype: torch.dtype, clips: Tensor, rois: Tensor) -> Fast:
    """A copy for inference: gives the answers of the model in eval mode, to rounding.

    Pixels are normalised and people cut out and scored in float32 whatever the type; only backbones compute in it.

    Args:
        model: as it was built; left as it is.
        dtype: of the backbones: float32 or bfloat16.
        clips: that the model takes, where it lies; small ones will do (see `folding`).
        rois: boxes of them.
    """
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    note = ""
    if any(isinstance(module, _BatchNorm) for module in copied.modules()):
        note = fold_norms(copied, clips, rois).note
    for module in list(copied.modules()):
        if isinstance(module, ActionDetector):
            module.backbone = Recast(module.backbone, dtype)
    return Fast(copied, note)


class Recast(nn.Module):
    """A backbone in a type and layout of its own; clips come and maps go as they would without it."""

    def __init__(self, backbone: nn.Module, dtype: torch.dtype) -> None:
        """Convert the weights, in place.

        Args:
            backbone: clip -> maps.
            dtype: float32 or bfloat16. Channels-last is what bf16's 3-D kernels are fast in; float32's are not.
        """
        super().__init__()
        self.dtype = dtype
        self.layout = torch.preserve_format if dtype == torch.float32 else torch.channels_last_3d
        self.backbone = backbone.to(dtype)
        for module in backbone.modules():
            if isinstance(module, nn.Conv3d):
                module.to(memory_format=self.layout)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> maps, in the backbone's type."""
        maps: list[Tensor] = self.backbone(clip.to(self.dtype, memory_format=self.layout))
        return maps


def score_difference(
    reference: ActionModel, other: ActionModel, loaded: LoadedModel, size_hw: tuple[int, int], as_float: bool = False
) -> float:
    """The largest difference of a score, 0-1, on random clips.

    Args:
        reference: the model in float32.
        other: the same in another precision.
        loaded: says what clips they take, and what their logits mean.
        size_hw: (height, width) px of the pictures.
        as_float: whether clips are float 0-1 instead of uint8 0-255.
    """
    worst = 0.0
    for seed in range(PROBES):
        inputs = sample_inputs(loaded.spec.num_frames, size_hw, 1, PROBE_BOXES, seed, as_float)
        expected, got = (predict(replace(loaded, model=model), *inputs) for model in (reference, other))
        worst = max(worst, (expected - got).abs().max().item())
    return worst
