"""Object code on disk: found again when it is whole and surely the user's own, else compiled anew without a word."""

import builtins
import errno
import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chainrule.engine import cache, native
from chainrule.engine.cache import folder_path, load, store
from chainrule.engine.program import Program
from chainrule.engine.target import host, runnable
from chainrule.engine.trace import trace

KEY, OTHER = "a" * 64, "b" * 64
CODE = bytes(range(256)) * 4

only_posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are POSIX's")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, not made yet; what this machine is, which is kept as well, is known before."""
    runnable()
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_stored_is_found_again(folder: Path) -> None:
    assert load(KEY) is None
    store(KEY, CODE)
    store(OTHER, b"")
    assert (load(KEY), load(OTHER)) == (CODE, b"")
    assert sorted(os.listdir(folder)) == [f"{KEY}.o", f"{OTHER}.o"]


def test_a_new_entry_takes_the_place_of_the_old() -> None:
    store(KEY, CODE)
    store(KEY, b"newer")
    assert load(KEY) == b"newer"


@only_posix
def test_the_folder_and_its_files_are_the_users_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        store(KEY, CODE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{KEY}.o").stat().st_mode) == 0o600


# --- What is on disk is not what was stored ---


@pytest.mark.parametrize("place", [0, 20, 30, 60, -1])
def test_an_entry_with_one_changed_bit_is_not_there(folder: Path, place: int) -> None:
    store(KEY, CODE)
    entry = folder / f"{KEY}.o"
    content = bytearray(entry.read_bytes())
    content[place] ^= 1
    entry.write_bytes(content)
    assert load(KEY) is None
    store(KEY, CODE)
    assert load(KEY) == CODE


@pytest.mark.parametrize("length", [0, 10, 40, 100, -1])
def test_a_truncated_entry_is_not_there(folder: Path, length: int) -> None:
    store(KEY, CODE)
    entry = folder / f"{KEY}.o"
    entry.write_bytes(entry.read_bytes()[:length])
    assert load(KEY) is None


def test_an_entry_under_another_key_is_not_there(folder: Path) -> None:
    store(KEY, CODE)
    os.replace(folder / f"{KEY}.o", folder / f"{OTHER}.o")
    assert load(OTHER) is None


def test_an_entry_of_another_format_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(cache, "_HEADER", b"chainrule 0\n")
        store(KEY, CODE)
        assert load(KEY) == CODE
    assert load(KEY) is None


def test_the_format_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = native.key_of("text", host())
    monkeypatch.setattr(cache, "FORMAT", "another")
    assert native.key_of("text", host()) != key


# --- Somebody else could have written it ---


@only_posix
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(folder: Path, mode: int) -> None:
    store(KEY, CODE)
    folder.chmod(mode)
    assert load(KEY) is None
    store(OTHER, CODE)
    assert not (folder / f"{OTHER}.o").exists()


@only_posix
@pytest.mark.parametrize("mode", [0o660, 0o602])
def test_a_file_that_others_may_write_to_is_refused(folder: Path, mode: int) -> None:
    store(KEY, CODE)
    (folder / f"{KEY}.o").chmod(mode)
    assert load(KEY) is None


@only_posix
def test_what_belongs_to_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(KEY, CODE)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert load(KEY) is None
    store(OTHER, CODE)
    assert not (folder / f"{OTHER}.o").exists()


@only_posix
def test_a_folder_that_is_a_symbolic_link_is_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)
    store(KEY, CODE)
    assert not list(elsewhere.iterdir())


@only_posix
def test_a_file_that_is_a_symbolic_link_is_neither_read_nor_followed_when_written(folder: Path, tmp_path: Path) -> None:
    store(KEY, CODE)
    entry, target = folder / f"{KEY}.o", tmp_path / "target"
    os.replace(entry, target)
    entry.symlink_to(target)
    assert load(KEY) is None
    before = target.read_bytes()
    store(KEY, b"newer")
    assert target.read_bytes() == before
    assert not entry.is_symlink()
    assert load(KEY) == b"newer"


@only_posix
def test_what_is_no_file_is_not_there_and_nobody_waits_for_it(folder: Path) -> None:
    store(KEY, CODE)
    os.mkfifo(folder / f"{OTHER}.o", 0o600)
    assert load(OTHER) is None
    (folder / f"{'c' * 64}.o").mkdir()
    assert load("c" * 64) is None
    store("c" * 64, CODE)
    assert load("c" * 64) is None
    assert sorted(os.listdir(folder)) == [f"{KEY}.o", f"{OTHER}.o", f"{'c' * 64}.o"]


# --- It cannot be written ---


