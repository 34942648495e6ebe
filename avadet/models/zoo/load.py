"""Loading a model of the zoo by name, or any checkpoint from a path, into something ready to run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avadet.errors import AvadetError, unknown_name
from avadet.models.cards import bank_of, clip_of, labels_of, make_card, read_card
from avadet.models.checkpoints.run_folder import weights_in
from avadet.models.download import cache_folder, download
from avadet.models.loaded import LoadedModel
from avadet.models.zoo.entries import Entry, entry_of, find, models
from avadet.types import LabelMap

if TYPE_CHECKING:
    import torch

    from avadet.models.checkpoints.weights import Checkpoint

AVA_CLASSES = 80


def default_model() -> tuple[str, str]:
    """The model to use when nobody named one, and why, in one line.

    An official AVA model if its weights are in the cache, the larger one first; else the bundled one.
    """
    for name in ("slowfast_r50_8x8_ava", "slow_r50_4x16_ava"):
        if entry_of(name).is_here:
            return name, f"its official AVA weights are in {cache_folder()}"
    return "tiny", f"the bundled model, as no official AVA weights are in {cache_folder()}"


def default_backend(name_or_path: str | Path) -> str:
    """The backend of a model when nobody named one: onnxruntime for an `.onnx` file, torch for all others."""
    return "onnx" if Path(name_or_path).suffix == ".onnx" else "torch"


def load(
    name_or_path: str | Path,
    device: str = "cpu",
    allow_partial: bool = False,
    backend: str | None = None,
    precision: str = "fp32",
    weights: str | None = None,
) -> LoadedModel:
    """Load a model of the zoo by name, or a checkpoint from a path.

    Args:
        name_or_path: a name of `models()`, downloaded when first needed; or the path of avadet's own `.safetensors`
            (its card beside it, and the model of its feature banks if the card names one), of a checkpoint of a known
            project as its trainer left it, of the folder of a training (see `checkpoints.run_folder`), or of an
            `.onnx` file of `avadet export`.
        device: "cpu", "cuda", "cuda:1", ...
        allow_partial: whether tensors without a partner are fine.
        backend: "torch", "onnx" or "openvino" makes the model ready for fast inference, and for nothing else, see
            `backends.prepare`; None leaves it as it is (an `.onnx` file goes to onnxruntime).
        precision: of a backend: "fp32", "bf16", or "auto".
        weights: which ones, where another project's file holds several, e.g. "model_ema"; None = those that the
            project evaluates.

    Raises:
        AvadetError: for an unknown name, a missing or damaged file, weights that do not fit, a device that is not
            there, a download that fails, or a backend that cannot run the model.
    """
    from avadet.models.devices import choose_device

    target = choose_device(device)
    if Path(name_or_path).suffix == ".onnx":
        from avadet.models.engines.backends import load_graph

        return load_graph(name_or_path, backend or "onnx", precision, str(target))
    path, card, checkpoint = _read(str(name_or_path), weights)
    loaded = _assemble(card, checkpoint, target, allow_partial)
    if named := bank_of(card):
        loaded = _with_bank(loaded, path, *named, target)
    if backend is None:
        return loaded
    from avadet.models.engines.backends import prepare

    return prepare(loaded, backend, precision)


def _read(name_or_path: str, weights: str | None) -> tuple[Path, dict[str, Any], Checkpoint]:
    """The file of weights, the card and the tensors of a name or path; `weights` and errors as `load`."""
    entry, path = find(name_or_path), Path(name_or_path)
    if entry is not None:
        return _read_entry(entry)
    if path.exists():
        return _read_path(path, weights)
    detectors = [known.name for known in models() if not known.is_start]
    if path.suffix or path.name != name_or_path:
        raise AvadetError(f"{path}: no such file; models known by name: {', '.join(detectors)}")
    raise unknown_name("model", name_or_path, detectors)


def _read_entry(entry: Entry) -> tuple[Path, dict[str, Any], Checkpoint]:
    """A model of the zoo, downloaded first if need be."""
    from avadet.models.checkpoints.weights import read_checkpoint

    if entry.is_start:
        raise AvadetError(
            f"{entry.name} finds no actions of people in boxes, it was trained on {entry.card['data']} to classify "
            f"{entry.card['classifies']}; train a detector that starts from it: model.init={entry.name}"
        )
    if entry.is_bundled:
        if not entry.is_here:
            raise AvadetError(f"{entry.path}: the bundled weights of '{entry.name}' are missing; reinstall avadet")
        return _read_path(entry.path, None)
    _fetch(entry)
    try:
        return entry.path, dict(entry.card), read_checkpoint(entry.path)
    except AvadetError as error:
        raise AvadetError(f"{error}; delete the file to have it downloaded again") from error


def _read_path(path: Path, weights: str | None) -> tuple[Path, dict[str, Any], Checkpoint]:
    """The file of weights that a path stands for, its card and its tensors."""
    from avadet.models.checkpoints.formats.avadet import AVADET
    from avadet.models.checkpoints.weights import read_checkpoint

    file = file_of(path)
    card = _card_beside(file)
    checkpoint = read_checkpoint(file, weights)
    if file != path:
        checkpoint = replace(checkpoint, notes=(f"of the files in {path}", *checkpoint.notes))
    if card is None and checkpoint.format == AVADET and file.suffix == ".safetensors":
        read_card(file.with_suffix(".json"))  # says that it is missing
    return file, card or checkpoint.card or _foreign_card(file, checkpoint), checkpoint


def _card_beside(file: Path) -> dict[str, Any] | None:
    """The card of a file in avadet's own form, None for any other."""
    beside = file.with_suffix(".json")
    return read_card(beside) if file.suffix == ".safetensors" and beside.exists() else None


