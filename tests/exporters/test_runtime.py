"""Sampling and checking an exported file without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest

from exporters import OnnxGenerator, verify
from exporters.dependencies import run, session
from exporters.golden import Golden, read_golden, write_golden
from hepflows.errors import ArtefactError, ConditionError, ConfigError, DataError, MissingDependencyError
from hepflows.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from exporters import ExportResult

COND = np.stack([np.geomspace(1, 100, 300), np.linspace(0, 0.5, 300)], axis=1)


@pytest.fixture(scope="module")
def generator(exported: ExportResult) -> OnnxGenerator:
    return OnnxGenerator(exported.model, threads=1)


# Refuses every package but those that a machine with numpy and onnxruntime alone has.
ISOLATION = """
import sys

ALLOWED = {"numpy", "onnxruntime", "hepflows", "exporters", *sys.stdlib_module_names}

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"no module named {name!r} on this machine", name=name)

sys.meta_path.insert(0, Refusing())
"""


def test_numpy_and_onnxruntime_are_enough(exported: ExportResult) -> None:
    code = (
        f"{ISOLATION}\n"
        "from exporters import OnnxGenerator, verify\n"
        f"path = {str(exported.model)!r}\n"
        "assert OnnxGenerator(path, threads=1).sample([[10.0, 0.1]], seed=1).shape == (1, 8)\n"
        "assert verify(path, threads=1).passed\n"
        "try:\n    import torch\nexcept ModuleNotFoundError:\n    pass\nelse:\n    raise SystemExit('not isolated')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_tells_what_the_file_needs(generator: OnnxGenerator) -> None:
    assert [condition.name for condition in generator.conditions] == ["incident_energy_gev", "theta_rad"]
    assert (generator.noise_dim, generator.n_outputs, generator.provider) == (10, 8, "cpu")


@pytest.mark.parametrize("batch", [1, 7, 299, 300, 1000])
def test_batches_do_not_matter(generator: OnnxGenerator, exported: ExportResult, batch: int) -> None:
    whole = generator.sample(COND, seed=5, batch=300)
    split = generator.sample(COND, seed=5, batch=batch)
    same = (whole == 0) == (split == 0)
    assert same.mean() > 0.999
    np.testing.assert_allclose(split[same], whole[same], rtol=0, atol=exported.parity.bound.maximum)


def test_a_shard_gives_the_events_of_the_whole(generator: OnnxGenerator, exported: ExportResult) -> None:
    whole = generator.sample(COND, seed=5)
    part = generator.sample(COND[100:], seed=5, first_event=100)
    same = (whole[100:] == 0) == (part == 0)
    assert same.mean() > 0.999
    bound = exported.parity.bound.maximum
    np.testing.assert_allclose(part[same], whole[100:][same], rtol=0, atol=bound)


def test_seeds_matter_and_repeat(generator: OnnxGenerator) -> None:
    first = generator.sample(COND, seed=5)
    np.testing.assert_array_equal(generator.sample(COND, seed=5), first)
    assert np.abs(generator.sample(COND, seed=6) - first).max() > 1


def test_threads_do_not_matter(exported: ExportResult, generator: OnnxGenerator) -> None:
    two = OnnxGenerator(exported.model, threads=2).sample(COND, seed=5)
    one = generator.sample(COND, seed=5)
    np.testing.assert_allclose(two, one, rtol=0, atol=exported.parity.bound.maximum)


def test_events_equal_those_of_torch_with_the_same_noise(
    generator: OnnxGenerator, exported: ExportResult, toy: Any
) -> None:
    import torch

    from hepflows.philox import normal_noise

    module = toy.sampling_module()
    noise = torch.from_numpy(normal_noise(9, 0, len(COND), 10))
    with torch.no_grad():
        expected = module(torch.from_numpy(COND.astype(np.float32)), noise).numpy()
    x = generator.sample(COND, seed=9)
    same = (x == 0) == (expected == 0)
    assert same.mean() > 0.999
    np.testing.assert_allclose(x[same], expected[same], rtol=0, atol=2 * exported.parity.bound.maximum)


@pytest.mark.parametrize(
    ("cond", "noise", "word"),
    [
        (np.zeros((3, 2)), np.zeros((3, 10), np.float32), "cond"),
        (np.zeros((3, 1), np.float32), np.zeros((3, 10), np.float32), "cond"),
        (np.zeros((3, 2), np.float32), np.zeros((2, 10), np.float32), "noise"),
        (np.zeros((3, 2), np.float32), np.zeros((3, 11), np.float32), "noise"),
    ],
)
def test_other_tensors_than_the_graphs_are_named(generator: OnnxGenerator, cond: Any, noise: Any, word: str) -> None:
    with pytest.raises(ConditionError, match="other tensors") as caught:
        generator.run(cond, noise)
    assert word in str(caught.value)


def test_no_events_are_no_error(generator: OnnxGenerator) -> None:
    assert generator.sample(np.empty((0, 2)), seed=1).shape == (0, 8)


def test_conditions_outside_are_refused_clamped_or_passed(generator: OnnxGenerator) -> None:
    outside = [[10.0, 0.2], [250.0, 0.2]]
    with pytest.raises(ConditionError, match="incident_energy_gev") as caught:
        generator.sample(outside, seed=1)
    assert "event 1" in str(caught.value)
    assert "1 ... 100 GeV" in str(caught.value)
    inside = generator.sample([[10.0, 0.2], [100.0, 0.2]], seed=1)
    np.testing.assert_array_equal(generator.sample(outside, seed=1, out_of_range="clamp"), inside)
    np.testing.assert_array_equal(generator.sample(outside, seed=1, out_of_range="pass"), inside)
    with pytest.raises(ConditionError):
        generator.sample([[np.nan, 0.2]], seed=1)
    with pytest.raises(ConditionError):
        generator.sample([[np.nan, 0.2]], seed=1, out_of_range="clamp")


@pytest.mark.parametrize("policy", ["clamp", "pass"])
def test_the_policy_of_the_file_is_the_default(copied: Path, policy: str) -> None:
    model = onnx.load(copied)
    for entry in model.metadata_props:
        if entry.key == "hepflows.out_of_range":
            entry.value = json.dumps(policy)
    copied.write_bytes(model.SerializeToString())
    generator = OnnxGenerator(copied, check=False)
    inside = generator.sample([[100.0, 0.2]], seed=1)
    np.testing.assert_array_equal(generator.sample([[250.0, 0.2]], seed=1), inside)
    assert np.isfinite(generator.sample([[np.nan, 0.2]], seed=1, out_of_range="pass")).all()
    with pytest.raises(ConditionError, match="250"):
        generator.sample([[250.0, 0.2]], seed=1, out_of_range="error")


@pytest.mark.parametrize("conditions", [[10.0, 20.0], [[10.0]], [[10.0, 0.1, 0.2]], 10.0, [["a", "b"]]])
def test_wrong_shapes_are_named(generator: OnnxGenerator, conditions: Any) -> None:
    with pytest.raises(ConditionError, match=r"shape|numbers"):
        generator.sample(conditions, seed=1)


def test_wrong_options_are_named(generator: OnnxGenerator, exported: ExportResult) -> None:
    with pytest.raises(ConfigError, match="batch"):
        generator.sample(COND, seed=1, batch=0)
    with pytest.raises(ConfigError, match="policy"):
        generator.sample(COND, seed=1, out_of_range="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="provider"):
        OnnxGenerator(exported.model, provider="tpu")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="threads"):
        OnnxGenerator(exported.model, threads=0)


def test_cuda_asked_for_but_absent(exported: ExportResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="CUDA"):
        OnnxGenerator(exported.model, provider="cuda")
    assert OnnxGenerator(exported.model, provider="auto").provider == "cpu"


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_that_the_runtime_cannot_use_is_no_silent_cpu(
    exported: ExportResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library has CUDA, but no driver: the session falls back without an error."""
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    with pytest.raises(ConfigError, match="fell back to the CPU") as caught:
        OnnxGenerator(exported.model, provider="cuda")
    assert "provider='cpu'" in str(caught.value)
    assert OnnxGenerator(exported.model, provider="auto").provider == "cpu"


