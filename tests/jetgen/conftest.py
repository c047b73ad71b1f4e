"""Synthetic jets for the tests of jetgen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from jetgen.jets import Jets

if TYPE_CHECKING:
    from collections.abc import Callable


def synthetic_jets(
    n: int, *, n_slots: int = 8, seed: int = 0, features: bool = True, min_constituents: int = 1, **changes: object
) -> Jets:
    """Jets with random numbers of constituents: pT from a stick broken at random, angles falling with pT."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(min_constituents, n_slots, n, endpoint=True)
    mask = np.arange(n_slots) < counts[:, None]
    pt = np.where(mask, rng.exponential(size=mask.shape), 0.0)
    pt = -np.sort(-pt, axis=1)
    pt *= rng.uniform(0.8, 0.99, (n, 1)) / pt.sum(axis=1, keepdims=True)
    angles = np.where(mask[:, None], rng.normal(0.0, 0.1, (n, 2, n_slots)), 0.0)
    values: dict[str, object] = {
        "eta_rel": angles[:, 0].astype(np.float32),
        "phi_rel": angles[:, 1].astype(np.float32),
        "pt_rel": pt.astype(np.float32),
        "mask": mask,
    }
    if features:
        values |= {
            "jet_pt_gev": rng.uniform(800, 1600, n).astype(np.float32),
            "jet_eta": rng.normal(0.0, 1.0, n).astype(np.float32),
            "jet_phi": rng.uniform(-np.pi, np.pi, n).astype(np.float32),
            "jet_mass_gev": rng.uniform(40, 200, n).astype(np.float32),
            "n_constituents_all": counts + np.where(counts == n_slots, rng.integers(0, 50, n), 0),
            "kind": "t",
        }
    values.update(changes)
    return Jets(**values)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_jets() -> Callable[..., Jets]:
    return synthetic_jets
