"""Trainings of the table as models: what is written is what is measured, and the table has a line of it."""

from __future__ import annotations

import json

import pytest

import calofast as cf
from benchmarks import ship_models, shower_table
from hepflows.models import Model

TINY = (
    "coupling.blocks=2",
    "coupling.width=8",
    "coupling.training.epochs=1",
    "layer_energies.blocks=2",
    "layer_energies.hidden=[8]",
    "layer_energies.training.epochs=1",
)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "showers"
    folder.mkdir(parents=True)
    cf.write_showers(cf.read_showers(cf.embedded_showers_path(), first=500), folder / "eplus.h5")
    monkeypatch.setenv("HEPFLOWS_DATA", str(folder.parent))
    settings = [argument for setting in TINY for argument in ("--set", setting)]
    given = ["run", "--out", str(tmp_path / "runs"), "--particles", "eplus", "--recipes", "coupling", "--train-only"]
    assert shower_table.main([*given, *settings]) == 0
    return tmp_path / "runs"


def test_a_model_is_written_and_measured(runs, tmp_path, monkeypatch, capsys):
    into = tmp_path / "models"
    assert ship_models.main(["--runs", str(runs), "--particles", "eplus", "--into", str(into)]) == 0
    model = into / "eplus"
    trained, shipped = (
        (path / "weights.safetensors").stat().st_size for path in (runs / "eplus" / "coupling" / "coupling", model)
    )
    assert shipped < 0.7 * trained
    card = (model / "MODEL_CARD.md").read_text()
    assert "hepflows generate --model eplus" in card
    assert "400 showers" in card
    report = json.loads((model / "report" / "report.json").read_text())
    value = report["samples"]["eplus"]["separation_mean"]["value"]
    assert f"| `separation_mean` | {value:.4g} |" in card
    assert (model / "report" / "report.html").is_file()
    training = json.loads((model / "training.json").read_text())
    assert training["config"]["coupling"]["blocks"] == 2

    found = {"eplus": Model(name="eplus", directory=model, distribution="test 1")}
    monkeypatch.setattr(shower_table, "models", lambda: found)
    out = tmp_path / "table"
    sizes = ["--preset", "quick", "--trainings", "1", "--epochs", "1"]
    assert shower_table.main(["models", "--out", str(out), *sizes]) == 0
    line = json.loads((out / "eplus" / "model" / "coupling.json").read_text())
    assert line["weights_bytes"] == shipped
    assert line["training"] == training["generators"]["coupling"]
    capsys.readouterr()
    assert shower_table.main(["show", "--out", str(out)]) == 0
    assert "| coupling, as shipped |" in capsys.readouterr().out


def test_what_was_not_trained_cannot_be_shipped(runs, tmp_path, capsys):
    given = ["--runs", str(runs), "--into", str(tmp_path / "models")]
    assert ship_models.main([*given, "--particles", "gamma"]) == 2
    assert "gamma" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
