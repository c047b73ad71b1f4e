"""DCTR and LaSeR on weak generators: a tiny run that goes on where it was stopped, and the page quotes the results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import calofast as cf
from benchmarks import refinement_events
from benchmarks.refinement_domains import DOMAINS
from benchmarks.refinement_events import TARGET, collect, judge, main, table
from calofast.config import CaloFlowConfig

ROOT = Path(__file__).resolve().parents[2]
FREE = (
    "copies=1",
    "classifier.hidden=[8]",
    "classifier.epochs=2",
    "classifier.largest_auc=1.0",
    "classifier.least_ess=0.0",
    "classifier.warn_ess=0.0",
    "classifier.warn_norm=1e9",
    "classifier.largest_norm=1e9",
)
TINY = CaloFlowConfig(
    architecture="coupling",
    layer_energies={"blocks": 1, "hidden": (8,), "training": {"epochs": 1}},
    coupling={"blocks": 2, "width": 8, "neighbours": 0, "training": {"epochs": 1}},
)


@pytest.fixture
def tiny(monkeypatch):
    domain = replace(
        DOMAINS["showers"],
        fit=lambda showers: cf.fit(cf.CaloFlow(showers.geometry, TINY), showers),
        refinement=FREE,
    )
    monkeypatch.setattr(refinement_events, "DOMAINS", {"showers": domain})


def test_the_page_quotes_the_results_and_they_reach_the_target():
    found = collect(ROOT / "benchmarks" / "results" / "refinement")
    assert found
    assert table(found) in (ROOT / "docs" / "refinement.md").read_text(encoding="utf-8")
    for entry in found.values():
        samples = entry["samples"]
        for name in ("dctr", "unweighted"):
            assert samples[name]["weak_auc"] - samples[name]["auc"] >= TARGET
        assert samples["dctr"]["effective"] < samples["dctr"]["n"]


def test_the_page_quotes_what_the_reverse_divergence_reaches():
    found = collect(ROOT / "benchmarks" / "results" / "refinement_reverse")
    assert table(found) in (ROOT / "docs" / "refinement.md").read_text(encoding="utf-8")
    refined = found["showers"]["samples"]["laser-flow"]
    assert refined["weak_auc"] - refined["auc"] >= TARGET


def test_the_page_quotes_what_rejection_reaches():
    found = collect(ROOT / "benchmarks" / "results" / "refinement_sampling")
    assert table(found) in (ROOT / "docs" / "refinement.md").read_text(encoding="utf-8")
    for entry in found.values():
        refined = entry["samples"]["rejection"]
        assert refined["weak_auc"] - refined["auc"] >= TARGET
        assert refined["effective"] == refined["n"]


def test_weights_count_in_the_judgement():
    showers = cf.read_showers(cf.embedded_showers_path(), first=600)
    half = showers.select(slice(0, 300))
    other = replace(showers.select(slice(300, 600)), weights=np.ones(300, np.float32))
    dark = replace(other, voxels_mev=0.2 * other.voxels_mev, weights=np.full(300, 1e-6, np.float32))
    both = cf.Showers.concatenate([other, dark])
    settings = {"preset": "quick", "trainings": 1}
    plain = judge(DOMAINS["showers"], half, replace(both, weights=None), settings)
    weighted = judge(DOMAINS["showers"], half, both, settings)
    assert plain["auc"] > 0.65
    assert weighted["auc"] < plain["auc"] - 0.05
    assert weighted["effective"] == pytest.approx(300, rel=0.01)
    assert plain["effective"] == plain["n"] == 600


@pytest.mark.usefixtures("tiny")
def test_a_tiny_run_goes_on_where_it_stopped(tmp_path, capsys):
    command = ["run", "showers", "--data", str(cf.embedded_showers_path()), "--out", str(tmp_path)]
    command += ["--first", "320", "--trainings", "1"]
    assert main([*command, "--samples", "weak"]) == 0
    first = json.loads((tmp_path / "showers.json").read_text())
    assert list(first["samples"]) == ["weak"]
    assert (first["n_training"], first["n_judging"]) == (240, 80)
    assert main([*command, "--samples", "weak,dctr,unweighted"]) == 0
    second = json.loads((tmp_path / "showers.json").read_text())
    assert second["samples"]["weak"] == first["samples"]["weak"]
    assert second["samples"]["dctr"]["n"] == 240
    assert 0 <= second["samples"]["dctr"]["weak_auc"] <= 1
    assert 0 < second["samples"]["unweighted"]["n"] <= 240
    capsys.readouterr()
    assert main(["show", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("| showers |") == 3
    assert main([*command, "--set", "copies=2"]) == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["run"], "which events?"),
        (["run", "muons"], "which events?"),
        (["run", "showers"], "HEPFLOWS_DATA"),
        (["run", "jets", "--data", "no-such-file.h5"], "no-such-file.h5"),
    ],
)
def test_bad_input(command, words, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HEPFLOWS_DATA", raising=False)
    assert main([*command, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