def card_of_path(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of weights that a path stands for, and its card: the one beside it or in it, or what its tensors tell.

    Raises:
        AvadetError: if the file is missing or damaged, or of a model that is not built here.
    """
    file = file_of(path)
    card = _card_beside(file)
    return _read_path(file, None)[:2] if card is None else (file, card)


def file_of(name_or_path: str | Path) -> Path:
    """The file that a path stands for, of a folder its weights; a name of the zoo as it is.

    Raises:
        AvadetError: for a folder without weights.
    """
    path = Path(name_or_path)
    return weights_in(path) if path.is_dir() and find(str(name_or_path)) is None else path


def fetched(name_or_path: str | Path) -> Path:
    """The file of weights that a name of the zoo stands for, downloaded first if need be; any other path as it is.

    Raises:
        AvadetError: for a word that is neither a name nor a file, or a download that fails.
    """
    path = file_of(name_or_path)
    if path.exists() or path.suffix or path.name != str(name_or_path):
        return path
    entry = find(path.name)
    if entry is None:
        raise unknown_name("weights", path.name, (known.name for known in models()))
    if not entry.is_bundled:
        _fetch(entry)
    return entry.path


def _fetch(entry: Entry) -> None:
    """Download the weights of an entry unless they are here; AvadetError if that fails, or only a browser can."""
    if entry.is_here:
        return
    if entry.is_page:
        raise AvadetError(
            f"{entry.name}: its authors' link is a page; get {entry.file} from {entry.url} with a browser and save it "
            f"as {entry.path}"
        )
    download(entry.url, entry.path, entry.sha256)


def _with_bank(loaded: LoadedModel, path: Path, weights: str, window_s: float, device: torch.device) -> LoadedModel:
    """The model of `path` with the one that makes its feature banks, which lies beside it."""
    from avadet.models.checkpoints.weights import read_checkpoint
    from avadet.models.detectors.two_stage import ActionDetector

    file = path.with_name(weights)
    if not file.is_file():
        names = f"{file.name} and {file.with_suffix('.json').name}"
        raise AvadetError(f"{path} reads feature banks of {weights}, which does not lie beside it; copy {names} there")
    card = read_card(file.with_suffix(".json"))
    if bank_of(card) is not None:
        raise AvadetError(f"{file} makes the feature banks of {path.name}, but its own card names a bank as well")
    bank = _assemble(card, read_checkpoint(file), device, allow_partial=False)
    reader = loaded.model.head.bank if isinstance(loaded.model, ActionDetector) else None
    if reader is None:
        raise AvadetError(f"the card of {loaded.name} names a feature bank, but its head reads none (head.bank)")
    if not isinstance(bank.model, ActionDetector):
        raise AvadetError(f"{bank.name} cannot make feature banks for {loaded.name}: it is of several detectors")
    made = bank.model.head.own_features
    if made != reader.bank_features:
        raise AvadetError(
            f"{loaded.name} reads feature banks of {reader.bank_features} features a person, its bank's model "
            f"{bank.name} makes {made}; put the model beside it that it was trained with"
        )
    return replace(loaded, bank=bank, bank_window_s=window_s)


def _foreign_card(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """The card of another project's checkpoint, its architecture read off its tensors."""
    from avadet.models.checkpoints.formats import recipe_of

    recipe = recipe_of(checkpoint.tensors, checkpoint.format, checkpoint.settings, str(path))
    by_number = "ava_v2.2" if recipe.num_classes == AVA_CLASSES else numbered_labels(recipe.num_classes)
    scores = {} if recipe.scores is None else {"scores": recipe.scores}
    return make_card(
        path.stem, recipe.architecture, recipe.arguments, recipe.clip, recipe.labels or by_number, **scores
    )


def _assemble(card: dict[str, Any], checkpoint: Checkpoint, device: torch.device, allow_partial: bool) -> LoadedModel:
    """Build what the card says and fill it from the checkpoint."""
    from avadet.models.build import build
    from avadet.models.checkpoints.weights import load_tensors

    spec, labels = clip_of(card), labels_of(card)
    model = build(card["architecture"], len(labels), pixels=spec.pixels, **card["arguments"])
    report = load_tensors(model, checkpoint.tensors, checkpoint.source, allow_partial, checkpoint.notes)
    return LoadedModel(model.eval().to(device), spec, labels, card["name"], card, report)


def numbered_labels(num_classes: int) -> LabelMap:
    """A label map for classes nobody has named: "class 1", "class 2", ..."""
    ids = tuple(range(1, num_classes + 1))
    names = tuple(f"class {index}" for index in ids)
    return LabelMap(names, ids, ("action",) * num_classes, (True,) * num_classes)
