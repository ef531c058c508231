"""Machine code loaded without LLVM: the same results, pages that are never writable and executable, and a way back."""

import ctypes
import gc
import platform
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import image, native
from chainrule.engine.image import Image, UnexpectedError
from chainrule.engine.native import Native
from chainrule.engine.program import Program
from chainrule.engine.target import Target, host
from chainrule.engine.trace import trace

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="images are made for x86-64 under Linux"
)
X = np.linspace(0.5, 2, 600, dtype="f").reshape(20, 30)


def outside(x):
    """What calls functions of other libraries: pow, cos, memcpy."""
    return cr.sum(cr.asarray(X.astype(np.float64)) ** x, axis=1), cr.sort(cr.cos(x * 1e5)), x


def program() -> Program:
    return Program(trace(outside, X.astype(np.float64)))


def code() -> bytes:
    """The object file of the program."""
    made = program()
    (code,) = native._compiled([made.module.text], made.target)
    return code


def relocations(file: bytes) -> list[int]:
    """Where in an object file the kinds of the relocations of its code stand."""
    found = []
    (start,), (count,) = struct.unpack_from("<Q", file, 40), struct.unpack_from("<H", file, 60)
    sections = [struct.unpack_from("<IIQQQQIIQQ", file, start + 64 * number) for number in range(count)]
    for section in sections:
        if section[1] == 4 and sections[section[7]][1] == 1:
            found += [section[4] + place + 8 for place in range(0, section[5], 24)]
    return found


def results(monkeypatch: pytest.MonkeyPatch, linked: Callable[[Sequence[bytes], Target], Any]) -> list[bytes]:
    """Those of the program, whose code is loaded in this way."""
    monkeypatch.setattr(native, "_engines", OrderedDict())
    monkeypatch.setattr(native, "_linked", linked)
    return [array.tobytes() for array in program()(X.astype(np.float64))]


def test_the_results_are_those_of_the_code_that_llvm_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_cores", lambda: 1)  # in one piece, as LLVM's loader takes no more
    assert results(monkeypatch, lambda codes, _: Image(*codes)) == results(
        monkeypatch, lambda codes, target: native._Engine(*codes, target)
    )


def test_a_program_is_loaded_without_llvm() -> None:
    assert isinstance(program().native._linked, Image)


def modes(address: int) -> list[str]:
    """What may be done with the page of an address, if there is one."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, *_ = line.split()
        start, end = (int(each, 16) for each in span.split("-"))
        found += [mode] if start <= address < end else []
    return found


def test_no_page_can_be_both_written_and_run() -> None:
    made = Image(code())
    address = made.address("step")
    assert modes(address) == ["r-xp"]
    del made
    gc.collect()
    assert modes(address) == []


# --- What is left to LLVM ---


def test_a_relocation_of_another_kind_is_refused() -> None:
    file = bytearray(code())
    places = relocations(bytes(file))
    assert {struct.unpack_from("<I", file, place)[0] for place in places} <= {2, 4}
    struct.pack_into("<I", file, places[-1], 9)
    with pytest.raises(UnexpectedError, match="relocation of another kind"):
        Image(bytes(file))


def test_a_function_that_nobody_has_is_refused() -> None:
    file = code()
    assert file.count(b"\0pow\0") == 1
    with pytest.raises(UnexpectedError, match="pww is not there"):
        Image(file.replace(b"\0pow\0", b"\0pww\0"))


def test_a_section_that_can_be_written_is_refused() -> None:
    text = "@word = internal global i64 7\ndefine i64 @read() {\n  %1 = load volatile i64, ptr @word\n  ret i64 %1\n}"
    with pytest.raises(UnexpectedError, match="section"):
        Image(*native._compiled([text], host()))


@pytest.mark.parametrize("place", [0, 4, 5, 16, 18])
def test_what_is_no_object_file_for_this_processor_is_refused(place: int) -> None:
    file = bytearray(code())
    file[place] ^= 1
    with pytest.raises(UnexpectedError, match="no object file"):
        Image(bytes(file))


def test_what_is_cut_off_anywhere_is_refused() -> None:
    file = code()
    for length in range(0, len(file), max(1, len(file) // 50)):
        with pytest.raises((UnexpectedError, LookupError, ValueError, OverflowError)):
            Image(file[:length])


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    file = code()
    monkeypatch.setattr(image.sys, "platform", "darwin")
    with pytest.raises(UnexpectedError, match="another system"):
        Image(file)


def test_a_system_that_forbids_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image.mmap, "PROT_EXEC", 1 << 20)  # no such protection: the system says no
    with pytest.raises(UnexpectedError, match="executable"):
        Image(code())


def test_what_is_refused_is_loaded_by_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(code: bytes) -> None:
        raise UnexpectedError("a test")

    monkeypatch.setattr(native, "_engines", OrderedDict())
    monkeypatch.setattr(native, "Image", refusing)
    made = Native("define i64 @seven() {\n  ret i64 7\n}", host())
    assert isinstance(made._linked, native._Engine)
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(made.address("seven"))() == 7
