"""Tubes as files, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avadet.annotations.ava import box_cells, csv_line, format_time
from avadet.annotations.tubes import tube_table
from avadet.types import LabelMap, Tube


def write_tube_ground_truth(path: Path, tubes: Sequence[Tube], labels: LabelMap) -> None:
    """Write tubes as an AVA ground-truth CSV that `read_tube_ground_truth` reads back; scores are not kept."""
    table = tube_table(tubes, labels)
    ids = np.zeros(0, np.int64) if table.person_ids is None else table.person_ids
    columns = (table.video_ids, table.times_s, table.boxes_norm, table.class_ids.tolist(), ids.tolist())
    rows = [csv_line([name, format_time(time_s), *box_cells(box), *end]) for name, time_s, box, *end in zip(*columns)]
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
