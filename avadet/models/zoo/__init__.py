"""The models avadet knows by name, and loading them, or any checkpoint, into something ready to run.

Importing this module is cheap: torch comes in when a model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avadet.errors import AvadetError, unknown_name
from avadet.models.checkpoints.run_folder import weights_in
from avadet.models.zoo.cards import bank_of, calibration_of, clip_of, labels_of, make_card, read_card, scores_of
from avadet.models.zoo.download import cache_folder, download
from avadet.models.zoo.entries import ENTRIES, Entry
from avadet.types import ClipSpec, LabelMap

if TYPE_CHECKING:
    import torch

    from avadet.models.checkpoints.weights import Checkpoint, LoadReport
    from avadet.models.detectors.two_stage import ActionModel

AVA_CLASSES = 80


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
        running: what runs it and how exactly, in words, once it is made ready for inference (see `backends`).
        bank: the model whose features fill the banks that it reads (see `lfb`); None = it is run without.
        bank_window_s: seconds of a bank that each clip sees.
    """

    model: ActionModel
    spec: ClipSpec
    labels: LabelMap
    name: str
    card: dict[str, Any]
    report: LoadReport
    running: str = ""
    bank: LoadedModel | None = None
    bank_window_s: float = 60.0

    def __post_init__(self) -> None:
        """Check that the card says how to read the logits; raises AvadetError if not."""
        scores_of(self.card, self.labels)
        calibration_of(self.card, self.labels)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Scores (R, K), 0-1, that logits (R, K) mean."""
        from avadet.models.scores import to_scores

        rule, calibration = scores_of(self.card, self.labels), calibration_of(self.card, self.labels)
        return to_scores(logits, self.labels, rule, calibration)


def models() -> list[Entry]:
    """Every model of the zoo."""
    return list(ENTRIES)


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
    loaded = _load_weights(name_or_path, target, allow_partial, weights)
    if backend is None:
        return loaded
    from avadet.models.engines.backends import prepare

    return prepare(loaded, backend, precision)


def _load_weights(
    name_or_path: str | Path, target: torch.device, allow_partial: bool, weights: str | None
) -> LoadedModel:
    """A model as torch's modules; arguments and errors as `load`."""
    text = str(name_or_path)
    if text in {entry.name for entry in ENTRIES}:
        entry = entry_of(text)
        if entry.is_start:
            raise AvadetError(
                f"{text} finds no actions of people in boxes, it was trained on {entry.card['data']} to classify "
                f"{entry.card['classifies']}; train a detector that starts from it: model.init={text}"
            )
        return _load_entry(entry, target, allow_partial)
    path = Path(name_or_path)
    if not path.exists() and (path.suffix or path.name != text):
        raise AvadetError(f"{path}: no such file; models known by name: {', '.join(_detectors())}")
    if not path.exists():
        raise unknown_name("model", text, _detectors())
    file, card, checkpoint = _described(path, weights)
    return _load(file, card, checkpoint, target, allow_partial)


