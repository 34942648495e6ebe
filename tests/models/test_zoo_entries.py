"""Entries as data: what the files say is checked field by field, and what fixes each published file is stated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from each_case import each_case

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.zoo import entries
from avadet.models.zoo.entries import FILES, MUTABLE, NO_HASH, Entry, entries_in

PUBLISHED = [entry for entry in zoo.models() if not entry.is_bundled]
DIGITS_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")
"""As torchvision and OpenMMLab name files: by the first digits of their SHA-256."""
CLIP = {"num_frames": 4, "stride": 16, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2]}
DETECTOR = {
    "name": "slow",
    "summary": "a slow one",
    "url": "https://example.org/a/slow.pyth",
    "sha256": "none published",
    "architecture": "slow_r50",
    "clip": CLIP,
    "labels": "ava_v2.2",
    "data": "Kinetics-400, AVA v2.2",
    "license": "MIT",
    "parameters": 1000,
    "gflops": 1.5,
    "numbers": {"frame_map": 19.5},
}
DEFAULTS = {"clip": {"fps": 30.0, "short_side": 256}, "numbers": {"data_set": "AVA v2.2", "protocol": "whole frames"}}


def written(folder: Path, **changes: Any) -> Path:
    """A file with one detector, some fields of which are other ones (None: left out)."""
    fields = {key: value for key, value in {**DETECTOR, **changes}.items() if value is not None}
    file = folder / "some.yaml"
    file.write_text(yaml.safe_dump({"detectors": {"defaults": DEFAULTS, "entries": [fields]}}))
    return file


def test_every_file_of_entries_is_read() -> None:
    assert set(FILES) == set(FILES[0].parent.iterdir())
    names = [entry.name for entry in zoo.models()]
    assert len(set(names)) == len(names) == 110
    assert [entry.is_start for entry in zoo.models()] == sorted(entry.is_start for entry in zoo.models())


@each_case("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_what_fixes_a_file_is_stated(entry: Entry) -> None:
    assert bool(entry.sha256 or entry.revision) != entry.pin.startswith("not pinned: ")
    assert re.fullmatch(r"|[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256)
    if named := DIGITS_IN_NAME.search(entry.url):
        assert entry.sha256.startswith(named[1])
    if "huggingface.co" in entry.url:  # addresses there name a revision; a branch moves on
        assert re.search(rf"/resolve/{entry.revision}/", entry.url) and re.fullmatch("[0-9a-f]{40}", entry.revision)


def test_hashes_and_revisions_are_no_fewer() -> None:
    assert sum(DIGITS_IN_NAME.search(entry.url) is not None for entry in PUBLISHED) == 50
    assert sum(entry.sha256 != "" for entry in PUBLISHED) == 57
    assert sum(entry.pin.startswith("not pinned") for entry in PUBLISHED) == 45


def test_fields_come_from_the_entry_then_from_the_defaults(tmp_path: Path) -> None:
    (entry,) = entries_in(written(tmp_path, clip={**CLIP, "fps": 25.0}))
    assert (entry.name, entry.file, entry.sha256, entry.is_page) == ("slow", "slow.pyth", "", False)
    clip = {**CLIP, "fps": 25.0, "short_side": 256, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2)}
    assert entry.card["clip"] == {**clip, "long_side": 0, "boxes": "exact"}
    assert entry.card["arguments"] == {}
    assert entry.card["numbers"] == {"frame_map": 19.5, **DEFAULTS["numbers"]}


def test_a_branch_is_said_to_be_mutable(tmp_path: Path) -> None:
    file = written(
        tmp_path, url="https://example.org/{revision}/slow.bin", revision=f"main{MUTABLE}; no commit is known)"
    )
    (entry,) = entries_in(file)
    assert entry.url == "https://example.org/main/slow.bin"
    assert entry.pin == "not pinned: revision main (mutable; no commit is known)"


@each_case(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "entry 'a/b': name: expected a word of letters, digits and _, got 'a/b'"),
        ({"sumary": "x"}, "entry 'slow': sumary: expected one of the fields name, summary, .*, got another"),
        ({"summary": "two\nlines"}, r"entry 'slow': summary: expected a line of text, got 'two\\nlines'"),
        ({"url": "http://example.org/slow"}, "url: expected an address, https://..., got 'http://example.org/slow'"),
        ({"url": "https://x.org/{revision}/a"}, "url: expected {revision} in it where there is a revision, got https"),
        ({"revision": "main"}, "revision: expected 40 hexadecimal digits, or \"BRANCH .*, got 'main'"),
        (
            {"sha256": None},
            f"sha256: expected 8 to 64 hexadecimal digits in quotes, or {' or '.join(NO_HASH)}, got nothing",
        ),
        ({"sha256": 31723200}, "sha256: expected .* in quotes, or .*, got 31723200"),
        ({"clip": {**CLIP, "stride": 0}}, r"clip\.stride: expected a whole number over 0, got 0"),
        ({"clip": {**CLIP, "mean": [0.5, 0.5]}}, r"clip\.mean: expected three numbers, R, G and B, got \[0\.5, 0\.5\]"),
        ({"clip": {**CLIP, "boxes": "loose"}}, r"clip\.boxes: expected one of exact, pyslowfast, got 'loose'"),
        ({"parameters": "31.8 M"}, "parameters: expected a whole number over 0, got '31.8 M'"),
        ({"gflops": None}, "gflops: expected a number over 0, got nothing"),
        (
            {"numbers": {"top1": 70}},
            r"numbers\.top1: expected one of the fields frame_map, data_set, protocol, got another",
        ),
        ({"numbers": {"frame_map": 195}}, r"numbers\.frame_map: expected a percentage, 0-100, got 195"),
        ({"numbers": "unknown"}, "numbers: expected a mapping, or none published, got 'unknown'"),
        ({"scores": "best"}, "scores: expected one of softmax, sigmoid, pose_softmax, pose_or_none, got 'best'"),
        ({"license": ""}, "license: expected a line of text, got ''"),
    ],
)
def test_a_wrong_field_is_told_with_its_file_and_entry(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = written(tmp_path, **changes)
    with pytest.raises(AvadetError, match=rf"^{file}: .*{message}"):
        entries_in(file)


@each_case(
    ("text", "message"),
    [
        ("[", "not a readable file of models: "),
        ("- slow", r"expected the sections bundled, detectors, starts, got \['slow'\]"),
        ("nets: {}", "nets: expected one of the fields shared, bundled, detectors, starts, got another"),
        ("starts: {entries: {}}", r"starts\.entries: expected a list of mappings, got {}"),
        ("starts: {entries: [{}]}", "entry 'starts 1': name: expected a word of letters, digits and _, got nothing"),
        (
            "bundled: {entries: [&e {name: a, summary: b, file: c}, *e]}",
            "entry 'a': name: expected one that no other has",
        ),
    ],
)
def test_a_file_of_another_form_is_told(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(text)
    with pytest.raises(AvadetError, match=rf"^{file}: {message}"):
        entries_in(file)


def test_a_path_opens_no_file_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path) -> tuple[Entry, ...]:
        raise AssertionError(f"{file} was opened")

    monkeypatch.setattr(entries, "entries_in", refuse)
    assert entries.find("runs/tiny") is None and entries.find("model.pyth") is None
