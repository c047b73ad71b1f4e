"""The table of shower generators: what it prints, that a run goes on where it ended, bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import calofast as cf
from benchmarks import shower_table
from benchmarks.shower_table_text import SPEEDUP, separation_ratios, side_name, tables

ROOT = Path(__file__).parents[2]
TINY = (
    "coupling.blocks=2",
    "coupling.width=8",
    "coupling.training.epochs=1",
    "layer_energies.blocks=2",
    "layer_energies.hidden=[8]",
    "layer_energies.training.epochs=1",
)
AUC = ("auc_low", "auc_low_normed", "auc_log", "auc_high", "auc_gbt")


def result(**changes):
    metrics = {name: {"value": 0.5314, "error": 0.0042, "n_train_per_class": 14_000} for name in AUC}
    metrics |= {
        "separation_mean": {"value": 1.0, "floor": 0.001},
        "separation_depth": {"value": 0.004, "floor": 0.002},
        "separation_width_x_0": {"value": 0.014, "floor": 0.004},
        "response_bin_0": {"value": 0.998, "floor": 1.0005},
        "response_bin_1": {"value": 1.001, "floor": 1.0},
        "resolution_bin_0": {"value": 0.93, "floor": 1.02},
        "fpd": {"value": 0.00123, "error": 0.0001, "floor": 0.0002},
    }
    return {
        "particle": "piplus",
        "recipe": "published",
        "kind": "student",
        "metrics": metrics,
        "training": {"n_showers": 17_600, "seconds": 3600.0},
        "sampling_ms": {"1": 12.345, "100": 1.0, "10000": 0.4567},
        "weights_bytes": 12_340_000,
        **changes,
    }


def test_what_the_tables_print():
    floors = {"piplus": {"metrics": result()["metrics"]}}
    classifiers, physics, cost = (part.splitlines() for part in tables([result()], floors, {}).split("\n\n"))
    aucs = " | ".join(["0.5314 ± 0.0042"] * 5)
    assert classifiers[2:] == [
        f"| pi+ | Geant4 itself | 2 x 14000 | {aucs} |",
        f"| pi+ | published student | 2 x 14000 | {aucs} |",
    ]
    numbers = "3.5 (`width_x_0`) | 1 of 2 | 0.20 % | 0.05 % | 7.0 % | 2.0 % | 1.23 ± 0.10 | 0.20"
    assert physics[2] == f"| pi+ | published student | {numbers} |"
    assert cost[2] == "| pi+ | published student | 17600 | 60 | 12.3 | 12.3 | 1 | 0.457 | - |"


def test_the_speed_beside_geant4():
    physics, batch, energy = SPEEDUP
    times = {physics: {"published-student": {batch: {energy: 1234.5}}}}
    floors = {"piplus": {"metrics": result()["metrics"]}}
    cost = tables([result()], floors, {"piplus": {"speedup": times}}).split("\n\n")[2].splitlines()
    assert cost[2].endswith("| 1200 |")
    assert side_name(result(recipe="model", kind="coupling")) == "model"
    assert side_name(result(recipe="maf", kind="teacher")) == "teacher"


def test_the_floor_is_printed_once_a_particle():
    floors = {"piplus": {"metrics": result()["metrics"]}}
    found = tables([result(), result(recipe="coupling", kind="coupling")], floors, {})
    assert found.count("Geant4 itself") == 1
    assert found.count("| coupling |") == 3


def test_a_ratio_is_of_each_observable_and_not_of_their_mean():
    found = separation_ratios(result()["metrics"])
    assert found == pytest.approx({"separation_depth": 2.0, "separation_width_x_0": 3.5})


@pytest.mark.parametrize(("value", "found"), [(0.0, {}), (0.1, {"separation_depth": math.inf})])
def test_a_floor_of_nought_is_no_error(value, found):
    assert separation_ratios({"separation_depth": {"value": value, "floor": 0.0}}) == found


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "showers"
    folder.mkdir(parents=True)
    showers = cf.read_showers(cf.embedded_showers_path(), first=500)
    cf.write_showers(showers, folder / "eplus.h5")
    monkeypatch.setenv("HEPFLOWS_DATA", str(folder.parent))
    return folder


def command(out, *further):
    settings = [argument for setting in TINY for argument in ("--set", setting)]
    sizes = ["--preset", "quick", "--trainings", "1", "--epochs", "1"]
    return ["run", "--out", str(out), "--particles", "eplus", "--recipes", "coupling", *sizes, *settings, *further]


def test_a_cell_is_trained_and_measured_once(data, tmp_path, capsys):
    out = tmp_path / "runs"
    further = tmp_path / "further.h5"
    cf.write_showers(cf.read_showers(cf.embedded_showers_path(), part=(0.9, 1.0)), further)
    more = len(cf.read_showers(further))
    given = command(out, "--further-test", f"eplus={further}", "--further-training", f"eplus={further}")
    assert shower_table.main(given) == 0
    found = json.loads((out / "eplus" / "coupling" / "coupling.json").read_text())
    assert found["n_reference"] == 100 + more
    assert found["training"]["n_showers"] == 400 + more
    assert set(AUC) < set(found["metrics"])
    assert found["metrics"]["auc_log"]["n_train_per_class"] == round(0.6 * (100 + more))
    floor = json.loads((out / "eplus" / "floor.json").read_text())
    assert set(floor["metrics"]) == set(AUC)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert shower_table.main(given) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert shower_table.main(["show", "--out", str(out)]) == 0
    assert "| e+ | coupling |" in capsys.readouterr().out


def test_tuning_leaves_the_last_fifth_alone(data, tmp_path):
    out = tmp_path / "runs"
    damaged = cf.read_showers(data / "eplus.h5")
    damaged.voxels_mev[400:] *= 100.0
    cf.write_showers(damaged, data / "eplus.h5", force=True)
    assert shower_table.main(command(out, "--tuning")) == 0
    found = json.loads((out / "eplus" / "coupling" / "coupling.json").read_text())
    assert (found["training"]["n_showers"], found["n_reference"]) == (300, 100)
    assert found["metrics"]["response_bin_0"]["value"] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--set", "coupling.bloks=2"], "bloks"),
    (["--further-training", "eplus=no-such-file.h5"], "no-such-file.h5"),
])  # fmt: skip
def test_bad_input_is_named(data, tmp_path, capsys, arguments, message):
    assert shower_table.main(command(tmp_path / "runs", *arguments)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["--recipes", "couplng"], "published"),
    (["--particles", "muon"], "piplus"),
    (["--further-test", "muon=a.h5"], "NAME=FILE"),
])  # fmt: skip
def test_unknown_names_are_refused_with_those_there_are(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        shower_table.main(["run", "--out", str(tmp_path), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_without_data_the_variable_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HEPFLOWS_DATA", raising=False)
    assert shower_table.main(command(tmp_path)) == 2
    assert "HEPFLOWS_DATA" in capsys.readouterr().err


def test_the_page_quotes_the_results():
    out = ROOT / "benchmarks" / "results" / "showers"
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    parts = (
        tables(shower_table.collect(out), shower_table.floors(out), shower_table.beside_geant4(out))
        .strip()
        .split("\n\n")
    )
    assert len(parts) == 3
    assert all(part in text for part in parts)
    assert "show --out benchmarks/results/showers" in text


def test_the_page_quotes_pions_without_numbers_of_hits():
    out = ROOT / "benchmarks" / "results" / "without_hits"
    found = tables(shower_table.collect(out), shower_table.floors(out), {}).split("\n\n")[0]
    assert found in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    (result,) = shower_table.collect(out)
    document = json.loads((ROOT / "calofast" / "models" / "piplus" / "training.json").read_text(encoding="utf-8"))
    assert document["config"]["layer_energies"]["hits"]
    assert result["n_reference"] == 4200


def test_the_readme_quotes_the_classifiers_of_all_shipped_models():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    out = ROOT / "benchmarks" / "results" / "showers"
    found = tables(shower_table.collect(out), shower_table.floors(out), {}).split("\n\n")[0].splitlines()
    quoted = [line for line in text.splitlines() if line.startswith(("| e+ |", "| gamma |", "| pi+ |"))]
    assert set(quoted) <= set(found)
    assert {line for line in found if "as shipped" in line or "Geant4" in line} <= set(quoted)
