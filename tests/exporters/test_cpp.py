"""The C++ client: its own tests, the golden test, bad input, and its showers and jets against Python's.

The client is built once, into build/cpp-*. `make test-cpp` sets HEPFLOWS_TEST_CPP, which fetches what is missing and
turns "skipped" into "failed".
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import exporters
import hepflows
from calofast.config import CaloFlowConfig
from calofast.geometry import Geometry
from calofast.layer import Layer
from calofast.showers import Showers
from calofast.training import CaloFlow, distill, fit
from exporters import OnnxGenerator, to_onnx
from exporters.cpp_runtime import prepare, prepared
from exporters.manifest import Names, write_manifest
from hepflows.classifier import ClassifierConfig
from hepflows.config import build
from hepflows.philox import normal_noise
from hepflows.refine import refine
from hepflows.refine.config import RefineConfig
from jetgen.reading import embedded_jets_path, read_jets
from jetgen.training import JetFlow
from jetgen.training import fit as fit_jets

if TYPE_CHECKING:
    from exporters import ExportResult

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(exporters.__file__).parent / "cpp"
REQUIRED = os.environ.get("HEPFLOWS_TEST_CPP") == "1"
pytestmark = pytest.mark.timeout(900)  # the first one compiles the client, trains and exports


def run(*command: object, check: bool = False, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=250, cwd=cwd)
    if check:
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def give_up(reason: str) -> None:
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip("run `make test-cpp`, which fetches what it can: " + " ".join(reason.split())[:240])


@dataclass(frozen=True)
class Client:
    programs: Path
    cmake_options: tuple[str, ...]

    def __call__(self, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return run(self.programs / program, *arguments)


@pytest.fixture(scope="session")
def client() -> Client:
    """The built programs. Parallel test processes share the build, under a lock."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            give_up(f"the C++ client cannot be built: there is no {tool}")
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "cpp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = runtime_options()
        done, place = configure(found)
        if done.returncode and REQUIRED and not found:
            found = (f"-DONNXRUNTIME_DIR={prepare(ROOT / 'build' / 'onnxruntime')}",)
            done, place = configure(found)
        if done.returncode:
            give_up("the C++ client cannot be built: " + done.stderr.strip())
        run("cmake", "--build", place, "--parallel", "2", check=True)
    return Client(place, found)


def runtime_options() -> tuple[str, ...]:
    """Where ONNX Runtime is known to be, without asking a network; empty leaves it to CMake."""
    chosen = os.environ.get("ONNXRUNTIME_DIR") or prepared(ROOT / "build" / "onnxruntime")
    return (f"-DONNXRUNTIME_DIR={chosen}",) if chosen else ()


def configure(options: tuple[str, ...]) -> tuple[subprocess.CompletedProcess[str], Path]:
    # a directory for each place of the runtime and of the sources: CMake remembers what it has found
    key = hashlib.sha256(repr((str(SOURCE), options)).encode()).hexdigest()[:8]
    place = ROOT / "build" / f"cpp-{key}"
    return run("cmake", "-S", SOURCE, "-B", place, "-DCMAKE_BUILD_TYPE=Release", *options), place


def mesh() -> Geometry:
    """A regular cylindrical mesh: 3 layers of 4 x 2 cells."""
    layers = (
        Layer(name=f"l{i}", kind="cylindrical", r_edges_mm=(0, 10, 20), n_alpha=4, z_mm=(5.0 * i, 5.0 * i + 5))
        for i in range(3)
    )
    return Geometry(name="mesh", layers=tuple(layers), particle="electron")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cpp")


