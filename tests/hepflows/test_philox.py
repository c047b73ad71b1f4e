"""Counter-based noise: published test vectors, quantiles against scipy, and independence of the split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtri

from hepflows.errors import ConditionError
from hepflows.philox import normal_noise, normal_quantile, philox4x32, random_words, uniform_noise

# Known answers of Philox4x32-10 from the Random123 distribution (kat_vectors): counter, key, output.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_published_vectors(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert tuple(philox4x32(np.array([counter], dtype=np.uint32), key)[0]) == expected


def test_counter_layout() -> None:
    """Element 4j + k of event i is word k of counter (j, stream, i low, i high), key (seed low, high)."""
    seed, event, stream = 0x1234567890ABCDEF, 2**32 + 5, 3
    words = random_words(seed, event, 1, 10, stream=stream)[0]
    counter = np.array([(2, stream, 5, 1)], dtype=np.uint32)
    assert tuple(words[8:]) == tuple(philox4x32(counter, (0x90ABCDEF, 0x12345678))[0, :2])


def test_quantile_equals_scipy() -> None:
    p = np.concatenate([np.linspace(1e-9, 1 - 1e-9, 20_001), 10.0 ** -np.arange(1, 300), [2.0**-33]])
    np.testing.assert_allclose(normal_quantile(p), ndtri(p), rtol=1e-14, atol=1e-15)


@given(
    seed=st.integers(0, 2**64 - 1),
    first=st.integers(0, 2**40),
    n=st.integers(1, 40),
    dim=st.integers(1, 30),
    data=st.data(),
)
def test_any_split_gives_the_same_numbers(seed: int, first: int, n: int, dim: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, n))
    whole = normal_noise(seed, first, n, dim)
    parts = np.concatenate([normal_noise(seed, first, cut, dim), normal_noise(seed, first + cut, n - cut, dim)])
    assert np.array_equal(whole, parts)
    assert np.array_equal(whole[:, : dim // 2], normal_noise(seed, first, n, dim // 2))


def test_numbers_are_normal_and_streams_differ() -> None:
    noise = normal_noise(11, 0, 400, 501)
    assert noise.dtype == np.float32
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(noise.ravel(), normal_noise(11, 0, 400, 501, stream=1).ravel())[0, 1]
    assert abs(correlation) < 0.01
    uniform = uniform_noise(11, 0, 400, 7)
    assert (uniform.min() > 0, uniform.max() < 1) == (True, True)


@pytest.mark.parametrize(("seed", "first"), [(-1, 0), (2**64, 0), (1, -1)])
def test_bad_seed_or_event(seed: int, first: int) -> None:
    with pytest.raises(ConditionError):
        random_words(seed, first, 1, 1)
