"""A web server on localhost that hangs up or falls silent half-way, with or without saying how much is to come."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class WebServer:
    """Sends the beginning of the same bytes to everybody who asks; requests for a part get all from the start.

    Attributes:
        asked: how many requests came.
    """

    def __init__(self, data: bytes, share: float = 1.0, says_length: bool = True, silent_s: float = 0.0) -> None:
        self._data, self._silent_s = data, silent_s
        self._sent = data[: round(len(data) * share)]
        length = f"Content-Length: {len(data)}\r\n" if says_length else ""
        self._head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n{length}Connection: close\r\n\r\n".encode()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self.asked = 0
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/films/clip.mp4"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> WebServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(timeout=2)

    def _serve(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError):
                client, _ = self._socket.accept()
                self.asked += 1
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.recv(65536)
            client.sendall(self._head + self._sent)
            until_s = time.monotonic() + self._silent_s
            while time.monotonic() < until_s and not self._stop.is_set():
                time.sleep(0.05)
