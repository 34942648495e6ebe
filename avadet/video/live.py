"""Reading a camera or a network stream without ever falling behind it.

A thread reads and decodes all the time; the pictures wait in a queue of two seconds. Who works on the frames may stall
for that long and lose none. When the queue is full, all that wait are let go and work goes on with the newest: frames
are lost in one piece. (Were only the oldest one let go each time, the queue would stay full: always two seconds late,
and with holes wherever work stalls, so that clips of motion became rows of stills.) So the work is at most that far
behind, however slow it is, and memory is bounded. Four more things keep it so:

- **Keyframes** (`LiveReader.keyframes_s`) are set where frames are. Were they set every second come what may, a model
  that needs three seconds for each would owe nine seconds of work after three, then twenty-seven.
- **Looking for people between keyframes** (`LiveReader.looks_s`) is done only as often as there is time for it.
- **A decoder that is too slow** shows in timestamps that fall behind the clock while packets need not be waited for.
  Then packets are thrown away undecoded up to a key picture at which the stream has caught up (`live_clock`).
- **A source that knows its length** is a recording, such as an mp4 on a web server: nothing of it is dropped; it waits.
  So is what a web server sends faster than it can have been taken. A recording that breaks off is not fetched again:
  what came is kept, and `LiveReader.lost` says what is missing.

The stream's own timestamps are believed where they go forward and not ahead of the clock; else the clock decides.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from av.error import FFmpegError
from av.video.frame import VideoFrame

from avadet.errors import AvadetError
from avadet.types import Frame, VideoInfo
from avadet.video.connection import TIMEOUT_S, Connection
from avadet.video.display import Display
from avadet.video.live_clock import StreamClock
from avadet.video.reader import Closing
from avadet.video.sources import shown_name
from avadet.video.timestamps import GAP_S, Gaps

QUEUE_S = 2.0
"""Pictures wait for at most this long, in seconds of the stream."""

QUEUE_BYTES = 256 * 2**20
"""Memory of waiting pictures at most; above it the queue is shorter than `QUEUE_S`."""

RETRIES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before each try to connect again, seconds; after the last one the stream is given up."""

STABLE_S = 10.0
"""A connection that lasted this long has all tries again."""

NEAR_S = GAP_S / 2
"""A moment is covered by a frame at most this far from it, seconds."""

LONGEST_PAUSE_S = 8.0
"""Without time for it, people are looked for between keyframes this seldom in the end, seconds."""

SLACK_S, SOUND_SLACK_S = 0.5, 2.0
"""A recording may be shorter than its header says by this much, seconds; by the second where it has sound."""

ENDED = "the sender ended it"
_KEPT_GAPS = 64
_POLL_S = 0.1


class _Waiting(NamedTuple):
    """A picture in the queue: who shows it, its time, seconds after the first one, its memory, bytes, and `after_gap`
    as of a frame.
    """

    picture: VideoFrame
    display: Display
    time_s: float
    size_bytes: int
    after_gap: bool


