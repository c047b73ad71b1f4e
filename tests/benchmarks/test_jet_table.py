"""The table of jet generators: what it prints, that a run goes on where it ended, and that the documents quote it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

import jetgen as jg
from benchmarks import jet_table
from benchmarks.jet_runs import Cell, load, train
from benchmarks.jet_table_text import table
from validation.matching import coverage_and_matching

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TINY = ["coupling.blocks=2", "coupling.width=8", "coupling.depth=0", "training.batch_size=100"]


def entry(**metrics):
    return {"metrics": {name: {"value": value, "error": error} for name, (value, error) in metrics.items()}}


def test_errors_have_two_digits_and_values_the_same_place():
    found = table(
        {"t": {"floor": entry(w1m=(3.676e-4, 1.009e-4), auc=(0.49474, 0.0107), fpnd=(12.0, 2.5), mmd=(0.5, 0.0))}}
    )
    assert found.splitlines() == [
        "| Top | W1M x1e3 | FPND | MMD | AUC | epochs | ms a jet |",
        "|---|---|---|---|---|---|---|",
        "| Pythia itself | 0.37 ± 0.10 | 12.0 ± 2.5 | 0.500 ± 0.000 | 0.495 ± 0.011 |  |  |",
    ]


def test_variants_stand_in_their_order_and_missing_ones_are_left_out():
    trained = {"training": {"epochs": 12}, "sampling_cpu_ms": 0.2345}
    found = table(
        {"g": {"exact": {**entry(w1m=(1e-3, 1e-4)), **trained}, "vnf": {**entry(fpnd=(2.0, 0.1)), **trained}}}
    )
    rows = [line.split("|")[1].strip() for line in found.splitlines()]
    assert rows == ["Gluon", "---", "VNF", "exact"]
    assert "| VNF |  | 2.00 ± 0.10 | 12 | 0.23 |" in found


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "jets"
    folder.mkdir(parents=True)
    jg.write_jets(jg.read_jets(jg.embedded_jets_path(), first=700), folder / "t.hdf5")
    monkeypatch.setenv("HEPFLOWS_DATA", str(folder.parent))


@pytest.fixture
def few_pairs(monkeypatch):
    """Energy mover's distances of few pairs of jets, which otherwise take a minute."""
    few = partial(coverage_and_matching, eval_samples=10, batches=2)
    monkeypatch.setattr("validation.sample_metrics.coverage_and_matching", few)


@pytest.mark.usefixtures("few_pairs")
def test_a_cell_is_trained_and_measured_once(data, tmp_path, capsys):
    out = tmp_path / "runs"
    settings = [argument for setting in TINY for argument in ("--set", setting)]
    command = [
        "run",
        "--out",
        str(out),
        "--kinds",
        "t",
        "--variants",
        "exact",
        "--minutes",
        "0.001",
        "--generated",
        "200",
    ]
    assert jet_table.main([*command, *settings]) == 0
    result = json.loads((out / "t" / "exact" / "result.json").read_text())
    assert result["n_reference"] == 140
    assert result["n_sample"] == 200
    assert result["training"]["config"]["coupling"]["blocks"] == 2
    assert result["training"]["epochs"] == result["training"]["config"]["training"]["epochs"]
    assert {"w1m", "w1p", "w1efp", "cov", "mmd", "fpd", "kpd", "frechet_tagger", "auc"} <= set(result["metrics"])
    assert result["metrics"]["mass_relative_error_max"]["value"] <= 1e-5
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert jet_table.main([*command, *settings]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert jet_table.main(["show", "--out", str(out)]) == 0
    assert "| exact |" in capsys.readouterr().out


@pytest.mark.parametrize(("settings", "trained"), [((), "cnf_mn"), (("scale_jitter=0.1",), "exact")])
def test_exact_shares_a_training_only_if_it_is_the_same(data, tmp_path, settings, trained):
    cell = Cell(kind="t", variant="exact", directory=tmp_path / "t" / "exact")
    train(cell, minutes=0.001, settings=(*TINY, *settings), reporter=None)
    assert [path.parent.name for path in (tmp_path / "t").glob("*/training")] == [trained]
    made = load(cell)
    assert (made.kind, made.config.constraint) == ("exact", "exact")
    assert made.model.scale_jitter == (0.1 if settings else 0.0)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--kinds", "x"], "x.hdf5"),
    (["--variants", "cnf_nm"], "cnf_nm"),
    (["--set", "coupling.bloks=2"], "bloks"),
    (["--jetnet", "no-such-python"], "no-such-python"),
])  # fmt: skip
def test_bad_input_is_named(data, tmp_path, capsys, arguments, message):
    command = ["run", "--out", str(tmp_path / "runs"), "--kinds", "t", "--variants", "vnf", "--minutes", "0.001"]
    assert jet_table.main([*command, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_data_the_variable_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HEPFLOWS_DATA", raising=False)
    assert jet_table.main(["run", "--out", str(tmp_path)]) == 2
    assert "HEPFLOWS_DATA" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["jets", "jets_long"])
def test_the_documents_quote_the_results(name):
    found = table(jet_table.collect(RESULTS / name))
    assert found.count("Pythia itself") == 3
    text = (ROOT / "docs" / "jets.md").read_text(encoding="utf-8")
    for part in found.strip().split("\n\n"):
        assert part in text


def test_the_page_of_measurements_quotes_the_results():
    text = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if line.startswith("python -m benchmarks.jet_table show"))
    *_, metrics, _, out = command.split()
    found = table(jet_table.collect(ROOT / out), metrics.split(","))
    for part in found.strip().split("\n\n"):
        assert part in text


def test_unknown_columns_are_named(capsys):
    with pytest.raises(SystemExit) as stop:
        jet_table.main(["show", "--out", str(RESULTS / "jets"), "--metrics", "w1m,nope"])
    assert stop.value.code == 2
    assert "frechet_tagger" in capsys.readouterr().err
