"""Splitting two samples into training, calibration and test parts without leaking pairs.

A generated event and a reference event that share their condition are a pair. If one of them is in the
training part and the other in the test part, a classifier recognises the condition and answers "the other
class": the AUC comes out *below* 0.5. Events that share a condition therefore go into the same part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = (0.6, 0.2, 0.2)
MAX_GROUP = 16
"""Conditions shared by more events than this (a scan of few fixed energies) identify no event: such events
are dealt one by one, else whole energies would be missing from the training part."""


def condition_groups(*conditions: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
    """Group number of every event of every sample; events with equal conditions have equal numbers.

    Conditions are compared in float32, the precision files store them in.

    Args:
        conditions: (N_i, C) per sample.

    Returns:
        (N_i,) per sample.
    """
    rows = np.concatenate(conditions).astype(np.float32)
    _, inverse, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    groups = inverse.reshape(-1).astype(np.int64)
    common = np.flatnonzero(counts[groups] > MAX_GROUP)
    groups[common] = len(counts) + np.arange(len(common))
    borders = np.cumsum([len(c) for c in conditions])[:-1]
    return tuple(np.split(groups, borders))


def split_groups(
    groups: tuple[NDArray[np.int64], ...], *, seed: int, parts: tuple[float, ...] = PARTS
) -> tuple[NDArray[np.int64], ...]:
    """Part number of every event, such that a group is never divided.

    Args:
        groups: group numbers per sample.
        seed: seed of the random assignment.
        parts: shares of the events, summing to one.

    Returns:
        Part numbers (N_i,) per sample.
    """
    _, inverse, counts = np.unique(np.concatenate(groups), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(counts))
    centre = np.cumsum(counts[order]) - 0.5 * counts[order]
    part_of_group = np.empty(len(counts), np.int64)
    part_of_group[order] = np.searchsorted(np.cumsum(parts)[:-1], centre / counts.sum())
    assigned = part_of_group[inverse.reshape(-1)]
    return tuple(np.split(assigned, np.cumsum([len(g) for g in groups])[:-1]))


def fold_parts(
    groups: tuple[NDArray[np.int64], ...], *, folds: int, test: int, seed: int
) -> tuple[NDArray[np.int64], ...]:
    """Part number of every event in one of k trainings: fold `test` is part 2, the next one part 1, the rest part 0.

    Args:
        groups: group numbers per sample; a group is never divided.
        folds: k, at least 3.
        test: which fold tests, 0 to k - 1.
        seed: seed of the assignment to folds, the same for all trainings.
    """
    dealt = split_groups(groups, seed=seed, parts=(1 / folds,) * folds)
    return tuple(np.where(f == test, 2, np.where(f == (test + 1) % folds, 1, 0)) for f in dealt)


def thin_training(part: NDArray[np.int64], groups: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.int64]:
    """Part numbers (N,) in which only this share of the groups of part 0 is left; the others become -1.

    The groups left at a smaller share are among those left at a larger one.
    """
    members = np.unique(groups[part == 0])
    order = np.random.default_rng(seed).permutation(members)
    dropped = order[max(1, round(share * len(members))) :]
    return np.where((part == 0) & np.isin(groups, dropped), -1, part)


def choose_generated(
    generated: NDArray[np.float64],
    held: NDArray[np.float64],
    other: NDArray[np.float64],
    n: int,
    *,
    seed: int,
) -> NDArray[np.int64]:
    """Positions of n generated events to compare with reference half A, sorted.

    Events generated at the conditions of half B come first, then those at conditions of their own, and those
    at the conditions of half A last: value = metric(A, generated) and floor = metric(A, B) then differ by the
    generator alone, and the two compared samples are independent.

    Args:
        generated: conditions of the generated events (N, C).
        held: conditions of half A.
        other: conditions of half B.
        n: number of events wanted, at most N.
        seed: seed of the choice among equals.
    """
    g, a, b = condition_groups(generated, held, other)
    in_a, in_b = np.isin(g, a), np.isin(g, b)
    rank = np.where(in_b & ~in_a, 0, np.where(in_a & ~in_b, 2, 1))
    shuffled = np.random.default_rng(seed).permutation(len(generated))
    return np.sort(shuffled[np.argsort(rank[shuffled], kind="stable")[:n]])
