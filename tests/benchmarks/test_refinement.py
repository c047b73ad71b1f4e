"""The toys of LaSeR: measures against closed forms, and a tiny run that goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.refinement import METHODS, collect, main, table
from benchmarks.refinement_measures import earth_movers, histogram, jensen_shannon
from benchmarks.refinement_toys import TOYS, Points, true_points

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "classifier.epochs=2",
    "classifier.hidden=[16]",
    "classifier.largest_auc=1.0",
    "classifier.least_ess=0.0",
    "classifier.warn_ess=0.0",
    "classifier.warn_norm=1e9",
    "classifier.largest_norm=1e9",
    "pull.classifier.epochs=2",
    "pull.classifier.hidden=[16]",
    "hmc.leapfrog=3",
    "hmc.step=0.1",
    "hmc.burn_in=5",
    "gan.steps=5",
    "gan.hidden=[16]",
    "flow.events=1000",
    "flow.training.epochs=1",
)


def test_distances_of_histograms_that_are_known():
    left, right = np.zeros((8, 8)), np.zeros((8, 8))
    left[1, 2], right[4, 6] = 1, 1  # three cells and four cells: five cell widths
    assert earth_movers(left, right, reach=4.0) == pytest.approx(5.0)
    assert jensen_shannon(left, right) == pytest.approx(1.0)
    assert jensen_shannon(left, left) == 0
    # half of the mass moved away: H((3/4, 1/4)) - (0 + 1) / 2 bits
    half = 0.5 * (left + right)
    assert jensen_shannon(left, half) == pytest.approx(0.811278 - 0.5, abs=1e-6)
    assert earth_movers(left, half, reach=4.0) == pytest.approx(2.5)


def test_weights_count_and_nothing_falls_out():
    points = Points(np.array([[0.1, 0.1], [99.0, -99.0]], np.float32), np.array([3.0, 1.0]))
    found = histogram(points, bins=4, reach=1.0)
    assert found[2, 2] == 0.75
    assert found[3, 0] == 0.25


def test_toys_have_the_moments_of_their_definition():
    for toy, variance in (("gaussians", 1 + 0.25**2), ("donuts", None), ("rings", None)):
        values = true_points(toy, 40_000, seed=1).values
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=0.03)
        if variance is not None:
            np.testing.assert_allclose(values.var(axis=0), variance, rtol=0.03)
    radius = np.linalg.norm(true_points("rings", 40_000, seed=1).values, axis=1)
    assert np.mean(radius**2) == pytest.approx(np.mean([r**2 for r in (0.6, 1.2, 1.8)]) + 0.08**2, rel=0.02)


def test_a_tiny_run_goes_on_where_it_was_stopped(tmp_path: Path, capsys):
    out = ["--out", str(tmp_path), "--train", "1500", "--evaluate", "1000", "--epochs", "1", "--toys", "gaussians"]
    settings = [word for option in TINY for word in ("--set", option)]
    assert main(["run", *out, "--methods", "floor,baseline,dctr", *settings]) == 0
    first = (tmp_path / "gaussians" / "dctr" / "result.json").read_text()
    assert main(["run", *out, *settings]) == 0
    assert (tmp_path / "gaussians" / "dctr" / "result.json").read_text() == first  # not run again
    found = collect(tmp_path)
    assert set(found) == set(METHODS)
    for method, toys in found.items():
        assert 0 < toys["gaussians"]["emd"] < 3, method
        assert 0 < toys["gaussians"]["jsd"] < 1, method
    assert json.loads(first)["n_train"] == 1500
    assert len({found[m]["gaussians"]["jsd"] for m in METHODS}) == len(METHODS)
    assert found["laser-reverse"]["gaussians"]["jsd"] != found["laser-flow"]["gaussians"]["jsd"]
    assert found["floor"]["gaussians"]["emd"] < found["baseline"]["gaussians"]["emd"]
    capsys.readouterr()
    assert main(["show", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == table(found)
    assert "(0.28)" in table(found)
    assert main(["draw", "--out", str(tmp_path)]) == 0
    from PIL import Image

    with Image.open(tmp_path / "toys.png") as picture:
        assert picture.width > 5 * picture.height  # six methods in a line
    assert main(["draw", "--out", str(tmp_path / "nothing")]) == 2
    assert "nothing to draw" in capsys.readouterr().err


def test_the_page_quotes_the_results():
    found = collect(ROOT / "benchmarks" / "results" / "refinement_toys")
    assert set(found) == set(METHODS)
    assert table(found) in (ROOT / "docs" / "refinement.md").read_text(encoding="utf-8")
    for toys in found.values():
        for entry in toys.values():
            assert (entry["n_train"], entry["n_evaluate"]) == (480_000, 200_000)
    better = {
        toy: [round(100 * (1 - one[key] / found["baseline"][toy][key])) for key in ("jsd", "emd")]
        for toy, one in found["hmc-events"].items()
    }
    assert better == {"gaussians": [45, 49], "donuts": [78, 85], "rings": [84, 78]}  # what the page says


def test_hmc_and_flow_reach_what_the_page_says_on_every_toy():
    found = collect(ROOT / "benchmarks" / "results" / "refinement_toys_weak")
    assert table(found) in (ROOT / "docs" / "refinement.md").read_text(encoding="utf-8")
    for toy in TOYS:
        for method in ("hmc", "chains-events", "hmc-events", "laser-events"):
            better = {key: 1 - found[method][toy][key] / found["baseline"][toy][key] for key in ("emd", "jsd")}
            assert better["jsd"] > 0.5
            assert better["emd"] > 0.25
        assert found["hmc-events"][toy]["jsd"] < found["dctr"][toy]["jsd"]
    page = " ".join((ROOT / "docs" / "refinement.md").read_text(encoding="utf-8").split())
    for method, words in (
        ("hmc", "it lowers JSD by {jsd} and EMD by {emd}."),
        ("chains-events", "JSD falls by {jsd}, EMD by {emd}."),
        ("hmc-events", "JSD lower by {jsd}, EMD by {emd}."),
        ("laser-events", "lowers JSD by {jsd} and EMD by {emd}: it keeps"),
        ("laser-gan", "lowers JSD by {jsd} and EMD by {emd}."),
    ):
        falls = {
            key: [round(100 * (1 - found[method][toy][key] / found["baseline"][toy][key])) for toy in TOYS]
            for key in ("jsd", "emd")
        }
        assert words.format(**{key: f"{min(one)} to {max(one)} %" for key, one in falls.items()}) in page, method


def test_settings_that_are_wrong_are_refused(tmp_path: Path, capsys):
    assert main(["run", "--out", str(tmp_path / "none"), "--set", "gan.stepps=3"]) == 2
    assert "did you mean steps" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["run", "--out", str(tmp_path), "--toys", "squares"])
    assert set(TOYS) == {"gaussians", "donuts", "rings"}
