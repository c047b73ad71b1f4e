"""Mutations of bytes that know nothing of the format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_EXTREMES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def mutated(data: bytes, rng: Random) -> tuple[bytes, str]:
    """The data with one to three mutations, and what was done."""
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(_CHANGES)
        data = change(data, rng)
        done.append(change.__name__.removeprefix("_"))
    return data, "+".join(done)


def _place(data: bytes, rng: Random) -> int:
    """Somewhere, and half of the time near the beginning or the end, where formats keep their headers."""
    end = max(1, len(data))
    near_the_end = end - 1 - rng.randrange(min(end, 1024))
    return rng.choice((rng.randrange(end), rng.randrange(end), rng.randrange(min(end, 2048)), near_the_end))


def _flips(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncation(data: bytes, rng: Random) -> bytes:
    return data[: _place(data, rng)]


def _splice(data: bytes, rng: Random) -> bytes:
    """A piece of the file over or between others."""
    size = rng.choice((1, 8, 64, 512, 4096))
    source, target = _place(data, rng), _place(data, rng)
    piece = data[source : source + size]
    return data[:target] + piece + data[target + (len(piece) if rng.random() < 0.7 else 0) :]


def _removal(data: bytes, rng: Random) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + rng.choice((1, 4, 16, 256)) :]


def _block(data: bytes, rng: Random) -> bytes:
    start, size = _place(data, rng), rng.choice((4, 16, 256))
    filling: bytes | None = rng.choice((b"\0", b"\xff", b"A", None))
    piece: bytes = rng.randbytes(size) if filling is None else filling * size
    return data[:start] + piece + data[start + size :]


def _number(data: bytes, rng: Random) -> bytes:
    """An integer field that becomes extreme, in either order of bytes."""
    start, size = _place(data, rng), rng.choice((1, 2, 4, 8))
    value: int = rng.choice(_EXTREMES) % (1 << 8 * size)
    return data[:start] + value.to_bytes(size, rng.choice(("little", "big"))) + data[start + size :]


_CHANGES: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (
    _flips, _flips, _number, _number, _truncation, _splice, _removal, _block,
)  # fmt: skip
