"""Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011) in NumPy.

A counter-based generator: block number `i` under a key is a fixed function of both, so a stream can be cut, repeated
and shared out among threads without any state but the counter.
"""

from typing import Any

import numpy as np

from chainrule.engine.graph import Shape

Array = np.ndarray[Any, Any]

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
ROUNDS = 10
WORDS = 4  # 32-bit words in a block


def blocks(size: int) -> int:
    """How many counter values `size` words use up."""
    return -(-size // WORDS)


def random_bits(key: Array, counter: Array, *, shape: Shape) -> Array:
    """int32 words of random bits: word `n` is word `n % 4` of block `counter + n // 4` under the 64-bit `key`."""
    size = int(np.prod(shape, dtype=np.int64))
    numbers = np.uint64(int(counter) % 2**64) + np.arange(blocks(size), dtype=np.uint64)
    zeros = np.zeros_like(numbers)
    words = philox((numbers & _LOW, numbers >> _HALF, zeros, zeros), int(key) % 2**64)
    return np.stack(words, axis=-1).astype(np.uint32).view(np.int32).reshape(-1)[:size].reshape(shape)


def philox(counter: tuple[Array, Array, Array, Array], key: int) -> tuple[Array, Array, Array, Array]:
    """The four words of each block; words travel in uint64 arrays, so that a product keeps its upper half."""
    c0, c1, c2, c3 = counter
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(ROUNDS):
        product0 = MULTIPLIERS[0] * c0
        product1 = MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> _HALF) ^ c1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _HALF) ^ c3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0 = (k0 + WEYL[0]) & 0xFFFFFFFF
        k1 = (k1 + WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3
