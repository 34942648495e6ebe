"""What every detector's recipe has: its head, read off the tensors under the names here, and its clip."""

from __future__ import annotations

from typing import Any

from avadet.models.checkpoints.formats.format import Evidence, Recipe
from avadet.models.checkpoints.formats.unbuilt import FOREIGN_BANK
from avadet.types import ClipSpec


def detector_recipe(
    found: Evidence,
    architecture: str,
    arguments: dict[str, Any],
    channels: int,
    clip: tuple[int, int, int],
) -> Recipe:
    """A recipe with the head that stands on the backbone's maps.

    Args:
        found: the checkpoint.
        architecture: of the backbone.
        arguments: of the backbone.
        channels: of all its maps together.
        clip: frames, stride and short side (px) where the settings do not say.
    """
    head, data, defaults = _head_options(found, channels), found.section("DATA"), found.defaults
    red, green, blue = data.get("MEAN", defaults.mean)
    spec = ClipSpec(
        num_frames=int(data.get("NUM_FRAMES", clip[0])),
        stride=int(data.get("SAMPLING_RATE", clip[1])),
        fps=float(data.get("TARGET_FPS", 30)),
        short_side=int(data.get("TEST_CROP_SIZE", clip[2])),
        mean=(red, green, blue),
        std=tuple(data.get("STD", defaults.std)),
        boxes=defaults.boxes,
    )
    return Recipe(architecture, {**arguments, "head": head}, spec, len(found.tensors["head.proj.weight"]))


def _head_options(found: Evidence, channels: int) -> dict[str, Any]:
    """Options of a RoI head over maps of so many channels; a head over twice as many sees whole maps as well.

    A relation of actors reads their features and the maps beside each other; the classifier, its answer.
    """
    tensors, detection, defaults = found.tensors, found.section("DETECTION"), found.defaults
    resolution = int(detection.get("ROI_XFORM_RESOLUTION", defaults.resolution))
    head: dict[str, Any] = {
        "aligned": bool(detection.get("ALIGNED", defaults.aligned)),
        "resolution": resolution,
        "time_pool": str(detection.get("TIME_POOL", "avg")),
    }
    if defaults.stretch:
        head["stretch"] = True
    if "head.acar.scene.weight" in tensors:
        return {**head, **_acar_options(found)}
    if "head.hidden.weight" in tensors:
        head["hidden"] = True
    features = tensors["head.proj.weight"].shape[1]
    if detection.get("BANK") and features != channels:  # a model that only fills a bank has a plain head
        raise found.error("avadet does not build " + "; ".join(FOREIGN_BANK))
    if "head.acrn.join.weight" in tensors:
        head["acrn"] = {"width": features}
        features = tensors["head.acrn.join.weight"].shape[1] - channels
    if features == 2 * channels:
        return {**head, "context": True, "context_cells": resolution}
    if features != channels:
        raise found.error(f"its classifier takes {features} features, expected the {channels} of its maps")
    return head


def _acar_options(found: Evidence) -> dict[str, Any]:
    """Options of a head that relates actors by their context as ACAR-Net's authors do.

    Maps are halved before persons attend to each other, as in all published models; no shape tells that.
    """
    tensors, depth = found.tensors, len(found.numbered("head.acar.layers.{}.query.weight"))
    relation: dict[str, Any] = {"width": tensors["head.acar.scene.weight"].shape[0], "depth": depth, "pad": False}
    if depth:
        relation["out_kernel"] = tensors["head.acar.layers.0.out.weight"].shape[2]
    return {
        "map_width": tensors["head.narrow.weight"].shape[0],
        "own_width": tensors["head.own.weight"].shape[0],
        "acar": relation,
    }
