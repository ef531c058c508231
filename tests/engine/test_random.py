"""Random numbers: the published generator, the distributions they name, and streams that do not disturb each other."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.philox import blocks, philox
from chainrule.engine.trace import trace

# Known answers of Philox 4x32-10 from the Random123 distribution (kat_vectors, Salmon et al., 2011).
PI = ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
ONES = ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2)
KNOWN = [
    (((0,) * 4, (0,) * 2), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (ONES, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize(("given", "expected"), KNOWN)
def test_philox_gives_the_published_words(given, expected) -> None:
    counter, key = given
    words = philox(tuple(np.array([word], np.uint64) for word in counter), key[0] | key[1] << 32)
    assert tuple(int(word[0]) for word in words) == expected


def test_the_stream_of_a_generator_is_that_of_the_published_blocks() -> None:
    generator = cr.random.Generator(0)
    first = np.asarray(generator.bits((2, 3))).view(np.uint32).ravel()
    assert first[:4].tolist() == list(KNOWN[0][1])
    assert int(generator.counter) == blocks(6) == 2  # a block that was begun is used up
    zero = np.zeros(1, np.uint64)
    second = [int(word[0]) for word in philox((zero + np.uint64(1), zero, zero, zero), 0)]
    assert first[4:].tolist() == second[:2]


def test_numpys_philox_of_sixty_four_bits_is_another_generator() -> None:
    """So its stream must not be expected: NumPy's Philox has 4 words of 64 bits."""
    theirs = np.random.Generator(np.random.Philox(key=0)).random(3)
    assert not np.allclose(cr.random.Generator(0).uniform((3,), dtype="float64"), theirs)


def test_a_stream_does_not_depend_on_what_others_draw() -> None:
    alone = cr.random.Generator(7)
    first = alone.normal((5,)).tolist()
    disturbed = cr.random.Generator(7)
    cr.random.Generator(8).uniform((1000,))
    cr.random.normal((10,))
    assert disturbed.normal((5,)).tolist() == first


def test_a_restored_counter_resumes_the_stream() -> None:
    generator = cr.random.Generator(3)
    generator.uniform((13,))
    counter = generator.counter.value.copy()
    following = generator.uniform((4,)).tolist()
    other = cr.random.Generator(3)
    other.counter.assign(counter)
    assert other.uniform((4,)).tolist() == following


def test_streams_of_neighbouring_seeds_and_successive_draws_are_unrelated() -> None:
    n = 20_000
    draws = [np.asarray(cr.random.Generator(seed).uniform((n,), dtype="float64")) for seed in (0, 1, 2, 2**32, 2**62)]
    one = cr.random.Generator(0)
    one.uniform((n,), dtype="float64")
    draws.append(np.asarray(one.uniform((n,), dtype="float64")))
    correlations = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(n)
    within = draws[0] - 0.5
    assert all(abs((within[lag:] * within[:-lag]).mean()) * 12 < 4.5 / np.sqrt(n) for lag in (1, 2, 3, 4, 8))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_and_normal_have_their_distribution(dtype: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    generator, n = cr.random.Generator(11), 50_000
    even = np.asarray(generator.uniform((n,), 2, 5, dtype=dtype))
    bell = np.asarray(generator.normal((n,), 1, 2, dtype=dtype))
    assert even.dtype == bell.dtype == dtype
    assert 2 <= even.min() < even.max() < 5
    assert stats.kstest(even, stats.uniform(2, 3).cdf).pvalue > 0.01
    assert stats.kstest(bell, stats.norm(1, 2).cdf).pvalue > 0.01
    assert stats.skewtest(bell).pvalue > 0.01
    assert stats.kurtosistest(bell).pvalue > 0.01


def test_heads_dice_and_permutations_have_their_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator, n = cr.random.Generator(12), 30_000
    assert stats.binomtest(int(cr.sum(generator.bernoulli(0.3, (n,)))), n, 0.3).pvalue > 0.01
    faces = np.asarray(generator.randint(-2, 4, (n,)))
    assert stats.chisquare(np.bincount(faces + 2, minlength=6)).pvalue > 0.01
    orders = [tuple(generator.permutation(3).tolist()) for _ in range(1000)]
    assert stats.chisquare(np.unique(orders, axis=0, return_counts=True)[1]).pvalue > 0.01
    assert sorted(generator.permutation(1000).tolist()) == list(range(1000))


def test_uniform_numbers_use_every_bit_of_the_fraction() -> None:
    for dtype, bits in (("float32", 24), ("float64", 53)):
        x = np.asarray(cr.random.Generator(5).uniform((4096,), dtype=dtype)).astype(np.float64)
        scaled = x * 2.0**bits
        assert np.array_equal(scaled, np.floor(scaled))
        assert 0.45 < (scaled % 2).mean() < 0.55


def test_extremes_are_certain_and_nothing_draws_nothing() -> None:
    generator = cr.random.Generator(1)
    assert not cr.any(generator.bernoulli(0.0, (1000,)))
    assert cr.all(generator.bernoulli(1.0, (1000,)))
    before = int(generator.counter)
    assert generator.uniform((0, 3)).shape == (0, 3)
    assert generator.permutation(0).shape == (0,)
    assert int(generator.counter) == before
    assert cr.all(cr.isfinite(generator.normal((100_000,))))


def test_seeding_begins_the_default_stream_anew() -> None:
    def draws() -> list[list]:
        return [cr.random.uniform((2,)).tolist(), cr.random.randint(0, 9, (2,)).tolist()]

    cr.random.seed(5)
    first = draws()
    cr.random.seed(5)
    assert draws() == first
    cr.random.seed(6)
    assert cr.random.uniform((2,)).tolist() != first[0]


def test_a_traced_function_advances_the_same_stream() -> None:
    eager, traced = cr.random.Generator(9), cr.random.Generator(9)
    program = trace(lambda x: x + traced.normal((3,)) + traced.bernoulli(0.5, (3,)), np.zeros(3, "f"))
    traced.counter.assign(0)
    for _ in range(3):
        expected = eager.normal((3,)) + eager.bernoulli(0.5, (3,))
        np.testing.assert_array_equal(program(np.zeros(3, "f"))[0], expected)
    assert int(traced.counter) == int(eager.counter)


def test_a_gradient_passes_beside_random_numbers() -> None:
    generator = cr.random.Generator(2)
    noise = generator.normal((3,)).tolist()
    generator.counter.assign(0)
    assert cr.grad(lambda x: cr.sum(x * generator.normal((3,))))(np.ones(3, "f")).tolist() == noise


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: cr.random.Generator(-1), "a seed is an integer from 0 below 2\\*\\*63, but is -1"),
        (lambda: cr.random.seed(1.5), "a seed is an integer"),
        (lambda: cr.random.seed(True), "a seed is an integer"),
        (lambda: cr.random.normal((2,), std=-1.0), "std must not be negative"),
        (lambda: cr.random.bernoulli(1.5), "a probability from 0 to 1, but is 1.5"),
        (lambda: cr.random.randint(3, 3), "low 3 must be below high 3"),
        (lambda: cr.random.uniform((2,), dtype="int32"), "float32 or float64, not int32"),
        (lambda: cr.random.uniform((-2,)), "whole numbers from 0"),
    ],
)
def test_a_wrong_argument_is_named(draw, message: str) -> None:
    with pytest.raises(cr.ArgumentError, match=message):
        draw()
