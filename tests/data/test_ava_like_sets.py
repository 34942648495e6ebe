"""A data set in AVA's format made from JHMDB's clips goes through split, targets, preparation and loading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ava_like import BESIDE, jhmdb_set

from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import read_split
from avadet.data.batching import ClipLoader, batches_by_size, clip_sizes
from avadet.data.clips import ClipDataset
from avadet.data.keyframes import ProposalRule, scoring_index, training_index
from avadet.data.prepare import prepare
from avadet.data.reencode import Encoding
from avadet.data.transforms import FIELD_RECIPE
from avadet.training.feed import EpochSamples, Share
from avadet.types import ClipSpec

SPEC = ClipSpec(8, 4, 30.0, 128, (0.45,) * 3, (0.225,) * 3)

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def spec(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jhmdb_set(tmp_path_factory.mktemp("pairs"), shared / "data" / "jhmdb21", count=2)


def test_from_files_to_batches(spec: Path) -> None:
    data = open_data_set(spec)
    split = read_split(data, "train")
    everything = training_index(split, data.labels, keep_empty=True)
    targets = training_index(split, data.labels, ProposalRule())
    rows, people = len(split.table), len(np.unique(split.table.boxes_norm, axis=0))
    assert rows == 2 * people  # each box has two labels
    assert len(split.excluded.times_s) > 0 and 900 <= targets.times_s.min() < targets.times_s.max() <= 905
    assert not set(split.excluded.times_s.tolist()) & set(everything.times_s.tolist())
    truth = targets.scores == 1
    assert (targets.labels[truth].sum(axis=1) == 2).all() and targets.labels[
        truth, data.labels.names.index(BESIDE)
    ].all()
    loader = ClipLoader(
        ClipDataset(targets, SPEC, FIELD_RECIPE), Share(2).plan(EpochSamples(targets.video_rows), 0), workers=1
    )
    batches = list(loader.batches())
    assert len(batches) == len(targets) // 2
    for batch in batches:
        assert batch.clips.shape == (2, 3, 8, 224, 224) and batch.clips.float().std() > 10
        np.testing.assert_array_equal(batch.labels.numpy(), targets.labels[batch.rows])


def test_prepared_clips_are_the_same_moments(spec: Path, tmp_path: Path) -> None:
    """On a moving picture a clip one frame off differs more than one encoded again."""
    report = prepare(open_data_set(spec), tmp_path, ["train", "val"], Encoding(short_side=128, gop=8))
    assert not report.failed and max(one.time_error_s for one in report.prepared) < 1e-6
    sets = [open_data_set(path) for path in (spec, report.spec)]
    clips = []
    for data in sets:
        targets = scoring_index(read_split(data, "val"), data.labels, 0.8)
        loader = ClipLoader(ClipDataset(targets, SPEC), batches_by_size(clip_sizes(targets, SPEC), 2))
        batches = list(loader.batches())
        clips.append(torch.cat([batch.clips for batch in batches]).float())
        assert len(torch.cat([batch.rows for batch in batches])) == len(targets.boxes_norm) > 4
    before, after = clips
    assert before.shape[3] == after.shape[3] == 128
    width = min(before.shape[4], after.shape[4])
    before, after = before[..., :width], after[..., :width]
    same = (before - after).abs().mean(dim=(1, 2, 3, 4))
    beside = (before[:, :, 1:] - after[:, :, :-1]).abs().mean(dim=(1, 2, 3, 4))
    assert (same < 8).all() and (same < beside).all()
