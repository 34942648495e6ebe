"""The sound of a video, cut and shifted to go with pictures that are written anew."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeAlias

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as AtEnd
from av.error import FFmpegError
from av.filter import Graph
from av.packet import Packet

from avadet.errors import AvadetError
from avadet.video.opening import open_container
from avadet.video.read import probe
from avadet.video.timestamps import WRAP, wraps

COPIED = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "mp3float"})
"""Sound formats that go into mp4 as they are and that players know there; everything else becomes AAC."""

_RATE_HZ = 48000  # of sound that is encoded anew
_NEW_COUNT_S = 1.0  # sound whose stamps fall back by more has a new count, of which the pictures' clock knows more
_LONGEST_PAUSE_S = 3600.0  # of sound; mp4 cannot hold 12 h without
_FILLED_S = 5.0  # gaps up to this long are filled with silence where sound is encoded anew
_TRIED_PACKETS = 50  # without one decoded sample in so many packets the sound counts as broken

AudioPacket: TypeAlias = "Packet[AudioStream]"


class _Maker(Protocol):
    """Makes output packets of source packets."""

    def make(self, packet: AudioPacket, start_s: float) -> Iterator[AudioPacket]:
        """Output packets that a source packet gives; `start_s` of the source is zero of the output."""
        ...

    def rest(self) -> Iterator[AudioPacket]:
        """Output packets that are left when the source has ended."""
        ...


class Sound:
    """The sound of one video file as packets of another, in step with the pictures.

    Time zero is the source's first picture, plus the moment given to `begin`. Sound before it is cut off; sound that
    starts later stays late.
    """

    def __init__(self, source: InputContainer, stream: AudioStream, start_s: float) -> None:
        """Take an open source, one of its streams, and the timestamp of its first picture; see `Sound.of`."""
        self._source = source
        self._stream = stream
        self._start_s = start_s
        self._incoming: Iterator[AudioPacket] = source.demux(stream)
        self._held: AudioPacket | None = None
        self._maker: _Maker | None = None
        self._last_s: float | None = None

    @classmethod
    def of(cls, path: Path) -> Sound | None:
        """Open the best sound stream of a video; None if it has none.

        Raises:
            AvadetError: if the file cannot be read or nothing of its sound decodes.
        """
        start_s = probe(path).start_s
        index = _sound_that_decodes(path)
        if index is None:
            return None
        source = open_container(path)
        stream = source.streams[index]
        assert isinstance(stream, AudioStream)
        return cls(source, stream, start_s)

    def add_stream(self, output: OutputContainer) -> None:
        """Add a stream for this sound to a container whose header is not written yet."""
        if self._stream.codec_context.name in COPIED:
            self._maker = _Copier(output.add_stream_from_template(self._stream))
            return
        encoded = output.add_stream("aac", rate=_RATE_HZ)
        encoded.layout = "stereo"
        encoded.format = "fltp"
        self._maker = _Encoder(self._stream, encoded)

    def begin(self, time_s: float) -> None:
        """Let the output start at `time_s` seconds after the first picture of the source."""
        self._start_s += time_s

    def packets(self, until_s: float, last: bool = False) -> Iterator[AudioPacket]:
        """Packets for the output that begin before `until_s` of the output's time; with `last` everything else too.

        Raises:
            AvadetError: where the sound's clock begins anew, or the sound pauses for too long.
        """
        if self._maker is None:
            return
        for packet in self._before(until_s):
            yield from self._maker.make(packet, self._start_s)
        if last:
            yield from self._maker.rest()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _before(self, until_s: float) -> Iterator[AudioPacket]:
        """Source packets that begin before a moment of the output; the first later one is held for the next call."""
        while True:
            packet = self._held if self._held is not None else next(self._incoming, None)
            self._held = None
            if packet is None:
                return
            if packet.pts is None:
                continue
            self._unwrap(packet)
            time_s = float(packet.pts * packet.time_base)
            if time_s - self._start_s >= until_s:
                self._held = packet
                return
            self._check_step(time_s)
            yield packet

    def _unwrap(self, packet: AudioPacket) -> None:
        """Undo the overflow of stamps of 33 bits since the last packet."""
        if self._last_s is None or packet.pts is None or not wraps(self._source.format):
            return
        turns = round((self._last_s / packet.time_base - packet.pts) / WRAP)
        packet.pts += turns * WRAP
        packet.dts = None if packet.dts is None else packet.dts + turns * WRAP

    def _check_step(self, time_s: float) -> None:
        """Raise where the pictures' clock may be another than that of the sound from here on."""
        step_s = 0.0 if self._last_s is None else time_s - self._last_s
        if step_s < -_NEW_COUNT_S:
            raise AvadetError("its clock begins anew, as where recordings were joined")
        if step_s > _LONGEST_PAUSE_S:
            raise AvadetError(f"it pauses for {step_s / 3600:.1f} h")
        self._last_s = time_s


