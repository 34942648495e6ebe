"""The first of two passes: everybody's features, in order, with their keyframes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from staged import BrightSquare, StagedPeople, random_model, staged_model, staged_video, write_video

from avadet.errors import AvadetError
from avadet.inference.feature_bank import bank_of_video
from avadet.inference.pipeline import stream
from avadet.models.fast import fast_model
from avadet.types import ActionDetections, PersonBoxes, UInt8Array
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
    banks = [
        bank_of_video(staged_video(3.0), one, StagedPeople((16, 8, 32, 40)), keyframes_s=times_s)
        for one in (model, replace(model, model=fast_model(model.model, torch.float32)))
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
