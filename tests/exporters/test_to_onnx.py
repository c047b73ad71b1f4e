"""`to_onnx`: four files or none, complete metadata, clear refusals."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch

import exporters.graphs as graphs_module
import exporters.onnx as export_module
from exporters import to_onnx
from exporters.golden import read_golden
from exporters.manifest import from_properties, to_properties
from exporters.onnx import ParityError
from hepflows.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    MissingDependencyError,
    OutputError,
)

if TYPE_CHECKING:
    from exporters import ExportResult

# Written out here: a key that the exporter forgets must not vanish from the test, too.
KEYS = (
    "contract_version", "profile", "encoding", "io", "noise", "rng", "task", "conditions", "out_of_range",
    "package_versions", "opset", "ir_version", "operators", "portable", "storage", "tolerance", "metrics", "kind",
    "geometry", "output", "condition_tables", "mass_constraint", "out_of_reach", "normalisation", "threshold_mev",
    "pdg", "detector", "simulation_version", "training_data_sha256", "git_commit", "training_seed", "provenance",
    "licence",
)  # fmt: skip
REPORT = {
    "schema": "hepflows-report/1",
    "domain": "toy",
    "passed": True,
    "n_reference": 100,
    "n_generated": 200,
    "samples": {"student": {"auc_low": {"value": 0.61, "error": 0.01, "floor": None}}},
}


def test_four_files_stand_side_by_side(exported: ExportResult) -> None:
    folder = exported.model.parent
    names = {"toy.onnx", "toy.manifest.json", "toy.golden.bin", "MODEL_CARD.md"}
    assert {file.name for file in folder.iterdir()} == names


def test_metadata_are_complete(exported: ExportResult, toy: Any) -> None:
    model = onnx.load(exported.model)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert all(key.startswith("hepflows.") for key in properties)
    metadata = from_properties(properties, where="toy")
    assert set(metadata) == set(KEYS)
    assert metadata == json.loads(exported.manifest.read_text())["metadata"]
    assert metadata["conditions"][0] == {
        "name": "incident_energy_gev",
        "unit": "GeV",
        "valid_range": [1.0, 100.0],
    }
    assert metadata["out_of_range"] == "error"
    assert metadata["contract_version"] == 1
    assert metadata["geometry"] == toy.export_metadata()["geometry"]
    assert metadata["output"] == {"name": "voxels", "unit": "MeV", "order": "layer by layer"}
    assert (metadata["pdg"], metadata["detector"]) == (11, "toy")
    assert metadata["training_data_sha256"] == "0" * 64
    assert [tensor["name"] for tensor in metadata["io"]["inputs"]] == ["cond", "noise"]
    assert metadata["io"]["outputs"][0]["width"] == 8
    assert metadata["noise"]["distribution"] == "standard_normal"
    assert metadata["rng"] == "host"
    assert metadata["profile"] == "generic"
    assert (metadata["opset"], metadata["ir_version"]) == (17, 8)
    assert metadata["threshold_mev"] == 5.0
    assert metadata["training_seed"] == 3  # from the provenance
    assert metadata["git_commit"] is None  # unknown, but said
    assert metadata["operators"] == dict(exported.operators)
    assert metadata["tolerance"]["passed"] is True
    assert "torch" in metadata["package_versions"]


def test_manifest_vouches_for_model_and_golden_file(exported: ExportResult) -> None:
    manifest = json.loads(exported.manifest.read_text())
    assert manifest["model"]["file"] == "toy.onnx"
    for key, file in (("model", exported.model), ("golden", exported.golden)):
        assert manifest[key]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert exported.sha256 == manifest["model"]["sha256"]
    assert manifest["model"]["bytes"] == exported.n_bytes == exported.model.stat().st_size


def test_golden_events_are_float64_torch_on_float32_inputs(exported: ExportResult, toy: Any) -> None:
    golden = read_golden(exported.golden)
    for values in (golden.cond, golden.noise):
        np.testing.assert_array_equal(values, values.astype(np.float32))
    module = toy.sampling_module().double()
    with torch.no_grad():
        expected = module(torch.from_numpy(golden.cond), torch.from_numpy(golden.noise)).numpy()
    np.testing.assert_allclose(golden.expected, expected, rtol=1e-12)
    assert (golden.expected == 0).any()  # the threshold is applied
    assert golden.cond[:, 0].min() < 3
    assert golden.cond[:, 0].max() > 80


def test_export_is_reproducible(exported: ExportResult, toy: Any, tmp_path: Path) -> None:
    again = to_onnx(toy, tmp_path / "toy.onnx")
    assert again.sha256 == exported.sha256
    assert again.golden.read_bytes() == exported.golden.read_bytes()


def test_report_numbers_reach_metadata_and_card(toy: Any, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(json.dumps(REPORT))
    (tmp_path / "report" / "pictures").mkdir()
    (tmp_path / "report" / "pictures" / "jet_shapes_0.png").write_bytes(b"png")
    result = to_onnx(toy, tmp_path / "out" / "toy.onnx", report=tmp_path / "report")
    manifest = json.loads(result.manifest.read_text())
    assert manifest["metadata"]["metrics"] == REPORT["samples"]
    card = result.card.read_text()
    assert "| `auc_low` | 0.61 | 0.01 | - |" in card
    assert "![jet shapes](toy.pictures/jet_shapes_0.png)" in card
    assert (result.card.parent / "toy.pictures" / "jet_shapes_0.png").read_bytes() == b"png"


def test_card_says_what_the_file_is(exported: ExportResult) -> None:
    card = exported.card.read_text()
    assert "| `incident_energy_gev` | GeV | 1 ... 100 |" in card
    assert "No validation report" in card
    assert "not stated" in card


@pytest.mark.parametrize("name", ["toy.onnx", "toy.manifest.json", "toy.golden.bin", "MODEL_CARD.md"])
def test_existing_files_are_kept_without_force(toy: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        to_onnx(toy, tmp_path / "toy.onnx")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_force_replaces_them(toy: Any, copied: Path) -> None:
    copied.write_bytes(b"old")
    result = to_onnx(toy, copied, force=True)
    assert copied.stat().st_size == result.n_bytes


@pytest.mark.parametrize("culprit", ["write_golden", "write_manifest"])
def test_a_full_disk_leaves_nothing_behind(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, culprit: str
) -> None:
    def full(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_module, culprit, full)
    with pytest.raises(OutputError, match="No space left"):
        to_onnx(toy, tmp_path / "toy.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", range(8))
@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_fails_late_leaves_everything_as_it_was(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, existing: bool
) -> None:
    """The n-th wait for the disk or renaming fails; four files each, the card among them."""
    from hepflows import file_sets

    names = ("toy.onnx", "toy.manifest.json", "toy.golden.bin", "MODEL_CARD.md")
    if existing:
        for name in names:
            (tmp_path / name).write_text("mine")
    calls = iter(range(100))
    honest_sync, honest_replace = file_sets.sync, type(tmp_path).replace

    def fail_if_due() -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")

    def sync(path: Path) -> None:
        fail_if_due()
        honest_sync(path)

    def replace(path: Path, target: Path) -> Path:
        if path.name.endswith(".tmp"):
            fail_if_due()
        return honest_replace(path, target)

    monkeypatch.setattr(file_sets, "sync", sync)
    monkeypatch.setattr(type(tmp_path), "replace", replace)
    with pytest.raises(OutputError, match="No space left"):
        to_onnx(toy, tmp_path / "toy.onnx", force=True, parity_events=512)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(
        names if existing else (), "mine"
    )


def test_a_graph_outside_the_tolerance_is_not_written(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = graphs_module.lower

    def wrong(module: Any, *args: Any, **options: Any) -> bytes:
        layer = next(part for part in module.modules() if hasattr(part, "mask"))
        layer.weight.data.mul_(1.01)
        try:
            return honest(module, *args, **options)
        finally:
            layer.weight.data.div_(1.01)

    monkeypatch.setattr(graphs_module, "lower", wrong)
    with pytest.raises(ParityError, match="median") as caught:
        to_onnx(toy, tmp_path / "toy.onnx")
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


class Variant:
    """The toy with other metadata."""

    def __init__(self, toy: Any, **entries: object) -> None:
        self.toy, self.entries, self.noise_dim = toy, entries, toy.noise_dim

    def sampling_module(self, *, threshold: bool = True) -> Any:
        return self.toy.sampling_module(threshold=threshold)

    def export_metadata(self) -> dict[str, object]:
        return {**self.toy.export_metadata(), **self.entries}


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"conditions": None}, "no conditions"),
        ({"conditions": [{"name": "e", "unit": "GeV"}]}, "ill-formed condition"),
        ({"conditions": [{"name": "e", "unit": "GeV", "valid_range": [2.0, 1.0]}]}, "no valid range"),
        (
            {"conditions": [{"name": "e", "unit": "GeV", "valid_range": [0.0, float("inf")]}]},
            "JSON|valid range",
        ),
        ({"threshold_mev": "high"}, "threshold_mev"),
        ({"out_of_range": "ignore"}, "out-of-range policy"),
        ({"pdg": {1, 2}}, "no JSON form"),
    ],
)
def test_bad_metadata_are_named(toy: Any, tmp_path: Path, entries: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        to_onnx(Variant(toy, **entries), tmp_path / "toy.onnx")
    assert list(tmp_path.iterdir()) == []


def test_bad_requests_are_named(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.onnx"):
        to_onnx(toy, tmp_path / "toy.bin")
    with pytest.raises(ConfigError, match="profile"):
        to_onnx(toy, tmp_path / "toy.onnx", profile="par04")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot be exported"):
        to_onnx(object(), tmp_path / "toy.onnx")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="does not exist"):
        to_onnx(toy, tmp_path / "toy.onnx", report=tmp_path / "nothing")
    (tmp_path / "report.json").write_text('{"schema": "other"}')
    with pytest.raises(DataError, match="not a validation report"):
        to_onnx(toy, tmp_path / "toy.onnx", report=tmp_path)
    (tmp_path / "report.json").write_text(json.dumps({**REPORT, "domain": "jetgen"}))
    with pytest.raises(DataError, match=r"about other events[\s\S]*jetgen"):
        to_onnx(toy, tmp_path / "toy.onnx", report=tmp_path)


def test_the_page_lists_all_metadata() -> None:
    page = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")
    section = page.partition("## Metadata")[2].partition("## ")[0]
    lists = re.findall(r"`([a-z0-9_]+(?:\s[a-z0-9_]+)+)`", section)
    assert sorted(" ".join(lists).split()) == sorted(KEYS)


@pytest.mark.parametrize("place", ["file.txt/toy.onnx", "locked/toy.onnx", "locked/deeper/toy.onnx"])
def test_a_place_that_cannot_be_written_to_is_named_before_any_work(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "locked").mkdir()
    honest = os.access
    # a superuser may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and honest(path, mode))
    monkeypatch.setattr(export_module, "make_graphs", None)
    with pytest.raises(OutputError, match="not a writable directory") as caught:
        to_onnx(toy, tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file.txt", "locked"]


def test_a_generator_above_two_gigabytes_is_refused(toy: Any, tmp_path: Path) -> None:
    class Huge(Variant):
        def sampling_module(self, *, threshold: bool = True) -> Any:
            module = super().sampling_module(threshold=threshold)
            module.register_parameter("huge", torch.nn.Parameter(torch.empty(2**29, device="meta")))
            return module

    with pytest.raises(ConfigError, match="too large for one ONNX file") as caught:
        to_onnx(Huge(toy), tmp_path / "toy.onnx")
    assert "below 2 GB" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_packages_name_the_extra(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"hepflows\[onnx\]"):
        to_onnx(toy, tmp_path / "toy.onnx")


def test_foreign_models_are_named() -> None:
    with pytest.raises(ArtefactError, match="lacks metadata"):
        from_properties({"other": "1"}, where="foreign.onnx")
    with pytest.raises(ArtefactError, match="damaged"):
        from_properties({"hepflows.pdg": "{"}, where="foreign.onnx")
    assert to_properties({"pdg": 11}) == {"hepflows.pdg": "11"}