class LiveReader(Closing):
    """A camera or stream, as `VideoReader` is a file: `info`, `frames()`, once.

    Attributes:
        info: `path` is the stem that was given, there is no such file; `duration_s` is 0 unless it is a recording.
        is_recording: whether the source knows its length, or sends faster than can be taken; then nothing is dropped.
        arrived: pictures that came so far.
        dropped: pictures that were let go, most of them undecoded or undrawn, because something newer was there.
        damaged: decode errors and pictures marked as damaged so far.
        ended_early_s: seconds missing at the end of a recording against what its header promised; else 0.0.
        lost: why the stream was given up, or how a recording broke off; "" as long as neither, or if it was ended.
    """

    def __init__(
        self,
        source: str,
        stem: str = "live",
        seconds: float = math.inf,
        tell: Callable[[str], None] | None = None,
        retries_s: Sequence[float] = RETRIES_S,
        *,
        timeout_s: float = TIMEOUT_S,
        is_recording: bool = False,
    ) -> None:
        """Connect, decode the first picture, and begin to read.

        Args:
            source: as `is_live` knows them.
            stem: name of the video in results.
            seconds: end after this much of the stream.
            tell: is told in one line when the connection is lost and found again; called from the reading thread.
            retries_s: pauses before the tries to connect again, seconds.
            timeout_s: seconds without anything after which a connection counts as lost.
            is_recording: whether it is known to be a recording, whatever it says of its length.

        Raises:
            AvadetError: if there is no such camera, nobody answers, or what comes is no video.
        """
        self.damaged = self.arrived = self.dropped = 0
        self.ended_early_s = 0.0
        self.lost = ""
        self._source, self._seconds, self._retries_s = source, seconds, retries_s
        self._tell = tell or (lambda text: None)
        self._queue: deque[_Waiting] = deque()
        self._queue_bytes = 0
        self._changed = threading.Condition()
        self._over = self._stopped = False
        self._waits = 0
        self._latest_s = -math.inf
        self._gaps: deque[tuple[float, float]] = deque(maxlen=_KEPT_GAPS)
        self._tries = 0
        self._timeout_s = timeout_s
        self._pauses = Gaps()
        self._arrived_s: float | None = None
        connection, first = _connected(source, timeout_s)
        self.is_recording = is_recording or connection.duration_s > 0
        if connection.may_be_file and not self.is_recording:
            self.is_recording = connection.sends_a_file()
        self._begins_with = connection.begins_with
        self._last_s = -1.0
        self._clock = StreamClock(float(1 / connection.fps) if self.is_recording else None)
        display = connection.display
        self.info = VideoInfo(
            path=Path(stem),
            size_hw=display.size_hw(first),
            fps=connection.fps,
            num_frames=0,
            start_s=0.0,
            duration_s=connection.duration_s,
            display_notes=display.notes(first),
        )
        self._thread = threading.Thread(target=self._capture, args=(connection,), name="live", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the stream. A thread that waits for a silent source ends by itself, when its patience does."""
        self.stop()
        self._thread.join(timeout=1.0)

    def stop(self) -> None:
        """End `frames` soon. May be called from a signal handler: it takes no lock."""
        self._stopped = True

    def frames(self) -> Iterator[Frame]:
        """Give the frames as they come, the oldest that still waits first.

        Yields:
            frames with increasing `time_s`, seconds after the first one; `index` counts those that are given. Ends
            with the stream, after `stop`, or when the connection is lost for good (see `lost`).
        """
        index = 0
        while (waiting := self._take()) is not None:
            if waiting.time_s - self._latest_s > 2 * NEAR_S and index:
                self._gaps.append((self._latest_s, waiting.time_s))
            self._latest_s = waiting.time_s
            image = waiting.display.image(waiting.picture, self.info.size_hw)
            yield Frame(image, waiting.time_s, index, waiting.after_gap and index > 0)
            del waiting
            index += 1

    def keyframes_s(self, every_s: float) -> Iterator[float]:
        """Give the moments 0, `every_s`, 2 * `every_s`, ..., leaving out those that a live stream has already passed.

        To be asked for the next one only when the last one has its frame.
        """
        count = 0
        while True:
            yield count * every_s
            is_behind = self._latest_s > 0 and not self.is_recording
            passed = math.ceil(self._latest_s / every_s - 0.5) if is_behind else 0
            count = max(count + 1, passed)

    def looks_s(self, step_s: float) -> Iterator[float]:
        """Give the moments at which to look for people besides keyframes.

        Every `step_s` seconds as long as all frames that have come are done before the next look; else with pauses
        that double each time. A recording waits.
        """
        time_s, pause_s, waits = 0.0, step_s, -1
        while True:
            yield time_s
            if self.is_recording:
                time_s += step_s
                continue
            pause_s = step_s if self._waits > waits else min(2 * pause_s, max(LONGEST_PAUSE_S, step_s))
            waits = self._waits
            time_s = max(time_s, self._latest_s - step_s) + pause_s

    def covers(self, time_s: float) -> bool:
        """Whether one of the frames given was near to a moment that is not older than the last few gaps."""
        return not any(before + NEAR_S < time_s < after - NEAR_S for before, after in self._gaps)

    def latency_s(self, time_s: float) -> float:
        """Seconds from the moment at which a picture of this time came, or should have come, until now."""
        return max(time.monotonic() - self._clock.edge_s - time_s, 0.0)

    def _take(self) -> _Waiting | None:
        with self._changed:
            self._waits += not self._queue
            while not self._queue and not self._over and not self._stopped:
                self._changed.wait(_POLL_S)
            if self._stopped or not self._queue:
                return None
            waiting = self._queue.popleft()
            self._queue_bytes -= waiting.size_bytes
            self._changed.notify_all()
        return waiting if waiting.time_s < self._seconds else None

    def _put(self, waiting: _Waiting) -> None:
        """Add a picture; where there is no room, drop those that wait, or of a recording wait for room."""
        with self._changed:
            while self.is_recording and self._is_full(waiting) and not self._stopped:
                self._changed.wait(_POLL_S)
            if self._is_full(waiting):
                self.dropped += len(self._queue)
                waiting = waiting._replace(after_gap=any(one.after_gap for one in [*self._queue, waiting]))
                self._queue.clear()
                self._queue_bytes = 0
            self._queue.append(waiting)
            self._queue_bytes += waiting.size_bytes
            self._changed.notify_all()

    def _is_full(self, waiting: _Waiting) -> bool:
        too_long = bool(self._queue) and waiting.time_s - self._queue[0].time_s > QUEUE_S
        return too_long or (bool(self._queue) and self._queue_bytes + waiting.size_bytes > QUEUE_BYTES)

    def _capture(self, connection: Connection | None) -> None:
        """Read until the end; the body of the thread."""
        try:
            while connection is not None:
                began_s = time.monotonic()
                reason = self._read(connection)
                connection.close()
                if self.is_recording:
                    self._judge_end(connection, reason)
                if self._stopped or self.is_recording:
                    break
                connection = self._reconnect(reason or ENDED, fresh=time.monotonic() - began_s > STABLE_S)
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _read(self, connection: Connection) -> str:
        """Put the pictures of a connection into the queue; return why it broke off, "" if the sender ended it."""
        self._clock.joined()
        try:
            for picture, came_s, stamp_s in connection.pictures(self._wants):
                if self._stopped:
                    break
                time_s = self._clock.time_s(stamp_s, came_s)
                if connection.is_paced:
                    self._sleep(self._clock.edge_s + time_s - time.monotonic())
                self.arrived += 1
                self.damaged += bool(picture.is_corrupt)
                size_bytes = sum(plane.buffer_size for plane in picture.planes)
                after_gap = self._is_after_gap(time_s)
                self._put(_Waiting(picture, connection.display, time_s, size_bytes, after_gap))
                self._last_s = time_s
        except (FFmpegError, OSError) as error:
            return connection.reason(error)
        finally:
            self.damaged += connection.damaged
        return ""

    def _judge_end(self, connection: Connection, reason: str) -> None:
        """Say in `lost` what is missing of a recording that is over, if anything is."""
        end_s = max(self._last_s, 0.0) + float(1 / connection.fps)
        missing_s = connection.duration_s - end_s
        is_short = missing_s > (SOUND_SLACK_S if connection.has_sound else SLACK_S)
        if self._stopped or not (reason or is_short):
            return
        self.ended_early_s = missing_s if is_short else 0.0
        verb = "breaks off" if connection.duration_s else "ended"
        self.lost = f"{shown_name(self._source)} {verb} at {end_s:.2f} s ({reason or ENDED})"
        if is_short:
            self.lost += f", {missing_s:.2f} s before the end that its header gives"
        elif not connection.duration_s:
            self.lost += "; it gives no length, so whether this is all cannot be told"

    def _is_after_gap(self, time_s: float) -> bool:
        """Whether nothing was sent before a picture; what was sent and let go is no gap."""
        before_s, self._arrived_s = self._arrived_s, time_s
        if before_s is None:
            return False
        return self._pauses.is_gap(time_s - before_s)

    def _wants(self, stamp_s: float | None, came_s: float, is_key: bool) -> bool:
        """Whether a packet is worth decoding."""
        if self.is_recording or stamp_s is None or self._clock.wants(stamp_s, came_s, is_key):
            return True
        self.arrived += 1
        self.dropped += 1
        self._arrived_s = None
        return False

    def _reconnect(self, reason: str, fresh: bool) -> Connection | None:
        """Connect again, after pauses; None if all tries failed."""
        last_error = ""
        self._tries = 0 if fresh else self._tries
        name, pauses_s = shown_name(self._source), self._retries_s[self._tries :]
        if pauses_s:
            self._tell(f"the connection to {name} is lost ({reason}); trying for {sum(pauses_s):g} s to connect again")
        for pause_s in pauses_s:
            self._tries += 1
            self._sleep(pause_s)
            if self._stopped:
                return None
            connection = None
            try:
                connection = Connection(self._source, self._timeout_s)
                connection.first_picture()
            except AvadetError as error:
                last_error = f"; last error: {error}"
                if connection is not None:
                    connection.close()
                continue
            if connection.may_be_file and connection.begins_with == self._begins_with:
                connection.close()
                last_error = "; now it begins as it began before: it is a recording, and not read twice"
                break
            self._tell(f"connected to {name} again")
            return connection
        self.lost = f"the connection to {name} was lost ({reason}){last_error}"
        return None

    def _sleep(self, pause_s: float) -> None:
        """Wait, but not on after `stop`."""
        until_s = time.monotonic() + pause_s
        while not self._stopped and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _POLL_S))


def _connected(source: str, timeout_s: float) -> tuple[Connection, VideoFrame]:
    """A connection that has decoded its first picture, and that picture."""
    connection = Connection(source, timeout_s)
    try:
        return connection, connection.first_picture()
    except BaseException:
        connection.close()
        raise