@pytest.fixture(scope="module")
def student() -> Any:
    generator = np.random.default_rng(0)
    energy = generator.uniform(1.0, 100.0, 300)
    shape = np.exp(0.5 * generator.standard_normal((300, 24)))
    voxels = 900 * energy[:, None] * shape / shape.sum(axis=1, keepdims=True)
    showers = Showers(
        geometry=mesh(),
        incident_energy_gev=energy.astype(np.float32),
        voxels_mev=voxels.astype(np.float32),
        pdg=11,
        conditions={},
    )
    training = {"epochs": 2, "batch_size": 100, "learning_rate": 5e-3}
    values = {
        "data": {"validation_fraction": 0.2},
        "layer_energies": {"blocks": 1, "hidden": [8], "alpha": 1e-10, "training": training},
        "teacher": {"blocks": 1, "hidden": [16], "training": training},
        "student": {"hidden": [16], "training": training},
    }
    return distill(fit(CaloFlow(mesh(), build(CaloFlowConfig, values, where="test")), showers), showers)


@pytest.fixture(scope="module")
def showers(student: Any, folder: Path) -> ExportResult:
    return to_onnx(student, folder / "showers" / "student.onnx")


@pytest.fixture(scope="module")
def jets(folder: Path) -> ExportResult:
    settings = {
        "coupling": {"blocks": 2, "width": 8, "depth": 1},
        "training": {"epochs": 1, "batch_size": 100, "learning_rate": 2e-3},
    }
    data = read_jets(embedded_jets_path(), first=400, particles=4)
    return to_onnx(fit_jets(JetFlow("cnf_mn", **settings), data), folder / "jets" / "jets.onnx")


@pytest.fixture
def damaged(showers: ExportResult, tmp_path: Path) -> Path:
    """A copy of the exported files that a test may damage; the path of the model."""
    for file in (showers.model, showers.manifest, showers.golden):
        shutil.copy(file, tmp_path)
    return tmp_path / showers.model.name


def sampled(
    client: Client, model: Path, cond: np.ndarray[Any, Any], *options: object
) -> np.ndarray[Any, np.dtype[np.float32]]:
    conditions, out = model.with_suffix(".cond"), model.with_suffix(".out")
    cond.astype(np.float32).tofile(conditions)
    done = client("sample_to_file", model, "--conditions", conditions, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    return np.fromfile(out, dtype=np.float32).reshape(len(cond), -1)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


def tolerance(result: ExportResult) -> float:
    manifest = json.loads(result.manifest.read_text(encoding="utf-8"))
    return float(manifest["metadata"]["tolerance"]["golden_bound"]["maximum"])


def test_its_own_tests(client: Client, showers: ExportResult) -> None:
    # without compiling, for which the fixture is responsible, but with the golden test of this file
    with (ROOT / "build" / "cpp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        options = (*client.cmake_options, f"-DHEPFLOWS_TEST_MODEL={showers.model}")
        run("cmake", "-S", SOURCE, "-B", client.programs, *options, check=True)
        run("cmake", "--build", client.programs, "--parallel", "2", check=True)
        done = run("ctest", "--test-dir", client.programs, "--output-on-failure", check=True)
        run("cmake", "-S", SOURCE, "-B", client.programs, "-DHEPFLOWS_TEST_MODEL=", check=True)
    for name in ("noise", "parts", "units", "golden", "threads", "failures", "old_runtime"):
        assert re.search(rf"{name} \.+ +Passed", done.stdout), done.stdout


def test_noise_vectors_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "noise.md").read_text(encoding="utf-8")
    pattern = r"^\| (\d+) \| (\d+) \| (\d+) \| `(\w+)` \| ([\d.]+) \| [-\d.]+ \| `(\w+)` \|$"
    rows = re.findall(pattern, page, re.MULTILINE)
    code = (SOURCE / "tests" / "test_noise.cpp").read_text(encoding="utf-8")
    assert len(rows) >= 10
    assert re.findall(r"\{(\d+)u, (\d+)u, (\d+), 0x(\w+), ([\d.]+), 0x(\w+)\},", code) == rows


@pytest.mark.parametrize("options", [(), ("--batch", 3), ("--threads", 2), ("--from-bytes", 1)], ids=str)
def test_showers_are_those_of_python(client: Client, showers: ExportResult, options: tuple[object, ...]) -> None:
    energies = np.geomspace(2.0, 90.0, 50)[:, None]
    ours = sampled(client, showers.model, energies, "--seed", 2**63 + 5, "--first", 2**32 - 20, *options)
    theirs = OnnxGenerator(showers.model).sample(energies, seed=2**63 + 5, first_event=2**32 - 20)
    assert (theirs > 0).any()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance(showers))


