"""Who holds a case: one writer at a time, known by name, and taken over only when it is gone."""

from __future__ import annotations

import getpass
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from stainloom.errors import CaseError
from stainloom.io.files import disk_errors, process_alive, read_json, write_json
from stainloom.wording import moment

_log = logging.getLogger(__name__)

STALE_S = 60.0
"""A heartbeat older than this belongs to a holder that is gone."""

BEAT_S = 10.0
"""How often a holder shows that it lives."""

_HOLDER_MOST_BYTES = 4096
_TRIES = 5


@dataclass(frozen=True)
class Holder:
    """Who holds a case.

    Attributes
    ----------
    host
        Name of the machine.
    process
        Number of the process there.
    user
        Name of the account.
    since
        When it took the case: UTC, ISO 8601.
    token
        Tells this hold from every other.
    heartbeat_s
        Seconds since it last showed that it lives.
    """

    host: str
    process: int
    user: str
    since: str
    token: str
    heartbeat_s: float

    @property
    def gone(self) -> bool:
        """Whether it may be taken over: its process ended on this machine, or its heartbeat is older than a minute."""
        ended = self.host == socket.gethostname() and not process_alive(self.process)
        return ended or self.heartbeat_s > STALE_S

    @property
    def said(self) -> str:
        """In words, for messages."""
        return f"{self.user} on {self.host} (process {self.process}) since {moment(self.since)}"


def read_holder(path: Path) -> Holder | None:
    """The holder that a file names, gone or not; None where there is no file.

    A file that cannot be read counts as held for as long as a heartbeat: its writer may be about to finish it.
    """
    try:
        beat = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    try:
        content = read_json(path, _HOLDER_MOST_BYTES)
        return Holder(
            str(content["host"]),
            int(content["process"]),
            str(content["user"]),
            str(content["since"]),
            str(content["token"]),
            beat,
        )
    except (CaseError, KeyError, TypeError, ValueError):
        if not path.exists():
            return None
        return Holder("an unknown machine", 0, "somebody", "an unknown time", "", beat)


class Hold:
    """The hold of one case, from entering the block to leaving it; a thread shows every ten seconds that it lives.

    Parameters
    ----------
    path
        The holder's file, `holder.json` in the folder of the case.
    case
        Name of the case, for messages.

    Notes
    -----
    The file is written beside and linked into place, so that it is there whole or not at all and only one of two can
    win. It is never rewritten: the heartbeat is its time of change. Claims on one machine come one after the other, by a
    lock of the system that ends with its process. Where a share has no such locks, a stale file that is renamed away is
    looked at once more before it is dropped, because another may have taken the case in between; there a hold is a
    courtesy, as every lock.
    """

    def __init__(self, path: Path, case: str) -> None:
        self._path = path
        self._case = case
        self._token = ""
        self._left = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Hold:
        with _one_at_a_time(self._path.with_name(".holder.lock")):
            for _ in range(_TRIES):
                held = read_holder(self._path)
                if held is not None and not held.gone:
                    raise self._refusal(held)
                if held is not None:
                    self._put_aside(held)
                if self._claim():
                    break
            else:
                raise CaseError(f"case {self._case} could not be held", next="try again in a minute")
        self._left.clear()
        self._thread = threading.Thread(target=self._beat, name=f"hold {self._case}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let the case go; nothing happens where it was let go before or taken over."""
        self._left.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._token and self.held:
            with suppress(OSError):
                self._path.unlink()
        self._token = ""

    @property
    def held(self) -> bool:
        """Whether the case is still ours: a machine that slept for longer than a minute may have lost it."""
        now = read_holder(self._path)
        return bool(self._token) and now is not None and now.token == self._token

    def check(self) -> None:
        """`CaseError` where the case is no longer ours. To be asked before each write that only the holder may make."""
        if not self.held:
            now = read_holder(self._path)
            raise CaseError(
                f"case {self._case} was taken over",
                expected="this window to hold it",
                found=now.said if now else "nobody holds it now",
                next="open the case again; what was stored is kept",
            )

    def _refusal(self, held: Holder) -> CaseError:
        return CaseError(
            f"case {self._case} is in use",
            expected="nobody to hold it",
            found=f"held by {held.said}",
            next=f"close it there, or wait: a holder that has been silent for {STALE_S:.0f} s is taken over",
        )

    def _claim(self) -> bool:
        self._token = secrets.token_hex(8)
        content = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "user": _user(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "token": self._token,
        }
        beside = self._path.with_name(f".{self._path.name}.{self._token}")
        with disk_errors(self._path):
            try:
                write_json(beside, content)
                try:
                    os.link(beside, self._path)
                except FileExistsError:
                    return False
                except OSError:  # a file system without links: exclusive, if not whole at once
                    return self._write_exclusively(beside.read_bytes())
            finally:
                with suppress(OSError):
                    beside.unlink()
        return True

    def _write_exclusively(self, data: bytes) -> bool:
        try:
            with open(self._path, "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def _put_aside(self, stale: Holder) -> None:
        aside = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        with disk_errors(self._path):
            try:
                os.rename(self._path, aside)
            except FileNotFoundError:
                return
            taken = read_holder(aside)
            if taken is not None and taken.token != stale.token:
                with suppress(OSError):
                    os.link(aside, self._path)
            aside.unlink()

    def _beat(self) -> None:
        while not self._left.wait(BEAT_S):
            if self.held:
                with suppress(OSError):
                    os.utime(self._path)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with disk_errors(path), open(path, "ab") as file:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined, unused-ignore]
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            _log.info("no locks in %s: %s", path.parent, error)
        yield


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "somebody"
