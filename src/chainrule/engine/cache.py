"""What compiling has found out, kept on disk, so that the next process need not compile again.

There are three sorts of entries: object code, recipes of programs, and what LLVM says of this machine. Code that is
loaded is run, so nobody but the user may have written it: the folder and every file in it must belong to the user and
be writable by no one else, and neither may be a symbolic link. A file opens with the format, then a checksum of key and
content, then the content. Whatever goes wrong (a full disk, a read-only folder, a damaged, truncated, foreign or older
file) means that the entry is not there: it is made again, and nobody hears of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

FORMAT = "4"  # changes when what is in the entries, or what object code expects of its caller, changes
VARIABLE = "CHAINRULE_CACHE"  # the environment variable that names another folder, or is "off"
LIMIT = 256 * 2**20  # bytes in the folder; past it the files that were used longest ago are removed

_HEADER = f"chainrule {FORMAT}\n".encode()
_OURS = re.compile(r"[0-9a-f]{64}\.(o|\w+\.part)")  # never touch what somebody else keeps in the folder
# Where there is no such flag (Windows), the user's own folders are closed to others by the system.
_NO_LINK, _DIRECTORY = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_DIRECTORY", 0)
_FILE = _NO_LINK | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait at a pipe in a file's place
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def key_of(*parts: str) -> str:
    """A name for what depends on these texts, and on nothing else but the format."""
    return hashlib.sha256("\0".join([*parts, FORMAT]).encode()).hexdigest()


def load(key: str) -> bytes | None:
    """What is stored under `key`, if there is anything and it is whole."""
    try:
        with _opened(create=False) as folder:
            return folder.read(key)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return None


def store(key: str, content: bytes) -> None:
    """Keep something under `key`, if that is possible."""
    with suppress(OSError, RuntimeError), _opened(create=True) as folder:
        folder.write(key, content)
        if key.startswith("0"):  # one in sixteen, because looking at all that is there takes its time
            folder.shrink(LIMIT)


def folder_path() -> Path | None:
    """The folder, whether or not it exists; None if the cache is switched off."""
    named = os.environ.get(VARIABLE)
    if named == "off":
        return None
    if named:
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "chainrule"
    system = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    return (Path(system) if os.path.isabs(system) else Path.home() / ".cache") / "chainrule"


@contextmanager
def _opened(*, create: bool) -> Iterator[_Folder]:
    """The folder, if it can be trusted; raises `OSError` where there is none."""
    path = folder_path()
    if path is None:
        raise FileNotFoundError("the cache is switched off")
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    if os.open not in os.supports_dir_fd:
        yield _Folder(path, None)
        return
    descriptor = os.open(path, os.O_RDONLY | _DIRECTORY | _NO_LINK)
    try:
        _check(os.fstat(descriptor), stat.S_ISDIR)
        yield _Folder(path, descriptor)
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, is_right_kind: Callable[[int], bool]) -> None:
    """Raise `OSError` unless this is what it should be, ours, and only ours to write."""
    ours = not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE)
    if not (ours and is_right_kind(status.st_mode)):
        raise PermissionError("somebody else could have written this")


class _Folder:
    """The open folder. Names are looked up in the very folder that was checked, wherever its path leads by now."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path, self._descriptor = path, descriptor

    @contextmanager
    def _open(self, name: str, flags: int, mode: str) -> Iterator[IO[bytes]]:
        descriptor = os.open(self._at(name), flags | _FILE, 0o600, dir_fd=self._descriptor)
        try:
            _check(os.fstat(descriptor), stat.S_ISREG)
        except OSError:
            os.close(descriptor)
            raise
        with open(descriptor, mode) as file:
            yield file

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else str(self._path / name)

    def read(self, key: str) -> bytes | None:
        """The content under a key; None if it is not what was stored."""
        with self._open(f"{key}.o", os.O_RDONLY, "rb") as file:
            found = file.read()
            content = found[len(_HEADER) + hashlib.sha256().digest_size :]
            if found != _sealed(key, content):
                return None
            with suppress(OSError):
                os.utime(file.fileno() if os.utime in os.supports_fd else self._at(f"{key}.o"))  # used now
            return content

    def write(self, key: str, content: bytes) -> None:
        """Write under a name of its own, then rename, so that nobody ever sees a part.

        It does not wait for the disk (that takes up to 50 ms): what a power failure leaves fails its checksum.
        """
        aside = f"{key}.{os.urandom(8).hex()}.part"
        try:
            with self._open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, "wb") as file:
                file.write(_sealed(key, content))
            places = (self._at(aside), self._at(f"{key}.o"))
            os.replace(*places, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            self._remove(aside)
            raise

    def shrink(self, limit: int) -> None:
        """Remove what was used longest ago until the rest takes `limit` bytes at most."""
        with os.scandir(self._path if self._descriptor is None else self._descriptor) as entries:
            found = [
                (entry.stat(follow_symlinks=False), entry.name) for entry in entries if _OURS.fullmatch(entry.name)
            ]
        total = sum(status.st_size for status, _ in found)
        for status, name in sorted(found, key=lambda each: each[0].st_mtime_ns):
            if total <= limit:
                break
            self._remove(name)
            total -= status.st_size

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(self._at(name), dir_fd=self._descriptor)


def _sealed(key: str, content: bytes) -> bytes:
    return _HEADER + hashlib.sha256(key.encode() + content).digest() + content