def test_noise_is_that_of_python(client: Client, showers: ExportResult, folder: Path) -> None:
    file = folder / "noise"
    sampled(client, showers.model, np.full((300, 1), 20.0), "--seed", 11, "--first", 250, "--noise", file)
    width = OnnxGenerator(showers.model).noise_dim
    ours = np.fromfile(file, dtype=np.float32).reshape(300, width)
    np.testing.assert_array_max_ulp(ours, normal_noise(11, 250, 300, width), maxulp=1)


def test_an_engine_of_the_host(client: Client, showers: ExportResult) -> None:
    """The engine of the test gives the uniforms of event 0, one after the other, and so its first shower."""
    ours = sampled(client, showers.model, np.array([[20.0], [30.0]]), "--seed", 11, "--engine", 1)
    theirs = OnnxGenerator(showers.model).sample([20.0], seed=11)
    np.testing.assert_allclose(ours[:1], theirs, rtol=0, atol=tolerance(showers))
    assert not np.allclose(ours[1] / 30, ours[0] / 20)


def test_jets_are_those_of_python(client: Client, jets: ExportResult) -> None:
    cond = np.array([[0.05, 4.0], [0.1, 4.0], [0.08, 4.0]])
    assert client("hepflows_verify", jets.model).returncode == 0
    ours = sampled(client, jets.model, cond, "--seed", 3)
    np.testing.assert_allclose(ours, OnnxGenerator(jets.model).sample(cond, seed=3), rtol=0, atol=tolerance(jets))
    message = complaint(client("example_host", jets.model, "--out", jets.model.with_suffix(".csv")))
    assert "this host needs a generator of showers" in message


@pytest.fixture(scope="module")
def par04(student: Any, folder: Path) -> ExportResult:
    return to_onnx(student, folder / "par04" / "par04.onnx", profile="par04")


@pytest.mark.parametrize("options", [(), ("--batch", 3)], ids=str)
def test_showers_of_par04_files_are_those_of_python(
    client: Client, par04: ExportResult, showers: ExportResult, options: tuple[object, ...]
) -> None:
    """In MeV and in the order of the geometry, although the graph gives fractions in another order."""
    energies = np.geomspace(2.0, 90.0, 20)[:, None]
    ours = sampled(client, par04.model, energies, "--seed", 5, "--first", 7, *options)
    theirs = OnnxGenerator(par04.model).sample(energies, seed=5, first_event=7)
    assert (theirs > 0).any()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1000 * energies.max() * tolerance(par04))
    generic = OnnxGenerator(showers.model).sample(energies, seed=5, first_event=7)
    np.testing.assert_allclose(ours, generic, rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("policy", ["clamp", "pass"])
def test_par04_files_outside_the_range(client: Client, par04: ExportResult, policy: Any) -> None:
    cond = np.array([[10.0], [500.0], [0.1]])
    ours = sampled(client, par04.model, cond, "--policy", policy)
    theirs = OnnxGenerator(par04.model).sample(cond, seed=1, out_of_range=policy)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e5 * tolerance(par04))


