"""Random numbers of a training: each purpose and each step has a seed of its own.

Example:
    >>> seed_of(1, "epoch", 0) == seed_of(1, "epoch", 1)
    False
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def seed_of(seed: int, purpose: str, number: int) -> int:
    """Seed, below 2^63, of the step or epoch `number` for a purpose."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator_of(seed: int, purpose: str, number: int) -> torch.Generator:
    """Generator on the CPU with that seed."""
    return torch.Generator().manual_seed(seed_of(seed, purpose, number))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights and noise from a seed, and leave torch's generator on the CPU as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
