"""STEM.html: one file beside the video that plays it with boxes, a timeline, filters and keys, without a server.

The template is page.html, with page.css and the scripts put inside. Names of files and classes reach the page as JSON
that the scripts show as text, or through Jinja2's autoescape; the policy in the page's head allows no script and no
style but ours, named by their hashes, and no request but for the video.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

import avadet
from avadet import boxes
from avadet.files import whole_file
from avadet.inference.events import EventRules, EvidenceTracker
from avadet.inference.overlay import OverlayTiming, continued, track_ids_of
from avadet.inference.person_count import PersonCount
from avadet.inference.pipeline import TrackedPersons
from avadet.inference.report.columns import BOX_UNITS, SCORE_UNITS, TICK_S, Columns, Look
from avadet.inference.report.page import APPLICATION, environment, policy_hash, resource, script_json
from avadet.inference.schedule import Gap
from avadet.inference.sinks import LastPicture, Sink
from avadet.types import ActionDetections, Frame, LabelMap, VideoInfo

FLOOR = 0.05
"""Lowest score that the page can be asked to show, unless the threshold is lower still."""

_SCRIPTS = ("data.js", "player.js", "timeline.js", "page.js")


class ReportSink(Sink):
    """Writes the page when the video is done; until then what it shows waits in temporary files."""

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo,
        labels: LabelMap,
        threshold: float,
        timing: OverlayTiming,
        annotated: Path | None = None,
        model: str = "",
        known_actions: str = "",
    ) -> None:
        """Say what the page is of.

        Args:
            path: the page.
            info: the video. The page names it by its way from the page's folder, so both can be moved together.
            labels: the model's classes.
            threshold: score, 0-1, from which the page shows an action until it is told otherwise.
            timing: how long boxes and captions stay, as in the annotated video.
            annotated: the annotated video, if there is to be one: played where the browser cannot play the video.
            model: name of the action model, shown beside the facts of the video.
            known_actions: a sentence that says which actions it can name, if it keeps silent about the rest.
        """
        self._path = Path(path)
        self._info = info
        self._labels = labels
        self._threshold = threshold
        self._timing = timing
        self._annotated = annotated
        self._model = model
        self._known_actions = known_actions
        self._last = LastPicture(float(1 / info.fps))
        self._gaps: list[Gap] = []
        self._evidence = EvidenceTracker(labels)
        self._seen: list[TrackedPersons] = []  # the last two detections, of which the later is not yet written
        self._people = PersonCount()
        self._stack = ExitStack()
        self._columns = Columns(min(threshold, FLOOR))

    def __enter__(self) -> Self:
        """Begin the page under a temporary name, so that a folder that cannot be written to shows at once."""
        with ExitStack() as stack:
            self._partial = stack.enter_context(whole_file(self._path))
            stack.enter_context(self._columns)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Write the page; on an error or Ctrl-C, leave none."""
        with self._stack:
            if kind is None:
                self._write()
            return self._stack.pop_all().__exit__(kind, error, trace)

    def frame(self, frame: Frame) -> None:
        """Remember where the video ends."""
        self._last.add(frame)

    def gap(self, gap: Gap) -> None:
        """Remember of what nothing was recorded."""
        self._gaps.append(gap)
        self._evidence.gap(gap)

    def persons(self, tracked: TrackedPersons) -> None:
        """Take where people are."""
        self._add_look(tracked)
        self._seen = [*self._seen[-1:], tracked]

    def keyframe(self, detections: ActionDetections) -> None:
        """Take what people do."""
        for evidence in self._evidence.add(detections):
            self._columns.add_keyframe(evidence)
        self._people.add(detections)

    def _add_look(self, after: TrackedPersons | None) -> None:
        """Write the last detection, now that the one after it is known; None = there is none."""
        if not self._seen:
            return
        here, before = self._seen[-1], self._seen[-2] if len(self._seen) > 1 else None
        start_s = max((gap.end_s for gap in self._gaps if gap.is_before(here.time_s)), default=0.0)
        end_s = min((gap.start_s for gap in self._gaps if not gap.is_before(here.time_s)), default=float("inf"))
        if before is not None and before.time_s < start_s:
            before = None
        if after is not None and after.time_s > end_s:
            after = None
        ids = track_ids_of(here.persons)
        later = np.zeros(0, np.int64) if after is None else track_ids_of(after.persons)
        hold_s = self._timing.hold_box_s
        from_s = here.time_s - hold_s if before is None else (before.time_s + here.time_s) / 2
        until_s = here.time_s + hold_s if after is None else (here.time_s + after.time_s) / 2
        boxes_norm = boxes.to_norm(here.persons.boxes_px, here.persons.size_hw)
        limits_s = max(from_s, start_s), min(until_s, end_s)
        self._columns.add_look(Look(here.time_s, boxes_norm, ids, continued(ids, later), *limits_s))

    def _write(self) -> None:
        self._add_look(None)
        for evidence in self._evidence.finish(self._last.end_s):
            self._columns.add_keyframe(evidence)
        script, style = "\n".join(map(resource, _SCRIPTS)), resource("page.css")
        page = environment().get_template("page.html")
        with self._partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            pieces = page.generate(
                title=self._info.path.name,
                model=self._model,
                known_actions=self._known_actions,
                application=APPLICATION,
                version=avadet.__version__,
                script=Markup(script),
                script_hash=policy_hash(script),
                style=Markup(style),
                style_hash=policy_hash(style),
                data=self._json(),
            )
            file.writelines(pieces)

    def _json(self) -> Iterator[Markup]:
        """The page's data, piece by piece: a JSON object whose last member, "columns", holds the columns."""
        yield Markup(script_json(self._facts()).removesuffix("}") + ',"columns":{')
        for index, (name, pieces) in enumerate(self._columns.base64()):
            yield Markup(f'{"," if index else ""}"{name}":"')
            yield from map(Markup, pieces)
            yield Markup('"')
        yield Markup("}}")

    def _facts(self) -> dict[str, object]:
        """Everything but the columns."""
        return {
            "title": self._info.path.name,
            "sources": self._sources(),
            "size_hw": list(self._info.size_hw),
            "fps": float(self._info.fps),
            "end_s": round(self._last.end_s, 4),
            "gaps": [[round(gap.start_s, 4), round(gap.end_s, 4)] for gap in self._gaps],
            "threshold": self._threshold,
            "floor": min(self._threshold, FLOOR),
            "hold_caption_s": self._timing.hold_caption_s,
            "labels": list(self._labels.names),
            "people": str(self._people),
            "shortest_s": EventRules().shortest_s,
            "tick_s": TICK_S,
            "score_units": SCORE_UNITS,
            "box_units": BOX_UNITS,
        }

    def _sources(self) -> list[dict[str, object]]:
        """Videos to play, the first that the browser can: the one looked at, then its annotated copy."""
        found = [(self._info.path, False)] + ([(self._annotated, True)] if self._annotated else [])
        return [
            {"href": link(path, self._path.parent), "name": path.name, "drawn": drawn}
            for path, drawn in found
            if drawn or path.is_file()  # a stream or a camera cannot be played again
        ]


def link(path: Path, folder: Path) -> str:
    """A relative address from a page in `folder` to a file; every byte of its name survives.

    Links are followed by name, not by where symbolic links lead: that is what a browser does with "..".
    """
    way = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))  # noqa: PTH100 (resolve follows links)
    return quote(os.fsencode(way))
