"""What the commands write: keys, batches, units, and figures that agree with each other."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import density, observables, sampling, spline, sweep, training
from benchmarks.sides import Side, measure
from hepflows.benchmarking.timing import Effort

SMALL = ("--features", 10, "--hidden", "8,8", "--blocks", 2, "--batch", "1,5")


def by_batch(figures: dict[str, float], batches: tuple[str, ...] = ("1", "5")) -> None:
    assert tuple(figures) == batches
    assert all(value > 0 for value in figures.values())


def check_header(found: dict[str, Any], name: str) -> None:
    assert (found["schema"], found["benchmark"]) == ("hepflows-benchmark/1", name)
    machine = found["machine"]
    assert machine["cpu"]
    assert machine["versions"]["torch"]
    assert machine["torch_threads"] == found["settings"]["threads"] == 1
    assert found["settings"]["dtype"] == "float32"
    assert found["settings"]["quick"] is True


def test_sampling(results, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sweep, "QUICK_FEATURES", (8, 16))
    monkeypatch.setattr(sweep, "QUICK_BATCHES", (2, 4))
    monkeypatch.setattr(sampling, "usable_cores", lambda: 2)
    plot = tmp_path / "plot.png"
    extra = ("--threads-batch", 4, "--no-startup", "--sweep", "--plot", plot, "--peers", "nflows,zuko")
    found = results(sampling.main, *SMALL, *extra)
    check_header(found, "sampling")
    for name in ("teacher_ms", "student_ms", "teacher_over_student", "teacher_over_t", "speedup_over_nflows_naive",
                 "student_speedup_over_nflows", "speedup_over_zuko_naive", "student_speedup_over_zuko"):  # fmt: skip
        by_batch(found[name])
        if "_over_" in name:
            by_batch(found[f"{name}_cpu"])
            by_batch(found[f"{name}_least"])
    assert 0 <= found["max_abs_error_float64"] < 1e-10
    assert found["gemm_gflops"] == max(found["gemm"].values())
    assert found["t_ms"] == pytest.approx(found["architecture"]["unmasked_mflop"] / found["gemm_gflops"], rel=1e-4)
    ms = {side: entry["batches"]["5"]["ms"] for side, entry in found["sides"].items()}
    assert found["teacher_ms"]["5"] == ms["hepflows teacher"]
    ratio = ms["hepflows teacher"] / ms["hepflows student"]
    assert found["teacher_over_student"]["5"] == pytest.approx(ratio, rel=1e-4)
    naive = ms["nflows teacher, naive"] / ms["hepflows teacher"]
    assert found["speedup_over_nflows_naive"]["5"] == pytest.approx(naive, rel=1e-4)
    assert found["teacher_over_t"]["5"] == pytest.approx(ms["hepflows teacher"] / found["t_ms"], rel=1e-4)
    assert "8 of 10 passes" in found["sides"]["nflows teacher, naive"]["extrapolated"]
    assert found["sides"]["hepflows teacher"]["extrapolated"] is None
    assert "speedup_over_nflows_naive" in found["extrapolated"]
    assert "student_speedup_over_nflows" not in found["extrapolated"]
    assert found["naive_passes"] == 8
    assert found["two_threads_speedup"] > 0
    assert found["two_threads_batch"] == 4
    assert found["same_weights"] == {"nflows": True, "zuko": False}
    assert found["sweep"]["features"]["sizes"] == [8, 16]
    assert found["sweep"]["features"]["nflows_naive"]["sizes"] == [8, 16]
    assert found["sweep"]["batch"]["sizes"] == [2, 4]
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "nflows teacher, naive (extrapolated)" in shown
    assert "GFLOP/s" in shown


def test_density(results, capsys) -> None:
    found = results(density.main, *SMALL)
    check_header(found, "density")
    for name in ("teacher_ms", "student_ms", "student_over_teacher", "teacher_speedup_over_nflows",
                 "student_speedup_over_nflows_naive"):  # fmt: skip
        by_batch(found[name])
    assert set(found["extrapolated"]) == {
        f"student_speedup_over_nflows_naive{suffix}" for suffix in ("", "_cpu", "_least")
    }
    assert "log-density" in capsys.readouterr().out


def test_training(results, tmp_path) -> None:
    plot = tmp_path / "plot.png"
    tiny = ("--coupling-features", 6, "--coupling-blocks", 2, "--plot", plot, "--peers", "nflows,zuko")
    found = results(training.main, *SMALL, *tiny)
    check_header(found, "training")
    coupling = found["coupling"]
    for figures in (found, coupling):
        for name in ("step_ms", "step_cpu_ms", "speedup_over_nflows", "speedup_over_zuko"):
            by_batch(figures[name])
        assert set(figures["peer_step_ms"]) == {"nflows", "zuko"}
        ratio = figures["peer_step_ms"]["nflows"]["5"] / figures["step_ms"]["5"]
        assert figures["speedup_over_nflows"]["5"] == pytest.approx(ratio, rel=1e-4)
    for name in ("sampling_ms", "sampling_speedup_over_nflows", "sampling_speedup_over_fastest_peer"):
        by_batch(coupling[name])
    least = min(coupling[f"speedup_over_{peer}"]["5"] for peer in ("nflows", "zuko"))
    assert coupling["speedup_over_fastest_peer"]["5"] == pytest.approx(least, rel=1e-4)
    assert coupling[f"speedup_over_{coupling['speedup_over_fastest_peer_is']['5']}"]["5"] == pytest.approx(least)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_conditioners_of_the_reference_coupling_flow_have_the_published_size() -> None:
    size = training.conditioner_size(training.Coupling())
    assert size == pytest.approx(437e3, rel=0.01)


def test_a_training_step_lowers_the_loss() -> None:
    import torch

    from benchmarks.architecture import Coupling, coupling_flow, inputs

    flow = coupling_flow(Coupling(features=4, blocks=2, width=16), seed=1)
    x, _ = inputs(4, 0, 64, seed=2)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2, fused=True)
    losses = [training.training_step(flow, flow.log_prob, optimizer, x, None) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.1


def test_spline(results) -> None:
    found = results(spline.main, "--batch", "10,300", "--peers", "nflows,zuko")
    check_header(found, "spline")
    for operation in spline.OPERATIONS:
        sides = found[f"{operation}_ns"]
        assert set(sides) == {"hepflows fused", "hepflows portable", "nflows spline", "zuko spline"}
        for figures in sides.values():
            by_batch(figures, ("10", "300"))
        for other in ("portable", "nflows", "zuko"):
            by_batch(found[f"{operation}_speedup_over_{other}"], ("10", "300"))


def test_what_does_not_fit_into_memory_is_left_out() -> None:
    calls = []
    sides = {
        "small": Side(call=lambda n: lambda: calls.append(("small", n))),
        "large": Side(call=lambda n: lambda: calls.append(("large", n)), bytes_per_event=2**50, scale=3.0, note="x"),
    }
    measured = measure(sides, (1, 2), Effort(repeats=1, seconds=0.0, lap_s=0.0))
    assert set(measured.timings) == {"small"}
    assert set(measured.left_out) == {"large, batch 1", "large, batch 2"}
    assert "GiB of memory" in measured.left_out["large, batch 2"]
    assert measured.ratios("r", "large", "small") == {"r": {}, "r_cpu": {}, "r_least": {}}


def test_extrapolations_are_scaled() -> None:
    import time

    sides = {"part": Side(call=lambda _: lambda: time.sleep(1e-3), scale=1e4, note="a part")}
    measured = measure(sides, (2,), Effort(repeats=1, seconds=0.0, lap_s=0.0))
    assert measured.ms("part")["2"] >= 1e4 / 2  # sleeping takes at least as long as asked
    assert measured.to_dict()["part"]["extrapolated"] == "a part"


def test_observables(results, tmp_path, monkeypatch) -> None:
    plot = tmp_path / "plot.png"
    found = results(observables.main, "--batch", "20,50", "--plot", plot)
    check_header(found, "observables")
    assert plot.stat().st_size > 1000
    assert found["voxels"] == 504
    assert found["not_run"] == {}
    by_batch(found["observables_us"], ("20", "50"))
    seconds = {batch: 1e-6 * int(batch) * us for batch, us in found["observables_us"].items()}
    assert found["observables_s"] == pytest.approx(seconds, rel=1e-3)  # four digits are written
    assert {tuple(side["batches"]) for side in found["sides"].values()} == {("20", "50")}