def test_two_runtimes_at_once_are_refused(exported: ExportResult, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.0"}
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    with pytest.raises(MissingDependencyError, match=r"onnxruntime-gpu 1\.31\.0"):
        OnnxGenerator(exported.model)


def test_the_gpu_distribution_alone_is_accepted(exported: ExportResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "onnxruntime-gpu":
            raise metadata.PackageNotFoundError(name)
        return "1.31.0"

    monkeypatch.setattr(metadata, "version", version)
    assert OnnxGenerator(exported.model, threads=1).n_outputs == 8


@pytest.mark.parametrize("version", ["1.9.0", "1.14.1", "0.5.0"])
def test_an_old_runtime_is_refused(exported: ExportResult, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", version)
    for use in (OnnxGenerator, verify):
        with pytest.raises(MissingDependencyError, match="too old") as caught:
            use(exported.model)
        assert version in str(caught.value)
        assert "1.15 or newer" in str(caught.value)


@pytest.mark.parametrize("version", ["1.15.0", "1.32.0", "2.0.0rc1", "1.33.0.dev20260901"])
def test_a_runtime_that_is_new_enough_is_accepted(
    exported: ExportResult, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", version)
    assert verify(exported.model, threads=1).passed


def test_what_the_runtime_cannot_run_is_named(generator: OnnxGenerator) -> None:
    with pytest.raises(ArtefactError, match="cannot run the file"):
        run(generator._session, np.zeros((3, 5), dtype=np.float32), np.zeros((3, 10), dtype=np.float32))


def test_memory_is_not_planned_ahead() -> None:
    opened: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", lambda _, options, **__: opened.append(options))
        session(b"")
    assert opened[0].enable_mem_pattern is False


def test_verify_passes_on_what_was_exported(exported: ExportResult) -> None:
    outcome = verify(exported.model)
    assert outcome.passed
    assert outcome.events == 32
    assert json.loads(json.dumps(outcome.to_dict()))["passed"] is True


def test_a_file_of_another_contract_is_refused(exported: ExportResult) -> None:
    from exporters.manifest import from_properties, to_properties

    entries = json.loads(exported.manifest.read_text())["metadata"]
    with pytest.raises(ArtefactError, match="another version of the contract"):
        from_properties(to_properties(entries | {"contract_version": 99}), where="x")


def test_a_golden_file_of_another_model_is_named(copied: Path) -> None:
    golden = copied.with_suffix(".golden.bin")
    content = read_golden(golden)
    write_golden(golden, Golden(cond=content.cond, noise=content.noise, expected=content.expected[:, :1]))
    manifest = json.loads(copied.with_suffix(".manifest.json").read_text())
    manifest["golden"]["sha256"] = sha256_of(golden)
    copied.with_suffix(".manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match="another model"):
        verify(copied)


def _append_byte(model: Path) -> None:
    model.write_bytes(model.read_bytes() + b"\0")


def _flip_a_weight(model: Path) -> None:
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)


@pytest.mark.parametrize("damage", [_append_byte, _flip_a_weight])
def test_an_altered_model_is_refused(copied: Path, damage: Any) -> None:
    damage(copied)
    with pytest.raises(ArtefactError, match="not the one that was exported"):
        OnnxGenerator(copied)
    with pytest.raises(ArtefactError, match="not the one that was exported"):
        verify(copied)


@pytest.mark.parametrize("width", [7, 2**63])
def test_a_description_that_is_not_of_the_graph_is_refused(copied: Path, width: int) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(copied)
    [entry] = [prop for prop in model.metadata_props if prop.key == "hepflows.noise"]
    entry.value = json.dumps(json.loads(entry.value) | {"width": width})
    onnx.save(model, copied)
    with pytest.raises(ArtefactError, match=f"(?s)metadata or shapes are damaged.*described are {width} "):
        OnnxGenerator(copied, check=False)


def test_a_missing_manifest_is_named_and_can_be_waived(copied: Path) -> None:
    copied.with_suffix(".manifest.json").unlink()
    with pytest.raises(ArtefactError, match="manifest is missing"):
        OnnxGenerator(copied)
    assert OnnxGenerator(copied, check=False).n_outputs == 8


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "hepflows-manifest/9"}', '{"schema": "hepflows-manifest/1"}'])
def test_a_damaged_manifest_is_named(copied: Path, text: str) -> None:
    copied.with_suffix(".manifest.json").write_text(text)
    with pytest.raises(ArtefactError, match="manifest"):
        verify(copied)


def _edit(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_an_altered_manifest_is_noticed(copied: Path) -> None:
    _edit(copied.with_suffix(".manifest.json"), lambda d: d["metadata"].update(pdg=22))
    with pytest.raises(ArtefactError, match="does not say what the model says"):
        verify(copied)


def test_a_host_that_computes_something_else_fails(copied: Path) -> None:
    path = copied.with_suffix(".golden.bin")
    golden = read_golden(path)
    write_golden(path, Golden(cond=golden.cond, noise=golden.noise, expected=golden.expected * 1.001))
    with pytest.raises(ArtefactError, match=r"golden\.bin"):
        verify(copied)
    digest = sha256_of(path)
    _edit(copied.with_suffix(".manifest.json"), lambda d: d["golden"].update(sha256=digest))
    outcome = verify(copied)
    assert not outcome.passed
    assert any("median" in words for words in outcome.failures)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        OnnxGenerator(tmp_path / "no.onnx")
    with pytest.raises(DataError, match="directory"):
        OnnxGenerator(tmp_path)
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ArtefactError, match="cannot load"):
        OnnxGenerator(tmp_path / "text.onnx", check=False)
