"""A headless Chromium for tests: started without a network port and driven over a pair of pipes.

Chromium reads commands of its DevTools protocol from file descriptor 3 and answers on 4, JSON ended by a zero byte
(`--remote-debugging-pipe`), so nothing but the standard library is needed.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 30.0
_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--force-device-scale-factor=1",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """The browser's path, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One headless browser with one open page."""

    def __init__(self, size: tuple[int, int] = (1280, 800)) -> None:
        self._size = size
        self._next_id = 0
        self._buffer = b""
        self.errors: list[str] = []
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)

    def __enter__(self) -> Self:
        program = find_chromium()
        assert program is not None
        command_read, self._write = os.pipe()
        self._read, answer_write = os.pipe()
        size = f"--window-size={self._size[0]},{self._size[1]}"
        arguments = (*_FLAGS, f"--user-data-dir={self._home.name}", size, "about:blank")
        inherited = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (command_read, answer_write)]
        script = 'exec "$0" "$@" 3<&{0} 4>&{1} {0}<&- {1}>&-'.format(*inherited)
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, program, *arguments],
            pass_fds=inherited,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (command_read, answer_write, *inherited):
            os.close(end)
        targets = self._command("Target.getTargets", whole=True)["targetInfos"]
        (target,) = (one["targetId"] for one in targets if one["type"] == "page")
        attached = self._command("Target.attachToTarget", whole=True, targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self._command(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._home.cleanup()

    def open(self, url: str) -> None:
        """Go to an address and wait until the page is loaded; forgets earlier errors."""
        self._command("Page.navigate", url="about:blank")
        self.errors.clear()
        self._command("Page.navigate", url=url)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def resize(self, width: int, height: int, *, dark: bool = False, mobile: bool = False) -> None:
        """Set the size of the window, px, and the colours that the user prefers."""
        self._command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, script: str) -> Any:
        """Evaluate a JavaScript expression, or a promise, to its JSON value."""
        answer = self._command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = PATIENCE_S) -> Any:
        """Evaluate an expression again and again until it is true; return it."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if found := self.value(script):
                return found
            time.sleep(0.02)
        raise AssertionError(f"still false after {seconds:g} s: {script}; errors: {self.errors}")

    def key(self, key: str, code: str = "", modifiers: int = 0) -> None:
        """Press and release a key; modifiers: 8 = shift."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self._command("Input.dispatchKeyEvent", type=kind, key=key, code=code, modifiers=modifiers, **text)

    def click(self, x: float, y: float) -> None:
        """Click at a place of the window, px."""
        for kind in ("mousePressed", "mouseReleased"):
            self._command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose_file(self, selector: str, path: Path) -> None:
        """Put a file into a file input."""
        root = self._command("DOM.getDocument")["root"]["nodeId"]
        node = self._command("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._command("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self, *, whole: bool = False) -> bytes:
        """PNG of the window, or of the whole page."""
        return base64.b64decode(self._command("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def _command(self, method: str, *, whole: bool = False, **params: object) -> dict[str, Any]:
        """Send a command to the page, or to the browser as a whole, and return its answer."""
        self._next_id += 1
        message: dict[str, object] = {"id": self._next_id, "method": method, "params": params}
        if not whole:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._next_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        """Remember errors of the page."""
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(event["params"]["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.errors.append(event["params"]["entry"]["text"])

    def _receive(self) -> dict[str, Any]:
        end_s = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(end_s - time.monotonic(), 0))[0]:
                raise AssertionError(f"the browser does not answer within {PATIENCE_S:g} s")
            piece = os.read(self._read, 1 << 16)
            assert piece, "the browser has ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer
