"""What every reader of a video offers, be it a file or a folder of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from avadet.types import Frame, UInt8Array, VideoInfo


class Picture(NamedTuple):
    """A picture of a video that becomes RGB only when it is asked for.

    Attributes:
        time_s: seconds after the first frame of the video.
        image: gives it as uint8 (H, W, 3) RGB, as a player shows it; raises AvadetError where it is an image file that
            is missing or damaged.
        after_gap: as of `types.Frame`.
    """

    time_s: float
    image: Callable[[], UInt8Array]
    after_gap: bool = False


class Closing:
    """What closes itself at the end of a `with`."""

    def close(self) -> None:
        """Close what is open."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Give the reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class Reader(Protocol):
    """An open video; `video.read.VideoReader` says what every attribute means."""

    info: VideoInfo
    tick_s: Fraction
    dropped: int
    restarts: int
    restart_s: float
    rate_is_assumed: bool
    unread_bytes: int
    ended_early_s: float

    @property
    def faulty(self) -> Sequence[str]:
        """Some of what is damaged by name, where it has names."""
        ...

    @property
    def damaged(self) -> int:
        """Damaged spots met so far."""
        ...

    def frames(self, start_s: float = 0.0) -> Iterator[Frame]:
        """Walk through the frames from the one on show at a moment on."""
        ...

    def pictures(self, start_s: float = 0.0) -> Iterator[Picture]:
        """The same walk, for those who need only some frames as images."""
        ...

    def close(self) -> None:
        """Close what is open and end every unfinished walk."""
        ...

    def __enter__(self) -> Self:
        """Give the reader itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...
