from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from hepflows.errors import ConfigError, DataError
from validation.timing import name_sources, read_timing

BENCHMARK = {
    "schema": "hepflows-benchmark/1",
    "benchmark": "artefact",
    "settings": {"device": "cpu", "threads": None, "quick": True},
    "machine": {"cpu": "A processor", "cores": 4, "torch_threads": 2, "versions": {"torch": "2.9", "numba": None}},
    "sampling": {
        "1": {"ms": 2.0, "ms_quartile_low": 1.9, "ms_quartile_high": 2.2, "events_per_second": 500.0},
        "100": {"ms": 0.5, "ms_quartile_low": 0.4, "ms_quartile_high": 0.6, "events_per_second": 2000.0},
    },
}


def written(tmp_path, document):
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(document))
    return path


def test_times_and_hardware_of_a_benchmark(tmp_path):
    timing = read_timing(written(tmp_path, BENCHMARK), "student")
    assert (timing.device, timing.hardware) == ("cpu", "A processor, 2 of 4 cores")
    assert timing.versions == "torch 2.9"
    assert [(b.batch, b.ms) for b in timing.batches] == [(1, 2.0), (100, 0.5)]
    assert timing.to_json()["sampling"]["100"]["events_per_second"] == 2000.0
    on_gpu = copy.deepcopy(BENCHMARK)
    on_gpu["machine"]["gpu"] = "A GPU"
    assert read_timing(written(tmp_path, on_gpu), "student").hardware == "A GPU"


@pytest.mark.parametrize("lost", [("sampling",), ("machine", "cpu"), ("settings", "device"), ("sampling", "1", "ms")])
def test_incomplete_benchmarks(tmp_path, lost):
    document = copy.deepcopy(BENCHMARK)
    table = document
    for key in lost[:-1]:
        table = table[key]
    del table[lost[-1]]
    with pytest.raises(DataError, match="incomplete"):
        read_timing(written(tmp_path, document), "x")


def test_other_files(tmp_path):
    with pytest.raises(DataError, match="not a benchmark of a generator"):
        read_timing(written(tmp_path, {"schema": "hepflows-report/1"}), "x")
    with pytest.raises(DataError, match="not a benchmark of a generator"):
        read_timing(written(tmp_path, [1]), "x")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_timing(tmp_path / "bad.json", "x")
    with pytest.raises(DataError, match="does not exist"):
        read_timing(tmp_path / "missing.json", "x")


def test_names_of_generators():
    assert name_sources(["a/speed.json", "fast=b/x.onnx"]) == {"speed": Path("a/speed.json"), "fast": Path("b/x.onnx")}
    for bad in (["=x.json"], ["name="], ["a/x.json", "b/x.json"]):
        with pytest.raises(ConfigError, match="--timing"):
            name_sources(bad)