def test_programs_take_par04_files(client: Client, par04: ExportResult, showers: ExportResult, tmp_path: Path) -> None:
    done = client("hepflows_verify", par04.model)
    assert done.returncode == 0, done.stdout + done.stderr
    assert client("hepflows_bench", par04.model, "--batches", "2", "--repeats", 1).returncode == 0
    ours = hits_of(client, par04.model, tmp_path / "par04.csv", "--seed", 4)
    expected = hits_of(client, showers.model, tmp_path / "generic.csv", "--seed", 4)
    np.testing.assert_allclose(ours[:, :6], expected[:, :6])
    np.testing.assert_allclose(ours[:, 6], expected[:, 6], rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_smaller_files(client: Client, student: Any, tmp_path: Path, weights: Any) -> None:
    result = to_onnx(student, tmp_path / "small.onnx", weights=weights)
    done = client("hepflows_verify", result.model)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def weighted(student: Any, folder: Path) -> ExportResult:
    """The student with weights that a hardly trained classifier gives it."""
    free = {"warn_ess": 0.0, "least_ess": 0.0, "largest_auc": 1.0, "warn_norm": 1e9, "largest_norm": 1e9}
    config = RefineConfig(copies=1, classifier=ClassifierConfig(hidden=(8,), epochs=2, **free))
    energy = np.random.default_rng(1).uniform(5.0, 90.0, 300)
    reference = student.sample(1.05 * energy, seed=4)
    refined = refine(student, replace(reference, incident_energy_gev=energy.astype(np.float32)), "dctr", config)
    return to_onnx(refined, folder / "weighted" / "weighted.onnx")


def test_weights_are_those_of_python(client: Client, weighted: ExportResult, tmp_path: Path) -> None:
    energies = np.geomspace(5.0, 80.0, 30)[:, None]
    file = tmp_path / "weights"
    for options in ((), ("--batch", 7)):
        ours = sampled(client, weighted.model, energies, "--seed", 3, "--weights", file, *options)
        x, weights = OnnxGenerator(weighted.model).sample_weighted(energies, seed=3)
        np.testing.assert_allclose(ours, x, rtol=0, atol=tolerance(weighted))
        assert len(np.unique(weights)) > 10
        np.testing.assert_allclose(np.fromfile(file, dtype=np.float32), weights, rtol=1e-3)
    done = client("hepflows_verify", weighted.model)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "weights off by at most" in done.stdout
    assert client("hepflows_bench", weighted.model, "--batches", "2", "--repeats", 1).returncode == 0


def test_weights_are_never_left_out_in_silence(client: Client, weighted: ExportResult, tmp_path: Path) -> None:
    conditions = tmp_path / "cond"
    np.array([10.0], dtype=np.float32).tofile(conditions)
    done = client("sample_to_file", weighted.model, "--conditions", conditions, "--out", tmp_path / "x")
    assert "the events of this file have weights" in complaint(done)
    assert "have weights" in complaint(client("example_host", weighted.model, "--out", tmp_path / "hits.csv"))
    assert not (tmp_path / "hits.csv").exists()


def test_files_without_weights_have_those_of_one(client: Client, showers: ExportResult, tmp_path: Path) -> None:
    sampled(client, showers.model, np.full((3, 1), 20.0), "--weights", tmp_path / "weights")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "weights", dtype=np.float32), 1)


def test_verify_reports_other_weights(client: Client, weighted: ExportResult, tmp_path: Path) -> None:
    for file in (weighted.model, weighted.manifest, weighted.golden):
        shutil.copy(file, tmp_path)
    names = Names.of(tmp_path / weighted.model.name)
    data = bytearray(names.golden.read_bytes())
    data[-8:] = (np.frombuffer(data[-8:], dtype="<f8") + 0.1).astype("<f8").tobytes()
    names.golden.write_bytes(data)
    metadata = json.loads(names.manifest.read_text(encoding="utf-8"))["metadata"]
    write_manifest(names.manifest, names, names.model, names.golden, metadata)
    done = client("hepflows_verify", names.model)
    assert done.returncode == 1
    assert "weight: maximum" in done.stdout
    outcome = exporters.verify(names.model)
    assert not outcome.passed
    assert any("weight: maximum" in words for words in outcome.failures)


def test_verify_reports_a_disagreement(client: Client, damaged: Path) -> None:
    """Golden file and manifest fit together, but the expected events are others."""
    names = Names.of(damaged)
    data = bytearray(names.golden.read_bytes())
    last = np.frombuffer(data, dtype="<f8", offset=len(data) - 8 * 24)
    data[-8 * 24 :] = np.where(last > 0, last + 1e3, last).astype("<f8").tobytes()
    names.golden.write_bytes(data)
    metadata = json.loads(names.manifest.read_text(encoding="utf-8"))["metadata"]
    write_manifest(names.manifest, names, names.model, names.golden, metadata)
    done = client("hepflows_verify", damaged)
    assert done.returncode == 1
    assert "maximum" in done.stdout
    assert "OUTSIDE THE TOLERANCE" in done.stdout


