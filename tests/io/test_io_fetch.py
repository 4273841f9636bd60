"""Files from a home: right ones are kept, others refused, and the way without a network is said."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stainloom.errors import SlideError
from stainloom.io.fetch import Wanted, fetch_files, is_whole

_CONTENT = b"five stains of one block"
_FILE = Wanted("a/HE.jpg", "far/he.jpg", hashlib.sha256(_CONTENT).hexdigest(), len(_CONTENT))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A test prints nothing."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on this machine, and the folder that it serves."""
    folder = tmp_path / "home"
    (folder / "far").mkdir(parents=True)
    (folder / "far" / "he.jpg").write_bytes(_CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_missing_file_is_fetched_once(home: tuple[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "kept"
    fetch_files(home[0], (_FILE,), target)
    assert is_whole(target / "a" / "HE.jpg", _FILE)
    (home[1] / "far" / "he.jpg").unlink()
    fetch_files(home[0], (_FILE,), target)


@pytest.mark.parametrize("content", [b"another picture entirely", _CONTENT[:-1], _CONTENT + b"x" * 10_000])
def test_a_file_that_is_another_is_refused_and_not_kept(home: tuple[str, Path], tmp_path: Path, content: bytes) -> None:
    (home[1] / "far" / "he.jpg").write_bytes(content)
    with pytest.raises(SlideError, match=r"HE\.jpg.*SHA-256.*without a network"):
        fetch_files(home[0], (_FILE,), tmp_path / "kept")
    assert not (tmp_path / "kept" / "a" / "HE.jpg").exists()


def test_a_home_that_is_away_says_how_to_do_without(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="on another machine and put it into"):
        fetch_files("http://127.0.0.1:9", (_FILE,), tmp_path / "kept")


def test_only_https_leaves_this_machine(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        fetch_files("http://example.org", (_FILE,), tmp_path)
