"""Small calorimeters and generators for the tests of calofast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from calofast.config import CaloFlowConfig
from calofast.geometry import Geometry
from calofast.layer import Layer
from calofast.showers import Showers
from hepflows.config import build

if TYPE_CHECKING:
    from collections.abc import Callable


def small_geometry() -> Geometry:
    """Three layers of 2 x 3, 2 x 2 and 1 x 2 cells, symmetric in x and y."""
    shapes = ((2, 3), (2, 2), (1, 2))
    return Geometry(
        name="small",
        layers=tuple(
            Layer(
                name=f"layer_{i}",
                kind="regular",
                x_edges_mm=tuple(np.linspace(-30.0, 30.0, nx + 1)),
                y_edges_mm=tuple(np.linspace(-30.0, 30.0, ny + 1)),
                z_mm=(10.0 * i, 10.0 * i + 10.0),
            )
            for i, (nx, ny) in enumerate(shapes)
        ),
    )


def small_showers(n: int, seed: int = 0, *, theta: bool = False) -> Showers:
    """Synthetic showers: log-normal voxels, a third of the last layers empty, response falling with theta."""
    generator = np.random.default_rng(seed)
    geometry = small_geometry()
    energy = generator.uniform(1.0, 100.0, n)
    angle = generator.uniform(0.0, 1.0, n)
    shape = np.exp(0.5 * generator.standard_normal((n, geometry.n_voxels)))
    shape *= generator.uniform(size=shape.shape) > 0.25
    shape[:, 0] = np.exp(0.2 * generator.standard_normal(n))
    shape[:, 6] = np.exp(0.2 * generator.standard_normal(n))
    shape[generator.uniform(size=n) < 0.33, 10:] = 0.0
    fraction = shape / shape.sum(axis=1, keepdims=True)
    response = 0.9 - (0.4 * angle if theta else 0.0) + 0.02 * generator.standard_normal(n)
    voxels = fraction * (1000 * energy * response)[:, None]
    conditions = {"theta_rad": angle.astype(np.float32)} if theta else {}
    return Showers(
        geometry=geometry,
        incident_energy_gev=energy.astype(np.float32),
        voxels_mev=voxels.astype(np.float32),
        pdg=11,
        conditions=conditions,
    )


def small_config(**changes: object) -> CaloFlowConfig:
    """Networks that train in a second or two."""
    training = {"epochs": 3, "batch_size": 100, "learning_rate": 5e-3}
    values: dict[str, object] = {
        "data": {"validation_fraction": 0.2},
        "layer_energies": {
            "blocks": 2,
            "hidden": [16],
            "alpha": 1e-10,
            "training": {**training, "epochs": 60, "batch_size": 30},
        },
        "teacher": {"blocks": 2, "hidden": [24, 24], "training": training},
        "student": {"hidden": [24, 24], "training": training},
    }
    values.update(changes)
    return build(CaloFlowConfig, values, where="test")


@pytest.fixture(scope="session")
def make_showers() -> Callable[..., Showers]:
    return small_showers


@pytest.fixture(scope="session")
def make_config() -> Callable[..., CaloFlowConfig]:
    return small_config