@pytest.mark.parametrize(
    ("value", "policy", "words"),
    [
        (500.0, "", "event 1: incident_energy_gev lies outside the valid range"),
        (500.0, "error", "GeV\n  found: 500"),
        (np.nan, "error", "is not a number"),
        (np.nan, "clamp", "is not a number"),
    ],
)
def test_conditions_outside_the_range(
    client: Client, showers: ExportResult, tmp_path: Path, value: float, policy: str, words: str
) -> None:
    conditions = tmp_path / "cond"
    np.array([10.0, value], dtype=np.float32).tofile(conditions)
    options = ("--policy", policy) if policy else ()
    done = client("sample_to_file", showers.model, "--conditions", conditions, "--out", tmp_path / "x", *options)
    assert words in complaint(done)


def test_clamp_and_pass(client: Client, showers: ExportResult) -> None:
    high = OnnxGenerator(showers.model).conditions[0].high
    cond = np.array([[10.0], [500.0], [0.1]])
    clamped = sampled(client, showers.model, cond, "--policy", "clamp")
    expected = OnnxGenerator(showers.model).sample(np.clip(cond, 0, high), seed=1, out_of_range="clamp")
    np.testing.assert_allclose(clamped, expected, rtol=0, atol=tolerance(showers))
    # the graph clamps by itself what is passed
    np.testing.assert_allclose(sampled(client, showers.model, cond, "--policy", "pass"), clamped, rtol=1e-5)


def test_the_policy_of_the_file_is_the_default(client: Client, damaged: Path) -> None:
    def clamping(proto: Any) -> None:
        for entry in proto.metadata_props:
            if entry.key == "hepflows.out_of_range":
                entry.value = '"clamp"'

    rewrite(damaged, clamping, out_of_range="clamp")
    cond = np.array([[10.0], [500.0]])
    clamped = sampled(client, damaged, cond)
    np.testing.assert_allclose(clamped, OnnxGenerator(damaged).sample(cond, seed=1), rtol=1e-3, atol=1e-2)
    conditions = damaged.with_suffix(".cond")
    done = client("sample_to_file", damaged, "--conditions", conditions, "--out", conditions, "--policy", "error")
    assert "event 1: incident_energy_gev lies outside the valid range" in complaint(done)


def altered_manifest(model: Path) -> None:
    path = Names.of(model).manifest
    path.write_text(path.read_text(encoding="utf-8").replace('"pdg": 11', '"pdg": 22'), encoding="utf-8")


def without_hash(model: Path) -> None:
    path = Names.of(model).manifest
    path.write_text(path.read_text(encoding="utf-8").replace('"sha256"', '"sha"'), encoding="utf-8")


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda model: model.unlink(), "the model cannot be read"),
        (flip_last_byte, "the file is not the one that was exported"),
        (lambda model: Names.of(model).manifest.unlink(), "the manifest cannot be read"),
        (lambda model: Names.of(model).manifest.write_text("{"), "not valid JSON"),
        (without_hash, "an entry is missing"),
        (altered_manifest, "the manifest does not say what the model says about itself"),
        (lambda model: Names.of(model).golden.unlink(), "the golden file cannot be read"),
        (lambda model: flip_last_byte(Names.of(model).golden), "the file is not the one that was exported"),
    ],
)
def test_damaged_files(client: Client, damaged: Path, damage: Any, words: str) -> None:
    damage(damaged)
    message = complaint(client("hepflows_verify", damaged))
    assert words in message
    assert damaged.stem in message  # where


def rewrite(model: Path, change: Any, **entries: object) -> None:
    """Change the graph and let the manifest vouch for it."""
    import onnx

    names = Names.of(model)
    proto = onnx.load(str(model))
    change(proto)
    model.write_bytes(proto.SerializeToString())
    metadata = json.loads(names.manifest.read_text(encoding="utf-8"))["metadata"] | entries
    write_manifest(names.manifest, names, model, names.golden, metadata)


