"""A sender on localhost for tests of live streams: MPEG-TS over TCP or HTTP at the rate of a camera."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import av
import numpy as np

FPS = 25
HTTP_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n"


class Sent(NamedTuple):
    """Bytes that a sender sends at a moment, seconds after the client came."""

    time_s: float
    data: bytes


class _Sink:
    """A file that only takes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += bytes(data)
        return len(data)

    def take(self) -> bytes:
        taken, self.data = self.data, b""
        return taken


def encoded(images: Sequence[np.ndarray], fps: int = FPS, key_every: int = 10) -> list[Sent]:
    """Pictures (H, W, 3) as MPEG-TS, one piece each."""
    sink, pieces = _Sink(), []
    options = {"preset": "ultrafast", "tune": "zerolatency"}
    with av.open(sink, "w", format="mpegts", options={"flush_packets": "1"}) as output:
        stream = output.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        stream.codec_context.gop_size = key_every
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
            pieces.append(Sent(index / fps, sink.take()))
    return pieces


def squares(seconds: float, fps: int = FPS, size_hw: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """A bright square that moves over a dark ground; see `staged.BrightSquare`."""
    height, width = size_hw
    images = []
    for index in range(round(seconds * fps)):
        image = np.full((height, width, 3), 30, np.uint8)
        left = round(index / (seconds * fps) * (width - 16))
        image[16:32, left : left + 16] = 220
        images.append(image)
    return images


class Sender:
    """Sends the same pieces, at their moments, to every client that comes; one at a time, `clients` in all."""

    def __init__(self, pieces: Sequence[Sent], clients: int = 1, head: bytes = b"") -> None:
        self._pieces, self._clients, self._head = pieces, clients, head
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"tcp://127.0.0.1:{self.port}"
        self.http_url = f"http://127.0.0.1:{self.port}/stream"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(timeout=2)

    def _serve(self) -> None:
        for _ in range(self._clients):
            with suppress(OSError):
                client, _ = self._socket.accept()
                with client:
                    self._send(client)
        with suppress(OSError):
            self._socket.close()

    def _send(self, client: socket.socket) -> None:
        began_s = time.monotonic()
        client.sendall(self._head)
        for piece in self._pieces:
            if self._stop.wait(max(began_s + piece.time_s - time.monotonic(), 0)):
                return
            client.sendall(piece.data)
