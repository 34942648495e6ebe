"""What shapes cannot tell, gathered from the configuration stored with weights or from the name of the file.

All of it is put in the words of PySlowFast's configuration, whichever project it comes from: DATA.NUM_FRAMES,
DATA.SAMPLING_RATE, DATA.MEAN, DATA.STD, DETECTION.ROI_XFORM_RESOLUTION, SLOWFAST.ALPHA; and in words that PySlowFast
lacks, DETECTION.TIME_POOL, DETECTION.BACKGROUND and DETECTION.BANK.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Settings = dict[str, dict[str, Any]]

STRIDES = (2, 4, 8, 16)
MAX_FRAMES = 128


def mmaction_settings(text: str) -> Settings:
    """Read mmaction2's configuration, which its checkpoints hold as Python source; nothing of it is run.

    Only plain values are found. The frames are those of the first pipeline, which is the same in all of its AVA
    configurations; means and deviations are there on a scale of 0-255.
    """
    data = _numbers(text, {"NUM_FRAMES": "clip_len", "SAMPLING_RATE": "frame_interval"})
    for word, name in (("MEAN", "mean"), ("STD", "std")):
        found = re.search(rf"\b{name}\s*=\s*[\[(]([\d.,\s]+)[\])]", text)
        values = [float(value) / 255 for value in found[1].replace(",", " ").split()] if found else []
        if len(values) == 3:
            data[word] = values
    detection = _numbers(text, {"ROI_XFORM_RESOLUTION": "output_size"})
    pool = re.search(r"\btemporal_pool_mode\s*=\s*['\"](max|avg)['\"]", text)
    if pool:
        detection["TIME_POOL"] = pool[1]
    if re.search(r"\bbackground_class\s*=\s*False\b", text):
        detection["BACKGROUND"] = False
    if re.search(r"\bFBOHead\b", text):
        detection["BANK"] = True
    return {"DATA": data, "DETECTION": detection, "SLOWFAST": _numbers(text, {"ALPHA": "resample_rate"})}


def has_background(settings: Mapping[str, Any], source: str) -> bool:
    """Whether mmaction2's classifier has a row for "no action"; all but those of its MultiSports models have."""
    said = settings.get("DETECTION", {}).get("BACKGROUND")
    return bool(said) if said is not None else "multisports" not in Path(source).stem.lower()


def _numbers(text: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Whole numbers assigned in a Python source: PySlowFast's word -> the first number under the other name."""
    found = {word: re.search(rf"\b{name}\s*=\s*(\d+)\b", text) for word, name in names.items()}
    return {word: int(match[1]) for word, match in found.items() if match}


def name_settings(source: str, two_pathways: bool, is_mmaction: bool) -> Settings:
    """Read the published name of a file, e.g. SLOWFAST_64x2_R101_50_50.pkl or slowfast_..._4x16x1_20e_ava_rgb.pth.

    AxB means A frames every B. In names of SlowFast that is the fast pathway where B is 2 and the slow one, whose
    frames are spread over fast ones every 2, where it is more. One pathway's name counts in mmaction2 only:
    PySlowFast's are wrong (its C2D_8x8_R50.pkl for AVA is a Slow of 4 frames every 16).
    """
    stem = Path(source).stem.lower()
    settings: Settings = {}
    found = re.search(r"(?<![\dx])(\d+)x(\d+)(?:x1)?(?![\dx])", stem)
    frames, stride = (int(found[1]), int(found[2])) if found else (0, 0)
    if 1 < frames <= MAX_FRAMES and stride in STRIDES:
        if two_pathways and stride > 2:
            settings["DATA"] = {"NUM_FRAMES": frames * stride // 2, "SAMPLING_RATE": 2}
            settings["SLOWFAST"] = {"ALPHA": stride // 2}
        elif two_pathways or is_mmaction:
            settings["DATA"] = {"NUM_FRAMES": frames, "SAMPLING_RATE": stride}
    if is_mmaction and re.search(r"temporal[-_]max|-tricks_", stem):
        settings["DETECTION"] = {"TIME_POOL": "max"}
    if is_mmaction and re.search(r"(?<![a-z])lfb[-_]", stem):
        settings["DETECTION"] = {"BANK": True}
    return settings