def other_type(proto: Any) -> None:
    """The output as float64."""
    import onnx

    final = proto.graph.output[0]
    for node in proto.graph.node:
        for i, name in enumerate(node.output):
            if name == final.name:
                node.output[i] = "before_cast"
    proto.graph.node.append(onnx.helper.make_node("Cast", ["before_cast"], [final.name], to=onnx.TensorProto.DOUBLE))
    final.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def fixed_batch(proto: Any) -> None:
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def other_width(proto: Any) -> None:
    import onnx

    final = proto.graph.output[0]
    proto.graph.node.append(onnx.helper.make_node("ReduceSum", [final.name], ["sum"], keepdims=1))
    del proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_tensor_value_info("x2", onnx.TensorProto.FLOAT, ["batch", 24]))
    proto.graph.node.append(onnx.helper.make_node("Identity", [final.name], ["x2"]))


def no_metadata(proto: Any) -> None:
    del proto.metadata_props[:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_type, "a tensor of the wrong type or shape"),
        (fixed_batch, "a tensor of the wrong type or shape"),
        (other_width, "the outputs are not those that the metadata name"),
        (no_metadata, "not a model of hepflows"),
    ],
)
def test_other_graphs(client: Client, damaged: Path, change: Any, words: str) -> None:
    rewrite(damaged, change)
    assert words in complaint(client("hepflows_verify", damaged))


def test_something_else_than_a_model(client: Client, damaged: Path) -> None:
    damaged.write_bytes(b"no model at all")
    names = Names.of(damaged)
    metadata = json.loads(names.manifest.read_text(encoding="utf-8"))["metadata"]
    write_manifest(names.manifest, names, damaged, names.golden, metadata)
    assert "cannot load the model" in complaint(client("hepflows_verify", damaged))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no file given"),
        (("a.onnx", "--frames", "1"), "--frames: unknown option"),
        (("a.onnx", "-e", "1"), "-e: unknown option"),
        (("a.onnx", "--events=3"), "--events=3: unknown option"),
        (("a.onnx", "b.onnx"), "one file only"),
        (("a.onnx", "--events"), "the option needs a value"),
        (("a.onnx", "--events", "many"), "not an integer in the range"),
        (("a.onnx", "--threshold-gev", "nan"), "not a number in the range"),
    ],
)
def test_wrong_arguments(client: Client, arguments: tuple[str, ...], words: str) -> None:
    assert words in complaint(client("example_host", *arguments))


