"""Every rule, asked of every split of a data set, and what is only a remark; `avadet data check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from avadet.annotations.rules.book import judge
from avadet.annotations.rules.issues import Issue, Ledger
from avadet.annotations.rules.lists import (
    check_between,
    check_counts,
    check_excluded_videos,
    check_lists,
    shares_videos,
)
from avadet.annotations.rules.proposals import check_places
from avadet.annotations.rules.rows import check_examples
from avadet.annotations.specs import DataSet, SplitSpec
from avadet.annotations.split_rows import SplitRows, read_files
from avadet.annotations.splits import DataSplit, ReadMetadata, split_metadata
from avadet.errors import AvadetError, first_names

EXAMPLES = 3
"""How many rows of each kind of trouble are shown by default."""

FILES = {"annotations": "the annotations", "excluded": "the excluded keyframes", "proposals": "the proposals"}


@dataclass(frozen=True)
class Checked:
    """What the checks of a data set's files say.

    Attributes:
        splits: those that could be read; of one that joins others, each of these.
        issues: split by split, then between splits.
    """

    splits: tuple[SplitRows, ...]
    issues: tuple[Issue, ...]


def check_data_set(
    data: DataSet, names: Sequence[str] = (), examples: int = EXAMPLES, read_metadata: ReadMetadata | None = None
) -> Checked:
    """Check the files of some splits.

    Args:
        data: the data set.
        names: which splits; none = all of them.
        examples: how many rows of each kind of trouble are shown.
        read_metadata: reads the metadata of videos; None = they are not opened.

    Raises:
        AvadetError: if there is no such split.
    """
    splits: list[SplitRows] = []
    issues: list[Issue] = []
    is_whole = set(names or data.spec.splits) == set(data.spec.splits)
    for name in names or data.spec.splits:
        spec = data.split(name)
        ledger = Ledger(name, examples)
        read = [_read(source, own, ledger) for source, own in data.sources(name)]
        rows = [replace(one, name=name, number=spec.number) for one in read if one is not None]
        for one in rows:
            known = None if read_metadata is None else split_metadata(one, read_metadata)
            ledger.issues += judge(one, known, examples).issues
            check_lists(ledger, one)
            check_places(ledger, one)
        if len(rows) == len(read):
            _check_sum(spec, rows, ledger)
        is_whole = is_whole and len(rows) == len(read)
        splits += rows
        issues += ledger.issues
    if is_whole:
        issues += check_excluded_videos(splits, examples)
    return Checked(tuple(splits), (*issues, *check_between(splits, examples)))


def refuse_shared(data: DataSet, train: DataSplit, scored: DataSplit) -> None:
    """Raise AvadetError if a split to train on shares videos with another one to score on; one may be both."""
    shared = {video.video_id for video in train.videos} & {video.video_id for video in scored.videos}
    if shared and train.name != scored.name and data.split(train.name).number == data.split(scored.name).number:
        raise AvadetError(
            f"{shares_videos(len(shared), train.name, scored.name)} ({first_names(sorted(shared))}); divide them with "
            f"`avadet data split`, or score on them all the same with data.scored={train.name}"
        )


def _read(data: DataSet, name: str, ledger: Ledger) -> SplitRows | None:
    def unreadable(what: str, error: AvadetError) -> None:
        message = f"{FILES[what]} cannot be read; nothing else of them was checked"
        ledger.add(f"{what}-unreadable", "error", message, str(error).splitlines())

    return read_files(data, name, unreadable)


def _check_sum(spec: SplitSpec, rows: Sequence[SplitRows], ledger: Ledger) -> None:
    """What can only be said of a split as a whole, whether one data set's or joined."""
    check_counts(ledger, rows, spec.counts)
    check_examples(ledger, [one.table for one in rows], rows[0].data.labels)
    if spec.join is None:
        return
    for one, label in zip(rows, spec.join):
        check_counts(ledger, [one], one.data.split(label.partition(":")[2]).counts)
    without = [label for label, one in zip(spec.join, rows) if one.proposals_file is None]
    if without and len(without) < len(rows):
        message = f"{len(without)} of {len(rows)} joined splits have no proposals; give all of them some, or none"
        ledger.add("proposals-of-some", "error", message, without)
