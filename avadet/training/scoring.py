"""Scoring the model of a run while it trains; every process scores its share of the videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from avadet.annotations.jhmdb import JhmdbVideo
from avadet.data.frame_store import FrameStore
from avadet.models.detectors.two_stage import ActionModel
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.training.distributed import Processes
from avadet.training.evaluate import ClipScorer, frame_map, score_videos, summarise
from avadet.types import LabelMap


@dataclass(frozen=True)
class Outcome:
    """What an evaluation says.

    Attributes:
        metrics: numbers by name; "frame_map" is among them, percent.
        table: the average precision of every class, as text.
    """

    metrics: dict[str, float]
    table: str


Score = Callable[[ActionModel, bool], Outcome]
"""Scores a model; says how far it is on stderr if the flag is on. Every process must ask."""


@dataclass(frozen=True)
class JhmdbScore:
    """Scores on annotated frames of JHMDB-like videos.

    Attributes:
        scorer: how, with any model.
        videos: which.
        store: their frames.
        labels: the classes.
        people: who was found before; None = the annotated people.
        frame_step: annotated frames from one scored frame to the next.
        processes: who takes part.
    """

    scorer: ClipScorer
    videos: Sequence[JhmdbVideo]
    store: FrameStore
    labels: LabelMap
    people: PrecomputedBoxes | None
    frame_step: int
    processes: Processes

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the people found before decided or left out, one line each."""
        return () if self.people is None else self.people.notes

    def __call__(self, model: ActionModel, progress: bool = False) -> Outcome:
        """Score a model, in eval mode and on the scorer's device."""
        rank, count = self.processes.rank, self.processes.count
        own = score_videos(
            self.scorer.of(model),
            self.videos[rank::count],
            self.store,
            frame_step=self.frame_step,
            persons=self.people,
            progress=progress,
        )
        shares = self.processes.gather(own)
        scored = [shares[index % count][index // count] for index in range(len(self.videos))]
        return Outcome(summarise(scored, self.labels), frame_map(scored, self.labels).table() + "\n")
