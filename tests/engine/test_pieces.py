"""Modules compiled in pieces: the same functions and the same bits, whatever the number of pieces and of threads."""

import ctypes
import os
import re
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine import image, llvm, native
from chainrule.engine.image import Image, UnexpectedError
from chainrule.engine.native import Native, ahead, at_once
from chainrule.engine.pieces import pieces
from chainrule.engine.program import Program
from chainrule.engine.target import host
from chainrule.engine.trace import Traced, trace

X, Y = np.linspace(-1, 1, 60, dtype="f").reshape(20, 3), np.arange(20, dtype=np.int64) % 4
in_pieces = pytest.mark.skipif(not image.is_possible(), reason="pieces are bound by images, which this system has not")
SEVEN = "define i64 @seven() {\n  ret i64 7\n}"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is compiled yet."""
    monkeypatch.setattr(native, "_engines", OrderedDict())
    monkeypatch.setattr(native, "_ahead", {})
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))


def step() -> Traced:
    """One step of training, of many kernels; it begins with the same numbers every time."""
    cr.random.seed(0)
    net = nn.Sequential(nn.Dense(3, 24), nn.ReLU(), nn.Dense(24, 17), nn.Tanh(), nn.Dense(17, 4))
    optimizer = cr.optim.Adam(0.01)

    def f(x, y):
        loss = cr.losses.cross_entropy(net(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss, net(x)

    return trace(f, X, Y)


def trained() -> bytes:
    """The results of some steps."""
    program = Program(step())
    return b"".join(array.tobytes() for _ in range(3) for array in program(X, Y))


def text() -> str:
    return Program(step()).module.text


def defined(part: str) -> list[str]:
    return re.findall(r"^define (?!internal).*?@([\w.]+)\(", part, re.MULTILINE)


def reached(whole: str) -> set[str]:
    """The functions of a module that others may call, and all that those call."""
    bodies = {re.search(r"@([\w.]+)\(", body)[1]: body for body in re.findall(r"^define .*?^}", whole, re.M | re.S)}
    found = [name for name, body in bodies.items() if not body.startswith("define internal ")]
    for name in found:  # it grows meanwhile
        found += {*re.findall(r"call .*?@([\w.]+)\(", bodies[name])} & {*bodies} - {*found}
    return {*found}


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_every_function_that_others_may_call_stands_in_one_piece(most: int) -> None:
    whole = text()
    parts = pieces(whole, most)
    assert len(parts) == min(most, whole.count("\n") // 400)
    assert len(parts) == 1 or parts != [whole]
    names = [name for part in parts for name in defined(part)]
    assert len(names) == len({*names})
    assert {*re.findall(r"^define .*?@([\w.]+)\(", "\n".join(parts), re.MULTILINE)} == (
        reached(whole) if len(parts) > 1 else {*re.findall(r"^define .*?@([\w.]+)\(", whole, re.MULTILINE)}
    )
    lengths = [part.count("\n") for part in parts]
    assert min(lengths) > sum(lengths) / len(parts) / 2


def test_what_is_short_or_holds_something_else_stays_whole() -> None:
    long = "\n".join(f"define void @f{number}() {{\n  ret void\n}}" for number in range(400))
    assert pieces(SEVEN, 8) == [SEVEN]
    assert len(pieces(long, 2)) == 2
    assert pieces(f"@word = internal global i64 7\n{long}", 2) == [f"@word = internal global i64 7\n{long}"]


@in_pieces
@pytest.mark.parametrize("most", [2, 5])
def test_pieces_compute_the_same_bits_as_the_whole(most: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = []
    for cores in (1, most):
        monkeypatch.setattr(native, "_cores", lambda cores=cores: cores)
        monkeypatch.setattr(native, "_engines", OrderedDict())
        monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / f"for {cores}"))
        found.append(trained())
    assert found[0] == found[1]


@in_pieces
def test_a_damaged_entry_of_several_files_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "_cores", lambda: 3)
    made = []
    compiled = native._compiled
    monkeypatch.setattr(native, "_compiled", lambda parts, target: made.append(len(parts)) or compiled(parts, target))
    first = trained()
    assert made.count(3) == 1
    native._engines.clear()
    assert trained() == first
    assert made.count(3) == 1
    native._engines.clear()
    for entry in (tmp_path / "cache").iterdir():
        content = bytearray(entry.read_bytes())
        content[-100] ^= 1
        entry.write_bytes(content)
    assert trained() == first
    assert made.count(3) == 2


def test_entries_hold_what_was_put_in() -> None:
    for codes in ([b"one"], [b"one", b"", b"three" * 100]):
        assert native._parted(native._joined(codes)) == codes


def test_an_error_in_one_piece_is_told() -> None:
    with pytest.raises(cr.ChainruleError, match=r"LLVM refuses what was emitted.*\n?.*nobody"):
        native._compiled([SEVEN, SEVEN.replace("ret i64 7", "ret i64 %nobody"), SEVEN], host())


@in_pieces
def test_what_cannot_be_bound_is_compiled_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*codes: bytes) -> Image:
        raise UnexpectedError("a test")

    monkeypatch.setattr(native, "_cores", lambda: 2)
    expected = trained()
    native._engines.clear()
    monkeypatch.setattr(native, "Image", refusing)
    for _ in range(2):  # the second time the code is in the cache
        native._engines.clear()
        program = Program(step())
        assert isinstance(program.native._linked, native._Engine)
        assert b"".join(array.tobytes() for _ in range(3) for array in program(X, Y)) == expected


# --- Files that call each other ---

CALLER = "declare hidden i64 @{0}(i64)\ndefine i64 @caller(i64 %x) {{\n  %y = call i64 @{0}(i64 %x)\n  ret i64 %y\n}}"
CALLED = "define {0} i64 @called(i64 %x) {{\n  %y = mul i64 %x, 7\n  ret i64 %y\n}}"


@in_pieces
def test_a_name_is_found_in_another_file_wherever_that_stands() -> None:
    codes = native._compiled([CALLER.format("called"), CALLED.format("hidden")], host())
    for order in (codes, codes[::-1]):
        made = Image(*order)
        assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(made.address("caller"))(6) == 42


@in_pieces
def test_a_name_that_only_its_own_file_knows_is_not_found_from_another() -> None:
    codes = native._compiled([CALLER.format("called"), CALLED.format("internal")], host())
    with pytest.raises(UnexpectedError, match="called is not there"):
        Image(*codes)


@in_pieces
def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(UnexpectedError, match="two functions of one name"):
        Image(*native._compiled([SEVEN, SEVEN], host()))


# --- Threads ---


def test_without_another_way_in_llvmlite_is_called_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = pieces(text(), 2)
    expected = native._compiled(parts, host())
    assert llvm._unlocked("LLVMPY_TargetMachineEmitToMemory", 4)
    assert llvm._unlocked("LLVMPY_TargetMachineEmitToMemory", 5) is None
    assert llvm._unlocked("LLVMPY_NoSuchFunction", 1) is None
    monkeypatch.setattr(llvm, "_unlocked", lambda *given: None)
    assert native._compiled(parts, host()) == expected
    with pytest.raises(cr.ChainruleError, match="LLVM refuses what was emitted"):
        native._compiled(["define"], host())


def test_tasks_are_done_at_once_and_the_first_error_is_raised() -> None:
    meeting = threading.Barrier(3, timeout=60)
    assert sorted(at_once([meeting.wait] * 3)) == [0, 1, 2]

    def wrong() -> int:
        raise ValueError("a test")

    with pytest.raises(ValueError, match="a test"):
        at_once([lambda: 1, wrong, lambda: 3])


def test_where_no_thread_can_be_started_one_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refusing)
    assert at_once([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    monkeypatch.setattr(native, "_cores", lambda: 2)
    ahead(SEVEN, host())
    assert not native._ahead


def test_what_was_compiled_ahead_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_cores", lambda: 2)
    asked = []
    ahead(lambda: asked.append(1) or SEVEN, host(), "a" * 64)
    ahead(lambda: asked.append(2) or SEVEN, host(), "a" * 64)
    made = Native(lambda: asked.append(3) or SEVEN, host(), "a" * 64)
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(made.address("seven"))() == 7
    assert asked == [1]
    assert not native._ahead


@pytest.mark.parametrize("others", [None, 2e-3])
def test_threads_take_turns_as_before_after_something_was_compiled_ahead(
    monkeypatch: pytest.MonkeyPatch, others: float | None
) -> None:
    def compiled(_text: str, _target: object) -> bytes:
        seen.append(sys.getswitchinterval())
        if others:  # somebody sets it meanwhile
            sys.setswitchinterval(others)
        return b""

    seen: list[float] = []
    before = sys.getswitchinterval()
    monkeypatch.setattr(native, "_cores", lambda: 2)
    monkeypatch.setattr(native, "_object_file", compiled)
    try:
        ahead(SEVEN, host())
        native._settle()
        assert seen == [native._TURN]
        assert sys.getswitchinterval() == (others or before) != native._TURN
    finally:
        sys.setswitchinterval(before)


def test_what_went_wrong_ahead_is_told_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_cores", lambda: 2)
    ahead("define nonsense", host())
    with pytest.raises(cr.ChainruleError, match="LLVM refuses what was emitted"):
        Native("define nonsense", host())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_that_is_forked_meanwhile_finds_everything_in_order() -> None:
    script = """
