"""The commands as a stranger uses them, over one tiny teacher and student: the chain, and every bad input.

Each bad input must name file or entry, say what to do, give exit code 2 and leave nothing behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import uproot
from safetensors.torch import load_file, save_file

from calofast.reading import embedded_showers_path, read_showers
from hepflows.cli import main
from hepflows.document import document_hash
from hepflows.train.loop import _Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EPLUS = embedded_showers_path()
CELLS = Path(__file__).parents[1] / "data" / "eplus_cells.root"
CONFIG = """
task = "calofast"
[data]
first = 200
[layer_energies]
blocks = 2
hidden = [8]
training = { epochs = 3, batch_size = 60 }
[teacher]
blocks = 2
hidden = [16]
training = { epochs = 3, batch_size = 60 }
[student]
hidden = [16]
training = { epochs = 2, batch_size = 60 }
"""


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, the exported student, showers of both, and bad files."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "config.toml").write_text(CONFIG)
    assert run("train", folder / "config.toml", "--data", EPLUS, "--out", folder / "run", "--device", "cpu") == 0
    assert run("export", folder / "run" / "student", "--out", folder / "student.onnx") == 0
    for name in ("teacher", "student"):
        like = ("--like", EPLUS, "--part", "0.8:1.0", "-n", 300)
        assert run("generate", folder / "run" / name, *like, "--seed", 7, "--out", folder / f"{name}.h5") == 0
    bad = folder / "bad"
    bad.mkdir()
    for name, change in BAD_CONTENT.items():
        write_calogan(bad / name, change)
    (bad / "text.h5").write_text("energy,cell\n" * 50)
    (bad / "directory.h5").mkdir()
    (bad / "cut.h5").write_bytes(EPLUS.read_bytes()[: EPLUS.stat().st_size // 2])
    (bad / "cut.root").write_bytes(CELLS.read_bytes()[: CELLS.stat().st_size // 2])
    with uproot.open(CELLS) as source, uproot.recreate(bad / "branch.root") as file:
        branches = {k: v for k, v in source["fancy_tree"].arrays(library="np").items() if k != "cell_17"}
        file.mktree("fancy_tree", {name: values.dtype for name, values in branches.items()})
        file["fancy_tree"].extend(branches)
    with h5py.File(bad / "rings.hdf5", "w") as file:
        file["incident_energies"] = np.linspace(5e3, 5e4, 200)[:, None]
        file["showers"] = np.random.default_rng(0).random((200, 368)) * 50
    return folder


def write_calogan(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    with h5py.File(EPLUS) as source:
        arrays = {name: source[name][:200] for name in ("energy", "layer_0", "layer_1", "layer_2", "overflow")}
    change(arrays)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def put(name: str, index: tuple[int, ...], value: float) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda arrays: arrays[name].__setitem__(index, value)


BAD_CONTENT: dict[str, Callable[[dict[str, np.ndarray]], object]] = {
    "missing.h5": lambda a: a.pop("layer_1"),
    "shape.h5": lambda a: a.update(layer_0=a["layer_0"].transpose(0, 2, 1)),
    "nan.h5": put("layer_1", (5, 3, 3), np.nan),
    "negative.h5": put("layer_1", (5, 3, 3), -1.0),
    "energy.h5": put("energy", (5, 0), np.nan),
    "empty.h5": lambda a: a.update({name: values[:0] for name, values in a.items()}),
    "mev.h5": lambda a: a.update(energy=a["energy"] * 1e3),
    "gev.h5": lambda a: a.update({f"layer_{i}": a[f"layer_{i}"] / 1e3 for i in range(3)}),
}


@pytest.fixture
def refused(tmp_path: Path, monkeypatch, capsys) -> Callable[..., None]:
    """Run a command in an empty directory: it must be refused with these words and change nothing there."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object, says: tuple[str, ...] = (), code: int = 2) -> None:
        before = listing(tmp_path)
        capsys.readouterr()
        assert run(*arguments) == code
        shown = capsys.readouterr()
        for word in ("error: ", *says):
            assert word in shown.err
        assert "Traceback" not in shown.err + shown.out
        assert "internal error" not in shown.err
        assert listing(tmp_path) == before

    return check


