"""Timing exported files: the keys and figures that are written, for small networks; and that all runtimes agree."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import export, export_sides
from benchmarks.export_files import write_file
from benchmarks.export_sides import File, noise_of, without_kernels
from benchmarks.export_subjects import make_subjects
from benchmarks.export_table import Goal, text
from exporters import OnnxGenerator
from hepflows.errors import MissingDependencyError

ROOT = Path(__file__).parents[2]
SMALL = ("--hidden", "12,12", "--blocks", 1, "--batch", "1,4")
RUNTIMES = ("torch", "numba", "onnxruntime", "onnxruntime_float16")


@pytest.fixture(scope="module")
def subject():
    more = {"student": None, "teacher": None, "jets": None, "make_jets": False, "hidden": (12, 12), "blocks": 1}
    return make_subjects(SimpleNamespace(more=more, quick=True, seed=1, batches=(6,)))["student"]


@pytest.fixture(scope="module")
def path(subject, tmp_path_factory):
    file = tmp_path_factory.mktemp("export") / "student.onnx"
    write_file(subject.generator, file)
    return file


def no_toolchain():
    raise MissingDependencyError("there is no cmake")


@pytest.mark.filterwarnings("ignore:.*overflow")
def test_figures(results, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(export, "build_program", no_toolchain)
    plot = tmp_path / "plot.png"
    found = results(export.main, *SMALL, "--no-startup", "--plot", plot)
    assert (found["schema"], found["benchmark"]) == ("hepflows-benchmark/1", "export")
    assert found["machine"]["versions"]["onnxruntime"]
    assert found["settings"]["threads"] == 1
    assert tuple(found["ms"]) == ("student", "teacher")
    assert set(found["ms"]["student"]) == set(RUNTIMES)
    assert set(found["ms"]["teacher"]) == {"torch", "numba", "onnxruntime"}
    for by_runtime in found["ms"].values():
        for by_batch in by_runtime.values():
            assert tuple(by_batch) == ("1", "4")
            assert min(by_batch.values()) > 0
    ms = {name: by_runtime["onnxruntime"]["4"] for name, by_runtime in found["ms"].items()}
    assert found["teacher_over_student"] == pytest.approx(ms["teacher"] / ms["student"], rel=1e-4)
    assert found["student_onnxruntime_over_numba"]["4"] > 0
    files = {"student", "student_float16", "teacher"}  # no int8 with --quick
    assert set(found["file_bytes"]) == set(found["load_seconds"]) == files
    assert min(found["load_seconds"].values()) > 0
    assert found["dense_bytes"]["student"] == found["dense_bytes"]["teacher"]
    stream = found["stream"]
    assert 0.4 < stream["student_float16"]["bytes"] / stream["student"]["bytes"] < 0.75
    for entry in stream.values():
        assert entry["run_over_stream"] == pytest.approx(entry["run_ms"] / entry["stream_ms"], rel=1e-4)
    assert found["weights"] == {"student": "random", "teacher": "random"}
    assert found["finite"]["student"]
    assert found["finite"]["teacher"]
    assert found["hosts"] == found["startup"] == {}
    assert "there is no cmake" in found["not_run"]["onnxruntime_cpp"]
    assert "geant4" in found["not_run"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "share of dense float32 weights" in shown
    assert "not run: onnxruntime_cpp" in shown


def test_students_with_smaller_weights_are_sides(subject, tmp_path) -> None:
    smaller = ("float16", "int8")
    files = export._write_files({"student": subject}, tmp_path, smaller, threads=1)
    assert list(files) == ["student", "student_float16", "student_int8"]
    sides = export._sides({"student": subject}, files, smaller)
    assert list(sides)[-2:] == ["onnxruntime_float16 student", "onnxruntime_int8 student"]
    for side in list(sides)[-2:]:
        assert np.isfinite(sides[side].call(3)()).all()


def test_all_runtimes_sample_the_same(subject, path) -> None:
    exported = File.open(path, subject, threads=1).call(6)()
    cond, noise = subject.columns(6), noise_of(subject, 6)
    with torch.no_grad(), without_kernels():
        plain = subject.generator.sampling_module()(torch.from_numpy(cond), torch.from_numpy(noise)).numpy()
    ours = export_sides.numba_side(subject).call(6)().voxels_mev
    assert (ours > 0).any()
    for other in (exported, plain):
        np.testing.assert_allclose(other, ours, rtol=1e-3, atol=1e-2 * ours.max())


def test_the_files_are_those_of_the_contract(subject, path) -> None:
    client = OnnxGenerator(path)
    assert client.noise_dim == subject.generator.noise_dim
    assert client.n_outputs == 504


def test_hosts_take_turns(subject, path, monkeypatch) -> None:
    answer = {"ms_per_event": 2.0, "load_seconds": 0.5, "onnxruntime": "1.99.0"}
    monkeypatch.setattr(export_sides, "run_program", lambda *_, **__: answer)
    file = File.open(path, subject, threads=1)
    found = export_sides.time_hosts(path, {"student": file}, (2,), threads=1, quick=True)["student"]["2"]
    assert found["cpp_ms"] == 2.0
    assert found["cpp_over_python"] > 0
    assert found["onnxruntime"] == "1.99.0"


def test_kernels_are_back_afterwards() -> None:
    from hepflows.plain import is_plain

    x = torch.zeros(2)
    with without_kernels():
        assert not is_plain(x)
    assert is_plain(x)


def test_the_documents_quote_the_results() -> None:
    found = text(json.loads((ROOT / "benchmarks" / "results" / "export" / "result.json").read_text(encoding="utf-8")))
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for part in found.strip().split("\n\n"):
        assert part in page


def test_goals_are_met_missed_or_not_measured() -> None:
    rows = [Goal(what="x", most=2, found=found).row() for found in (1.0, 2.5, None)]
    assert [row.split(" | ")[2:] for row in rows] == [
        ["1.00", "met |"],
        ["2.50", "**missed** |"],
        ["not measured", " |"],
    ]