def test_a_file_in_the_folders_place_is_no_error(folder: Path) -> None:
    folder.write_text("mine")
    store(KEY, CODE)
    assert load(KEY) is None
    assert folder.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file")
    monkeypatch.setenv("CHAINRULE_CACHE", str(folder / "below" / "it"))
    store(KEY, CODE)
    assert load(KEY) is None


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(OTHER, CODE)
    opened = builtins.open

    class Full:
        def __init__(self, file) -> None:
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error) -> None:
            self.file.close()

        def write(self, content: bytes) -> None:
            self.file.write(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(builtins, "open", lambda file, mode: Full(opened(file, mode)))
    store(KEY, CODE)
    monkeypatch.undo()
    assert os.listdir(folder) == [f"{OTHER}.o"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_still_read(folder: Path) -> None:
    store(KEY, CODE)
    folder.chmod(0o500)
    try:
        store(OTHER, CODE)
        assert load(KEY) == CODE
        assert load(OTHER) is None
    finally:
        folder.chmod(0o700)


def test_no_home_folder_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CHAINRULE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lost)
    store(KEY, CODE)
    assert load(KEY) is None


# --- How much, and where ---


def test_what_was_used_longest_ago_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [letter * 64 for letter in "abc0"]
    for age, key in zip([40, 30, 20], keys, strict=False):
        store(key, CODE)
        moment = (folder / f"{key}.o").stat().st_mtime - age
        os.utime(folder / f"{key}.o", (moment, moment))
    assert load(keys[0]) == CODE  # used just now
    monkeypatch.setattr(cache, "LIMIT", 3 * (folder / f"{KEY}.o").stat().st_size)
    store(keys[3], CODE)
    assert [load(key) is not None for key in keys] == [True, False, True, True]


def test_what_a_killed_process_left_goes_too_but_never_what_others_keep_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(KEY, CODE)
    left, foreign = folder / f"{OTHER}.0123456789abcdef.part", folder / "notes.o"
    for path in (left, foreign):
        path.write_bytes(CODE)
        os.utime(path, (1, 1))
    monkeypatch.setattr(cache, "LIMIT", 3000)
    store("0" * 64, CODE)
    assert sorted(os.listdir(folder)) == [f"{'0' * 64}.o", f"{KEY}.o", "notes.o"]


def test_it_stays_below_its_limit_give_or_take_a_few_entries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 20_000)
    for number in range(200):
        store(hashlib.sha256(str(number).encode()).hexdigest(), CODE)
    assert 10_000 < sum(entry.stat().st_size for entry in folder.iterdir()) < 20_000 + 64 * 1100


def test_the_folder_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHAINRULE_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for platform, variable, value, expected in [
        ("linux", "XDG_CACHE_HOME", str(tmp_path / "xdg"), tmp_path / "xdg" / "chainrule"),
        ("linux", "XDG_CACHE_HOME", "relative", tmp_path / ".cache" / "chainrule"),
        ("linux", "XDG_CACHE_HOME", "", tmp_path / ".cache" / "chainrule"),
        ("darwin", "XDG_CACHE_HOME", "", tmp_path / "Library" / "Caches" / "chainrule"),
        ("win32", "LOCALAPPDATA", str(tmp_path / "local"), tmp_path / "local" / "chainrule"),
    ]:
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setenv(variable, value)
        assert folder_path() == expected


def test_off_switches_it_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAINRULE_CACHE", "off")
    store(KEY, CODE)
    assert load(KEY) is None
    assert not list(tmp_path.iterdir())


# --- With the compiler ---

PROCESS = """
import numpy as np
import chainrule as cr
from chainrule.engine import native

compiled = []
optimised = native._optimised
native._optimised = lambda *given: compiled.append(1) or optimised(*given)
step = cr.compile(lambda x: cr.sum(cr.tanh(x) * 3, axis=1))
print(len(compiled), step(np.arange(6, dtype="f").reshape(2, 3)).tolist(), len(compiled))
"""


def test_the_next_process_finds_the_code_and_computes_the_same(folder: Path) -> None:
    def run() -> str:
        return subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True).stdout

    first, second = run(), run()
    assert first.startswith("0 [")
    assert first.endswith("1\n")
    assert second == first[:-2] + "0\n"
    for entry in folder.iterdir():
        entry.write_bytes(entry.read_bytes()[:-1])
    assert run() == first


def test_code_from_the_cache_runs(folder: Path) -> None:
    def program() -> Program:
        return Program(trace(lambda x: x * 2.5 + 1, np.zeros(5, "f")))

    x = np.arange(5, dtype="f")
    expected = program()(x)[0]
    assert len(os.listdir(folder)) == 2  # a recipe, and the code
    native._engines.clear()
    np.testing.assert_array_equal(program()(x)[0], expected)
