"""The models avadet knows by name, and loading them, or any checkpoint, into something ready to run.

Importing this module is cheap: torch comes in when a model is loaded.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from avadet.errors import AvadetError, unknown_name
from avadet.files import whole_file
from avadet.models.cards import clip_of, labels_of, make_card, read_card
from avadet.types import ClipSpec, LabelMap

if TYPE_CHECKING:
    import torch

    from avadet.models.detector import ActionModel
    from avadet.models.weights import Checkpoint, LoadReport

AVA_CLASSES = 80
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, and all that is needed to feed it and to read its answers.

    Attributes:
        model: in eval mode, on its device.
        spec: the clips it wants.
        labels: its classes, in the order of its logits.
        name: its name in the zoo, or the stem of its file.
        card: see `cards`.
        report: what became of every tensor of the checkpoint.
    """

    model: ActionModel
    spec: ClipSpec
    labels: LabelMap
    name: str
    card: dict[str, Any]
    report: LoadReport


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: what users write.
        file: name of its file of weights.
        summary: one line: what it is, and trained on what.
        url: where the file is published; "" for a model inside the package.
        card: its card; {} for a model inside the package, whose card lies beside its weights.
    """

    name: str
    file: str
    summary: str
    url: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bundled(self) -> bool:
        """Whether its weights ship with the package."""
        return not self.url

    @property
    def path(self) -> Path:
        """Where its weights lie, or would lie once downloaded."""
        folder = Path(__file__).parent / "bundled" if self.is_bundled else cache_folder()
        return folder / self.file

    @property
    def is_here(self) -> bool:
        """Whether its weights are on this machine."""
        return self.path.is_file()


_AVA_HUB = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/ava/"
_HUB_FACTS = {
    "data": "Kinetics-400, then AVA v2.2",
    "license": "not stated with the weights; pytorchvideo, which publishes them, is under Apache-2.0",
}
_MEAN, _STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)

ENTRIES = (
    Entry(
        name="tiny",
        file="tiny_actions.safetensors",
        summary="bundled: 21 everyday actions of JHMDB, real time on a CPU",
    ),
    Entry(
        name="slow_r50_4x16_ava",
        file="SLOW_4x16_R50_DETECTION.pyth",
        summary="Slow R50, 4 frames every 16; the 80 atomic actions of AVA v2.2; 31.8 M parameters",
        url=f"{_AVA_HUB}SLOW_4x16_R50_DETECTION.pyth",
        card=make_card(
            name="slow_r50_4x16_ava",
            architecture="slow_r50",
            arguments={"head": {"aligned": False}},
            clip=ClipSpec(num_frames=4, stride=16, fps=30.0, short_side=256, mean=_MEAN, std=_STD),
            labels="ava_v2.2",
            parameters=31_798_416,
            **_HUB_FACTS,
        ),
    ),
    Entry(
        name="slowfast_r50_8x8_ava",
        file="SLOWFAST_8x8_R50_DETECTION.pyth",
        summary="SlowFast R50, 32 frames every 2; the 80 atomic actions of AVA v2.2; 33.8 M parameters",
        url=f"{_AVA_HUB}SLOWFAST_8x8_R50_DETECTION.pyth",
        card=make_card(
            name="slowfast_r50_8x8_ava",
            architecture="slowfast_r50",
            arguments={"head": {"aligned": False}},
            clip=ClipSpec(num_frames=32, stride=2, fps=30.0, short_side=256, mean=_MEAN, std=_STD),
            labels="ava_v2.2",
            parameters=33_828_888,
            numbers={"frame_map_published": 24.67},
            **_HUB_FACTS,
        ),
    ),
)


def models() -> list[Entry]:
    """Every model of the zoo."""
    return list(ENTRIES)


def cache_folder() -> Path:
    """Where downloaded weights are kept: $AVADET_CACHE, or ~/.cache/avadet."""
    return Path(os.environ.get("AVADET_CACHE") or "~/.cache/avadet").expanduser()


def default_model() -> tuple[str, str]:
    """The model to use when nobody named one, and why, in one line.

    An official AVA model if its weights are in the cache, the larger one first; else the bundled one.
    """
    for name in ("slowfast_r50_8x8_ava", "slow_r50_4x16_ava"):
        if _entry(name).is_here:
            return name, f"using {name}: its official AVA weights are in {cache_folder()}"
    return "tiny", f"using the bundled tiny model: no official AVA weights in {cache_folder()}"


def load(name_or_path: str | Path, device: str = "cpu", allow_partial: bool = False) -> LoadedModel:
    """Load a model of the zoo by name, or a checkpoint from a path.

    Args:
        name_or_path: a name of `models()`, downloaded when first needed; or the path of avadet's own `.safetensors`
            (its card beside it), of a pytorchvideo or of a PySlowFast checkpoint.
        device: "cpu", "cuda", "cuda:1", ...
        allow_partial: whether tensors without a partner are fine.

    Raises:
        AvadetError: for an unknown name, a missing or damaged file, weights that do not fit, a device that is not
            there, or a download that fails.
    """
    from avadet.models.devices import choose_device

    target = choose_device(device)
    text = str(name_or_path)
    if text in {entry.name for entry in ENTRIES}:
        return _load_entry(_entry(text), target, allow_partial)
    path = Path(name_or_path)
    if not path.exists() and (path.suffix or path.name != text):
        raise AvadetError(f"{path}: no such file; models known by name: {', '.join(entry.name for entry in ENTRIES)}")
    if not path.exists():
        raise unknown_name("model", text, [entry.name for entry in ENTRIES])
    if path.suffix == ".safetensors":
        return _load_own(path, target, allow_partial)
    return _load_foreign(path, target, allow_partial)


def _entry(name: str) -> Entry:
    """The entry of a known name."""
    return next(entry for entry in ENTRIES if entry.name == name)


def _load_entry(entry: Entry, device: torch.device, allow_partial: bool) -> LoadedModel:
    """A model of the zoo, downloaded first if need be."""
    if entry.is_bundled:
        if not entry.is_here:
            raise AvadetError(f"{entry.path}: the bundled weights of '{entry.name}' are missing; reinstall avadet")
        return _load_own(entry.path, device, allow_partial)
    from avadet.models.weights import read_checkpoint

    if not entry.is_here:
        download(entry.url, entry.path)
    try:
        checkpoint = read_checkpoint(entry.path)
    except AvadetError as error:
        raise AvadetError(f"{error}; delete the file to have it downloaded again") from error
    return _assemble(dict(entry.card), checkpoint, device, allow_partial)


def _load_own(path: Path, device: torch.device, allow_partial: bool) -> LoadedModel:
    """A model in avadet's own format, built as its card says."""
    from avadet.models.weights import read_checkpoint

    card = read_card(path.with_suffix(".json"))
    return _assemble(card, read_checkpoint(path), device, allow_partial)


