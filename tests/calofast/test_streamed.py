"""Training on showers that stay in their file: the same preprocessing and as good a flow, in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import torch

from calofast.config import CaloFlowConfig
from calofast.dataset import make_tensors
from calofast.reading import embedded_showers_path, read_showers
from calofast.streamed import StreamedShowers, make_streamed, stream_showers
from calofast.training import CaloFlow, fit
from hepflows.errors import ConfigError, DataError, Interrupted
from hepflows.train.loop import _Trainer
from hepflows.train.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

EPLUS = embedded_showers_path()
CELLS = Path(__file__).parents[1] / "data" / "eplus_cells.root"
FAST = {"epochs": 2, "batch_size": 60}
CONFIG = {
    "data": {"validation_fraction": 0.2},
    "layer_energies": {"blocks": 1, "hidden": (8,), "training": FAST},
    "teacher": {"blocks": 1, "hidden": (8,), "training": FAST},
}


def config(**changes: object) -> CaloFlowConfig:
    return CaloFlowConfig.model_validate({**CONFIG, **changes})


@pytest.fixture
def streamed() -> Iterator[StreamedShowers]:
    with stream_showers(EPLUS, buffer=100, first=400) as showers:
        yield showers


@pytest.mark.parametrize("path", [EPLUS, CELLS], ids=["HDF5", "ROOT"])
def test_batches_are_those_of_the_showers_in_memory(path: Path) -> None:
    showers = read_showers(path, first=200)
    tensors = make_tensors(showers, config(), "cpu")
    with stream_showers(path, buffer=160, first=200) as file:
        assert len(file) == len(showers)
        assert np.array_equal(file.incident_energy_gev, showers.incident_energy_gev)
        found = make_streamed(file, config(), "cpu")
        assert torch.equal(found.train, tensors.train)
        for a, b in zip(found.validation_batch(), tensors.validation_batch(), strict=True):
            assert torch.equal(a, b)
        for index in found.order(0).split(30):
            for a, b in zip(found.training_batch(index), tensors.training_batch(index), strict=True):
                assert torch.equal(a, b)


def test_no_more_showers_than_the_buffer_holds(streamed: StreamedShowers, monkeypatch: pytest.MonkeyPatch) -> None:
    read, blocks = StreamedShowers.voxels_mev, []

    def counted(self: StreamedShowers, rows: np.ndarray) -> np.ndarray:
        blocks.append(len(rows))
        return read(self, rows)

    monkeypatch.setattr(StreamedShowers, "voxels_mev", counted)
    data = make_streamed(streamed, config(data={"validation_fraction": 0.5}), "cpu")
    assert len(data.held_out_mev) == len(data.validation) == 100  # not half of them
    assert len(data.train) == 300
    assert len(data.fitting_sample(0.01)[0]) == 100
    for index in data.order(0).split(64):
        data.training_batch(index)
        assert data.rows.resident <= 100
    assert max(blocks[1:]) <= 100 // 16


def test_preprocessing_sees_the_largest_response(streamed: StreamedShowers) -> None:
    data = make_streamed(streamed, config(), "cpu")
    voxels, conditions = data.fitting_sample(0.01)
    everything = read_showers(EPLUS, first=400)
    train = data.train.numpy()
    response = everything.voxels_mev.sum(axis=1)[train] / everything.incident_energy_gev[train]
    assert float((voxels.sum(1) / conditions[:, 0]).max()) == pytest.approx(float(response.max()), rel=1e-5)


def test_a_buffer_for_all_trains_as_well_as_memory(tmp_path: Path) -> None:
    """The order differs, not what is learnt: preprocessing is the same and losses agree closely."""
    showers = read_showers(EPLUS, first=400)
    model = CaloFlow(showers.geometry, config())
    kept = fit(model, showers)
    with stream_showers(EPLUS, buffer=500, first=400) as file:
        found = fit(model, file, run=Run(directory=tmp_path))
    for name in ("voxels.standardisation.scale", "layer_energies.scale", "conditions.mean"):
        assert torch.equal(found.model.state_dict()[name], kept.model.state_dict()[name])
    for part in ("layer_energies", "teacher"):
        a, b = (each.document["training"][part]["best_loss"] for each in (found, kept))
        assert a == pytest.approx(b, rel=0.02)


def test_a_stopped_training_resumes_bit_identically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CaloFlow(read_showers(EPLUS, first=10).geometry, config())

    def train(directory: Path, *, resume: bool = False) -> dict[str, torch.Tensor]:
        with stream_showers(EPLUS, buffer=100, first=400) as file:
            return fit(model, file, run=Run(directory=directory, resume=resume)).model.state_dict()

    whole, step, calls = train(tmp_path / "whole"), _Trainer._step, []

    def stopping(self: _Trainer, rows: torch.Tensor) -> object:
        calls.append(rows)
        if len(calls) in (4, 14):
            self.stop.ask(2, None)
        return step(self, rows)

    monkeypatch.setattr(_Trainer, "_step", stopping)
    for attempt in range(2):
        with pytest.raises(Interrupted):
            train(tmp_path / "cut", resume=attempt > 0)
    state = train(tmp_path / "cut", resume=True)
    assert all(torch.equal(value, state[name]) for name, value in whole.items())


def test_bad_showers_are_found_before_the_training(tmp_path: Path) -> None:
    with h5py.File(EPLUS) as source, h5py.File(tmp_path / "nan.h5", "w") as file:
        for name in ("energy", "layer_0", "layer_1", "layer_2", "overflow"):
            file[name] = source[name][:2000]
        file["layer_1"][1900, 3, 3] = np.nan
    with (
        stream_showers(tmp_path / "nan.h5", buffer=100) as showers,
        pytest.raises(DataError, match=r"entry 1900, layer_1\[3, 3\]"),
    ):
        fit(CaloFlow(showers.geometry, config()), showers)
    with stream_showers(EPLUS, buffer=100, first=400) as showers, pytest.raises(ConfigError, match="hit threshold"):
        fit(CaloFlow(showers.geometry, config(preprocessing={"threshold_mev": 1e9})), showers)
