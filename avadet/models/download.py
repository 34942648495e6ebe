"""Fetching published weights: into a cache folder, with a progress bar, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.progress import progress_bar

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30


def cache_folder() -> Path:
    """Where downloaded weights are kept: $AVADET_CACHE, or ~/.cache/avadet."""
    return Path(os.environ.get("AVADET_CACHE") or "~/.cache/avadet").expanduser()


def download(url: str, path: Path, sha256: str = "") -> None:
    """Fetch a file with a progress bar on stderr; it stands at `path` only once it is whole.

    Args:
        url: what to fetch.
        path: where to put it.
        sha256: first digits of its SHA-256, as publishers put them into file names; "" = not known, not checked.

    Raises:
        AvadetError: if it cannot be fetched or is not the file it should be; says what to fetch by hand and where to
            put it.
    """
    digest = hashlib.sha256()
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer,
            whole_file(path) as partial,
            partial.open("wb") as file,
        ):
            total = int(answer.headers.get("Content-Length") or 0)
            with progress_bar(total=total or None, desc=path.name, unit="B", unit_scale=True) as bar:
                while chunk := answer.read(CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
            if total and file.tell() != total:
                raise OSError(f"the connection ended after {file.tell()} of {total} bytes")
            if not digest.hexdigest().startswith(sha256):
                raise OSError(f"its SHA-256 begins with {digest.hexdigest()[: len(sha256)]}, expected {sha256}")
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise AvadetError(
            f"cannot download {url}: {reason}; fetch it on a machine with a network and put it at {path}"
        ) from error
