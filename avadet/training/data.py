"""What a run learns from and is scored on: two splits of a data set, as annotation indexes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from avadet.annotations.rules.check import refuse_shared
from avadet.annotations.rules.learning import refuse_loss
from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import DataSplit, read_split
from avadet.config import Config
from avadet.data.batching import ClipLoader
from avadet.data.clips import ClipDataset
from avadet.data.frame_cache import FrameCache
from avadet.data.index import AnnotationIndex
from avadet.data.keyframes import ProposalRule, scoring_index, training_index
from avadet.data.transforms import Augmentation
from avadet.data.video_facts import metadata_of
from avadet.errors import AvadetError
from avadet.models.predict import SCORE_NAMES
from avadet.training.banks import BankMaker, Banks
from avadet.training.distributed import Processes
from avadet.training.feed import EpochSamples, Feed, Share
from avadet.types import ClipSpec, IntArray, LabelMap


@dataclass(frozen=True)
class RunData:
    """What a run learns from and is scored on.

    Attributes:
        data: the data set.
        train: keyframes to learn from, and their boxes.
        scored: the split to score on.
        index: its keyframes, and the boxes to score.
        train_banks: feature banks of the videos to learn from; None = the model reads none.
        scored_banks: likewise, to score on.
        notes: what else a reader should know.
    """

    data: DataSet
    train: AnnotationIndex
    scored: DataSplit
    index: AnnotationIndex
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

    def describe(self) -> list[str]:
        """What a reader should know before hours of training.

        Raises:
            AvadetError: if there is nothing to train or score on.
        """
        for what, index in (("train", self.train), ("score", self.index)):
            if not len(index):
                raise AvadetError(f"{self.data.root}: no keyframe to {what} on; see `avadet data check`")
        counts = np.array(self.class_counts())
        unlabelled = int((~self.train.labels.any(axis=1)).sum())
        absent = [name for name, count in zip(self.labels.names, counts) if not count]
        shown = f"{len(absent)} of {len(counts)} classes have no training box: {', '.join(absent[:8])}"
        lines = [
            f"training on {len(self.train)} keyframes with {len(self.train.labels)} boxes, {unlabelled} of them "
            f"without a label; scoring {len(self.index.labels)} boxes on {len(self.index)} keyframes",
            f"{len(counts)} classes, {counts.min()} to {counts.max()} boxes each",
        ]
        return [*lines, *([shown + (", ..." if len(absent) > 8 else "")] if absent else []), *self.notes]

    def class_counts(self) -> list[int]:
        """Boxes of each class in training."""
        counts: list[int] = self.train.labels.sum(axis=0).tolist()
        return counts

    def names(self, keyframes: IntArray) -> list[str]:
        """What training keyframes are called: VIDEO@SECONDS."""
        keys = [self.train.key(keyframe) for keyframe in keyframes.tolist()]
        return [f"{key.video_id}@{key.time_s:g}" for key in keys]

    def scored_how(self, config: Config) -> dict[str, Any]:
        """What scores were measured with, for the model's card."""
        cfg = config.evaluate
        boxes = "annotated boxes" if cfg.person_score is None else f"proposals of {cfg.person_score:g} or more"
        facts = {"protocol": cfg.protocol, "keyframe_step": cfg.frame_step, "people": boxes}
        return {"scored_on": self.scored.name, **facts, "score": SCORE_NAMES[False]}

    def feed(self, config: Config, share: Share, pin: bool) -> tuple[Feed, int]:
        """Training batches, and how many steps an epoch has."""
        cfg = config.data
        augmentation = Augmentation(**config.augment.model_dump())
        spec = ClipSpec(**config.clip.model_dump())
        clips = ClipDataset(self.train, spec, augmentation, seed=config.seed, cache=frame_cache(config))
        samples = EpochSamples(self.train.video_rows, cfg.samples_per_video)
        plan = share.plan(samples, config.seed)
        skipping: dict[str, Any] = {"on_error": cfg.on_error, "max_skipped": cfg.max_skipped}
        loader = ClipLoader(clips, plan, workers=cfg.workers, pin=pin, **skipping)
        return Feed(loader, self.train, self.train_banks), len(samples) // share.batch_size

    def with_banks(self, maker: BankMaker, window_s: float, processes: Processes, progress: bool = False) -> RunData:
        """The same data with the feature banks of its videos; those of a split hold the boxes of its keyframes.

        Args:
            maker: makes them.
            window_s: seconds of a bank that each clip sees.
            processes: who takes part; all must ask.
            progress: whether to show bars on stderr.

        Raises:
            AvadetError: if a video cannot be read.
        """
        train, scored = (Banks(maker.banks(index, processes, progress), window_s) for index in (self.train, self.index))
        return replace(self, train_banks=train, scored_banks=scored)


def frame_cache(config: Config) -> FrameCache | None:
    """The cache of decoded frames that a config asks for."""
    cfg = config.data
    return None if cfg.cache is None else FrameCache(cfg.cache, cfg.cache_short_side)


def read_run_data(config: Config) -> RunData:
    """Read the data set and the splits that a config names.

    Raises:
        AvadetError: if a file of it is missing or malformed, a rule refuses it, or the loss cannot learn from it.
    """
    cfg, scoring = config.data, config.evaluate
    data = open_data_set(cfg.spec, cfg.root, cfg.overrides)
    rule = ProposalRule(**cfg.proposals.model_dump()) if cfg.proposals is not None else None
    skip = cfg.on_error == "skip"
    train, scored = (read_split(data, one, metadata_of, skip_unreadable=skip) for one in (cfg.train, cfg.scored))
    refuse_shared(data, train, scored)
    if scoring.person_score is None:
        index = training_index(scored, data.labels)
    else:
        best = scoring.keep_best_person
        index = scoring_index(scored, data.labels, scoring.person_score, keep_best=best, keep_empty=True)
    learned = training_index(train, data.labels, rule)
    refuse_loss(config.loss.kind, learned.labels)
    return RunData(data, learned, scored, index, notes=tuple(dict.fromkeys([*train.notes, *scored.notes])))
