"""What the table of sizes states of parameters and multiply-adds is what is counted."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
from each_case import each_case

from avadet.models.build import build
from avadet.models.engines.summary import summary
from avadet.models.sizes import SIZES

PUBLISHED = [name for name, size in SIZES.items() if size.clip is not None]
FIRST_OF_EACH_FAMILY = list({SIZES[name].family: name for name in reversed(PUBLISHED)}.values())


def hold_to_what_it_states(name: str) -> None:
    size = SIZES[name]
    assert size.clip is not None
    found = summary(lambda: build(name, 80), size.clip.frames, (size.clip.side_px, size.clip.side_px))
    assert found.parameters == size.parameters
    assert size.gflops in (round(found.gflops, 2), round(found.gflops, 1)), f"{found.gflops:.2f} are counted"


@each_case("name", FIRST_OF_EACH_FAMILY)
def test_stated_numbers_are_counted_ones_in_each_family(name: str) -> None:
    hold_to_what_it_states(name)


@pytest.mark.slow
@each_case("name", PUBLISHED)
def test_stated_numbers_are_counted_ones(name: str) -> None:
    hold_to_what_it_states(name)


def test_rows_of_any_size_state_nothing() -> None:
    assert not any(size.parameters or size.gflops for size in SIZES.values() if size.clip is None)


@each_case("module", sorted({size.module for size in SIZES.values()}))
def test_no_number_of_a_size_hides_in_a_docstring(module: str) -> None:
    source = importlib.import_module(f"avadet.models.{module}")
    texts = [source.__doc__, *(thing.__doc__ for _, thing in inspect.getmembers(source, inspect.isclass))]
    assert not re.findall(r"[\d.]+ ?(?:M parameters|GFLOPs|million)\b", " ".join(filter(None, texts)))


@each_case("name", SIZES)
def test_a_summary_is_one_line_without_numbers_of_size(name: str) -> None:
    assert 0 < len(SIZES[name].summary) < 80
    assert not re.search(r"parameters|GFLOPs| px|\n", SIZES[name].summary)
