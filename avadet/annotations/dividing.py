"""Dividing annotated videos into training and validation, whole videos at a time, so that both see every class.

The order is that of iterative stratification (K. Sechidis et al., "On the stratification of multi-label data",
ECML PKDD 2011): the class with the fewest examples left is dealt out first, each video to the side that lacks most of
it. Videos that were cut from one source stay together.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from avadet.annotations.csv_rows import open_text
from avadet.errors import AvadetError
from avadet.types import BoolArray, Float64Array, IntArray

_HMDB = r"(.+?)_{}_[a-z]+_[a-z]+_np\d+_[a-z]+_[a-z]+_\d+"  # SOURCE_CLASS_visible_camera_npPEOPLE_view_quality_NUMBER
_CUTS = (
    re.compile(r"((?:.*/)?v_[^/]+?)_c\d+"),  # UCF101 and MultiSports: v_Biking_g01_c02 is of group 1
    re.compile(r"(.+)_\d{6}_\d{6}"),  # Kinetics: ID_000012_000022 is seconds 12 to 22 of a video
)


def source_group(video_id: str) -> str:
    """The source that a video was cut from, where its name tells: HMDB-51's, UCF101's, MultiSports', Kinetics'.

    "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0" -> "April_09", "v_Biking_g01_c02" -> "v_Biking_g01". Other videos
    are their own source.
    """
    hmdb = hmdb_source(video_id)
    if hmdb is not None:
        return hmdb
    found = (cut.fullmatch(video_id) for cut in _CUTS)
    return next((match[1] for match in found if match), video_id)


def hmdb_source(video_id: str) -> str | None:
    """The source of a clip that is named as in HMDB-51; None = it is not.

    The class does not belong to the source, since several actions are cut from one film.
    """
    class_name, _, name = video_id.rpartition("/")
    match = re.fullmatch(_HMDB.format(re.escape(class_name)), name)
    return None if match is None else match[1]


def read_groups(path: str | Path) -> dict[str, str]:
    """Read a CSV of rows video_id,group.

    Raises:
        AvadetError: if it cannot be read, or a row has not two cells.
    """
    groups: dict[str, str] = {}
    with open_text(Path(path)) as file:
        reader = csv.reader(file)
        for cells in reader:
            if len(cells) != 2 or not all(cells):
                raise AvadetError(f"{path}:{reader.line_num}: expected video_id,group, got '{','.join(cells)}'")
            groups[cells[0]] = cells[1]
    return groups


def choose_validation(
    video_ids: Sequence[str], class_counts: IntArray, groups: Mapping[str, str], share: float, seed: int = 0
) -> list[str]:
    """Choose the videos that are held out.

    Args:
        video_ids: every video, n.
        class_counts: int64 (n, K), rows of each class in each video.
        groups: videos that stay together, by a name they share; videos that are missing here stand alone.
        share: of rows to be held out, above 0 and below 1.
        seed: draws among equals.

    Returns:
        the chosen videos, sorted.

    Raises:
        AvadetError: if the share is not between 0 and 1, or there are fewer than two groups.
    """
    if not 0 < share < 1:
        raise AvadetError(f"the share to hold out must lie between 0 and 1, got {share:g}")
    names = [groups.get(video_id, video_id) for video_id in video_ids]
    known, owner = np.unique(np.array(names, str), return_inverse=True)
    if len(known) < 2:
        raise AvadetError(f"{len(video_ids)} videos of {len(known)} source cannot be divided; two sources are needed")
    counts = np.zeros((len(known), class_counts.shape[1] + 1))
    np.add.at(counts[:, :-1], owner, class_counts)
    # what has no class at all is dealt out last, by numbers of videos
    np.add.at(counts[:, -1], owner, 1)
    held_out = _deal(counts, share, np.random.default_rng(seed))
    return sorted(video_id for video_id, group in zip(video_ids, owner) if held_out[group])


def _deal(counts: Float64Array, share: float, rng: np.random.Generator) -> BoolArray:
    """Deal groups out to two sides.

    Args:
        counts: (G, K) of each group; the last column is above 0 everywhere.
        share: of the second side.
        rng: draws among equals.

    Returns:
        bool (G,), whether a group is on the second side.
    """
    lacks = np.stack([1 - share, share])[:, None] * counts.sum(axis=0)
    got = np.zeros_like(lacks)
    side = np.full(len(counts), -1)
    while (left := np.flatnonzero(side < 0)).size:
        remaining = (counts[left] > 0).sum(axis=0)
        order = np.where(remaining > 0, remaining, np.inf)
        order[-1] = np.inf if np.isfinite(order[:-1]).any() else order[-1]
        column = int(np.argmin(order))
        mine = left[counts[left, column] > 0]
        group = int(mine[np.lexsort((rng.random(len(mine)), -counts[mine, column]))[0]])
        chosen = _side_of(column, len(mine), lacks, got, rng)
        side[group] = chosen
        lacks[chosen] -= counts[group]
        got[chosen] += counts[group]
    if not (side == 1).any() or not (side == 0).any():
        side[int(np.argmin(counts[:, -1]))] = 1 if not (side == 1).any() else 0
    return np.asarray(side == 1)


def _side_of(column: int, left: int, lacks: Float64Array, got: Float64Array, rng: np.random.Generator) -> int:
    """The side that lacks most of a class; one that has none of it yet takes the last group."""
    empty = np.flatnonzero(got[:, column] == 0)
    if len(empty) == 1 and left == 1:
        return int(empty[0])
    best = np.lexsort((rng.random(2), -lacks[:, -1], -lacks[:, column]))
    return int(best[0])