import os, threading
from chainrule.engine import native
from chainrule.engine.target import host
native._cores = lambda: 2
texts = ["define i64 @f() {\\n  ret i64 %d\\n}" % number for number in range(60)]
native.Native(texts[0], host())
def work():
    for text in texts[1:-1]:
        native.ahead(text, host())
        native.Native(text.replace("@f", "@g"), host())
thread = threading.Thread(target=work)
thread.start()
ended = []
while thread.is_alive() or not ended:
    child = os.fork()
    if not child:
        native.Native(texts[-2], host())
        native.Native(texts[-1], host())
        os._exit(0)
    ended.append(os.waitpid(child, 0)[1])
thread.join()
print(not any(ended))
"""
    variables = {**os.environ, "CHAINRULE_CACHE": "off"}
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=variables)
    assert ended.stdout == "True\n", ended.stderr[-2000:]


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts cannot be sent on this system")
def test_ctrl_c_waits_for_all_pieces() -> None:
    script = """
import os, signal, threading
from chainrule.engine import native
from chainrule.engine.target import host
signal.signal(signal.SIGINT, signal.default_int_handler)
optimised, done = native._optimised, []
def interrupted(text, machine):
    os.kill(os.getpid(), signal.SIGINT)
    module = optimised(text, machine)
    done.append(True)
    return module
native._optimised = interrupted
try:
    native._compiled(["define void @f() {\\n  ret void\\n}"] * 3, host())
except KeyboardInterrupt:
    print("interrupted", len(done), threading.active_count())
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "interrupted 3 1\n", ended.stderr[-2000:]
