from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from hepflows import artefact
from hepflows import document as document_module
from hepflows.artefact import GeneratorDocument, load_artefact, load_state, read_document, save_artefact
from hepflows.errors import ArtefactError, OutputError

if TYPE_CHECKING:
    from pathlib import Path


def document(**changes: object) -> GeneratorDocument:
    values: dict[str, object] = {
        "task": "toy",
        "kind": "teacher",
        "config": {"task": "toy", "rate": 1e-3},
        "units": {"incident_energy_gev": "GeV"},
        "geometry": {"name": "grid", "edges_mm": [0.0, 0.1, 1 / 3]},
        "valid_range": {"incident_energy_gev": (1.0, 100.0)},
        "training": {"loss": [2.0, 1.5]},
    }
    return GeneratorDocument(**{**values, **changes})  # type: ignore[arg-type]  # a bag of values


def network() -> nn.Module:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module.register_buffer("mean", torch.tensor([0.1, 0.2], dtype=torch.float64))
    module.register_buffer("order", torch.tensor([2, 0, 1]))
    return module


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_artefact(tmp_path / "gen", document(), network().state_dict())
    return tmp_path / "gen"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_round_trip_is_bit_exact(tmp_path: Path) -> None:
    state = network().state_dict()
    written = save_artefact(tmp_path / "gen", document(), state)
    read, tensors = load_artefact(tmp_path / "gen")
    assert read == written
    assert read.geometry["edges_mm"] == [0.0, 0.1, 1 / 3]
    assert tensors.keys() == state.keys()
    for name, tensor in state.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_the_directory_holds_two_files_and_no_pickle(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["generator.json", "weights.safetensors"]


def test_views_and_shared_tensors_are_saved(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    save_artefact(tmp_path / "gen", document(), {"w": weight, "tied": weight, "turned": weight.T})
    assert torch.equal(load_artefact(tmp_path / "gen")[1]["turned"], weight.T)


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    history = {"loss": [1.0, math.nan]}
    save_artefact(tmp_path / "gen", document(training=history), {})
    assert read_document(tmp_path / "gen").training == {"loss": [1.0, None]}


def test_existing_directory_needs_force(saved: Path) -> None:
    before = (saved / "generator.json").read_bytes()
    with pytest.raises(OutputError, match="--force"):
        save_artefact(saved, document(kind="student"), {})
    assert (saved / "generator.json").read_bytes() == before
    save_artefact(saved, document(kind="student"), {}, force=True)
    assert read_document(saved).kind == "student"


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artefact, "document_hash", no_space)
    with pytest.raises(OutputError, match="No space left"):
        save_artefact(tmp_path / "gen", document(), network().state_dict())
    assert list(tmp_path.iterdir()) == []


class TestRefused:
    def refuses(self, path: Path, text: str) -> None:
        with pytest.raises(ArtefactError) as caught:
            load_artefact(path)
        assert text in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        self.refuses(tmp_path / "none", "does not exist")

    def test_file(self, saved: Path) -> None:
        self.refuses(saved / "generator.json", "an artefact is a directory")

    def test_run_directory_names_what_is_inside(self, saved: Path) -> None:
        self.refuses(saved.parent, "artefacts inside it: gen")

    @pytest.mark.parametrize("name", ["generator.json", "weights.safetensors"])
    def test_missing_part(self, saved: Path, name: str) -> None:
        (saved / name).unlink()
        self.refuses(saved, f"{name} is missing")

    def test_truncated_weights(self, saved: Path) -> None:
        path = saved / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-5])
        self.refuses(saved, "weights are truncated")

    def test_one_flipped_bit(self, saved: Path) -> None:
        path = saved / "weights.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        self.refuses(saved, "weights were altered")

    def test_weights_of_another_artefact(self, saved: Path, tmp_path: Path) -> None:
        save_artefact(tmp_path / "other", document(), {"x": torch.zeros(3)})
        (saved / "weights.safetensors").write_bytes((tmp_path / "other" / "weights.safetensors").read_bytes())
        self.refuses(saved, "weights")

    @pytest.mark.parametrize(("old", "new"), [("100.0", "200.0"), ('"grid"', '"grad"'), ("1.5", "1.4")])
    def test_edited_document(self, saved: Path, old: str, new: str) -> None:
        edit(saved / "generator.json", old, new)
        self.refuses(saved, "edited after it was written")

    def test_other_schema_version(self, saved: Path) -> None:
        edit(saved / "generator.json", "hepflows-generator/1", "hepflows-generator/7")
        self.refuses(saved, "another schema version")

    def test_foreign_json(self, saved: Path) -> None:
        (saved / "generator.json").write_text("[1, 2]")
        self.refuses(saved, "not the document of a generator")

    def test_broken_json(self, saved: Path) -> None:
        path = saved / "generator.json"
        path.write_bytes(path.read_bytes()[:100])
        self.refuses(saved, "not valid JSON")
        path.write_bytes(b"\xff\x00")
        self.refuses(saved, "not valid JSON")

    def test_unknown_and_missing_entries(self, saved: Path) -> None:
        path = saved / "generator.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "extras": 1}))
        self.refuses(saved, "extras")
        del content["geometry"]
        path.write_text(json.dumps(content))
        self.refuses(saved, "geometry")

    def test_too_large(self, saved: Path, monkeypatch) -> None:
        with pytest.raises(ArtefactError, match="weights are too large"):
            load_artefact(saved, max_bytes=10)
        monkeypatch.setattr(document_module, "MAX_DOCUMENT_BYTES", 10)
        self.refuses(saved, "document is too large")

    def test_index_and_weights_disagree(self, saved: Path) -> None:
        # an author who recomputes all hashes cannot slip in other tensors than the index names
        path = saved / "generator.json"
        content = json.loads(path.read_text())
        tensors = content["weights"]["tensors"]
        tensors["renamed"] = tensors.pop("mean")
        tensors["0.bias"]["shape"] = [5]
        content["document_sha256"] = document_module.document_hash(content)
        path.write_text(json.dumps(content))
        with pytest.raises(ArtefactError) as caught:
            load_artefact(saved)
        for text in ("missing: renamed", "not expected: mean", "of another shape or type: 0.bias"):
            assert text in str(caught.value)


def test_state_must_fit_the_module(saved: Path) -> None:
    module = network()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    _, state = load_artefact(saved)
    load_state(module, state, where=saved)
    assert torch.equal(module.state_dict()["0.weight"], network().state_dict()["0.weight"])
    with pytest.raises(ArtefactError, match=r"missing: 0\.weight"):
        load_state(module, {name: tensor for name, tensor in state.items() if name != "0.weight"}, where=saved)
    with pytest.raises(ArtefactError, match=r"not expected: surplus"):
        load_state(module, {**state, "surplus": torch.zeros(1)}, where=saved)
    with pytest.raises(ArtefactError, match=r"of another shape or type: 0\.bias"):
        load_state(module, {**state, "0.bias": torch.zeros(1)}, where=saved)
