"""Training of the real flows, whose kernels are compiled, survives impossible numbers and memory that is short."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from calofast.config import CaloFlowConfig
from calofast.dataset import ShowerTensors
from calofast.reading import embedded_showers_path, read_showers
from calofast.training import CaloFlow, fit
from hepflows.errors import TrainingWarning

TRAINING = {"epochs": 2, "batch_size": 50}
SHAPES: dict[str, dict[str, Any]] = {
    "maf": {"teacher": {"blocks": 1, "hidden": (8, 8), "dropout": 0.1, "training": TRAINING}},
    "coupling": {"coupling": {"blocks": 2, "width": 8, "dropout": 0.1, "training": TRAINING}},
    "inductive": {"inductive": {"blocks": 2, "width": 8, "dropout": 0.1, "training": TRAINING}},
}


@pytest.mark.parametrize("architecture", SHAPES)
def test_bad_numbers_and_short_memory(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 steps each of Flow I and II; showers of the calls 2, 6, 10 ... are spoilt, call 9 finds no memory."""
    showers = read_showers(embedded_showers_path(), first=278)
    first = {"blocks": 1, "hidden": (8,), "training": TRAINING}
    config = CaloFlowConfig.model_validate(
        {"architecture": architecture, "layer_energies": first, **SHAPES[architecture]}
    )
    batch, calls = ShowerTensors.training_batch, 0

    def faulty(self: ShowerTensors, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        voxels, conditions = batch(self, index)
        if calls == 9:
            raise MemoryError
        if calls % 4 == 2:
            voxels = voxels.clone()
            voxels[3, :40], voxels[5, 7] = torch.nan, torch.inf
        return voxels, conditions

    monkeypatch.setattr(ShowerTensors, "training_batch", faulty)
    with pytest.warns(TrainingWarning, match="parts of 25 events"):
        generator = fit(CaloFlow(showers.geometry, config), showers)
    state = generator.model.state_dict()
    assert all(bool(value.isfinite().all()) for value in state.values())
    for part in ("layer_energies", generator.kind):
        history = generator.document["training"][part]["history"]
        assert all(entry["skipped"] >= 1 for entry in history)
        assert history[1]["validation_loss"] < history[0]["validation_loss"]