def card_of_path(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of weights that a path stands for, and its card: the one beside it or in it, or what its tensors tell.

    Raises:
        AvadetError: if the file is missing or damaged, or of a model that is not built here.
    """
    file = file_of(path)
    if has_card(file):
        return file, read_card(file.with_suffix(".json"))
    return _described(file, None)[:2]


def file_of(name_or_path: str | Path) -> Path:
    """The file that a path stands for, of a folder its weights; a name of the zoo as it is.

    Raises:
        AvadetError: for a folder without weights.
    """
    path = Path(name_or_path)
    is_name = str(name_or_path) in {entry.name for entry in ENTRIES}
    return weights_in(path) if path.is_dir() and not is_name else path


def has_card(path: Path) -> bool:
    """Whether a file is in avadet's own form, with its card beside it."""
    return path.suffix == ".safetensors" and path.with_suffix(".json").exists()


def _described(path: Path, weights: str | None) -> tuple[Path, dict[str, Any], Checkpoint]:
    """The file of weights that a path stands for, its card and what it holds."""
    from avadet.models.checkpoints.formats import AVADET
    from avadet.models.checkpoints.weights import read_checkpoint

    file = file_of(path)
    card = read_card(file.with_suffix(".json")) if has_card(file) else None
    checkpoint = read_checkpoint(file, weights)
    if file != path:
        checkpoint = replace(checkpoint, notes=(f"of the files in {path}", *checkpoint.notes))
    if card is None and checkpoint.layout == AVADET and file.suffix == ".safetensors":
        read_card(file.with_suffix(".json"))  # says that it is missing
    return file, card or checkpoint.card or _foreign_card(file, checkpoint), checkpoint


def _detectors() -> list[str]:
    """Names of the models that find actions."""
    return [entry.name for entry in ENTRIES if not entry.is_start]


def fetched(name_or_path: str | Path) -> Path:
    """The file of weights that a name of the zoo stands for, downloaded first if need be; any other path as it is.

    Raises:
        AvadetError: for a word that is neither a name nor a file, or a download that fails.
    """
    path = Path(name_or_path)
    known = {entry.name: entry for entry in ENTRIES}
    if path.is_dir() and str(path) not in known:
        return weights_in(path)
    if path.exists() or path.suffix or path.name != str(name_or_path):
        return path
    if path.name not in known:
        raise unknown_name("weights", path.name, known)
    entry = known[path.name]
    if not (entry.is_here or entry.is_bundled):
        _fetch(entry)
    return entry.path


def _fetch(entry: Entry) -> None:
    """Download the weights of an entry; raises AvadetError if that fails, or only a browser can."""
    if entry.is_page:
        raise AvadetError(
            f"{entry.name}: its authors' link is a page; get {entry.file} from {entry.url} with a browser and save it "
            f"as {entry.path}"
        )
    download(entry.url, entry.path, entry.sha256)


def entry_of(name: str) -> Entry:
    """The entry of this name.

    Raises:
        AvadetError: for an unknown name; says which are close.
    """
    by_name = {entry.name: entry for entry in ENTRIES}
    if name not in by_name:
        raise unknown_name("model", name, by_name)
    return by_name[name]


def card_of(entry: Entry) -> dict[str, Any]:
    """The card of a model, without loading its weights."""
    return read_card(entry.path.with_suffix(".json")) if entry.is_bundled else dict(entry.card)


def _load_entry(entry: Entry, device: torch.device, allow_partial: bool) -> LoadedModel:
    """A model of the zoo, downloaded first if need be."""
    if entry.is_bundled:
        if not entry.is_here:
            raise AvadetError(f"{entry.path}: the bundled weights of '{entry.name}' are missing; reinstall avadet")
        file, card, own = _described(entry.path, None)
        return _load(file, card, own, device, allow_partial)
    from avadet.models.checkpoints.weights import read_checkpoint

    if not entry.is_here:
        _fetch(entry)
    try:
        checkpoint = read_checkpoint(entry.path)
    except AvadetError as error:
        raise AvadetError(f"{error}; delete the file to have it downloaded again") from error
    return _assemble(dict(entry.card), checkpoint, device, allow_partial)


def _load(
    path: Path, card: dict[str, Any], checkpoint: Checkpoint, device: torch.device, allow_partial: bool
) -> LoadedModel:
    """A model in avadet's own or another form, built as its card says, with the model of its feature banks."""
    loaded = _assemble(card, checkpoint, device, allow_partial)
    named = bank_of(card)
    if named is None:
        return loaded
    bank = _load_bank(path.with_name(named[0]), path, device)
    _check_bank(loaded, bank)
    return replace(loaded, bank=bank, bank_window_s=named[1])


def _load_bank(path: Path, reader: Path, device: torch.device) -> LoadedModel:
    """The model that makes feature banks for the one at `reader`, beside which it lies."""
    from avadet.models.checkpoints.weights import read_checkpoint

    if not path.is_file():
        names = f"{path.name} and {path.with_suffix('.json').name}"
        raise AvadetError(
            f"{reader} reads feature banks of {path.name}, which does not lie beside it; copy {names} there"
        )
    card = read_card(path.with_suffix(".json"))
    if bank_of(card) is not None:
        raise AvadetError(f"{path} makes the feature banks of {reader.name}, but its own card names a bank as well")
    return _assemble(card, read_checkpoint(path), device, allow_partial=False)


def _check_bank(loaded: LoadedModel, bank: LoadedModel) -> None:
    """Raise AvadetError unless the one model reads what the other makes."""
    from avadet.models.detectors.two_stage import ActionDetector

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


def _foreign_card(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """The card of another project's checkpoint, its architecture read off its tensors."""
    from avadet.models.checkpoints.formats import recipe_of

    recipe = recipe_of(checkpoint.tensors, checkpoint.layout, checkpoint.settings, str(path))
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
