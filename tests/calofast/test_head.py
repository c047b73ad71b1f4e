"""Couplings in front of the MAF blocks: part of the density, shared by the student, exported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import calofast as cf
from calofast.caloflow import CaloFlowModel
from calofast.config import CaloFlowConfig, CouplingShape, LayerEnergyConfig, StudentConfig, TeacherConfig
from calofast.training import distill, fit
from hepflows.coupling import SplineCoupling
from hepflows.train.distill import DistillationConfig
from hepflows.train.settings import TrainingConfig

ONCE = TrainingConfig(epochs=1, batch_size=50)
HEAD = CouplingShape(blocks=3, width=8, neighbours=4)
CONFIG = CaloFlowConfig(
    layer_energies=LayerEnergyConfig(blocks=2, hidden=(8,), training=ONCE),
    teacher=TeacherConfig(blocks=2, hidden=(12,), dropout=0.1, head=HEAD, training=ONCE),
    student=StudentConfig(hidden=(12,), training=ONCE, loss=DistillationConfig(), likelihood=ONCE),
)


@pytest.fixture(scope="module")
def showers():
    return cf.read_showers(cf.embedded_showers_path(), first=150)


@pytest.fixture(scope="module")
def teacher(showers):
    return fit(cf.CaloFlow(showers.geometry, CONFIG), showers)


@pytest.fixture(scope="module")
def student(teacher, showers):
    return distill(teacher, showers)


def heads(generator):
    return [block for block in generator.model.shower_flow.transforms if isinstance(block, SplineCoupling)]


def test_the_head_is_trained_and_the_students_begins_as_the_teachers(teacher, student, showers):
    assert len(heads(teacher)) == len(heads(student)) == 3
    assert all(bool(block.local.weight.any()) for block in heads(teacher))
    fresh = CaloFlowModel(showers.geometry, CONFIG, "student")
    fresh.copy_first_stage(teacher.model)
    theirs, own = teacher.model.state_dict(), fresh.state_dict()
    copied = {name for name in own if name in theirs and torch.equal(own[name], theirs[name])}
    assert {name for name in own if ".made." not in name or not name.startswith("shower_flow")} <= copied
    ours, hers = heads(student)[0].local.weight, heads(teacher)[0].local.weight
    assert not torch.equal(ours, hers)  # and is then trained on
    assert [block.dropout for block in heads(teacher)] == [0.1] * 3
    assert [block.dropout for block in heads(student)] == [0.0] * 3


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_voxels_and_noise_are_one_to_one(kind, request, showers):
    model = request.getfixturevalue(kind).model.double()
    conditions = torch.from_numpy(showers.incident_energy_gev[:20, None].astype(np.float64))
    y, context = model.prepare_voxels(torch.from_numpy(showers.voxels_mev[:20].astype(np.float64)), conditions)
    with torch.no_grad():
        z, log_det = model.shower_flow(y, context)
        back, inverse_log_det = model.shower_flow.inverse(z, context)
    torch.testing.assert_close(back, y, rtol=0, atol=1e-7)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-6)
    model.float()


def test_saved_loaded_and_exported(student, tmp_path):
    from exporters import to_onnx

    student.save(tmp_path / "student", storage="float16")
    loaded = cf.CaloGenerator.load(tmp_path / "student")
    energies = np.linspace(2, 90, 100)
    one, two = (generator.sample(energies, seed=1).e_tot_mev for generator in (student, loaded))
    assert two == pytest.approx(one, rel=0.02)
    assert to_onnx(loaded, tmp_path / "student.onnx").model.is_file()
