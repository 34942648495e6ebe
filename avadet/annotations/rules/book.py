"""Every rule that decides about rows, asked of the files of one split; for all commands alike."""

from __future__ import annotations

from collections.abc import Mapping

from avadet.annotations.rules.boxes import check_boxes
from avadet.annotations.rules.issues import Ledger
from avadet.annotations.rules.lists import check_persons
from avadet.annotations.rules.proposals import check_proposals
from avadet.annotations.rules.rows import check_classes, check_everybody, check_excluded, check_moments, check_repeats
from avadet.annotations.rules.video_meta import VideoMeta
from avadet.annotations.rules.videos import check_videos
from avadet.annotations.split_rows import SplitRows

NOTHING = ("annotations-empty", "class-none")
"""Rules that only who learns or scores must heed: there is nothing to learn or to score."""


UNREADABLE = ("videos-unreadable", "videos-missing")
"""Rules that who skips clips that cannot be read (`on_error=skip`) does without."""


def judge(rows: SplitRows, known: Mapping[str, VideoMeta] | None = None, examples: int = 3) -> Ledger:
    """Ask every rule.

    Args:
        rows: the files of a split as they stand.
        known: what its videos are like, by name; None = they are not looked at, nor are keyframes compared with them.
        examples: how many rows of each kind of trouble are shown.

    Returns:
        what is wrong, with which rows, and what becomes of them.
    """
    ledger, annotated, data = Ledger(rows.name, examples), rows.annotated, rows.data
    check_persons(ledger, rows)
    check_moments(ledger, annotated, data.spec.keyframes, data.spec.videos.fps)
    check_excluded(ledger, rows)
    check_boxes(ledger, annotated, "boxes")
    check_classes(ledger, annotated, data.labels)
    check_everybody(ledger, annotated, data.labels)
    check_repeats(ledger, annotated, data.labels)
    check_proposals(ledger, rows)
    if known is not None:
        check_videos(ledger, rows, known)
    return ledger
