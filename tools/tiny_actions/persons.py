"""One person in a picture or a short window of a video, and what is known of him or her; lists of them in files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avadet.errors import AvadetError
from avadet.files import whole_file

VALIDATION_ONE_IN = 10
VALIDATION_ONE_IN_BY_EYE = 4


@dataclass
class Person:
    """Where a person is, where from, and the labels that are known; whatever is neither present nor absent is unknown.

    Attributes:
        source: name of a row of `sources.SOURCES`.
        file: path inside the folder of the source.
        group: what persons that look alike share (a picture, a video, a film); never on both sides of the split.
        box: xyxy px; empty where a detector has yet to find it.
        size_hw: (height, width) px of the picture that the box is in; empty = as the file is.
        pose: AVA id (or 0, cannot tell) -> probability; empty = unknown.
        pose_weight: 0-1 or more.
        present: AVA ids of other actions.
        absent: AVA ids of actions that are surely not there.
        present_weight: of each of `present`.
        absent_weight: of each of `absent`.
        by_eye: whether a person labelled this one for this model.
        official_test: whether it belongs to the test part of a public split; scored on, never learnt from.
        seconds: time in the video.
        label: the class of the video's own data set.
        displacement: body heights a second, relative to the camera.
        growth: log of height a second, relative to the camera's zoom.
    """

    source: str
    file: str
    group: str
    box: list[float] = field(default_factory=list)
    size_hw: list[int] = field(default_factory=list)
    pose: dict[int, float] = field(default_factory=dict)
    pose_weight: float = 0.0
    present: list[int] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)
    present_weight: float = 1.0
    absent_weight: float = 0.3
    by_eye: bool = False
    official_test: bool = False
    seconds: float | None = None
    label: str = ""
    displacement: float | None = None
    growth: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is anything to learn from this person."""
        return bool(self.pose or self.present or self.absent)

    def height_px(self) -> float:
        """Of the box."""
        return self.box[3] - self.box[1]

    def width_px(self) -> float:
        """Of the box."""
        return self.box[2] - self.box[0]


class Ledger:
    """Counts what was taken of each source, and what was left out and why."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.taken: Counter[str] = Counter()
        self.left_out: dict[str, Counter[str]] = {}

    def take(self, source: str, count: int = 1) -> None:
        """Count persons that were taken."""
        self.taken[source] += count

    def leave_out(self, source: str, reason: str, count: int = 1) -> None:
        """Count what was not."""
        if count:
            self.left_out.setdefault(source, Counter())[reason] += count

    def lines(self) -> list[str]:
        """One line a source."""
        named = dict.fromkeys([*self.taken, *self.left_out])
        return [self._line(source) for source in named]

    def _line(self, source: str) -> str:
        reasons = self.left_out.get(source, Counter())
        left = "; ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        return f"{source}: {self.taken[source]:,} taken" + (f"; left out: {left}" if left else "")


class Split:
    """Which persons are validated on: by group, so that nothing of a group is on both sides.

    Of groups with labels made by eye every fourth is kept aside, of all others every tenth, by a hash of the name.
    """

    def __init__(self, persons: Iterable[Person]) -> None:
        """Learn which groups have labels made by eye."""
        self._by_eye = {person.group for person in persons if person.by_eye}

    def validates(self, group: str) -> bool:
        """Whether a group is kept aside."""
        one_in = VALIDATION_ONE_IN_BY_EYE if group in self._by_eye else VALIDATION_ONE_IN
        return int(hashlib.md5(group.encode(), usedforsecurity=False).hexdigest(), 16) % one_in == 0

    def divide(self, persons: Sequence[Person]) -> tuple[list[int], list[int]]:
        """Indices to learn from and to validate on; those of official tests are validated on."""
        held = [person.official_test or self.validates(person.group) for person in persons]
        return [i for i, aside in enumerate(held) if not aside], [i for i, aside in enumerate(held) if aside]


def write_persons(path: Path, persons: Iterable[Person]) -> None:
    """Write them as JSON lines, whole or not at all."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(dataclasses.asdict(person)) + "\n" for person in persons)


def read_persons(path: Path) -> list[Person]:
    """Read what `write_persons` wrote.

    Raises:
        AvadetError: if an earlier step has not been run.
    """
    if not path.is_file():
        raise AvadetError(f"{path} is missing; run the steps in the order of the README")
    persons = []
    for line in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        values["pose"] = {int(class_id): share for class_id, share in values["pose"].items()}
        persons.append(Person(**values))
    return persons


Report = Callable[[str], None]
