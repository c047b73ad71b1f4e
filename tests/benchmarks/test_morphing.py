"""Benchmarks of morphing and manifolds: measures against closed forms, and tiny runs that go on where they ended."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import manifold, morphing, morphing_showers
from benchmarks.manifold_sets import CIRCLE, attractor_errors, circle, circle_errors, lorenz
from benchmarks.plane_sets import MAX_ANGLE, SHAPES, jensen_shannon, plane_table, rotated, upright
from calofast.reading import embedded_showers_path

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--points", "400", "--test", "500", "--base-epochs", "1", "--epochs", "1", "--batch", "100"]
SMALL = ["--set", "base.hidden=[8]", "--set", "transport.hidden=[8]", "--set", "transport.blocks=2"]


def test_divergence_is_0_for_equal_points_1_for_disjoint_ones_and_known_between() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-4, 0, (1000, 2))
    assert jensen_shannon(points, points) == 0
    assert jensen_shannon(points, points + np.array([4, 0])) == pytest.approx(1, abs=0.01)
    assert jensen_shannon(points + 100, points) == pytest.approx(1, abs=1e-9)
    # two cells, shares (1, 0) and (1/2, 1/2): 1/2 (log2(4/3) + 1/2 log2(2/3) + 1/2 log2(2)) bits
    one, both = np.repeat([[-1.0, 0.0]], 1000, axis=0), np.repeat([[-1.0, 0.0], [1.0, 0.0]], 500, axis=0)
    assert jensen_shannon(one, both, bins=2, reach=2.0) == pytest.approx(
        0.5 * (np.log2(4 / 3) + 0.5 * np.log2(2 / 3) + 0.5), abs=1e-6
    )


def test_sets_in_the_plane_turn_with_their_condition() -> None:
    np.testing.assert_allclose(rotated(np.array([[1.0, 0.0]]), np.array([np.pi / 2])), [[0, 1]], atol=1e-12)
    for shape in SHAPES:
        table = plane_table(shape, 4000, 1, conditional=True)
        assert 0 <= table.condition_values.min() < table.condition_values.max() <= MAX_ANGLE
        again = plane_table(shape, 4000, 2, conditional=False)
        noise = jensen_shannon(again.values, plane_table(shape, 4000, 3, conditional=False).values, bins=15)
        assert jensen_shannon(upright(table), again.values, bins=15) < 1.5 * noise
        assert jensen_shannon(table.values, again.values, bins=15) > 2 * noise


def test_the_true_density_of_the_circle_has_no_error() -> None:
    def on_curve(x: np.ndarray) -> np.ndarray:
        angle = np.arctan2(*(x - np.array(CIRCLE)).T[::-1])
        wrapped = angle[:, None] + 2 * np.pi * np.arange(-3, 4)
        spread = np.pi / 4
        return np.log((np.exp(-0.5 * (wrapped / spread) ** 2) / (np.sqrt(2 * np.pi) * spread)).sum(1))

    def in_plane(x: np.ndarray) -> np.ndarray:
        radius = np.hypot(*(x - np.array(CIRCLE)).T)
        return on_curve(x) - 0.5 * ((radius - 1) / 0.01) ** 2 - np.log(np.sqrt(2 * np.pi) * 0.01) - np.log(radius)

    points = circle(5000, 1)
    for density, ambient in ((on_curve, False), (in_plane, True)):
        found = circle_errors(points, density, ambient=ambient)
        assert found["density_error"] < 1e-4
        assert found["distance"] == pytest.approx(0.01 * np.sqrt(2 / np.pi), rel=0.05)
    wrong = circle_errors(points, lambda x: on_curve(x) + 0.5, ambient=False)
    assert wrong["density_error"] == pytest.approx(0.5, abs=1e-6)


def test_the_attractor_is_near_itself_and_far_from_noise() -> None:
    points = lorenz(2000, 3)
    np.testing.assert_allclose(points.std(0), 1, atol=0.1)
    np.testing.assert_allclose(points.mean(0), 0, atol=0.15)
    near = attractor_errors(points)
    far = attractor_errors(points + 0.3 * np.random.default_rng(0).normal(size=points.shape))
    assert near["distance"] < 0.2 * near["distance_floor"]
    assert far["distance"] > 0.05
    assert far["density_error"] > near["density_error"]


def test_a_run_goes_on_and_its_table_has_every_cell(tmp_path: Path, capsys) -> None:
    arguments = ["run", "--out", str(tmp_path), *TINY, *SMALL, "--pairs", "star:checkerboard"]
    assert morphing.main([*arguments, "--methods", "base_transfer,identity", "--kinds", "unconditional"]) == 0
    results = sorted(tmp_path.rglob("result.json"))
    assert [path.parent.name for path in results] == ["base_transfer", "identity"]
    times = [path.stat().st_mtime_ns for path in results]
    assert morphing.main([*arguments, "--methods", "base_transfer,identity", "--kinds", "unconditional"]) == 0
    assert [path.stat().st_mtime_ns for path in results] == times
    assert morphing.main([*arguments, "--methods", "movement_penalty", "--kinds", "conditional"]) == 0
    capsys.readouterr()
    assert morphing.main(["show", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("| star to checkerboard |") == 2
    found = json.loads(results[1].read_text())
    assert f"{1e3 * found['jsd']:.1f} / {found['moved']['value']:.3f}" in shown
    # base transfer gives the densities of the other methods: identical ones
    config = [json.loads(path.read_text())["config"]["base"] for path in results]
    assert config[0] == config[1]
    assert morphing.main(["draw", "--out", str(tmp_path), "--test", "500", "--kinds", "unconditional"]) == 0
    assert [path.name for path in tmp_path.rglob("*.png")] == ["unconditional-star-checkerboard.png"]
    assert morphing.main(["run", "--out", str(tmp_path / "x"), *TINY, "--set", "base.bloks=1"]) == 2
    assert morphing.main(["spread", "--out", str(tmp_path)]) == 2
    assert "needs other seeds" in capsys.readouterr().err
    assert morphing.main(["spread", "--out", str(tmp_path), "--others", str(tmp_path)]) == 2
    assert "different seeds" in capsys.readouterr().err
    assert morphing.main(["spread", "--out", str(tmp_path), "--others", str(tmp_path / "none")]) == 2
    assert "nothing is measured here" in capsys.readouterr().err


def test_manifolds_are_compared_with_ambient_flows(tmp_path: Path, capsys) -> None:
    size = ["--points", "300", "--test", "200", "--epochs", "1", "--blocks", "2", "--width", "8"]
    assert manifold.main(["run", "--out", str(tmp_path), "--sets", "circle", *size]) == 0
    capsys.readouterr()
    assert manifold.main(["show", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    changed = "`--points 300 --test 200 --epochs 1 --blocks 2 --width 8`"
    assert f"| circle | M-flow, {changed} |" in shown
    assert manifold.main(["run", "--out", str(tmp_path), "--sets", "circle", *size, "--evenness", "0"]) == 2
    assert "other settings" in capsys.readouterr().err
    assert f"| circle | flow in all dimensions, {changed} |" in shown
    assert manifold.main(["draw", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "manifold.png").stat().st_size > 1000


def test_the_page_quotes_the_manifolds() -> None:
    out = ROOT / "benchmarks" / "results" / "manifold"
    assert manifold.table(out) in (ROOT / "docs" / "morphing.md").read_text(encoding="utf-8")
    circle = {
        method: json.loads((out / "default" / "circle" / method / "result.json").read_text("utf-8"))
        for method in manifold.METHODS
    }
    for key in ("distance", "density_error"):
        assert circle["m_flow"][key] < circle["ambient"][key]


@pytest.mark.filterwarnings("ignore:.*clamped to it", "ignore:.*lack an observable")
def test_separation_powers_before_and_after(tmp_path: Path, capsys) -> None:
    small = ["--split", "0.1", "--observables", "layer_energy_0,width_x_1", *SMALL]
    quick = ["--set", "base_training.epochs=1", "--set", "transport_training.epochs=1"]
    path = str(embedded_showers_path())
    assert morphing_showers.main([path, path, "--out", str(tmp_path), *small, *quick]) == 0
    powers = json.loads((tmp_path / "result.json").read_text())["powers"]
    assert powers["width_x_1"]["before"] == 0  # the same file
    assert 0 < powers["width_x_1"]["floor"] < 0.1
    assert "| layer_energy_0 |" in capsys.readouterr().out
    assert morphing_showers.main([path, path, "--out", str(tmp_path / "x"), "--observables", "nothing"]) == 2


def test_the_page_quotes_the_results_and_the_penalty_moves_least() -> None:
    out = ROOT / "benchmarks" / "results" / "morphing"
    page = (ROOT / "docs" / "morphing.md").read_text(encoding="utf-8")
    assert morphing.table(out).rstrip("\n") in page
    seeds = sorted((ROOT / "benchmarks" / "results" / "morphing_seeds").iterdir())
    assert morphing.spread([out, *seeds]) in page
    for name, option in (
        ("learning_rate", "--learning-rate 2e-4"),
        ("weight_decay", "--set transport_training.optimizer=adamw --set transport_training.weight_decay=0.1"),
        ("base_epochs", "--base-epochs 60"),
    ):
        tries = ROOT / "benchmarks" / "results" / "morphing_tries" / name / "unconditional"
        moved = [
            json.loads((tries / pair / "identity" / "result.json").read_text("utf-8"))["moved"]["value"]
            for pair in ("four_circles-to-four_circles", "star-to-star")
        ]
        assert f"| `{option}` | {moved[0]:.3f} | {moved[1]:.3f} |" in page
    least = {"different": 0, "identical": 0}
    cells = sorted(out.glob("*/*"))
    assert len(cells) == 18
    for cell in cells:
        found = {path.parent.name: json.loads(path.read_text("utf-8")) for path in cell.glob("*/result.json")}
        moved = {method: entry["moved"]["value"] for method, entry in found.items()}
        source, target = found["identity"]["pair"]
        least["identical" if source == target else "different"] += (
            min(moved, key=moved.__getitem__) == "movement_penalty"
        )
    assert least == {"different": 11, "identical": 6}


def test_the_page_quotes_the_calibration_which_lowers_every_separation() -> None:
    file = ROOT / "benchmarks" / "results" / "morphing_showers" / "result.json"
    powers = json.loads(file.read_text(encoding="utf-8"))["powers"]
    assert morphing_showers.table(powers) in (ROOT / "docs" / "morphing.md").read_text(encoding="utf-8")
    assert all(entry["after"] < entry["before"] for entry in powers.values())