PROGRAMS = {
    "example_host": {"events": "10", "seed": "1", "threshold-gev": "5", "batch": "64", "out": "hits.csv"},
    "hepflows_bench": {"batches": "1,10,100,1000", "threads": "1", "repeats": "0"},
    "hepflows_verify": {"threads": "1"},
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(client: Client, program: str, tmp_path: Path) -> None:
    name, value = next(iter(PROGRAMS[program].items()))
    for arguments in (("--help",), ("-h",), ("nothing.onnx", f"--{name}", value, "--help")):
        done = run(client.programs / program, *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: {program} NAME.onnx ")
        options = dict(re.findall(r"^  --([a-z-]+) VALUE .*\(default: (.*)\)$", done.stdout, re.MULTILINE))
        assert options == PROGRAMS[program]
        assert re.search(r"^exit code: 0", done.stdout, re.MULTILINE)
        assert max(map(len, done.stdout.splitlines())) <= 120
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_option_names_those_there_are(client: Client, program: str) -> None:
    message = complaint(client(program, "a.onnx", "--frames", "1"))
    assert message.startswith("error: --frames: unknown option")
    assert f"what to do: {program} --help" in message
    for name, value in PROGRAMS[program].items():
        assert f"--{name} ({value})" in message


def test_cells_that_the_client_cannot_read(client: Client, exported: ExportResult, tmp_path: Path) -> None:
    """Another plug-in's geometry: the generator works, only hits() does not."""
    message = complaint(client("example_host", exported.model, "--out", tmp_path / "hits.csv"))
    assert "the model tells no cells" in message
    assert "geometry.layers[0]: an entry is missing; expected: kind" in message


def test_conditions_of_the_wrong_shape(client: Client, exported: ExportResult, tmp_path: Path) -> None:
    conditions = tmp_path / "cond"
    np.ones(3, dtype=np.float32).tofile(conditions)
    done = client("sample_to_file", exported.model, "--conditions", conditions, "--out", tmp_path / "x")
    assert "2 numbers an event: incident_energy_gev [GeV], theta_rad [rad]" in complaint(done)


def test_an_output_that_cannot_be_written(client: Client, showers: ExportResult, tmp_path: Path) -> None:
    message = complaint(client("example_host", showers.model, "--out", tmp_path / "nowhere" / "hits.csv"))
    assert "the output cannot be opened for writing" in message
    assert "what to do: name a file in an existing directory" in message


def hits_of(client: Client, model: Path, out: Path, *options: object) -> np.ndarray[Any, np.dtype[np.float64]]:
    done = client("example_host", model, "--events", 12, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert not out.with_name(out.name + ".part").exists()
    return np.loadtxt(out, delimiter=",", skiprows=1)


def test_example_host(client: Client, showers: ExportResult, tmp_path: Path) -> None:
    hits = hits_of(client, showers.model, tmp_path / "a.csv", "--seed", 4)
    event, cell, layer, x, y, z, energy = hits.T
    assert set(event) == set(range(12))
    assert (energy > 0).all()
    places = mesh()
    np.testing.assert_array_equal(layer, places.layer_index[cell.astype(int)])
    np.testing.assert_allclose(x, places.x_mm[cell.astype(int)], atol=1e-6)
    np.testing.assert_allclose(y, places.y_mm[cell.astype(int)], atol=1e-6)
    np.testing.assert_allclose(z, 5 * layer + 2.5)
    assert len(np.unique(hits[:, :2], axis=0)) == len(hits)  # particles of an event add up

    again = hits_of(client, showers.model, tmp_path / "b.csv", "--seed", 4, "--batch", 1)
    np.testing.assert_array_equal(again[:, :2], hits[:, :2])
    np.testing.assert_allclose(again[:, 6], energy, rtol=1e-3)
    assert not np.array_equal(hits_of(client, showers.model, tmp_path / "c.csv", "--seed", 5), hits)
    nothing_sampled = hits_of(client, showers.model, tmp_path / "d.csv", "--seed", 4, "--threshold-gev", 1e6)
    assert not np.array_equal(nothing_sampled, hits)


def test_benchmark(client: Client, showers: ExportResult) -> None:
    done = client("hepflows_bench", showers.model, "--batches", "1,7", "--repeats", 3)
    rows = json.loads(done.stdout)["rows"]
    assert [row["batch"] for row in rows] == [1, 7]
    assert all(row["ms_per_event"] > 0 and row["repeats"] == 3 for row in rows)


def test_the_program_of_the_page(client: Client, showers: ExportResult, tmp_path: Path) -> None:
    """What docs/embedding.md tells a physicist to do gives Python's showers as hits."""
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    for language, file in (("cmake", "CMakeLists.txt"), ("cpp", "main.cpp")):
        (block,) = re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        (tmp_path / file).write_text(block, encoding="utf-8")
    place = tmp_path / "build"
    options = (f"-Dhepflows_DIR={SOURCE / 'cmake'}", "-DCMAKE_BUILD_TYPE=Debug", *client.cmake_options)
    run("cmake", "-S", tmp_path, "-B", place, *options, check=True)
    run("cmake", "--build", place, check=True)
    done = run(place / "host", showers.model, check=True)
    event, cell, *_, energy = np.array([line.split() for line in done.stdout.splitlines()], dtype=float).T
    expected = OnnxGenerator(showers.model).sample([10.0, 50.0], seed=7)
    found = np.zeros_like(expected)
    found[event.astype(int), cell.astype(int)] = energy
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=tolerance(showers))  # printed with six digits


def test_why_tests_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.REQUIRED", False)
    with pytest.raises(pytest.skip.Exception, match=r"^run `make test-cpp`.*no cmake"):
        give_up("there is no cmake")


def test_version_of_the_cmake_package() -> None:
    text = (SOURCE / "cmake" / "hepflowsConfigVersion.cmake").read_text(encoding="utf-8")
    assert re.findall(r'^set\(PACKAGE_VERSION "(.*)"\)$', text, re.MULTILINE) == [
        ".".join(hepflows.__version__.split(".")[:3])
    ]


@pytest.fixture(scope="session")
def cmake() -> None:
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            give_up(f"there is no {tool}")


def find_package(folder: Path, words: str, *options: object) -> subprocess.CompletedProcess[str]:
    """A project that looks for the package without C++ being asked for, as fast as it goes."""
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.18)\nproject(p LANGUAGES NONE)\nfind_package(hepflows {words})\n"
        'message(STATUS "found: ${hepflows_FOUND}, ${hepflows_VERSION}")\n',
        encoding="utf-8",
    )
    return run("cmake", "-S", folder, "-B", folder / "b", f"-Dhepflows_DIR={SOURCE / 'cmake'}", *options)


