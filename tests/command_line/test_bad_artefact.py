"""Every bad artefact or exported file is refused by every command, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load_file, save_file

from calofast.reading import embedded_showers_path
from hepflows.document import document_hash
from hepflows.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EPLUS = embedded_showers_path()


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
    record = {"sha256": sha256_of(path), "n_bytes": path.stat().st_size}
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
    refused("export", made / "student.onnx", "--out", "x.onnx", says=("cannot be exported",))
    refused("export", made / "run" / "student", "--out", "x.txt", says=(".onnx",))


def garbage_with_its_hash(folder: Path) -> None:
    model, manifest = folder / "student.onnx", folder / "student.manifest.json"
    model.write_bytes(b"garbage" * 30)
    content = json.loads(manifest.read_text())
    content["model"]["sha256"] = sha256_of(model)
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
