"""Counter-based noise: the noise of event i follows from (seed, i) alone.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with

* key = the 64-bit seed (low word first),
* counter = (block, stream, event low word, event high word), block j holding elements 4j ... 4j + 3,

so that any shard, batch or worker draws the same numbers, in Python and in a C++ host. A 32-bit word w gives
the uniform u = (w + 0.5) * 2**-32; normals are its quantile by algorithm AS 241 (Wichura, Appl. Statist. 37
(1988) 477), in float64, rounded to float32. Only numpy is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import ConditionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10
_LOW: Final = np.uint64(0xFFFFFFFF)
_SHIFT: Final = np.uint64(32)
_CHUNK_WORDS: Final = 1 << 20  # bounds the temporaries to some tens of megabytes

# AS 241, routine PPND16: numerator and denominator coefficients, lowest order first.
_CENTRAL: Final = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_MIDDLE: Final = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_TAIL: Final = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def philox4x32(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10 block function.

    Args:
        counter: shape (M, 4), one 128-bit counter a row, lowest word first.
        key: two 32-bit words.

    Returns:
        Shape (M, 4) random words.
    """
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    for step in range(_ROUNDS):
        k0 = np.uint64((key[0] + step * _WEYL[0]) & 0xFFFFFFFF)
        k1 = np.uint64((key[1] + step * _WEYL[1]) & 0xFFFFFFFF)
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def random_words(seed: int, first_event: int, n: int, dim: int, *, stream: int = 0) -> NDArray[np.uint32]:
    """Shape (n, dim) random 32-bit words of events first_event ... first_event + n - 1."""
    if not 0 <= seed < 2**64:
        raise ConditionError("the seed must be an integer of 64 bits", expected="0 <= seed < 2**64", found=seed)
    if first_event < 0:
        raise ConditionError("the first event's index is negative", expected=">= 0", found=first_event)
    blocks = -(-dim // 4)
    events = np.arange(first_event, first_event + n, dtype=np.uint64)
    counter = np.empty((n, blocks, 4), dtype=np.uint32)
    counter[..., 0] = np.arange(blocks, dtype=np.uint32)
    counter[..., 1] = stream
    counter[..., 2] = (events & _LOW).astype(np.uint32)[:, None]
    counter[..., 3] = (events >> _SHIFT).astype(np.uint32)[:, None]
    words = philox4x32(counter.reshape(-1, 4), (seed & 0xFFFFFFFF, seed >> 32))
    return words.reshape(n, 4 * blocks)[:, :dim]


def uniform_noise(seed: int, first_event: int, n: int, dim: int, *, stream: int = 0) -> NDArray[np.float64]:
    """Shape (n, dim) uniforms in the open interval (0, 1), reproducible by (seed, event, stream)."""
    return (random_words(seed, first_event, n, dim, stream=stream).astype(np.float64) + 0.5) * 2.0**-32


def normal_noise(seed: int, first_event: int, n: int, dim: int, *, stream: int = 0) -> NDArray[np.float32]:
    """Shape (n, dim) standard normals in float32, reproducible by (seed, event, stream).

    Example:
        >>> a = normal_noise(7, 0, 4, 3)
        >>> b = normal_noise(7, 2, 2, 3)
        >>> bool((a[2:] == b).all())
        True
    """
    result = np.empty((n, dim), dtype=np.float32)
    rows = max(1, _CHUNK_WORDS // max(dim, 1))
    for start in range(0, n, rows):
        stop = min(n, start + rows)
        uniforms = uniform_noise(seed, first_event + start, stop - start, dim, stream=stream)
        result[start:stop] = normal_quantile(uniforms)
    return result


def normal_quantile(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantile of the standard normal distribution by AS 241, accurate to about 1e-16 relative."""
    q = np.asarray(probability, dtype=np.float64) - 0.5
    result = np.empty_like(q)
    central = np.abs(q) <= 0.425
    qc = q[central]
    result[central] = qc * _ratio(0.180625 - qc * qc, _CENTRAL)
    outer = ~central
    qo, p = q[outer], np.asarray(probability, dtype=np.float64)[outer]
    r = np.sqrt(-np.log(np.where(qo < 0, p, 1.0 - p)))
    value = np.where(r <= 5.0, _ratio(r - 1.6, _MIDDLE), _ratio(r - 5.0, _TAIL))
    result[outer] = np.copysign(value, qo)
    return result


def _ratio(r: NDArray[np.float64], coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> NDArray[np.float64]:
    numerator = np.full_like(r, coefficients[0][-1])
    denominator = np.full_like(r, coefficients[1][-1])
    for a, b in zip(coefficients[0][-2::-1], coefficients[1][-2::-1], strict=True):
        numerator = numerator * r + a
        denominator = denominator * r + b
    return numerator / denominator
