"""Data of any spec in a run: keyframes with any number of people, decoded from the videos as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import DataSplit, read_split
from avadet.config import Config, DataConfig
from avadet.data.batching import ClipLoader
from avadet.data.clips import ClipDataset
from avadet.data.keyframes import ProposalRule, Targets, scoring_targets, training_targets
from avadet.data.loader import ClipBatch
from avadet.data.transforms import Augmentation
from avadet.data.video_facts import within_files
from avadet.errors import AvadetError
from avadet.models.predict import SCORE_NAMES
from avadet.training.banks import BankMaker, Banks, with_window
from avadet.training.distributed import Processes
from avadet.training.feed import Feed, Plan, Share
from avadet.training.scored_boxes import scored_keyframes
from avadet.training.scoring import ClipScore, ClipScorer, Score
from avadet.types import ClipSpec, IntArray, LabelMap


@dataclass(frozen=True)
class ClipFeed:
    """Training parts of a data set, as `feed.Feed` has them.

    Attributes:
        loader: makes them.
        plan: which keyframes make a part.
        targets: those keyframes.
        banks: of their videos; None = the model reads none.
    """

    loader: ClipLoader
    plan: Plan
    targets: Targets
    banks: Banks | None = None

    def parts(self, epoch: int, first_part: int = 0) -> Iterator[ClipBatch]:
        """The parts of an epoch from one on, in order."""
        for part in self.loader.batches(epoch, first_part):
            yield with_window(part, self.targets, self.banks)

    def indices(self, epoch: int, part: int) -> IntArray:
        """Which keyframes make a part."""
        return self.plan(epoch)[part]

    def close(self) -> None:
        """End the processes that make batches."""
        self.loader.close()


@dataclass(frozen=True)
class ClipData:
    """What a run learns from and is scored on; the words of `setup.RunData`.

    Attributes:
        data: the data set.
        train: keyframes to learn from.
        scored: the split to score on.
        targets: its people to score.
        train_banks: feature banks of the videos to learn from; None = the model reads none.
        scored_banks: likewise, to score on.
        notes: what else a reader should know.
    """

    data: DataSet
    train: Targets
    scored: DataSplit
    targets: Targets
    train_banks: Banks | None = None
    scored_banks: Banks | None = None
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> LabelMap:
        """The classes."""
        return self.data.labels

    @property
    def title(self) -> str:
        """What the data is, for the model's card."""
        return self.data.spec.title or self.data.name

    @property
    def scored_on(self) -> str:
        """Which part is scored on."""
        return self.scored.name

    def describe(self) -> list[str]:
        """What a reader should know before hours of training.

        Raises:
            AvadetError: if there is nothing to train or score on, or a video is missing.
        """
        for what, targets in (("train", self.train), ("score", self.targets)):
            if not len(targets):
                raise AvadetError(f"{self.data.root}: no keyframe to {what} on; see `avadet data check`")
            missing = [video.video_id for row, video in enumerate(targets.videos) if _is_lost(targets, row)]
            if missing:
                folders, more = map(str, self.data.video_folders()), ", ..." if len(missing) > 3 else ""
                raise AvadetError(
                    f"{len(missing)} videos to {what} on are missing from {' and '.join(folders)} "
                    f"({', '.join(missing[:3])}{more}); see `avadet data check`"
                )
        counts = np.array(self.class_counts())
        unlabelled = int((~self.train.labels.any(axis=1)).sum())
        absent = [name for name, count in zip(self.labels.names, counts) if not count]
        shown = f"{len(absent)} of {len(counts)} classes have no training box: {', '.join(absent[:8])}"
        lines = [
            f"training on {len(self.train)} keyframes with {len(self.train.labels)} people, {unlabelled} of them "
            f"without a label; scoring {len(self.targets.labels)} people on {len(self.targets)} keyframes",
            f"{len(counts)} classes, {counts.min()} to {counts.max()} people each",
        ]
        return [*lines, *([shown + (", ..." if len(absent) > 8 else "")] if absent else []), *self.notes]

    def class_counts(self) -> list[int]:
        """People of each class in training."""
        counts: list[int] = self.train.labels.sum(axis=0).tolist()
        return counts

    def names(self, indices: IntArray) -> list[str]:
        """What training keyframes are called: VIDEO@SECONDS."""
        keys = [self.train.key(index) for index in indices.tolist()]
        return [f"{key.video_id}@{key.time_s:g}" for key in keys]

    def scored_how(self, config: Config) -> dict[str, Any]:
        """What scores were measured with, for the model's card."""
        cfg = config.evaluate
        people = "annotated boxes" if cfg.person_score is None else f"proposals of {cfg.person_score:g} or more"
        facts = {"protocol": cfg.protocol, "keyframe_step": cfg.frame_step, "people": people}
        return {**facts, "score": SCORE_NAMES[False]}

    def feed(self, config: Config, share: Share, pin: bool) -> tuple[Feed, int]:
        """Training batches, and how many steps an epoch has."""
        augmentation = Augmentation(**config.augment.model_dump())
        clips = ClipDataset(self.train, ClipSpec(**config.clip.model_dump()), augmentation, seed=config.seed)
        plan = share.plan(len(self.train), config.seed)
        loader = ClipLoader(clips, plan, workers=config.data.workers, pin=pin)
        return ClipFeed(loader, plan, self.train, self.train_banks), len(self.train) // share.batch_size

    def score(self, config: Config, scorer: ClipScorer, processes: Processes) -> Score:
        """How a model is scored on it."""
        protocol, workers = config.evaluate.protocol, config.data.workers
        chosen = scored_keyframes(self.targets, self.scored, protocol, config.evaluate.frame_step)
        return ClipScore(scorer, self.scored, chosen, self.labels, protocol, processes, workers, self.scored_banks)

    def with_banks(self, maker: BankMaker, window_s: float, processes: Processes, progress: bool = False) -> ClipData:
        """The same data with the feature banks of its videos; those of a split hold the people of its keyframes.

        Args:
            maker: makes them.
            window_s: seconds of a bank that each clip sees.
            processes: who takes part; all must ask.
            progress: whether to show bars on stderr.

        Raises:
            AvadetError: if a video cannot be read.
        """
        train, scored = (
            Banks(maker.banks(targets, processes, progress), window_s) for targets in (self.train, self.targets)
        )
        return replace(self, train_banks=train, scored_banks=scored)


def _is_lost(targets: Targets, row: int) -> bool:
    """Whether keyframes lie in a video that has no file."""
    return targets.videos[row].path is None and bool((targets.video_rows == row).any())


def read_clip_data(config: DataConfig, person_score: float | None, keep_best: bool) -> ClipData:
    """Read a data set that `config.spec` names.

    Args:
        config: which, and its splits.
        person_score: score proposals of this score or more; None = the annotated boxes.
        keep_best: also a keyframe's best proposal if it scores less.

    Raises:
        AvadetError: if a file of it is missing or malformed.
    """
    assert config.spec is not None
    data = open_data_set(config.spec, config.root, config.overrides)
    rule = ProposalRule(**config.proposals.model_dump()) if config.proposals is not None else None
    train, short = within_files(read_split(data, config.train))
    scored, short_too = within_files(read_split(data, config.scored))
    if person_score is None:
        people = training_targets(scored, data.labels)
    else:
        people = scoring_targets(scored, data.labels, person_score, keep_best=keep_best, keep_empty=True)
    notes = tuple(dict.fromkeys([*train.notes, *scored.notes, *short, *short_too]))
    return ClipData(data, training_targets(train, data.labels, rule), scored, people, notes=notes)
