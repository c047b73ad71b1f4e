"""Models that come with the package: complete, small, loadable, and as good as Geant4 where a quick look can tell."""

from __future__ import annotations

import json

import numpy as np
import pytest

import calofast as cf
from calofast.collection import folder
from calofast.generator import CaloGenerator
from hepflows.cli import main

MODELS = sorted(path.parent for path in folder().glob("*/generator.json"))
PARTICLES = {"eplus": -11, "gamma": 22, "piplus": 211}


@pytest.fixture(params=MODELS, ids=lambda path: path.name)
def model(request):
    return request.param


def test_all_together_are_small():
    assert MODELS
    assert sum(path.stat().st_size for path in folder().rglob("*") if path.is_file()) <= 40e6


def test_card_report_and_training_belong_to_the_weights(model):
    generator = CaloGenerator.load(model)
    assert generator.document["provenance"]["pdg"] == PARTICLES[model.name]
    assert generator.document["weights"]["n_bytes"] == (model / "weights.safetensors").stat().st_size
    training = json.loads((model / "training.json").read_text())
    assert training["generators"].keys() == {generator.kind}
    card = (model / "MODEL_CARD.md").read_text()
    report = json.loads((model / "report" / "report.json").read_text())
    metrics = report["samples"][model.name]
    for name in ("auc_low", "auc_log", "auc_high", "separation_mean"):
        assert f"| `{name}` | {metrics[name]['value']:.4g} |" in card
    assert f"{report['n_reference']} held-out showers" in card
    assert (model / "report" / "report.html").is_file()


def test_showers_come_out_with_physical_energies(model, tmp_path):
    out = tmp_path / "showers.h5"
    assert main(["generate", "--model", model.name, "-n", "512", "--out", str(out)]) == 0
    showers = cf.read_showers(out)
    assert len(showers) == 512
    assert np.isfinite(showers.voxels_mev).all()
    assert (showers.voxels_mev >= 0).all()
    share = showers.voxels_mev.sum(1) / (1e3 * showers.incident_energy_gev)
    assert (share > 0).all()
    assert (share < 1.2).all()


def test_positrons_deposit_what_they_deposit_in_geant4():
    if not (folder() / "eplus").exists():
        pytest.skip("no positrons come with the package")
    truth = cf.read_showers(cf.embedded_showers_path(), first=1500)
    made = CaloGenerator.load(folder() / "eplus").sample(truth.incident_energy_gev, seed=1, out_of_range="clamp")
    ratios = [s.voxels_mev.sum(1) / (1e3 * s.incident_energy_gev) for s in (truth, made)]
    assert np.mean(ratios[1]) == pytest.approx(np.mean(ratios[0]), abs=3e-4)
    layers = [s.layer_energies_mev / s.layer_energies_mev.sum(1, keepdims=True) for s in (truth, made)]
    errors = np.sqrt(sum(np.var(part, axis=0) for part in layers) / len(truth))
    assert (np.abs(layers[0].mean(0) - layers[1].mean(0)) < 4 * errors).all()
