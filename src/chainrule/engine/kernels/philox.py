"""Random words in native code: Philox 4x32-10, the same words as the reference executor's."""

from chainrule.engine.code import Code, Kind
from chainrule.engine.dtypes import int64
from chainrule.engine.kernels.vector import spread
from chainrule.engine.philox import MULTIPLIERS, ROUNDS, WEYL, WORDS


def random_words(code: Code, key: str, counter: str, number: str, step: int, lanes: int, *, aligned: bool) -> str:
    """Words `number`, `number + step`, ... of the stream of `key` that begins at block `counter`, as i32.

    `lanes` is 0 for a single word. `aligned` says that `number` is a multiple of the words in a block; neighbouring
    lanes then share a block.
    """
    if lanes % WORDS == 0 and lanes and step == 1 and aligned:
        return _whole_blocks(code, key, counter, number, lanes)
    kind = Kind(int64, lanes)
    if lanes:
        offsets = ", ".join(f"i64 {lane * step}" for lane in range(lanes))
        key, counter = spread(code, kind, key), spread(code, kind, counter)
        number = code.let(f"add {kind.type} {spread(code, kind, number)}, <{offsets}>")
    words = _block(code, kind, key, _sum(code, kind, counter, _shift(code, kind, number, WORDS.bit_length() - 1)))
    which = code.let(f"and {kind.type} {number}, {kind.integer(WORDS - 1)}")
    chosen = words[3]
    for place in (2, 1, 0):
        here = code.let(f"icmp eq {kind.type} {which}, {kind.integer(place)}")
        chosen = code.let(f"select {kind.mask} {here}, {kind.type} {words[place]}, {kind.type} {chosen}")
    return code.let(f"trunc {kind.type} {chosen} to {'i32' if not lanes else f'<{lanes} x i32>'}")


def _whole_blocks(code: Code, key: str, counter: str, number: str, lanes: int) -> str:
    """A vector of neighbouring words that begins at the first word of a block."""
    count = lanes // WORDS
    kind = Kind(int64, count)
    first = code.let(f"add i64 {counter}, {code.let(f'lshr i64 {number}, {WORDS.bit_length() - 1}')}")
    offsets = ", ".join(f"i64 {block}" for block in range(count))
    blocks = code.let(f"add {kind.type} {spread(code, kind, first)}, <{offsets}>")
    words = [
        code.let(f"trunc {kind.type} {word} to <{count} x i32>")
        for word in _block(code, kind, spread(code, kind, key), blocks)
    ]
    pairs = [_joined(code, words[place], words[place + 1], count, range(2 * count)) for place in (0, 2)]
    order = [place * count + block for block in range(count) for place in range(WORDS)]
    return _joined(code, pairs[0], pairs[1], 2 * count, order)


def _joined(code: Code, a: str, b: str, lanes: int, order: range | list[int]) -> str:
    listed = ", ".join(f"i32 {lane}" for lane in order)
    vector = f"<{lanes} x i32>"
    return code.let(f"shufflevector {vector} {a}, {vector} {b}, <{len(order)} x i32> <{listed}>")


def _block(code: Code, kind: Kind, key: str, block: str) -> list[str]:
    """The four words of a block, each in the lower half of an i64."""
    low = kind.integer(2**32 - 1)
    type_ = kind.type
    keys = [code.let(f"and {type_} {key}, {low}"), _shift(code, kind, key, 32)]
    words = [code.let(f"and {type_} {block}, {low}"), _shift(code, kind, block, 32), kind.integer(0), kind.integer(0)]
    for _ in range(ROUNDS):
        products = [
            code.let(f"mul {type_} {word}, {kind.integer(int(by))}")
            for word, by in zip((words[0], words[2]), MULTIPLIERS, strict=True)
        ]
        halves = [(_shift(code, kind, product, 32), code.let(f"and {type_} {product}, {low}")) for product in products]
        crossed = [
            code.let(f"xor {type_} {high}, {word}")
            for (high, _), word in zip(reversed(halves), (words[1], words[3]), strict=True)
        ]
        words = [
            code.let(f"xor {type_} {crossed[0]}, {keys[0]}"),
            halves[1][1],
            code.let(f"xor {type_} {crossed[1]}, {keys[1]}"),
            halves[0][1],
        ]
        keys = [
            code.let(f"and {type_} {_sum(code, kind, each, kind.integer(by))}, {low}")
            for each, by in zip(keys, WEYL, strict=True)
        ]
    return words


def _sum(code: Code, kind: Kind, a: str, b: str) -> str:
    return code.let(f"add {kind.type} {a}, {b}")


def _shift(code: Code, kind: Kind, value: str, count: int) -> str:
    return code.let(f"lshr {kind.type} {value}, {kind.integer(count)}")
