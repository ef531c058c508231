"""The one description of a processor: what emitted code may use and how large its tiles and caches are.

Everything that differs between processors is here; the rest of the emitter asks a `Target` and names no processor.
`host()` is this machine, `named()` a certain kind, to emit or to test for another.
"""

import ctypes
import json
import os
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from chainrule.engine.cache import key_of, load, store
from chainrule.engine.llvm import llvm, soon, versions
from chainrule.errors import ArgumentError

_ARCH_PRCTL, _REQUEST_STATE, _TILE_DATA = 158, 0x1023, 18  # of Linux on x86-64: what is called, how, and for what
VARIABLE = "CHAINRULE_TARGET"  # the environment variable that names a kind instead of the host's own


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of processor.

    Attributes
    ----------
    name
        "amx" (AVX-512 and a matrix unit), "avx512", "avx2", "sse2" or "neon".
    triple, cpu, features
        As LLVM names them.
    vector_bytes
        The width of a vector register.
    registers
        How many vector registers there are.
    fused
        Whether a multiplication and an addition are one instruction with one rounding.
    first_cache, second_cache
        Bytes of the caches of one core.
    masked
        Whether loads and stores of some lanes of a vector are as cheap as those of all.
    estimated
        Whether square roots are quicker from an estimate: where the divider is slow.
    matrix
        Whether there is a unit that multiplies tiles of bfloat16 and adds up float32, and the system lets us use it.
    parts
        Into how many parts a deep product is cut at most, for threads that keep rows (see `split`).
    products, loads
        How many multiply-adds of vectors, and how many loads of vectors, begin in a cycle.
    latency
        Cycles until the result of a multiply-add can be added to.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fused: bool
    first_cache: int = 32 * 1024
    second_cache: int = 512 * 1024
    masked: bool = False
    estimated: bool = False
    matrix: bool = False
    parts: int = 4
    products: int = 2
    loads: int = 2
    latency: int = 4

    @property
    def options(self) -> dict[str, bool]:
        """What a writer of code must know (see `Code`)."""
        return {"fused": self.fused, "masked": self.masked, "estimated": self.estimated}

    @property
    def pause(self) -> str:
        """The instruction of a thread that waits in a loop."""
        return "@llvm.aarch64.hint(i32 1)" if self.triple.startswith(("aarch64", "arm64")) else "@llvm.x86.sse2.pause()"

    @property
    def give_way(self) -> str:
        """The function of the operating system that lets another thread have the core."""
        return "SwitchToThread" if "windows" in self.triple else "sched_yield"

    def lanes(self, itemsize: int) -> int:
        """How many elements of `itemsize` bytes a vector register holds."""
        return self.vector_bytes // itemsize


_RULE = "2"  # by which a kind is chosen (see `_asked`): another number where that changes
_X86 = "x86_64-unknown-linux-gnu"
_AVX512 = Target("avx512", _X86, "skylake-avx512", "-prefer-256-bit", 64, 32, True, 32 * 1024, 1024 * 1024, True)
KINDS = {
    "amx": replace(
        _AVX512,
        name="amx",
        features="-prefer-256-bit,+amx-tile,+amx-bf16",
        first_cache=48 * 1024,
        second_cache=2**21,
        matrix=True,
        parts=2,
    ),
    "avx512": _AVX512,
    "avx2": Target("avx2", _X86, "haswell", "", 32, 16, True),
    "sse2": Target("sse2", _X86, "x86-64", "", 16, 16, False),
    "neon": Target("neon", "aarch64-unknown-linux-gnu", "generic", "+neon", 16, 32, True, 64 * 1024),
}


def named(name: str) -> Target:
    """The kind of that name.

    Raises
    ------
    ArgumentError
        If there is none.
    """
    if name not in KINDS:
        raise ArgumentError(f"{VARIABLE} must be one of {', '.join(KINDS)}, but is {name!r}.")
    return KINDS[name]


def host() -> Target:
    """This machine, or the kind that the environment variable `CHAINRULE_TARGET` names."""
    wanted = os.environ.get(VARIABLE)
    return named(wanted) if wanted else _detected()


