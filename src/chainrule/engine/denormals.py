"""Numbers below the normal range count as zero while a program trains.

A mean that fades, such as Adam's of the gradient of a unit that is dead, or a gradient that vanishes on its way back
through many steps, ends among the denormal numbers, below 1.2e-38 in single precision. Processors of Intel take a
hundred times as long over a vector that holds one, and there they stay. So arithmetic in a step that assigns states
takes them for zero and makes none; a program that assigns nothing, such as a prediction, computes with them as IEEE 754
says, but for products on a matrix unit (see `kernels/streams.py`). So do the kernels that call the C library, which
counts on it.

    flush()         sets that for this thread, and returns what was set before
    exact()         sets IEEE 754, likewise
    restore(was)    sets what was set before
"""

from __future__ import annotations

from chainrule.engine.target import Target

_CHANGE = """
define internal i32 @NAME() noinline {
entry:
  %was = call i32 @get()
  %wanted = HOW i32 %was, WITH
  call void @set(i32 %was, i32 %wanted)
  ret i32 %was
}
"""

_RESTORE = """
define internal void @restore(i32 %wanted) noinline {
entry:
  %was = call i32 @get()
  call void @set(i32 %was, i32 %wanted)
  ret void
}"""

_X86 = """
declare void @llvm.x86.sse.stmxcsr(ptr)

declare void @llvm.x86.sse.ldmxcsr(ptr)

define internal i32 @get() {
entry:
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %was = load i32, ptr %place
  ret i32 %was
}

define internal void @set(i32 %was, i32 %wanted) {
entry:
  %place = alloca i32
  %is_set = icmp eq i32 %was, %wanted
  br i1 %is_set, label %done, label %set
set:
  store i32 %wanted, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  br label %done
done:
  ret void
}"""

_ARM = """
declare i64 @llvm.aarch64.get.fpcr()

declare void @llvm.aarch64.set.fpcr(i64)

define internal i32 @get() {
entry:
  %long = call i64 @llvm.aarch64.get.fpcr()
  %was = trunc i64 %long to i32
  ret i32 %was
}

define internal void @set(i32 %was, i32 %wanted) {
entry:
  %long = zext i32 %wanted to i64
  call void @llvm.aarch64.set.fpcr(i64 %long)
  ret void
}"""
_X86_FLAGS, _ARM_FLAGS = 0x8040, 1 << 24  # results are flushed to zero, and so are operands


def flushing(target: Target) -> str:
    """The text of the three functions."""
    is_arm = target.triple.startswith(("aarch64", "arm64"))
    flags = _ARM_FLAGS if is_arm else _X86_FLAGS
    changes = [("flush", "or", flags), ("exact", "and", ~flags)]
    texts = [
        _CHANGE.replace("NAME", name).replace("HOW", how).replace("WITH", str(bits)) for name, how, bits in changes
    ]
    return "\n".join([_ARM if is_arm else _X86, *texts, _RESTORE])
