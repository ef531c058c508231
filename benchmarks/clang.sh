#!/bin/sh
# A C compiler for tinygrad: clang where there is one, else the clang inside the package ziglang.
# zig has its own words for "this processor" and "no operating system".
if command -v clang >/dev/null; then
    exec clang "$@"
fi
for argument; do
    shift
    case $argument in
    --target=* | -march=native) ;;
    *) set -- "$@" "$argument" ;;
    esac
done
exec "$BENCHMARK_PYTHON" -m ziglang cc -target "$(uname -m)-freestanding-none" -mcpu=native \
    -fno-sanitize=undefined -fno-stack-protector -fno-unwind-tables -fno-asynchronous-unwind-tables -g0 "$@"