def runnable() -> tuple[str, ...]:
    """The kinds whose code this machine can run, its own first."""
    kinds = ("amx", "avx512", "avx2", "sse2")  # each has what those after it have
    own = _detected().name
    return kinds[kinds.index(own) :] if own in kinds else (own,)


def require_runnable(target: Target) -> None:
    """Refuse to run what this machine has no instructions for: it would end the process.

    Raises
    ------
    ArgumentError
        With the kinds that can run.
    """
    own = _detected()
    is_own = (target.triple, target.cpu, target.features) == (own.triple, own.cpu, own.features)
    is_own &= target.matrix <= own.matrix
    if not is_own and target.name not in runnable():
        raise ArgumentError(
            f"code for {target.name} cannot run on this machine, only code for {', '.join(runnable())}. Unset "
            f"{VARIABLE}, or look at program.llvm_ir without calling the program."
        )


@cache
def _detected() -> Target:
    name, triple, cpu, features = _names()
    if name == "amx" and not _tiles_allowed():
        name = "avx512"
    kind = KINDS[name]
    first, second = (_cache_bytes(level) for level in (1, 2))
    return replace(
        kind,
        triple=triple,
        cpu=cpu,
        features=features,
        estimated=name in ("amx", "avx512") and not cpu.startswith("znver"),
        first_cache=first or kind.first_cache,
        second_cache=second or kind.second_cache,
    )


def _names() -> tuple[str, str, str, str]:
    """Of this machine the kind, and its triple, processor and features in LLVM's words.

    To load LLVM takes long, so its answer is kept until the machine is started anew.
    """
    found = _known()
    if found is None:
        found = _asked()
        if _processor():
            store(_key(), json.dumps(found).encode())
    return found


def _known() -> tuple[str, str, str, str] | None:
    """What LLVM said of this machine before, if that is kept."""
    kept = load(_key()) if _processor() else None
    try:
        name, triple, cpu, features = map(str, json.loads(kept or b"[]"))
    except (ValueError, TypeError):  # nothing is kept, or something else is written there
        return None
    return (name, triple, cpu, features) if name in KINDS else None


def _key() -> str:
    return key_of("processor", _RULE, _processor() or "", versions())


@cache
def is_host_known() -> bool:
    """Whether this process can tell what this machine is without LLVM."""
    return bool(os.environ.get(VARIABLE)) or _known() is not None


def expect_host() -> None:
    """Begin to load LLVM, if it will have to be asked what this machine is."""
    if not is_host_known():
        soon()


def _asked() -> tuple[str, str, str, str]:
    """What LLVM says of this machine."""
    has = llvm().get_host_cpu_features()
    triple = llvm().get_process_triple()
    if triple.startswith(("aarch64", "arm64")):
        name = "neon"
    elif all(has.get(feature) for feature in ("avx512f", "avx512dq", "avx512bw", "avx512vl")):
        name = "amx" if has.get("amx-tile") and has.get("amx-bf16") else "avx512"
    else:
        name = "avx2" if has.get("avx2") and has.get("fma") else "sse2"
    return (
        name,
        triple,
        llvm().get_host_cpu_name(),
        has.flatten() + (",-prefer-256-bit" if name in ("amx", "avx512") else ""),
    )


def _tiles_allowed() -> bool:
    """Whether this process may use tile registers: on Linux it has to ask, once, because they are large.

    On other systems it is not known how to ask, and they are left alone.
    """
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return False
    try:
        return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_STATE, _TILE_DATA) == 0)
    except (OSError, AttributeError):
        return False


@cache
def _processor() -> str | None:
    """What stands for this processor until the machine is started anew, where Linux tells it.

    Another processor could come with the same words only in another machine, or with another start of this one.
    """
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            cores = file.read(4096)  # the first, at least: to tell of all takes long where there are many
    except (OSError, ValueError):
        return None
    first = cores.partition(b"\n\n")[0].decode("utf-8", "replace")
    lines = [line for line in first.splitlines() if not line.startswith(("cpu MHz", "bogomips"))]
    return "\n".join([start, os.uname().machine, *lines])


def _cache_bytes(level: int) -> int:
    """The size of the first core's data cache of that level where Linux tells it, else 0."""
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, number, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind in ("Data", "Unified") and number == str(level) and size.endswith("K") and size[:-1].isdigit():
            return int(size[:-1]) * 1024
    return 0