def listing(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(folder: Path) -> list[str]:
    return [sha256(folder / name / "weights.safetensors") for name in ("teacher", "student")]


# --- the chain


def test_inspect_tells_what_things_are(made: Path, capsys) -> None:
    assert run("inspect", EPLUS) == 0
    shown = capsys.readouterr().out
    assert "504 voxels" in shown
    assert "4000 x pdg -11" in shown
    for path, word in ((made / "run" / "teacher", "teacher"), (made / "student.onnx", "generic")):
        assert run("inspect", path) == 0
        shown = capsys.readouterr().out
        assert word in shown
        assert "condition incident_energy_gev" in shown
        assert "GeV" in shown
        assert "provenance: pdg" in shown


def test_inspect_reads_a_part_as_told(capsys) -> None:
    assert run("inspect", EPLUS, "--read", "energy_range_gev=[10,20]", "--read", "first=30") == 0
    assert "30 of 4000 entries" in capsys.readouterr().out


def test_generated_files_hold_the_events_of_their_seed(made: Path, tmp_path: Path) -> None:
    wanted = read_showers(made / "student.h5")
    assert wanted.geometry == read_showers(EPLUS, first=1).geometry
    np.testing.assert_array_equal(
        wanted.incident_energy_gev, read_showers(EPLUS, part=(0.8, 1.0), first=300).incident_energy_gev
    )
    student, onnx = made / "run" / "student", made / "student.onnx"
    like = ("--like", EPLUS, "--part", "0.8:1", "-n", 300, "--seed", 7)
    assert run("generate", student, *like, "--batch", 256, "--out", tmp_path / "again.root") == 0
    np.testing.assert_array_equal(read_showers(tmp_path / "again.root").voxels_mev, wanted.voxels_mev)
    assert run("generate", onnx, *like, "--out", tmp_path / "onnx.h5") == 0
    exported = read_showers(tmp_path / "onnx.h5")
    np.testing.assert_array_equal(exported.incident_energy_gev, wanted.incident_energy_gev)
    # the tail of differences is bounded by the exporter's own tests; the bulk must be float32 noise
    assert np.median(np.abs(exported.voxels_mev - wanted.voxels_mev)) < 1e-3


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_shares_add_up_to_the_whole(made: Path, tmp_path: Path, kind: str) -> None:
    sample = ("generate", made / "run" / kind, "--energy", "20..60GeV", "-n", 600, "--seed", 3)
    assert run(*sample, "--out", tmp_path / "all.h5") == 0
    parts = []
    for k in (1, 2, 3):
        assert run(*sample, "--shard", f"{k}/3", "--out", tmp_path / f"{k}.h5") == 0
        parts.append(read_showers(tmp_path / f"{k}.h5"))
    whole = read_showers(tmp_path / "all.h5")
    assert len(whole) == 600
    assert 20 < whole.incident_energy_gev.min() < whole.incident_energy_gev.max() < 60
    for name in ("incident_energy_gev", "voxels_mev"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))


def test_validate_writes_a_report(made: Path, tmp_path: Path, capsys) -> None:
    classifier = ("--trainings", 1, "--epochs", 1, "--inputs", "high")
    files = (made / "teacher.h5", f"fast={made / 'student.h5'}")
    assert run("validate", EPLUS, *files, "--part", "0.8:1", *classifier, "--out", tmp_path / "report") == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["schema"] == "hepflows-report/1"
    assert report["n_generated"] == {"teacher": 300, "fast": 300}
    for sample in ("teacher", "fast"):
        assert {"e_tot_ratio_mean", "e_tot_ratio_std", "separation_mean", "auc_high"} <= set(report["samples"][sample])
        assert abs(report["samples"][sample]["e_tot_ratio_mean"]["value"] - 1) < 0.05
    page = (tmp_path / "report" / "report.html").read_text()
    assert "data:image/png" in page
    assert "auc_high" in capsys.readouterr().err


