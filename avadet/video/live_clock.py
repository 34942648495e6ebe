"""When the pictures of a live stream were taken, as far as timestamps and the clock can tell together."""

from __future__ import annotations

import math

AHEAD_S = 2.0
"""A timestamp further ahead of the clock than this is not believed."""

BEHIND_S = 3.0
"""A stream that is further behind the clock than this is to catch up."""

CAUGHT_UP_S = 0.5
"""Behind by less than this it has."""

_MIN_STEP_S = 1e-3  # between pictures that have no time of their own and come at once
_DRIFT = 2e-4  # by how much the clocks of two machines may differ in pace: twice 100 ppm, a bad crystal's


class StreamClock:
    """Times of pictures in seconds after the first one, always increasing, whatever the stream's timestamps do.

    The live edge is where the stream would be if nothing were held up anywhere between its sender and here. It is
    taken from the picture that came soonest for its timestamp, and gives way slowly for clocks that drift apart.
    What the sender itself holds back, always and for every picture, cannot be seen from here.

    Attributes:
        edge_s: the moment of the clock (`time.monotonic`) at which the live edge was at time 0.
    """

    def __init__(self, recorded_step_s: float | None = None) -> None:
        """Begin.

        Args:
            recorded_step_s: seconds between the pictures of a recording, whose times have nothing to do with when they
                come; None = the stream is live.
        """
        self.edge_s = 0.0
        self.recorded_step_s = recorded_step_s
        self._catch_up = _CatchUp()
        self._shift_s: float | None = None
        self._last_s: float | None = None
        self._came_s = 0.0

    def joined(self) -> None:
        """Say that a new connection begins: its timestamps have nothing to do with those before."""
        self._shift_s = None

    def time_s(self, stamp_s: float | None, came_s: float) -> float:
        """Time of the next picture.

        Args:
            stamp_s: its timestamp, seconds; None = it has none.
            came_s: when it came, by the clock.

        Returns:
            the timestamp counted from the first picture's, if it is after the last picture and not ahead of the
            clock; else as much after the last picture as the clock says, or as pictures of a recording are apart.
            Later timestamps count on from there.
        """
        if self._last_s is None:
            time_s = 0.0
            self.edge_s = came_s
        else:
            waited_s = came_s - self._came_s
            believed_s = self._believed(stamp_s, came_s)
            step_s = max(waited_s, _MIN_STEP_S) if self.recorded_step_s is None else self.recorded_step_s
            time_s = self._last_s + step_s if believed_s is None else believed_s
            self.edge_s = min(self.edge_s + _DRIFT * max(waited_s, 0.0), came_s - time_s)
        if stamp_s is not None:
            self._shift_s = time_s - stamp_s
        self._last_s, self._came_s = time_s, came_s
        return time_s

    def _believed(self, stamp_s: float | None, came_s: float) -> float | None:
        """What a timestamp says, if that can be."""
        if stamp_s is None or self._shift_s is None or self._last_s is None:
            return None
        time_s = stamp_s + self._shift_s
        most_s = came_s - self.edge_s + AHEAD_S if self.recorded_step_s is None else math.inf
        return time_s if self._last_s < time_s <= most_s else None

    def wants(self, stamp_s: float, came_s: float, is_key: bool) -> bool:
        """Whether a packet should be decoded: not while the stream is behind and can catch up by leaving it out.

        Args:
            stamp_s: its timestamp, seconds.
            came_s: when it came, by the clock.
            is_key: whether decoding can begin with it.
        """
        if self._shift_s is None:
            return True
        behind_s = came_s - self.edge_s - (stamp_s + self._shift_s)
        wanted = self._catch_up.wants(behind_s, came_s, is_key)
        if self._catch_up.at_edge:
            self.edge_s += behind_s
        return wanted


class _CatchUp:
    """Decides which packets to leave out: from the one that is too far behind to the next key packet that is not.

    If packets have to be waited for meanwhile, nothing is held up: the sender paused. Then the edge is where they are.

    Attributes:
        at_edge: whether the last packet was found to be at the live edge, however far behind it seems.
    """

    def __init__(self) -> None:
        self.at_edge = False
        self._began: tuple[float, float] | None = None

    def wants(self, behind_s: float, came_s: float, is_key: bool) -> bool:
        """Whether to decode a packet that came now and is `behind_s` behind the live edge."""
        self.at_edge = False
        if self._began is None:
            if behind_s <= BEHIND_S:
                return True
            self._began = (came_s, behind_s)
        if not is_key:
            return False
        waited_s = came_s - self._began[0]
        gained_s = self._began[1] - behind_s
        self.at_edge = waited_s > 0.5 and gained_s < waited_s
        if self.at_edge or behind_s < CAUGHT_UP_S:
            self._began = None
            return True
        return False
