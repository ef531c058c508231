"""Random words in native code: Philox 4x32-10, the same words as the reference executor's."""

from chainrule.engine.code import Code
from chainrule.engine.philox import MULTIPLIERS, ROUNDS, WEYL, WORDS


def random_word(code: Code, key: str, counter: str, number: str) -> str:
    """Word `number` (an i64) of the stream of `key` that begins at block `counter`, as an i32."""
    block = code.let(f"add i64 {counter}, {code.let(f'lshr i64 {number}, {WORDS.bit_length() - 1}')}")
    low = "4294967295"
    keys = [code.let(f"and i64 {key}, {low}"), code.let(f"lshr i64 {key}, 32")]
    words = [code.let(f"and i64 {block}, {low}"), code.let(f"lshr i64 {block}, 32"), "0", "0"]
    for _ in range(ROUNDS):
        first = code.let(f"mul i64 {words[0]}, {MULTIPLIERS[0]}")
        second = code.let(f"mul i64 {words[2]}, {MULTIPLIERS[1]}")
        crossed = [
            code.let(f"xor i64 {code.let(f'lshr i64 {product}, 32')}, {word}")
            for product, word in ((second, words[1]), (first, words[3]))
        ]
        words = [
            code.let(f"xor i64 {crossed[0]}, {keys[0]}"),
            code.let(f"and i64 {second}, {low}"),
            code.let(f"xor i64 {crossed[1]}, {keys[1]}"),
            code.let(f"and i64 {first}, {low}"),
        ]
        keys = [
            code.let(f"and i64 {code.let(f'add i64 {each}, {step}')}, {low}")
            for each, step in zip(keys, WEYL, strict=True)
        ]
    which = code.let(f"and i64 {number}, {WORDS - 1}")
    chosen = words[3]
    for place in (2, 1, 0):
        here = code.let(f"icmp eq i64 {which}, {place}")
        chosen = code.let(f"select i1 {here}, i64 {words[place]}, i64 {chosen}")
    return code.let(f"trunc i64 {chosen} to i32")
