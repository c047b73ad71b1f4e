"""The four commands on thousands of voxels: what they are, what they took, and the page's table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import calofast as cf
from benchmarks.many_voxels import main, measured, text

ROOT = Path(__file__).parents[2]
TINY = (
    "inductive.blocks=2",
    "inductive.width=8",
    "inductive.training.epochs=1",
    "layer_energies.blocks=2",
    "layer_energies.hidden=[8]",
    "layer_energies.training.epochs=1",
    "preprocessing.threshold_mev=0.01",
)


def test_a_command_s_exit_code_and_memory(tmp_path: Path):
    code, cost = measured(["inspect", str(tmp_path / "absent.h5")])
    assert code == 2
    assert 0.01 < cost["peak_gib"] < 4


@pytest.fixture(scope="module")
def showers(tmp_path_factory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("showers")
    found = cf.read_showers(cf.embedded_showers_path(), first=400)
    cf.write_showers(found.select(slice(0, 250)), folder / "train.h5")
    cf.write_showers(found.select(slice(250, 400)), folder / "test.h5")
    changes = [word for entry in TINY for word in ("--set", entry)]
    return ("--data", str(folder / "train.h5"), "--test", str(folder / "test.h5"), *changes)


@pytest.mark.slow
def test_all_steps_and_that_nothing_is_done_twice(showers, tmp_path: Path):
    out = tmp_path / "runs"
    command = ["run", "--out", str(out), *showers]
    assert main(command) == 0
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert list(result["steps"]) == ["train", "generate", "export", "generate, exported", "validate"]
    assert all(step["seconds"] > 0 and 0.05 < step["peak_gib"] < 8 for step in result["steps"].values())
    assert 0.5 < result["metrics"]["auc_low"]["value"] <= 1
    before = (out / "steps.json").read_text(encoding="utf-8")
    assert main(command) == 0
    assert (out / "steps.json").read_text(encoding="utf-8") == before
    assert "| validate |" in text(result)


def test_a_step_beyond_the_budget_ends_the_run(showers, tmp_path: Path, capsys):
    assert main(["run", "--out", str(tmp_path), "--gib", "0.01", *showers]) == 1
    assert "of 0.01 GiB" in " ".join(capsys.readouterr().err.split())
    # so does the next, without training again
    before = (tmp_path / "steps.json").read_text(encoding="utf-8")
    assert main(["run", "--out", str(tmp_path), "--gib", "0.01", *showers]) == 1
    assert (tmp_path / "steps.json").read_text(encoding="utf-8") == before
    capsys.readouterr()
    assert main(["run", "--out", str(tmp_path), "--preset", "full", *showers]) == 2
    assert "other settings" in capsys.readouterr().err
    assert main(["show", "--out", str(tmp_path)]) == 2
    assert "nothing is measured yet" in capsys.readouterr().err


def test_without_showers(tmp_path: Path, capsys):
    assert main(["run", "--out", str(tmp_path)]) == 2
    assert "hepflows simulate" in capsys.readouterr().err


def test_the_page_shows_the_stored_result_which_stays_within_the_budget():
    result = json.loads((ROOT / "benchmarks/results/many_voxels/result.json").read_text(encoding="utf-8"))
    assert text(result) in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert len(result["steps"]) == 5
    assert all(step["done"] and step["peak_gib"] < 8 for step in result["steps"].values())
