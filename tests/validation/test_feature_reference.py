"""Agreement of FPD and KPD with jetnet on features like those of showers: same arrays, settings and draws.

`tests/reference/make_feature_reference.py` made the stored values; ``make test-parity`` makes them again.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from validation.frechet import frechet_physics_distance
from validation.kernel_distance import kernel_physics_distance

FOLDER = Path(__file__).resolve().parents[1] / "reference"


@pytest.fixture(scope="module")
def numbers():
    return json.loads((FOLDER / "feature_reference.json").read_text())


@pytest.fixture(scope="module")
def samples(numbers):
    spec = importlib.util.spec_from_file_location("make_feature_reference", FOLDER / "make_feature_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.features()
    assert [np.abs(values).sum() for values in found] == pytest.approx(numbers["checksum"], rel=1e-9)
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_fpd(samples, numbers, weighted):
    options = numbers["settings"]["fpd"]
    found = frechet_physics_distance(
        *samples,
        min_samples=options["min_samples"],
        max_samples=options["max_samples"],
        batches=options["num_batches"],
        points=options["num_points"],
        seed=options["seed"],
        weights=tuple(np.full(len(values), 0.7) if weighted else None for values in samples),
    )
    assert [found.value, found.fit_error] == pytest.approx(numbers["fpd"], rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_kpd(samples, numbers, weighted):
    options = numbers["settings"]["kpd"]
    weights = tuple(np.full(len(values), 2.0) if weighted else None for values in samples)
    found = kernel_physics_distance(
        *samples,
        batch_size=options["batch_size"],
        batches=options["num_batches"],
        seed=options["seed"],
        weights=weights,
    )
    assert found == pytest.approx(numbers["kpd"], rel=1e-6)