def _load_foreign(path: Path, device: torch.device, allow_partial: bool) -> LoadedModel:
    """Another project's checkpoint, its architecture read off its tensors."""
    from avadet.models.layouts import recipe_of
    from avadet.models.weights import read_checkpoint

    checkpoint = read_checkpoint(path)
    recipe = recipe_of(checkpoint.tensors, checkpoint.layout, checkpoint.settings, str(path))
    labels = "ava_v2.2" if recipe.num_classes == AVA_CLASSES else numbered_labels(recipe.num_classes)
    card = make_card(path.stem, recipe.architecture, recipe.arguments, recipe.clip, labels)
    return _assemble(card, checkpoint, device, allow_partial)


def _assemble(card: dict[str, Any], checkpoint: Checkpoint, device: torch.device, allow_partial: bool) -> LoadedModel:
    """Build what the card says and fill it from the checkpoint."""
    from avadet.models.weights import load_tensors

    spec, labels = clip_of(card), labels_of(card)
    model = build(card["architecture"], len(labels), spec, card["arguments"])
    report = load_tensors(model, checkpoint.tensors, checkpoint.source, allow_partial)
    return LoadedModel(model.eval().to(device), spec, labels, card["name"], card, report)


def numbered_labels(num_classes: int) -> LabelMap:
    """A label map for classes nobody has named: "class 1", "class 2", ..."""
    ids = tuple(range(1, num_classes + 1))
    names = tuple(f"class {index}" for index in ids)
    return LabelMap(names, ids, ("action",) * num_classes, (True,) * num_classes)