@pytest.mark.usefixtures("cmake")
@pytest.mark.parametrize("words", ["CONFIG", "CONFIG QUIET"])
def test_the_cmake_package_is_optional(tmp_path: Path, words: str) -> None:
    done = find_package(tmp_path, words, f"-DONNXRUNTIME_DIR={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"found: (0|FALSE)", done.stdout), done.stdout
    assert ("ONNX Runtime was not found" in done.stderr) == ("QUIET" not in words)
    done = find_package(tmp_path, words + " REQUIRED", f"-DONNXRUNTIME_DIR={tmp_path}")
    assert done.returncode != 0
    assert "ONNX Runtime was not found" in done.stderr


@pytest.mark.usefixtures("cmake")
@pytest.mark.parametrize(
    ("version", "compatible"),
    [
        ("0.1", True),
        ("0.1.0", True),
        ("0.1.0 EXACT", True),
        ("0", True),
        ("0.2", False),
        ("0.0", False),
        ("1", False),
        ("0.1.7", False),
        ("0.1...0.3", True),
        ("0.0.1...<0.1", False),
    ],
)
def test_asking_for_a_version(tmp_path: Path, version: str, compatible: bool) -> None:
    """Found, and compared before ONNX Runtime is looked for: that is missing here."""
    done = find_package(tmp_path, version + " CONFIG", f"-DONNXRUNTIME_DIR={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert ("ONNX Runtime was not found" in done.stderr) == compatible, done.stderr


def test_installed_headers(client: Client, tmp_path: Path) -> None:
    run("cmake", "--install", client.programs, "--prefix", tmp_path, check=True)
    assert (tmp_path / "include" / "hepflows" / "hepflows_generator.hpp").is_file()
    (config,) = tmp_path.glob("lib*/**/hepflowsConfig.cmake")
    assert config.with_name("hepflowsConfigVersion.cmake").is_file()
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(p LANGUAGES CXX)\nfind_package(hepflows CONFIG REQUIRED)\n"
        "get_target_property(headers hepflows::generator INTERFACE_INCLUDE_DIRECTORIES)\n"
        'if(NOT EXISTS "${headers}/hepflows/hepflows_generator.hpp")\n  message(FATAL_ERROR "${headers}")\nendif()\n',
        encoding="utf-8",
    )
    options = (f"-Dhepflows_DIR={config.parent}", *client.cmake_options)
    run("cmake", "-S", tmp_path, "-B", tmp_path / "b", *options, check=True)


def test_cmake_says_what_is_missing(tmp_path: Path) -> None:
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        give_up("there is no cmake or no c++")
    done = run("cmake", "-S", SOURCE, "-B", tmp_path / "build", f"-DONNXRUNTIME_DIR={tmp_path}")
    assert done.returncode != 0
    for words in ("the C++ headers (onnxruntime_cxx_api.h)", "the library (libonnxruntime)", "-DONNXRUNTIME_DIR=DIR"):
        assert words in done.stderr
