"""Data of any spec in a run: keyframes with any number of people, decoded from the videos as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from avadet.annotations.ava import AvaTable
from avadet.annotations.rules.check import refuse_shared
from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import DataSplit, read_split
from avadet.config import Config, DataConfig
from avadet.data.batching import ClipLoader, KeyframeBatch, batches_by_size, clip_sizes
from avadet.data.clips import ClipDataset
from avadet.data.keyframes import ProposalRule, Targets, scoring_targets, training_targets
from avadet.data.loader import ClipBatch
from avadet.data.transforms import Augmentation
from avadet.data.video_facts import metadata_of
from avadet.errors import AvadetError
from avadet.evaluation.frame_map import evaluate_frame_map
from avadet.keyframes import join_keyframes
from avadet.models.detectors.two_stage import ActionModel
from avadet.models.predict import SCORE_NAMES
from avadet.training.banks import BankMaker, Banks
from avadet.training.distributed import Processes
from avadet.training.evaluate import ClipScorer
from avadet.training.feed import Feed, Plan, Share
from avadet.training.scoring import Outcome, Score
from avadet.types import ClipSpec, Float32Array, IntArray, LabelMap


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


def with_window(batch: KeyframeBatch, targets: Targets, banks: Banks | None) -> KeyframeBatch:
    """A batch of these targets with what its clips may look up, if there are banks."""
    if banks is None:
        return batch
    return replace(batch, window=banks.window([targets.key(keyframe) for keyframe in batch.keyframes.tolist()]))


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
            AvadetError: if there is nothing to train or score on.
        """
        for what, targets in (("train", self.train), ("score", self.targets)):
            if not len(targets):
                raise AvadetError(f"{self.data.root}: no keyframe to {what} on; see `avadet data check`")
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
        chosen = self.targets.select(np.arange(0, len(self.targets), config.evaluate.frame_step))
        protocol, workers = config.evaluate.protocol, config.data.workers
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
    train, scored = (read_split(data, name, metadata_of) for name in (config.train, config.scored))
    refuse_shared(data, train, scored)
    if person_score is None:
        people = training_targets(scored, data.labels)
    else:
        people = scoring_targets(scored, data.labels, person_score, keep_best=keep_best, keep_empty=True)
    notes = tuple(dict.fromkeys([*train.notes, *scored.notes]))
    return ClipData(data, training_targets(train, data.labels, rule), scored, people, notes=notes)


@dataclass(frozen=True)
class ClipScore:
    """Scores keyframes of a split by the evaluator of `avadet eval`; a class's score is the model's alone.

    Attributes:
        scorer: how, with any model.
        split: annotations and excluded keyframes.
        targets: whom.
        labels: the classes.
        protocol: whose rules.
        processes: who takes part.
        workers: processes that make clips.
        banks: feature banks of the videos; None = the model reads none.
    """

    scorer: ClipScorer
    split: DataSplit
    targets: Targets
    labels: LabelMap
    protocol: str
    processes: Processes
    workers: int = 0
    banks: Banks | None = None

    def __call__(self, model: ActionModel, progress: bool = False) -> Outcome:
        """Score a model, in eval mode and on the scorer's device."""
        scorer = self.scorer.of(model)
        by_side = [self._scores(scorer, spec, progress) for spec in scorer.specs]
        scores = np.asarray(np.mean(by_side, axis=0, dtype=np.float32))
        truth, found = self._truth(), self._detections(scores)
        result = evaluate_frame_map(truth, found, self.labels, self.protocol, self.split.excluded)
        return Outcome({"frame_map": round(100 * result.mAP, 3)}, result.table() + "\n")

    def _scores(self, scorer: ClipScorer, spec: ClipSpec, progress: bool) -> Float32Array:
        """Scores (M, K) of all people, with clips as `spec` has them; every process does every n-th batch."""
        peopled = self.targets.select(np.flatnonzero(np.diff(self.targets.starts)))  # the same people, row by row
        plan = batches_by_size(clip_sizes(peopled, spec), scorer.batch_size)(0)
        own = plan[self.processes.rank :: self.processes.count]
        scores = np.zeros((len(self.targets.labels), len(self.labels)), np.float32)
        with closing(ClipLoader(ClipDataset(peopled, spec), lambda epoch: own, workers=self.workers)) as loader:
            for batch in tqdm(loader.batches(), total=len(own), desc="scoring", disable=not progress, leave=False):
                found = scorer.predict(*with_window(batch, peopled, self.banks).inputs())
                scores[batch.rows.numpy()] = found.cpu().numpy()
        return np.asarray(np.sum(self.processes.gather(scores), axis=0, dtype=np.float32))

    def _detections(self, scores: Float32Array) -> AvaTable:
        targets, classes = self.targets, len(self.labels)
        keyframes = np.repeat(np.arange(len(targets)), np.diff(targets.starts))
        names = np.array([video.video_id for video in targets.videos], object)[targets.video_rows[keyframes]]
        return AvaTable(
            np.repeat(names, classes),
            np.repeat(targets.times_s[keyframes], classes),
            np.repeat(targets.boxes_norm, classes, axis=0),
            np.tile(np.array(self.labels.ids, np.int64), len(keyframes)),
            scores.reshape(-1).astype(np.float64),
        )

    def _truth(self) -> AvaTable:
        """The split's annotations, of the keyframes that are scored."""
        table, targets = self.split.table, self.targets
        names = np.array([video.video_id for video in targets.videos], object)[targets.video_rows]
        scored, rows = join_keyframes([(names, targets.times_s), (table.video_ids, table.times_s)]).numbers
        return table.rows(np.isin(rows, scored))