def download(url: str, path: Path) -> None:
    """Fetch a file with a progress bar on stderr; it stands at `path` only once it is whole.

    Raises:
        AvadetError: if it cannot be fetched; says what to fetch by hand and where to put it.
    """
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer,
            whole_file(path) as partial,
            partial.open("wb") as file,
        ):
            total = int(answer.headers.get("Content-Length") or 0)
            with tqdm(total=total or None, desc=path.name, unit="B", unit_scale=True) as bar:
                while chunk := answer.read(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
            if total and file.tell() != total:
                raise OSError(f"the connection ended after {file.tell()} of {total} bytes")
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise AvadetError(
            f"cannot download {url}: {reason}; fetch it on a machine with a network and put it at {path}"
        ) from error


def build(architecture: str, num_classes: int, spec: ClipSpec, arguments: Mapping[str, Any]) -> ActionModel:
    """Build a model with random weights.

    Args:
        architecture: a key of `BUILDERS`.
        num_classes: K.
        spec: its mean and std go into the model.
        arguments: what the builder takes besides.

    Raises:
        AvadetError: for an unknown architecture or argument.
    """
    if architecture not in BUILDERS:
        raise unknown_name("architecture", architecture, BUILDERS)
    try:
        return BUILDERS[architecture](num_classes, mean=spec.mean, std=spec.std, **arguments)
    except TypeError as error:
        raise AvadetError(f"architecture {architecture} cannot be built with {dict(arguments)}: {error}") from error


def _slow_r50(num_classes: int, **arguments: Any) -> ActionModel:
    from avadet.models.slow import slow_r50

    return slow_r50(num_classes, **arguments)


def _c2d_r50(num_classes: int, **arguments: Any) -> ActionModel:
    from avadet.models.slow import c2d_r50

    return c2d_r50(num_classes, **arguments)


def _i3d_r50(num_classes: int, **arguments: Any) -> ActionModel:
    from avadet.models.slow import i3d_r50

    return i3d_r50(num_classes, **arguments)


def _resnet3d(num_classes: int, **arguments: Any) -> ActionModel:
    from avadet.models.slow import resnet3d

    return resnet3d(num_classes, **arguments)


def _slowfast_r50(num_classes: int, **arguments: Any) -> ActionModel:
    from avadet.models.slowfast import slowfast_r50

    return slowfast_r50(num_classes, **arguments)


def _slowfast(num_classes: int, **arguments: Any) -> ActionModel:
    from avadet.models.slowfast import slowfast

    return slowfast(num_classes, **arguments)


def _tiny_actions(num_classes: int, **arguments: Any) -> ActionModel:
    from avadet.models.tiny_actions import tiny_actions

    return tiny_actions(num_classes, **arguments)


def _tiny_two_views(num_classes: int, **arguments: Any) -> ActionModel:
    from avadet.models.two_views import tiny_two_views

    return tiny_two_views(num_classes, **arguments)


BUILDERS: dict[str, Callable[..., ActionModel]] = {
    "slow_r50": _slow_r50,
    "c2d_r50": _c2d_r50,
    "i3d_r50": _i3d_r50,
    "resnet3d": _resnet3d,
    "slowfast_r50": _slowfast_r50,
    "slowfast": _slowfast,
    "tiny_actions": _tiny_actions,
    "tiny_two_views": _tiny_two_views,
}
"""Every architecture a card may name: builder(num_classes, mean=..., std=..., **arguments) -> ActionModel."""