class _Copier:
    """Passes packets on as they are, with their times shifted."""

    def __init__(self, output: AudioStream) -> None:
        self._output = output
        self._last_dts: int | None = None

    def make(self, packet: AudioPacket, start_s: float) -> Iterator[AudioPacket]:
        shift = round(Fraction(start_s) / packet.time_base)
        if packet.pts is None:
            return
        pts = packet.pts - shift
        dts = packet.dts - shift if packet.dts is not None else pts
        if pts < 0 or (self._last_dts is not None and dts <= self._last_dts):
            return
        packet.pts, packet.dts, self._last_dts = pts, dts, dts
        packet.stream = self._output
        yield packet

    def rest(self) -> Iterator[AudioPacket]:
        return iter(())


class _Encoder:
    """Decodes, brings to stereo at one rate with short gaps filled, and encodes to AAC."""

    def __init__(self, source: AudioStream, output: AudioStream) -> None:
        self._source = source
        self._output = output
        self._graph: Graph | None = None
        self._end_s = 0.0

    def make(self, packet: AudioPacket, start_s: float) -> Iterator[AudioPacket]:
        try:
            frames = self._source.decode(packet)
        except FFmpegError:
            return  # one bad packet is a short silence
        for frame in frames:
            if frame.pts is None or frame.time_base is None:
                continue
            frame.pts -= round(Fraction(start_s) / frame.time_base)
            time_s = float(frame.pts * frame.time_base)
            if self._graph is not None and time_s - self._end_s > _FILLED_S:
                yield from self._finished()
            self._graph = self._graph or _leveller(frame, time_s if self._end_s > 0 else 0.0)
            self._end_s = time_s + frame.samples / frame.sample_rate
            self._graph.push(frame)
            yield from self._encoded()

    def rest(self) -> Iterator[AudioPacket]:
        yield from self._finished()
        yield from self._output.encode(None)

    def _finished(self) -> Iterator[AudioPacket]:
        """What the graph still holds; then there is none."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._encoded()
        self._graph = None

    def _encoded(self) -> Iterator[AudioPacket]:
        """AAC packets of everything that the graph has ready."""
        while self._graph is not None:
            try:
                frame = self._graph.pull()
            except (NothingYet, AtEnd):
                return
            assert isinstance(frame, AudioFrame)
            yield from self._output.encode(frame)


def _leveller(frame: AudioFrame, start_s: float) -> Graph:
    """Filters that start at a moment, fill gaps with silence, and give stereo frames as AAC wants them."""
    graph = Graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout, time_base=frame.time_base
    )
    resample = graph.add("aresample", f"{_RATE_HZ}:async=1:first_pts={round(start_s * _RATE_HZ)}")
    shape = graph.add("aformat", f"sample_fmts=fltp:channel_layouts=stereo:sample_rates={_RATE_HZ}")
    graph.link_nodes(source, resample, shape, graph.add("abuffersink")).configure()
    graph.set_audio_frame_size(1024)
    return graph


def _sound_that_decodes(path: Path) -> int | None:
    """Index of the best sound stream of a file, None if it has none; raises if nothing of it decodes."""
    source = open_container(path)
    try:
        stream = source.streams.best("audio")
        if not isinstance(stream, AudioStream):
            return None
        for _, packet in zip(range(_TRIED_PACKETS), source.demux(stream)):
            try:
                if stream.decode(packet):
                    return stream.index
            except FFmpegError:
                continue
        raise AvadetError(f"nothing of the {stream.codec_context.name} sound could be decoded")
    finally:
        source.close()
