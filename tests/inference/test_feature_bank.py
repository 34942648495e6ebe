"""The first of two passes, everybody's features, in order, with their keyframes; and the second, which reads them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from banked import BANK, MAKER_FEATURES, WINDOW_S, write_both, write_maker, write_reader
from each_case import each_case
from staged import BrightSquare, StagedPeople, random_model, staged_model, staged_video, write_video

import avadet
from avadet.annotations.box_files import read_boxes
from avadet.data.feature_banks import FeatureBank
from avadet.errors import AvadetError
from avadet.inference.feature_bank import bank_of_video
from avadet.inference.pipeline import Event, stream
from avadet.inference.run import Setup
from avadet.models import zoo
from avadet.models.engines import backends
from avadet.models.engines.fast import fast_model
from avadet.models.engines.probe import sample_inputs
from avadet.models.heads.lfb import BankWindow
from avadet.models.zoo import LoadedModel
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.types import ActionDetections, Float32Array, Frame, PersonBoxes, UInt8Array
from avadet.video.read import VideoReader


class Absent(BrightSquare):
    """Does not find the square in the middle of the picture."""

    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        found = super().__call__(frame)
        return PersonBoxes.empty(found.size_hw) if 10 < found.boxes_px[0, 0] < 20 else found


def test_one_row_a_person_and_keyframe() -> None:
    model = random_model(3)
    bank = bank_of_video(staged_video(3.0), model, StagedPeople((16, 8, 32, 40), (2, 4, 20, 44)))
    assert bank.video_id == "staged"
    assert bank.times_s.tolist() == [0, 0, 1, 1, 2, 2]
    assert bank.features.shape == (6, model.model.head.own_features)
    assert len(np.unique(bank.features, axis=0)) == 6


@pytest.mark.parametrize("batch", [1, 2])
def test_features_of_a_bank_give_the_scores_of_an_ordinary_pass(tmp_path: Path, batch: int) -> None:
    model = random_model(3)
    torch.nn.init.normal_(model.model.head.proj.weight)
    with VideoReader(write_video(tmp_path / "square.mp4")) as video:
        bank = bank_of_video(video, model, Absent(), every_s=0.5, batch=batch)
        events = list(stream(video, model, Absent(), every_s=0.5))
    assert bank.times_s.tolist() == [0, 0.5, 1.5, 2, 2.5]  # the square is not found at 1 s
    with torch.no_grad():
        scores = model.model.head.proj(model.model.head.norm(torch.from_numpy(bank.features))).sigmoid().numpy()
    passed = np.concatenate([event.scores for event in events if isinstance(event, ActionDetections)])
    np.testing.assert_allclose(scores, passed, atol=1e-6)


def test_keyframes_may_be_named_and_the_model_made_fast() -> None:
    model, times_s = random_model(3), [0.3, 1.7]
    probe = sample_inputs(model.spec.num_frames, (32, 48), 1, 2)
    banks = [
        bank_of_video(staged_video(3.0), one, StagedPeople((16, 8, 32, 40)), keyframes_s=times_s)
        for one in (model, replace(model, model=fast_model(model.model, torch.float32, *probe).model))
    ]
    assert [bank.times_s.tolist() for bank in banks] == [times_s, times_s]
    np.testing.assert_allclose(banks[1].features, banks[0].features, rtol=1e-3, atol=1e-4)


def test_a_video_without_people_gives_an_empty_bank() -> None:
    model = random_model(3)
    bank = bank_of_video(staged_video(2.0), model, StagedPeople())
    assert bank.times_s.shape == (0,)
    assert bank.features.shape == (0, model.model.head.own_features)


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(AvadetError, match="staged cannot make a feature bank: it is no single detector that torch"):
        bank_of_video(staged_video(2.0), staged_model(), StagedPeople())


@pytest.fixture(scope="module")
def square(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 3 s."""
    return write_video(tmp_path_factory.mktemp("videos") / "square.mp4")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A model that reads banks, with the one that makes them."""
    return zoo.load(write_both(tmp_path_factory.mktemp("models")))


def scores_of(events: Iterator[Event]) -> Float32Array:
    """(N, K) of everybody on every keyframe."""
    return np.concatenate([event.scores for event in events if isinstance(event, ActionDetections)])


def passed(setup: Setup, video: Path, overlap: bool = True) -> Float32Array:
    """Scores of everybody in a video."""
    with VideoReader(video) as opened:
        return scores_of(setup.events(opened, overlap))


def test_the_second_pass_sees_a_window_of_the_first(square: Path, reader: LoadedModel) -> None:
    shown = []
    hook = reader.model.register_forward_pre_hook(lambda model, inputs: shown.append(inputs))
    with VideoReader(square) as video:
        list(stream(video, reader, Absent(), every_s=0.5, overlap=False))
    hook.remove()
    with VideoReader(square) as video:
        bank = bank_of_video(video, reader.bank, Absent(), every_s=0.5)
    assert bank.times_s.tolist() == [0, 0.5, 1.5, 2, 2.5]
    windows = [[0, 1], [0, 1], [2, 3], [2, 3, 4], [3, 4]]  # rows at most half of 1.2 s away
    by_hand = []
    with torch.no_grad():
        for (clips, rois), rows in zip(shown, windows, strict=True):
            window = BankWindow(torch.zeros(len(rows), dtype=torch.int64), torch.from_numpy(bank.features[rows]))
            by_hand.append(reader.model(clips, rois, window).sigmoid().numpy())
    got = passed(Setup(reader, Absent(), 0.5), square)
    np.testing.assert_allclose(got, np.concatenate(by_hand), atol=1e-6)
    without = passed(Setup(replace(reader, bank=None), Absent(), 0.5), square)
    assert (abs(got - without).max(axis=1) > 0.05).all()
    assert abs(got - passed(Setup(replace(reader, bank_window_s=60.0), Absent(), 0.5), square)).max() > 1e-4


@each_case("overlap", [False, True])
@each_case("batch", [1, 2, 100])
def test_neither_batches_nor_overlap_change_scores(
    square: Path, reader: LoadedModel, batch: int, overlap: bool
) -> None:
    expected = passed(Setup(reader, Absent(), 0.25), square, overlap=False)
    got = passed(Setup(reader, Absent(), 0.25, detect_every_s=0.1, batch=batch), square, overlap)
    assert len(got) > 8
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_package_makes_the_bank_on_every_walk(square: Path, reader: LoadedModel) -> None:
    clip = avadet.infer(square, model=reader, detector=BrightSquare(), every=0.5)
    first, second = (np.concatenate([one.scores for one in clip]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, passed(Setup(reader, BrightSquare(), 0.5), square), atol=1e-6)


def test_known_boxes_fill_the_bank(square: Path, reader: LoadedModel, tmp_path: Path) -> None:
    rows = ("square,0.5,0,0.25,0.5,0.75", "square,0.5,0,0,1,1", "square,1,0,0.25,0.5,0.75", "square,2.7,0,0,1,1")
    (tmp_path / "boxes.csv").write_text("".join(f"{row}\n" for row in rows))
    known = PrecomputedBoxes(read_boxes(tmp_path / "boxes.csv"))
    setup = Setup(reader, known)
    bank = setup.first_pass(square)
    assert bank is not None and bank.features.shape == (4, MAKER_FEATURES)
    assert bank.times_s.tolist() == [0.5, 0.5, 1.0, 2.7]
    thinned = replace(setup, every_s=2.0).first_pass(square)
    assert thinned is not None and thinned.times_s.tolist() == [0.5, 0.5, 2.7]
    seen = passed(setup, square)
    assert abs(seen - passed(replace(setup, model=replace(reader, bank=None)), square)).max() > 0.05
    alone = FeatureBank("square", bank.times_s[3:], bank.features[3:])
    with VideoReader(square) as video:
        np.testing.assert_allclose(scores_of(setup.events(video, bank=alone))[3], seen[3], atol=1e-6)


def test_a_video_without_people_is_gone_over_twice_for_nothing(square: Path, reader: LoadedModel) -> None:
    assert passed(Setup(reader, StagedPeople()), square).shape == (0, 3)


def test_a_window_without_a_row_changes_nothing(square: Path, reader: LoadedModel) -> None:
    empty = FeatureBank("square", np.zeros(0), np.zeros((0, MAKER_FEATURES), np.float32))
    with VideoReader(square) as video:
        got = scores_of(Setup(reader, BrightSquare()).events(video, bank=empty))
    np.testing.assert_allclose(got, passed(Setup(replace(reader, bank=None), BrightSquare()), square), atol=1e-6)


def test_who_watches_the_first_pass_sees_its_frames_and_may_end_it(square: Path, reader: LoadedModel) -> None:
    setup, before, seen = Setup(reader, BrightSquare()), threading.active_count(), []

    def until_the_fifth(events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            seen.append(event)
            if sum(isinstance(one, Frame) for one in seen) == 5:
                raise KeyboardInterrupt
            yield event

    with pytest.raises(KeyboardInterrupt):
        setup.first_pass(square, watch=until_the_fifth)
    assert [event.index for event in seen if isinstance(event, Frame)] == [0, 1, 2, 3, 4]
    assert threading.active_count() == before
    assert Setup(replace(reader, bank=None), BrightSquare()).first_pass(square, watch=until_the_fifth) is None


def test_a_model_that_reads_no_bank_is_shown_none() -> None:
    model = random_model(3)
    bank = FeatureBank("staged", np.zeros(1), np.zeros((1, MAKER_FEATURES), np.float32))
    with pytest.raises(AvadetError, match=r"head reads no feature bank; build it with head\.bank"):
        list(stream(staged_video(1.0), model, StagedPeople((16, 8, 32, 40)), bank=bank))


def test_made_fast_both_models_are(square: Path, reader: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = backends.prepare(reader, "torch", "fp32")
    assert (fast.running, fast.bank_window_s) == ("torch in fp32", WINDOW_S)
    expected = passed(Setup(reader, BrightSquare(), 0.5), square)
    np.testing.assert_allclose(passed(Setup(fast, BrightSquare(), 0.5), square), expected, atol=1e-4)
    monkeypatch.setattr(backends, "has_bf16", lambda device: True)
    half = backends.prepare(reader, "torch", "bf16")
    assert half.running.startswith("torch in bf16, scores differ from fp32 by at most 0.0")
    types = [{one.dtype for one in model.backbone.parameters()} for model in (half.model, half.bank.model)]
    assert types == [{torch.bfloat16}] * 2
    difference = abs(passed(Setup(half, BrightSquare(), 0.5), square) - expected).max()
    assert 0 < difference < 0.03


def test_bf16_is_compared_with_the_bank_read(reader: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda device: True)
    monkeypatch.setattr(backends, "score_difference", lambda *compared: (shown.extend(compared), 0.0)[1])
    shown: list[Any] = []
    ready = backends.prepare(reader, "torch", "auto")
    first, second, _, window, _ = shown
    assert (first.model, second.model) == (reader.model, ready.model)
    clips, rois = torch.full((1, 3, 4, 48, 64), 0.5), torch.tensor([[0.0, 8, 8, 40, 40]])
    with torch.no_grad():
        for compared in (first, second):
            assert (compared.model(clips, rois, window) - compared.model(clips, rois)).abs().max() > 0.05


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_graphs_read_no_bank(reader: LoadedModel, backend: str) -> None:
    with pytest.raises(
        AvadetError, match=r"reader reads a feature bank \(head\.bank\), for which ONNX files here have no"
    ):
        backends.prepare(reader, backend)


def test_a_reader_whose_card_names_no_bank_looks_at_its_clips_alone(tmp_path: Path, square: Path) -> None:
    loaded = zoo.load(write_reader(tmp_path / "model.safetensors"))
    assert loaded.bank is None
    write_maker(tmp_path / "bank.safetensors")
    write_reader(tmp_path / "model.safetensors", bank={**BANK, "window_s": 10})
    whole = zoo.load(tmp_path / "model.safetensors")
    assert whole.bank is not None and (whole.bank.name, whole.bank_window_s) == ("maker", 10.0)
    alone = passed(Setup(loaded, BrightSquare()), square)
    assert abs(alone - passed(Setup(whole, BrightSquare()), square)).max() > 0.05
