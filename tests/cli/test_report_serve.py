"""`avadet report serve`: ranges, what it serves and what it does not, and how it ends."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from each_case import each_case

from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.inference.report.server import find_reports, make_server, wanted_range

REPORT = '<!doctype html><meta name="application-name" content="avadet report"><title>{}</title>'
BYTES = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports and videos among things that are nobody's business, inside the folder and outside."""
    outside = tmp_path_factory.mktemp("outside")
    folder = outside / "served"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (outside / "secret.mp4").write_bytes(b"secret")
    for path in (folder / "clip.html", folder / "deep" / "<b> #1%.html", folder / ".hidden" / "clip.html"):
        path.write_text(REPORT.format("clip"))
    for path in (folder / "clip.mp4", folder / "deep" / "a b.mkv", folder / ".hidden" / "clip.mp4"):
        path.write_bytes(BYTES)
    (folder / "other.html").write_text("<script>alert(1)</script>")
    (folder / "notes.txt").write_text("private")
    (folder / "link.mp4").symlink_to(outside / "secret.mp4")
    (folder / "up").symlink_to(outside)
    (folder / "twin.mp4").symlink_to(folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with make_server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def get(port: int, way: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request; the address goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, way, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_a_video_whole_and_in_parts(port: int) -> None:
    status, headers, body = get(port, "/clip.mp4")
    assert (status, body == BYTES, headers["Content-Type"], headers["Accept-Ranges"]) == (
        200,
        True,
        "video/mp4",
        "bytes",
    )
    status, headers, body = get(port, "/clip.mp4", Range="bytes=1000-1999")
    assert (status, body, headers["Content-Range"]) == (206, BYTES[1000:2000], f"bytes 1000-1999/{len(BYTES)}")
    assert headers["Content-Length"] == "1000"
    assert get(port, "/clip.mp4", Range=f"bytes={len(BYTES) - 5}-")[2] == BYTES[-5:]
    assert get(port, "/clip.mp4", Range="bytes=-7")[2] == BYTES[-7:]
    status, headers, body = get(port, "/clip.mp4", Range=f"bytes={len(BYTES)}-")
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{len(BYTES)}")


def test_head_has_the_headers_alone(port: int) -> None:
    status, headers, body = get(port, "/clip.mp4", "HEAD", Range="bytes=0-9")
    assert (status, headers["Content-Length"], body) == (206, "10", b"")
    assert get(port, "/", "HEAD")[2] == b""


def test_a_changed_video_comes_whole(port: int) -> None:
    modified = get(port, "/clip.mp4", "HEAD")[1]["Last-Modified"]
    assert get(port, "/clip.mp4", Range="bytes=0-9", If_Range=modified)[0] == 206
    assert get(port, "/clip.mp4", Range="bytes=0-9", If_Range="Mon, 01 Jan 2001 00:00:00 GMT")[0] == 200


@each_case(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 0)),
        ("bytes=3-", (3, 9)),
        ("bytes=3-99", (3, 9)),
        ("bytes=-4", (6, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 100 + "-", None),
    ],
)
def test_ranges_by_hand(header: str | None, expected: tuple[int, int] | None) -> None:
    assert wanted_range(header, 10) == expected


@each_case(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_ranges_without_a_byte(header: str, size: int) -> None:
    with pytest.raises(ValueError, match="no byte"):
        wanted_range(header, size)


def test_reports_and_videos_are_served(port: int) -> None:
    assert get(port, "/clip.html")[1]["Content-Type"] == "text/html; charset=utf-8"
    assert get(port, "/deep/" + quote("<b> #1%.html"))[0] == 200
    assert get(port, "/deep/a%20b.mkv?x=1")[1]["Content-Type"] == "video/x-matroska"
    assert get(port, "/twin.mp4")[2] == BYTES, "a link within the folder is followed"


@each_case(
    "way",
    [
        *("/notes.txt", "/other.html", "/missing.mp4", "/deep", "/deep/", "/./clip.mp4", "/deep//a%20b.mkv"),
        *("/../secret.mp4", "/%2e%2e/secret.mp4", "/..%2fsecret.mp4", "/deep/../../secret.mp4", "/%2e%2e%2fsecret.mp4"),
        *("/link.mp4", "/up/secret.mp4", "/.hidden/clip.mp4", "/.hidden/clip.html", "/clip.mp4%00", "/%2fetc%2fpasswd"),
        *("http://127.0.0.1/notes.txt", "clip.mp4", "*", "/clip.mp4/", "/clip.mp4/x.mp4", "/%ff.mp4"),
    ],
)
def test_nothing_else_is(port: int, way: str) -> None:
    status, _, body = get(port, way)
    assert (status, body) == (404, b"")


@each_case("host", ["evil.example", "evil.example:8008", "localhost.evil.example", "127.0.0.1.evil", "", "a@localhost"])
def test_no_other_site_reaches_in_under_its_own_name(port: int, host: str) -> None:
    assert get(port, "/clip.mp4", Host=host)[0] == 403


@each_case("host", ["localhost", "LOCALHOST:9999", "127.0.0.1:1", "[::1]:8008"])
def test_tunnels_come_by_other_ports(port: int, host: str) -> None:
    assert get(port, "/clip.mp4", "HEAD", Host=host)[0] == 200


def test_only_reading_is_possible(port: int) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(port, "/clip.mp4", method)[0] == 501


def test_the_index_lists_reports_and_nothing_else(port: int, folder: Path) -> None:
    status, headers, body = get(port, "/")
    html = body.decode()
    assert status == 200
    assert re.findall(r'href="([^"]*)">', html) == ["data:,", "clip.html", "deep/%3Cb%3E%20%231%25.html"]
    assert "deep/&lt;b&gt; #1%" in html
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert [path.name for path in find_reports(folder)] == ["clip.html", "<b> #1%.html"]


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with make_server(tmp_path, 0) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert "avadet infer" in get(server.server_port, "/")[2].decode()
        thread.join()


def test_a_taken_port_and_a_missing_folder(folder: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "serve", str(folder), "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"avadet: error: cannot listen on port {port}: Address already in use; choose another --port\n"
    )
    with pytest.raises(AvadetError, match="no such folder"):
        make_server(folder / "none", 0)
    with pytest.raises(SystemExit):
        main(["report", "serve", "--port", "70000"])


def test_it_listens_to_this_machine_alone(folder: Path) -> None:
    with make_server(folder, 0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_ctrl_c_ends_it_quietly(folder: Path) -> None:
    command = [sys.executable, "-m", "avadet", "report", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", lines[0])
        assert lines[0].startswith(f"2 reports in {folder}: ")
        assert f"ssh -L {port}:127.0.0.1:{port} " in lines[1]
        assert get(int(port), "/clip.mp4", "HEAD")[0] == 200
        process.send_signal(signal.SIGINT)
        try:
            rest, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, rest.strip(), said) == (0, "", "")