def test_distill_gives_another_student(made: Path, tmp_path: Path) -> None:
    teacher, changes = made / "run" / "teacher", ("--set", "student.hidden=[8]", "--set", "student.training.epochs=1")
    assert run("distill", teacher, "--data", EPLUS, "--out", tmp_path / "small", *changes) == 0
    assert (
        run("generate", tmp_path / "small", "--energy", "50GeV", "-n", 3, "--seed", 1, "--out", tmp_path / "o.h5") == 0
    )


def test_files_in_other_units_can_be_used_when_told(made: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    bad, out = made / "bad", tmp_path / "run"
    assert run("inspect", bad / "gev.h5", "--read", "units.voxels=GeV") == 0
    assert "voxels in GeV" in capsys.readouterr().out
    monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    files = (bad / "gev.h5", f"x={bad / 'mev.h5'}", "--out", tmp_path / "report", "--trainings", 0)
    told = ("--read", "units.voxels=GeV", "--read-generated", "units.incident_energy=MeV")
    assert run("validate", *files, *told) == 0
    short = [f"--set={name}.training.epochs=1" for name in ("layer_energies", "teacher", "student")]
    changes = ("--set", "data.units.voxels=GeV", *short)
    assert run("train", made / "config.toml", "--data", bad / "gev.h5", "--out", out, *changes) == 0
    assert run("generate", out / "student", "--energy", "50GeV", "-n", 30, "--seed", 1, "--out", tmp_path / "o.h5") == 0
    assert 0.5 < read_showers(tmp_path / "o.h5").e_tot_mev.mean() / 5e4 < 1.5


# --- bad data files

BAD_FILES = {
    "none.h5": ("does not exist",),
    "directory.h5": ("",),
    "text.h5": ("",),
    "cut.h5": ("truncated",),
    "cut.root": ("fancy_tree", "truncated or damaged"),
    "missing.h5": ("data set 'layer_1' is missing", "found: energy, layer_0, layer_2, overflow"),
    "branch.root": ("branch 'cell_17' is missing", "expected: cell_0 ... cell_506"),
    "shape.h5": ("(N, 96, 3)", "expected: layer_0 (N, 3, 96)"),
    "nan.h5": ("entry 5, layer_1[3, 3] (voxel 327): energy is not finite",),
    "negative.h5": ("entry 5, layer_1[3, 3] (voxel 327): negative energy", "found: -1"),
    "energy.h5": ("entry 5: the incident energy is not a positive number", "found: nan"),
    "empty.h5": ("the file holds no showers",),
    "mev.h5": ("--read units.incident_energy=MeV", "--set data.units.incident_energy=MeV"),
    "gev.h5": ("--read units.voxels=GeV", "--set data.units.voxels=GeV"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_data_file(made: Path, refused, name: str) -> None:
    path, teacher = made / "bad" / name, made / "run" / "teacher"
    words = (str(path), "what to do", *BAD_FILES[name])
    if name != "directory.h5":  # which could be an artefact
        refused("inspect", path, says=words)
    refused("train", made / "config.toml", "--data", path, "--out", "new/run", says=words)
    refused("distill", teacher, "--data", path, "--out", "new/student", says=words)
    refused("generate", teacher, "--like", path, "--seed", 1, "--out", "o.h5", says=words)
    refused("validate", path, made / "teacher.h5", "--out", "report", says=words)
    refused("validate", EPLUS, f"x={path}", "--out", "report", says=words)


def test_geometry_that_does_not_match(made: Path, refused) -> None:
    rings, told = made / "bad" / "rings.hdf5", ("504 voxels", "368 voxels", "rings.hdf5", "what to do")
    refused("distill", made / "run" / "teacher", "--data", rings, "--out", "new", says=told)
    refused("validate", EPLUS, rings, "--out", "report", says=told)
    refused(
        "inspect", rings, "--read", "geometry=calochallenge_pions", says=("533 voxels", "found: 368", "binning_xml")
    )


def test_too_few_showers(made: Path, refused) -> None:
    train = ("train", made / "config.toml", "--data", EPLUS, "--out", "run")
    refused(*train, "--set", "data.first=10", says=("eplus.h5: too few", "at least 20", "found: 9"))
    refused(
        "validate", EPLUS, made / "teacher.h5", "--out", "r", "--read", "first=20", says=("reference", "at least 100")
    )


# --- bad artefacts and exported files


def edited(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Edit generator.json and make its hash agree, as an attacker or a bug could."""

    def apply(artefact: Path) -> None:
        path = artefact / "generator.json"
        content = json.loads(path.read_text())
        change(content)
        content["document_sha256"] = document_hash(content)
        path.write_text(json.dumps(content))

    return apply


def without_a_tensor(artefact: Path) -> None:
    path = artefact / "weights.safetensors"
    tensors = load_file(path)
    tensors.pop("conditions.std", None)
    save_file(tensors, path)
    record = {"sha256": sha256(path), "n_bytes": path.stat().st_size}
    edited(lambda content: content["weights"].update(record))(artefact)


def cut(name: str) -> Callable[[Path], None]:
    return lambda artefact: os.truncate(artefact / name, (artefact / name).stat().st_size - 100)


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    return lambda artefact: (artefact / name).write_bytes((artefact / name).read_bytes().replace(old, new, 1))


def flipped(name: str) -> Callable[[Path], None]:
    def apply(artefact: Path) -> None:
        content = bytearray((artefact / name).read_bytes())
        content[-5] ^= 1
        (artefact / name).write_bytes(content)

    return apply


BAD_ARTEFACTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no document": (lambda a: (a / "generator.json").unlink(), "generator.json is missing"),
    "no weights": (lambda a: (a / "weights.safetensors").unlink(), "weights.safetensors is missing"),
    "cut document": (cut("generator.json"), "generator.json: not valid JSON"),
    "cut weights": (cut("weights.safetensors"), "weights.safetensors: weights are truncated"),
    "altered weights": (flipped("weights.safetensors"), "weights.safetensors: weights were altered"),
    "edited document": (
        replaced("generator.json", b'"kind": "teacher"', b'"kind": "student"'),
        "generator.json: the document was edited",
    ),
    "other schema": (
        replaced("generator.json", b"hepflows-generator/1", b"hepflows-generator/2"),
        "found: 'hepflows-generator/2'",
    ),
}
"""What `inspect` refuses, too."""

UNLOADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing tensor": (without_a_tensor, "tensors do not match"),
    "other task": (edited(lambda c: c.update(task="tracks")), "task tracks"),
    "other kind": (edited(lambda c: c.update(kind="tutor")), "kind tutor"),
    "no layers": (edited(lambda c: c["geometry"].update(layers=[])), "geometry is damaged"),
    "no range": (edited(lambda c: c["valid_range"].clear()), "incident_energy_gev"),
    "unknown key": (edited(lambda c: c["config"].update(teachr=1)), "did you mean teacher?"),
}


@pytest.mark.parametrize("name", [*BAD_ARTEFACTS, *UNLOADABLE])
def test_bad_artefact(made: Path, tmp_path_factory, refused, name: str) -> None:
    change, words = (BAD_ARTEFACTS | UNLOADABLE)[name]
    artefact = tmp_path_factory.mktemp("artefact") / "teacher"
    shutil.copytree(made / "run" / "teacher", artefact)
    change(artefact)
    says = (str(artefact), words)
    if name in BAD_ARTEFACTS:
        refused("inspect", artefact, says=(*says, "what to do"))
    refused("generate", artefact, "--energy", "50GeV", "-n", 3, "--seed", 1, "--out", "o.h5", says=says)
    refused("export", artefact, "--out", "x.onnx", says=says)
    refused("distill", artefact, "--data", EPLUS, "--out", "student", "--set", "data.first=100", says=says)


def test_things_that_are_no_artefact(made: Path, refused) -> None:
    sample = ("--energy", "50GeV", "-n", 3, "--seed", 1, "--out", "o.h5")
    refused("generate", "nothing", *sample, says=("nothing: artefact does not exist",))
    refused("generate", made / "run", *sample, says=("artefacts inside it: student, teacher",))
    refused("generate", EPLUS, *sample, says=("an artefact is a directory, this is a file",))
    refused("distill", made / "run" / "student", "--data", EPLUS, "--out", "s", says=("only a teacher", "kind student"))
    refused("export", made / "run" / "teacher", "--out", "x.onnx", says=("hepflows distill",))
    refused("export", made / "student.onnx", "--out", "x.onnx", says=("cannot be exported",))
    refused("export", made / "run" / "student", "--out", "x.txt", says=(".onnx",))


def garbage_with_its_hash(folder: Path) -> None:
    model, manifest = folder / "student.onnx", folder / "student.manifest.json"
    model.write_bytes(b"garbage" * 30)
    content = json.loads(manifest.read_text())
    content["model"]["sha256"] = sha256(model)
    manifest.write_text(json.dumps(content))


BAD_EXPORTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut model": (cut("student.onnx"), "student.onnx: the file is not the one that was exported"),
    "altered model": (flipped("student.onnx"), "student.onnx: the file is not the one that was exported"),
    "garbage": (garbage_with_its_hash, "student.onnx: ONNX Runtime cannot load the file"),
    "no manifest": (lambda f: (f / "student.manifest.json").unlink(), "student.manifest.json: the manifest is missing"),
    "cut manifest": (cut("student.manifest.json"), "student.manifest.json: the manifest cannot be read"),
    "manifest of a list": (lambda f: (f / "student.manifest.json").write_text("[1]"), "not a manifest of hepflows"),
    "other schema": (replaced("student.manifest.json", b"hepflows-manifest/1", b"hepflows-manifest/9"), "manifest/9"),
}

UNVERIFIABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut golden file": (cut("student.golden.bin"), "student.golden.bin: golden file is truncated"),
    "no golden file": (lambda f: (f / "student.golden.bin").unlink(), "student.golden.bin: golden file cannot be read"),
    "edited manifest": (
        replaced("student.manifest.json", b'"opset": 17', b'"opset": 18'),
        "the manifest does not say what the model says",
    ),
    "no tolerance": (replaced("student.manifest.json", b"golden_bound", b"golden"), "the manifest is incomplete"),
}


@pytest.mark.parametrize("name", [*BAD_EXPORTS, *UNVERIFIABLE])
def test_bad_exported_file(made: Path, tmp_path_factory, refused, name: str) -> None:
    change, words = (BAD_EXPORTS | UNVERIFIABLE)[name]
    folder = tmp_path_factory.mktemp("export")
    for file in made.glob("student.*[!5]"):
        shutil.copy(file, folder)
    change(folder)
    model = folder / "student.onnx"
    if name in BAD_EXPORTS:
        refused("inspect", model, says=(words,))
        refused("generate", model, "--energy", "50GeV", "-n", 3, "--seed", 1, "--out", "o.h5", says=(words,))
    refused("export", "--verify", model, says=(words, "what to do"))


# --- bad options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--energy 50", "--energy: the energy has no unit"),
        ("--energy abcGeV", "--energy: not an energy"),
        ("--energy 10..5GeV", "--energy: not a positive, rising range"),
        ("--energy 1..1e400GeV", "--energy: not a positive, rising range"),
        ("--energy 50XeV", "'XeV' is not a unit of energy"),
        ("--energy 500GeV", "incident_energy_gev"),
        ("--energy 90..120GeV", "--out-of-range warn"),
        ("--energy 50GeV --shard 4/3", "--shard: not a share"),
        ("--energy 50GeV --shard 1/1000", "--shard 1/1000: this share has no events"),
        ("--energy 50GeV --batch 0", "--batch: not a number of events"),
        ("--energy 50GeV --threads 0", "--threads: not a number of threads"),
        ("--energy 50GeV --device gpu", "--device: not a device"),
        ("--energy 50GeV --seed 1.5", "'1.5' is not a whole number"),
        ("--energy 50GeV --seed -1", "0 <= seed < 2**64"),
        ("--energy 50GeV -n 2.5", "'2.5' is not a whole number"),
        ("--energy 50GeV -n 0", "-n: not a number of events"),
        ("--energy 50GeV --out o.txt", "o.txt: the suffix tells no format"),
        ("--energy 50GeV --like FILE", "give either --energy or --like"),
        ("--seed 1", "give either --energy or --like"),
        ("--like FILE --part 1:0", "--part: not a part of a file"),
        ("--like FILE --part 0.99999:1", "no showers are left by the selection"),
        ("--like FILE -n 100000", "found: 4000"),
        ("--like FILE --read unit.voxels=GeV", "--read: unit: unexpected key, did you mean units?"),
        ("--like FILE --read units.voxels=GGeV", "--read: units.voxels"),
        ("--like FILE --read first", "--read first"),
    ],
)
def test_bad_option_of_generate(made: Path, refused, options: str, words: str) -> None:
    given = options.replace("FILE", str(EPLUS)).split()
    for name, value in {"--seed": 1, "--out": "o.h5", "-n": 300}.items():
        if name not in given and not (name == "-n" and "--like" in given):
            given += [name, str(value)]
    for generator in (made / "run" / "student", made / "student.onnx"):
        refused("generate", generator, *given, says=(words,))


def test_outside_of_the_trained_range_on_request(made: Path, tmp_path: Path, capsys) -> None:
    for generator in (made / "run" / "student", made / "student.onnx"):
        out = tmp_path / f"{generator.name}.h5"
        energies = ("--energy", "90..200GeV", "-n", 600, "--batch", 256, "--seed", 1)
        assert run("generate", generator, *energies, "--out", out, "--out-of-range", "warn") == 0
        assert capsys.readouterr().err.count("warning: ") == 1
        assert len(read_showers(out)) == 600


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("teacher.bloks=3", "--set teacher.bloks: unexpected key, did you mean blocks?"),
        ("teacher.blocks=x", "--set teacher.blocks"),
        ("teacher.blocks=2.5", "found 2.5"),
        ("teacher=3", "--set teacher: input should be a table"),
        ("teacher.hidden=[]", "--set teacher.hidden"),
        ("teacher.hidden=[0]", "--set teacher.hidden[0]"),
        ("teacher.spline.min_width=0.5", "min_width"),
        ("teacher", "--set teacher: not an override"),
        ("task=jet", "task: no task is called 'jet'"),
        ("seed=-1", "--set seed"),
        ("data.part=[0.5]", "--set data.part"),
        ("data.part=[1,0]", "--set data.part"),
        ("data.part=[0,2]", "data: part"),
        ("data.energy_range_gev=[5,1]", "--set data.energy_range_gev"),
        ("data.energy_range_gev=[200,300]", "no showers are left by the selection"),
        ("data.format=csv", "--set data.format"),
        ("data.geometry=foo", "--set data.geometry"),
        ("data.geometry=calochallenge_photons", "the geometry does not match the data"),
        ("data.binning_xml=none.xml", "none.xml: binning file does not exist"),
        ("data.units.voxels=GGeV", "--set data.units.voxels"),
        ('data.conditions=["incident_energy_gev","theta_rad"]', "theta_rad"),
        ('preprocessing.mirrors=["mirror_z"]', "--set preprocessing.mirrors[0]"),
        ("preprocessing.threshold_mev=0", "--set preprocessing.threshold_mev"),
        ("preprocessing.threshold_mev=1e6", "no voxel of the data reaches the hit threshold"),
    ],
)
def test_bad_override(made: Path, refused, override: str, words: str) -> None:
    refused("train", made / "config.toml", "--data", EPLUS, "--out", "run", "--set", override, says=(words,))


def test_bad_configuration_file(made: Path, refused, tmp_path: Path) -> None:
    rest = ("--data", EPLUS, "--out", "run")
    refused("train", "none.toml", *rest, says=("none.toml: configuration file does not exist",))
    refused("train", made, *rest, says=("configuration file is a directory",))
    refused("train", EPLUS, *rest, says=("eplus.h5: not a text file",))
    for text, words in (("task = ", "syntax error"), ("seed = 1", "task: missing"), ("", "task: missing")):
        (tmp_path / "c.toml").write_text(text)
        refused("train", "c.toml", *rest, says=("c.toml", words))
    teacher = made / "run" / "teacher"
    refused(
        "distill",
        teacher,
        *rest,
        "--set",
        "teacher.blocks=7",
        says=("teacher.blocks: a student takes this from its teacher", "expected: 2", "found: 7"),
    )


def test_bad_options_of_validate(made: Path, refused, tmp_path: Path) -> None:
    teacher, out = made / "teacher.h5", ("--out", "report")
    refused("validate", EPLUS, *out, says=("nothing to compare",))
    refused("validate", EPLUS, teacher, made / "bad" / ".." / "teacher.h5", *out, says=("the same name", "NAME=PATH"))
    refused("validate", EPLUS, f"reference={teacher}", *out, says=("not a sample",))
    refused("validate", EPLUS, teacher, *out, "--preset", "best", says=("quick, caloflow, calochallenge",))
    refused("validate", EPLUS, teacher, *out, "--inputs", "lo", says=("unknown classifier inputs",))
    refused("validate", EPLUS, teacher, *out, "--part", "1:0", says=("--part",))
    refused("validate", EPLUS, teacher, *out, "--seed", -1, says=("seed",))
    refused("validate", EPLUS, teacher, *out, "--trainings", -1, says=("trainings",))
    refused("validate", EPLUS, teacher, *out, "--threshold-mev", "nan", says=("threshold_mev",))
    refused("validate", EPLUS, teacher, *out, "--threshold-mev", 1e9, says=("no voxel of the reference",))
    refused("validate", EPLUS, teacher, *out, "--task", "tracks", says=("no task is called 'tracks'",))
    refused("validate", EPLUS, teacher, *out, "--gates", "none.toml", says=("none.toml: gate file does not exist",))
    (tmp_path / "g.toml").write_text("[gates")
    refused("validate", EPLUS, teacher, *out, "--gates", "g.toml", says=("g.toml: not valid TOML",))


def test_misspelt_commands_and_options(made: Path, refused) -> None:
    refused("generat", says=('Did you mean "generate"?',))
    refused("generate", made / "run" / "student", "--sed", 1, says=("hepflows generate --help",))


# --- bad outputs


def commands_that_write(made: Path, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    run_ = made / "run"
    return {
        "o.h5": ("generate", run_ / "student", "--energy", "50GeV", "-n", 300, "--seed", 1),
        "o.root": ("generate", run_ / "student", "--energy", "50GeV", "-n", 300, "--seed", 1),
        "x.onnx": ("export", run_ / "student"),
        "report": ("validate", EPLUS, made / "teacher.h5", "--part", "0.8:1", "--trainings", 0),
        "train": ("train", made / "config.toml", "--data", EPLUS),
        "distill": ("distill", run_ / "teacher", "--data", EPLUS),
    }


WRITERS = ["o.h5", "o.root", "x.onnx", "report", "train", "distill"]


@pytest.mark.parametrize("name", WRITERS)
def test_existing_output_needs_force(made: Path, tmp_path: Path, refused, name: str) -> None:
    command = commands_that_write(made, tmp_path)[name]
    (tmp_path / name).mkdir() if name in ("report", "train", "distill") else (tmp_path / name).touch()
    if name == "train":
        (tmp_path / name / "mine").touch()
    refused(*command, "--out", name, says=(f"{name}: output exists already", "--force"))


@pytest.mark.parametrize("name", WRITERS)
def test_output_of_the_wrong_kind_is_never_replaced(made: Path, tmp_path: Path, refused, name: str) -> None:
    command = commands_that_write(made, tmp_path)[name]
    (tmp_path / name).touch() if name in ("report", "train", "distill") else (tmp_path / name).mkdir()
    refused(*command, "--out", name, "--force", says=(f"{name}: output is a ",))


@pytest.mark.parametrize("name", WRITERS)
def test_output_below_a_file(made: Path, tmp_path: Path, refused, name: str) -> None:
    (tmp_path / "file").touch()
    command = commands_that_write(made, tmp_path)[name]
    refused(*command, "--out", f"file/{name}", says=("output cannot be written here", "is not a writable directory"))


def test_force_keeps_the_files_of_others(made: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.tex").write_text("precious")
    command = commands_that_write(made, tmp_path)["report"]
    assert run(*command, "--out", tmp_path / "results", "--force") == 0
    assert (tmp_path / "results" / "thesis.tex").read_text() == "precious"
    assert (tmp_path / "results" / "report.json").is_file()


@contextlib.contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", WRITERS)
def test_disk_full(made: Path, tmp_path: Path, refused, monkeypatch, name: str) -> None:
    if name == "report":
        monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    command = commands_that_write(made, tmp_path)[name]
    with largest_file(4000):
        if name != "train":
            refused(
                *command, "--out", f"new/{name}", says=("writing failed, nothing was left behind", "File too large")
            )
            return
        refused(*command, "--out", "new/train", says=("checkpoint.safetensors: writing failed", "free space"))


# --- stopping and resuming


def test_interrupted_training_resumes_bit_identically(made: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """SIGINT and SIGTERM in turn, once in each model."""
    command = ("train", made / "config.toml", "--data", EPLUS, "--out", tmp_path / "run", "--device", "cpu")
    step, calls = _Trainer._step, []

    def interrupted(self: _Trainer, rows: object) -> float:
        calls.append(self)
        if len(calls) == 5:
            signal.raise_signal(stop)
        return step(self, rows)

    monkeypatch.setattr(_Trainer, "_step", interrupted)
    for attempt, stop in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM)):
        calls.clear()
        assert run(*command, *(["--resume"] if attempt else [])) == 130
        assert "--resume continues" in capsys.readouterr().err
        assert not list(tmp_path.rglob("*.tmp"))
    monkeypatch.undo()
    assert run(*command) == 2
    assert "--resume continues it" in capsys.readouterr().err
    assert run(*command, "--resume") == 0
    assert weights(tmp_path / "run") == weights(made / "run")
    # a finished run may be resumed, which changes nothing
    assert run(*command, "--resume") == 0
    assert weights(tmp_path / "run") == weights(made / "run")


def test_killed_training_resumes_bit_identically(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("train", made / "config.toml", "--data", EPLUS, "--out", out, "--device", "cpu")
    program = [sys.executable, "-m", "hepflows", *map(str, command)]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        while process.poll() is None and not (out / "training" / "teacher" / "log.jsonl").exists():
            time.sleep(0.02)
        process.kill()
    leftover = out / "training" / "teacher" / ".checkpoint.safetensors.0123abcd.tmp"
    leftover.write_text("half")
    assert run(*command, "--resume") == 0
    assert weights(out) == weights(made / "run")
    assert not leftover.exists()


def test_resume_of_another_training(made: Path, tmp_path: Path, refused) -> None:
    shutil.copytree(made / "run" / "training", tmp_path / "run" / "training")
    command = ("train", made / "config.toml", "--data", EPLUS, "--out", "run", "--resume")
    for change in (
        "layer_energies.training.epochs=9",
        "seed=2",
        "data.part=[0.2,1.0]",
        "preprocessing.threshold_mev=0.02",
        "layer_energies.hidden=[9]",
    ):
        refused(*command, "--set", change, says=("checkpoint.safetensors", "belongs to another training", "what to do"))
    checkpoint = tmp_path / "run" / "training" / "teacher" / "checkpoint.safetensors"
    os.truncate(checkpoint, 1000)
    refused(*command, says=("teacher/checkpoint.safetensors: the checkpoint cannot be read", "what to do"))


def test_nothing_to_resume(made: Path, refused) -> None:
    train = ("train", made / "config.toml", "--data", EPLUS, "--out", "run")
    refused(*train, "--resume", says=("run: nothing to resume",))
    refused("distill", made / "run" / "teacher", "--data", EPLUS, "--out", "s", "--resume", says=("nothing to resume",))
    refused(
        "train", made / "config.toml", "--data", EPLUS, "--out", made / "run", "--resume", "--force", says=("choose",)
    )


def test_a_new_training_leaves_no_student_of_the_old_teacher(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    text = CONFIG.partition("[student]")[0].replace("epochs = 3", "epochs = 1")
    (tmp_path / "teacher.toml").write_text(text)
    command = ("train", tmp_path / "teacher.toml", "--data", EPLUS, "--out", tmp_path / "run")
    assert run(*command, "--force") == 0
    assert (tmp_path / "run" / "teacher").is_dir()
    assert not (tmp_path / "run" / "student").exists()
