"""STEM.run.json: what the results of a video were made of and with, and whether all of them are there.

A record is written before the first result, saying that there is more to come, and again after the last one. So a
rerun knows for certain what is finished, which files a run that died has left behind, and which files are none of ours.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from avadet import __version__
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import LabelMap

NO_SETTINGS = frozenset(
    {
        *("videos", "out", "overwrite", "debug", "command", "device", "batch"),
        *("no_video", "no_page", "seconds", "timeout", "quiet"),
    }
)
"""Arguments that say where and how a run is done, but change nothing in a file that it writes."""


class Record(NamedTuple):
    """The record of one video.

    Attributes:
        path: the file.
        made_of: the video, as `_identity` tells it from others.
        settings: every argument that has a say in the results.
    """

    path: Path
    made_of: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, video: Path, args: argparse.Namespace) -> Record:
        """The record that a run with these arguments writes for a video."""
        from avadet.models import zoo
        from avadet.video.image_names import video_id_of

        settings = {name: _shown(value) for name, value in vars(args).items() if name not in NO_SETTINGS}
        settings["model"] = _model(args.model or zoo.default_model()[0])
        made_of = _identity(video) if video.is_file() else _identity_of_images(video)
        return cls(args.out / f"{video_id_of(video)}.run.json", made_of, dict(sorted(settings.items())))

    def is_done(self, results: Sequence[Path]) -> bool:
        """Whether these results are all there, made of this video with these settings, and untouched since."""
        stored = self._stored()
        sizes = stored.get("results", {})
        return (
            bool(stored.get("finished"))
            and not self.changes()
            and all(path.name in sizes and sizes[path.name] == _size(path) for path in results)
        )

    def others(self, results: Sequence[Path]) -> list[Path]:
        """Files that stand where results would go, but are none, or were made of or with something else."""
        there = [path for path in results if path.exists()]
        stored = self._stored()
        if not stored and self.path.exists():
            there.append(self.path)
        if not stored or self.changes():
            return there
        if not stored["finished"]:
            return []
        sizes = stored.get("results", {})
        return [path for path in there if path.name in sizes and sizes[path.name] != path.stat().st_size] + [
            path for path in there if path.name not in sizes
        ]

    def changes(self) -> list[str]:
        """What is not as it was when the results were made, in words; nothing without a record."""
        stored = self._stored()
        if not stored:
            return []
        before = stored.get("settings", {})
        names = sorted(before.keys() | self.settings.keys())
        said = [
            f"--{name.replace('_', '-')} was {_word(before.get(name))}, now {_word(self.settings.get(name))}"
            for name in names
            if before.get(name) != self.settings.get(name)
        ]
        return [*said, *(["the video has changed"] if stored.get("video") != self.made_of else [])]

    @contextmanager
    def kept(
        self, results: Sequence[Path], labels: LabelMap | None = None, left_out: Sequence[Path] = ()
    ) -> Iterator[None]:
        """Write the record around the making of the results; if that fails, all is as if it had not begun.

        Args:
            results: the files that are made.
            labels: what their class ids mean, which is written along.
            left_out: those that cannot be, and are not there when all is done.

        Raises:
            AvadetError: if the record cannot be written.
        """
        before = self.path.read_bytes() if self.path.is_file() else None
        stood = [_standing(path) for path in results]
        self._write({}, finished=False)
        try:
            yield
        except BaseException:
            if stood == [_standing(path) for path in results]:
                self._restore(before)
            raise
        self._write({path.name: _size(path) for path in (*results, *left_out)}, finished=True, labels=labels)

    def _write(self, sizes: dict[str, int | None], finished: bool, labels: LabelMap | None = None) -> None:
        content: dict[str, Any] = {
            "avadet": __version__,
            "finished": finished,
            "video": self.made_of,
            "settings": self.settings,
            "results": sizes,
        }
        if labels is not None:
            content["labels"] = dataclasses.asdict(labels)
        with whole_file(self.path) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _restore(self, before: bytes | None) -> None:
        if before is None:
            self.path.unlink(missing_ok=True)
            return
        with whole_file(self.path) as partial:
            partial.write_bytes(before)

    def _stored(self) -> dict[str, Any]:
        """What the file says; nothing if there is none or it is not ours."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) and {"avadet", "finished"} <= content.keys() else {}


def left_to_do(videos: Sequence[Path], results: Sequence[Sequence[Path]], args: argparse.Namespace) -> list[Path]:
    """The videos whose results are not all there yet.

    Args:
        videos: the videos.
        results: the files that the results of each go to.
        args: the arguments of the run.

    Raises:
        AvadetError: unless `--overwrite` is given, if files stand in the way that are not results of the same run.
    """
    if args.overwrite:
        return list(videos)
    records = [Record.of(video, args) for video in videos]
    others = [(path, record) for record, paths in zip(records, results) for path in record.others(paths)]
    if others:
        names = ", ".join(str(path) for path, _ in others[:3]) + (", ..." if len(others) > 3 else "")
        changes = others[0][1].changes()
        reason = f" ({'; '.join(changes)})" if changes else ""
        raise AvadetError(f"{names} already there{reason}; add --overwrite to replace, or choose another --out")
    return [video for video, record, paths in zip(videos, records, results) if not record.is_done(paths)]


def _shown(value: Any) -> Any:
    """An argument as JSON has it; a file with what tells its content from another's."""
    path = Path(value) if isinstance(value, (str, Path)) else None
    if path is not None and path.is_file():
        return _identity(path)
    return str(value) if isinstance(value, Path) else value


def _model(name: str) -> str:
    """A model as JSON has it: its name, or its file with those beside it that have a say, its card and its bank's."""
    from avadet.models.cards import bank_of, read_card
    from avadet.models.zoo import file_of

    path = file_of(name)
    if path.suffix != ".safetensors" or not path.is_file():
        return str(_shown(path))
    files = [path, path.with_suffix(".json")]
    try:
        bank = bank_of(read_card(files[1]))
    except AvadetError:
        bank = None  # loading the model says what is wrong
    if bank is not None:
        files += [path.with_name(bank[0]), path.with_name(bank[0]).with_suffix(".json")]
    return ", ".join(_identity(file) for file in files if file.is_file())


def _identity(path: Path) -> str:
    """Name, size and time of change of a file."""
    stat = path.stat()
    return f"{path.name} ({stat.st_size} bytes, changed {stat.st_mtime_ns / 1e9:.6f})"


def _identity_of_images(folder: Path) -> str:
    """Name of a folder, number and size of its images, and when the last of them was changed; else the name."""
    from avadet.video.image_names import is_image, is_image_pattern

    inside = folder.parent if is_image_pattern(folder) else folder
    if not inside.is_dir():
        return folder.name
    with os.scandir(inside) as entries:
        stats = [entry.stat() for entry in entries if is_image(entry.name) and entry.is_file()]
    changed = max((stat.st_mtime_ns for stat in stats), default=0)
    size = sum(stat.st_size for stat in stats)
    return f"{folder.name} ({len(stats)} images, {size} bytes, changed {changed / 1e9:.6f})"


def _standing(path: Path) -> tuple[int, int] | None:
    """What tells a file from one that has replaced it; None where there is none."""
    stat = path.stat() if path.exists() else None
    return None if stat is None else (stat.st_ino, stat.st_mtime_ns)


def _size(path: Path) -> int | None:
    """Bytes of a file; None where there is none."""
    return path.stat().st_size if path.is_file() else None


def _word(value: Any) -> str:
    return "not given" if value is None else str(value)
