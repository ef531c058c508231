"""The NumPy executor against numbers that others published or that Python's own mathematics gives."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.philox import philox

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


def test_erf_agrees_with_the_c_library_to_two_ulp() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.0, -0.0, 1e-300, 0.84375, 1.25, 1 / 0.35, np.inf, -np.inf]])
    expected = np.array([math.erf(v) for v in x])
    found = np.asarray(cr.erf(cr.asarray(x)))
    assert np.all(np.abs(found - expected) <= 2 * np.spacing(np.abs(expected)))
    assert np.isnan(cr.erf(cr.asarray(np.nan)).item())


def test_random_streams_do_not_depend_on_what_others_draw() -> None:
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_numbers_have_the_distribution_they_name(dtype: str) -> None:
    from scipy import stats

    generator = cr.random.Generator(11)
    n = 20_000
    assert stats.kstest(np.asarray(generator.uniform((n,), 2, 5, dtype=dtype)), stats.uniform(2, 3).cdf).pvalue > 0.01
    assert stats.kstest(np.asarray(generator.normal((n,), 1, 2, dtype=dtype)), stats.norm(1, 2).cdf).pvalue > 0.01
    heads = int(cr.sum(generator.bernoulli(0.3, (n,))))
    assert stats.binomtest(heads, n, 0.3).pvalue > 0.01
    faces = np.bincount(np.asarray(generator.randint(0, 6, (n,))), minlength=6)
    assert stats.chisquare(faces).pvalue > 0.01
    assert sorted(generator.permutation(1000).tolist()) == list(range(1000))
