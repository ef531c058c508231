"""Numbers below the normal range count as zero while a program trains.

A mean that fades, such as Adam's of the gradient of a unit that is dead, or a gradient that vanishes on its way back
through many steps, ends among the denormal numbers, below 1.2e-38 in single precision. Processors of Intel take a
hundred times as long over a vector that holds one, and there they stay. So a step that assigns states takes them for
zero and makes none; a program that assigns nothing, such as a prediction, computes with them as IEEE 754 says.

    flush()         sets that for this thread, and returns what was set before
    restore(was)    sets that again
"""

from __future__ import annotations

from chainrule.engine.target import Target

_X86 = """
declare void @llvm.x86.sse.stmxcsr(ptr)

declare void @llvm.x86.sse.ldmxcsr(ptr)

define internal i32 @flush() noinline {
entry:
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %was = load i32, ptr %place
  %wanted = or i32 %was, WANTED
  %is_set = icmp eq i32 %was, %wanted
  br i1 %is_set, label %done, label %set
set:
  store i32 %wanted, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  br label %done
done:
  ret i32 %was
}

define internal void @restore(i32 %was) noinline {
entry:
  %place = alloca i32
  %wanted = or i32 %was, WANTED
  %is_same = icmp eq i32 %was, %wanted
  br i1 %is_same, label %done, label %set
set:
  store i32 %was, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  br label %done
done:
  ret void
}""".replace("WANTED", str(0x8040))  # results are flushed to zero, and operands are

_ARM = """
declare i64 @llvm.aarch64.get.fpcr()

declare void @llvm.aarch64.set.fpcr(i64)

define internal i32 @flush() noinline {
entry:
  %was = call i64 @llvm.aarch64.get.fpcr()
  %wanted = or i64 %was, WANTED
  call void @llvm.aarch64.set.fpcr(i64 %wanted)
  %short = trunc i64 %was to i32
  ret i32 %short
}

define internal void @restore(i32 %was) noinline {
entry:
  %long = zext i32 %was to i64
  call void @llvm.aarch64.set.fpcr(i64 %long)
  ret void
}""".replace("WANTED", str(1 << 24))  # both


def flushing(target: Target) -> str:
    """The text of the two functions."""
    return _ARM if target.triple.startswith(("aarch64", "arm64")) else _X86
