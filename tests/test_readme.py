"""What README tells people to type is what the program understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from each_case import each_case

from avadet.cli.main import COMMANDS, _asked_for, _build_parser, parse_arguments

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "WEIGHTS.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md")
DOCS = tuple(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))


def documented_commands() -> list[str]:
    """Every `avadet ...` line of the fenced blocks, and of inline code that is a whole command."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in (*PAGES, *DOCS))
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(avadet [^`]+)`", text)
    names = {command.name for command in COMMANDS}
    found = [line for line in [*lines, *inline] if line.startswith("avadet ") and "..." not in line]
    return [line for line in found if line.split()[1] in names and len(line.split()) > 2]


@each_case("line", documented_commands())
def test_command_is_understood(line: str) -> None:
    words = shlex.split(line.replace("$D", "/data"))[1:]
    parser, subcommand = _build_parser(_asked_for(words))
    assert subcommand is not None
    parse_arguments(parser, words)


def test_there_are_commands() -> None:
    assert len(documented_commands()) >= 5


def test_counts_are_those_of_the_code() -> None:
    from avadet.models import zoo

    text = " ".join(
        " ".join((ROOT / name).read_text(encoding="utf-8").split()) for name in ("README.md", "docs/infer.md")
    )
    starts = sum(entry.is_start for entry in zoo.models())
    said = {
        "models beside the two named": (
            r"`slowfast_r50_8x8_ava` and (\d+) more(?! by)",
            len(zoo.models()) - starts - 2,
        ),
        "weights to start from": (r"and (\d+) published weights", starts),
    }
    for what, (pattern, count) in said.items():
        assert {int(found) for found in re.findall(pattern, text)} == {count}, what


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"README names make {target}"


@each_case("name", [*PAGES, *DOCS])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), f"{name} links to {target}"
