"""A second condition (an angle) goes from a data file through training, artefact, export and validation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import calofast as cf
from exporters import OnnxGenerator
from hepflows.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = """
task = "calofast"
[data]
conditions = ["incident_energy_gev", "theta_rad"]
[layer_energies]
alpha = 1e-10
blocks = 2
hidden = [16]
training = { epochs = 4, batch_size = 100 }
[teacher]
blocks = 2
hidden = [16]
training = { epochs = 1, batch_size = 100 }
[student]
hidden = [16]
training = { epochs = 1, batch_size = 100 }
"""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, make_showers: Callable[..., cf.Showers]) -> Path:
    """Data file, configuration and a trained student with two conditions."""
    folder = tmp_path_factory.mktemp("theta")
    cf.write_showers(make_showers(400, theta=True), folder / "data.h5")
    (folder / "config.toml").write_text(CONFIG)
    arguments = ["--data", str(folder / "data.h5"), "--out", str(folder / "run"), "--device", "cpu"]
    assert main(["train", str(folder / "config.toml"), *arguments]) == 0
    return folder


def test_the_file_keeps_condition_and_unit(chain: Path) -> None:
    showers = cf.read_showers(chain / "data.h5")
    assert showers.condition_units == {"theta_rad": "rad"}
    assert 0 <= showers.conditions["theta_rad"].min() < showers.conditions["theta_rad"].max() <= 1


def test_the_artefact_knows_its_range_and_unit(chain: Path) -> None:
    document = json.loads((chain / "run" / "student" / "generator.json").read_text())
    low, high = document["valid_range"]["theta_rad"]
    assert -0.1 < low < 0.05
    assert 0.95 < high < 1.1
    assert document["units"]["theta_rad"] == "rad"
    assert 0 <= document["metrics"]["energy_removed_by_threshold"] < 0.5


@pytest.mark.parametrize("suffix", [".h5", ".root"])
def test_generated_files_carry_it(chain: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"fast{suffix}"
    like = ["--like", str(chain / "data.h5"), "-n", "50", "--seed", "1", "--device", "cpu"]
    assert main(["generate", str(chain / "run" / "student"), *like, "--out", str(out)]) == 0
    made, real = cf.read_showers(out), cf.read_showers(chain / "data.h5", first=50)
    np.testing.assert_array_equal(made.conditions["theta_rad"], real.conditions["theta_rad"])
    assert made.condition_units == {"theta_rad": "rad"}


def test_energy_alone_is_refused(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fast.h5"
    arguments = ["--energy", "1..50GeV", "-n", "10", "--seed", "1", "--out", str(out), "--device", "cpu"]
    assert main(["generate", str(chain / "run" / "student"), *arguments]) == 2
    assert "theta_rad" in capsys.readouterr().err
    assert not out.exists()


def test_export_and_validation_take_it(chain: Path, tmp_path: Path) -> None:
    model = tmp_path / "student.onnx"
    assert main(["export", str(chain / "run" / "student"), "--out", str(model)]) == 0
    runtime = OnnxGenerator(model)
    assert [(c.name, c.unit) for c in runtime.conditions] == [("incident_energy_gev", "GeV"), ("theta_rad", "rad")]
    real = cf.read_showers(chain / "data.h5", first=64)
    cond = np.stack([real.incident_energy_gev, real.conditions["theta_rad"]], axis=1)
    student = cf.CaloGenerator.load(chain / "run" / "student")
    direct = student.sample({"incident_energy_gev": real.incident_energy_gev, **real.conditions}, seed=3).voxels_mev
    exported = runtime.sample(cond, seed=3)
    assert np.median(np.abs(direct - exported) / (1 + direct)) < 1e-4
    fast = tmp_path / "fast.h5"
    like = ["--like", str(chain / "data.h5"), "--seed", "1", "--out", str(fast), "--device", "cpu"]
    assert main(["generate", str(model), *like]) == 0
    report = tmp_path / "report"
    arguments = ["--out", str(report), "--trainings", "0", "--device", "cpu"]
    assert main(["validate", str(chain / "data.h5"), str(fast), *arguments]) == 0
    written = json.loads((report / "report.json").read_text())
    assert written["n_generated"] == {"fast": 400} or written["n_generated"] == 400
