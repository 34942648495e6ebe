"""A torch model made fast for inference: norms folded into convolutions, bf16, the memory format its kernels like."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.engines.folding import fold_norms


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bf16; a processor that has to emulate it is slower than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & processor_flags())


def processor_flags(cpuinfo: str | Path = "/proc/cpuinfo") -> set[str]:
    """What Linux lists of the first processor: "avx2", "amx_bf16", ...; nothing on other systems.

    The line is called "flags" on x86 and "Features" on ARM.
    """
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    named = (line.partition(":") for line in lines)
    return next((set(values.split()) for key, _, values in named if key.strip() in ("flags", "Features")), set())


class Fast(NamedTuple):
    """A model made fast, for inference only; `note` is "", or what could not be done and why."""

    model: ActionModel
    note: str


def fast_model(model: ActionModel, dtype: torch.dtype, clips: Tensor, rois: Tensor) -> Fast:
    """A copy for inference: gives the answers of the model in eval mode, to rounding.

    Pixels are normalised and boxes cropped and scored in float32 whatever the type; only backbones compute in it.

    Args:
        model: as it was built; left as it is.
        dtype: of the backbones: float32 or bfloat16.
        clips: that the model takes, on its device; small ones will do (see `folding`).
        rois: boxes of them.
    """
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    note = ""
    if any(isinstance(module, _BatchNorm) for module in copied.modules()):
        note = fold_norms(copied, clips, rois).note
    for module in list(copied.modules()):
        if isinstance(module, ActionDetector):
            module.backbone = Cast(module.backbone, dtype)
    return Fast(copied, note)


class Cast(nn.Module):
    """A backbone in a type and memory format of its own, float32 or bfloat16; converts its weights in place."""

    def __init__(self, backbone: nn.Module, dtype: torch.dtype) -> None:
        """Channels-last is what the 3-D kernels of bf16 are fast in; those of float32 are not."""
        super().__init__()
        self.dtype = dtype
        self.memory_format = torch.preserve_format if dtype == torch.float32 else torch.channels_last_3d
        self.backbone = backbone.to(dtype)
        for module in backbone.modules():
            if isinstance(module, nn.Conv3d):
                module.to(memory_format=self.memory_format)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> maps, in the backbone's type."""
        maps: list[Tensor] = self.backbone(clip.to(self.dtype, memory_format=self.memory_format))
        return maps
