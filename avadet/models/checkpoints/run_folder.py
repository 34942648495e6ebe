"""The folder of a training where a file of weights is asked for: which of its files is meant."""

from __future__ import annotations

import re
from pathlib import Path

from avadet.errors import AvadetError, first_names

OWN = "model.safetensors"
SUFFIXES = frozenset((".safetensors", ".pth", ".pyth", ".pt", ".ckpt", ".bin", ".pkl"))
SUBFOLDERS = ("checkpoints", "weights")
NO_MODEL = re.compile(
    r"^(bank\.safetensors|(optimizer|scheduler|scaler|rng_state\w*|training_args)\.\w+)$|optim_states"
)
"""Files of weights that are not the model's, or of no weights at all."""
SHARD = re.compile(r"-\d+-of-\d+\.")
LISTED = 6


def weights_in(folder: Path) -> Path:
    """The file of weights that a folder stands for.

    `model.safetensors`, what a training here ends with (and what transformers call theirs); else, in the folder or in
    its `checkpoints`: the best one, by its name; the last or latest or final one; the one with the highest number of
    an epoch or step; the only one. Files that differ by more than numbers are not told apart.

    Raises:
        AvadetError: if there is none, or several and nothing tells which; says what there is.
    """
    if (folder / OWN).is_file():
        return folder / OWN
    for place in (folder, *(folder / name for name in SUBFOLDERS)):
        files = _weights(place)
        shards = [file for file in files if SHARD.search(file.name)]
        if shards:
            raise AvadetError(f"{folder}: the weights are in {len(shards)} pieces ({shards[0].name}); save them as one")
        for word in (r"best", r"last|latest|final", r"\d", r""):
            named = [file for file in files if re.search(word, file.stem, re.IGNORECASE)]
            if named and len({_without_numbers(file) for file in named}) == 1:
                return max(named, key=lambda file: (_numbers(file), file.suffix == ".safetensors"))
        if files:
            names = first_names([file.name for file in files], LISTED)
            raise AvadetError(f"{folder}: holds several files of weights ({names}); give one of them")
    names = first_names(sorted(path.name for path in folder.iterdir()), LISTED)
    content = f"it has {names}" if names else "it is empty"
    raise AvadetError(f"{folder}: a folder without weights of a model ({content}); {_way_out(folder)}")


def _weights(folder: Path) -> list[Path]:
    """Files of weights in a folder, by name; what a killed run had begun to write has a name with a dot before it."""
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix in SUFFIXES and file.is_file() and not NO_MODEL.search(file.name) and file.name[0] != "."
    )


def _without_numbers(file: Path) -> str:
    """A name by which the checkpoints of all epochs are called."""
    return re.sub(r"\d+(\.\d+)?", "0", file.stem)


def _numbers(file: Path) -> tuple[int, ...]:
    """The numbers in a name, by which epochs are counted."""
    return tuple(int(digits[:18]) for digits in re.findall(r"\d+", file.stem))


def _way_out(folder: Path) -> str:
    """What to do."""
    if (folder / "zero_to_fp32.py").exists():
        return "DeepSpeed's pieces are put together by its zero_to_fp32.py"
    if any(folder.glob("*.distcp")):
        return "put the pieces together: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE"
    if (folder / "config.yaml").exists():
        return "the training has not saved yet, or was stopped before; go on with --resume"
    return f"give the folder of a training, which has {OWN}, or a file"
