"""Files of unknown origin: no code in them, nothing outside of them, no more than they can hold, no hang or crash."""

from __future__ import annotations

import ast
from pathlib import Path

import h5py
import numpy as np
import pytest

from calofast import read_showers
from calofast.reading import embedded_showers_path
from hepflows.cli import main
from hepflows.config import parse_config
from hepflows.confined import Limits, answers, confined
from hepflows.document import document_hash, read_document
from hepflows.errors import ArtefactError, ConfigError, DataError
from hepflows.limits import require_memory, require_plausible
from hepflows.plain_text import parse_json, parse_toml, read_text
from hepflows.printable import printable

ROOT = Path(__file__).parents[2]
PACKAGES = ("hepflows", "calofast", "jetgen", "exporters", "validation")
EPLUS = embedded_showers_path()
# what turns bytes of a file into code, or trusts them as if it had
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
TRUSTING_XML = {"xml.etree.ElementTree", "xml.dom.minidom", "xml.dom.pulldom", "xml.sax", "lxml"}


def violations(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES or name in TRUSTING_XML]
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(node.func.id)
        words = {word.arg: word.value for word in node.keywords}
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            call = f"{node.func.value.id}.{node.func.attr}"
            if call in ("torch.load", "torch.save", "np.save", "pd.read_pickle", "jit.load"):
                found.append(call)
            if call == "np.load" and not _is(words.get("allow_pickle"), value=False):
                found.append("np.load that may unpickle")
        if _is(words.get("allow_pickle"), value=True) or _is(words.get("shell"), value=True):
            found.append("allow_pickle or shell")
    return found


def _is(node: ast.expr | None, *, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_read_is_ever_run(package: str) -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for path in sorted((ROOT / package).rglob("*.py"))
        if (names := violations(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from yaml import load",
        "import xml.etree.ElementTree as ET",
        "from xml.dom import minidom",
        "torch.load('x')",
        "eval(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_scan_finds_what_it_looks_for(code: str) -> None:
    assert violations(ast.parse(code))


def test_answers_of_a_confined_process() -> None:
    limits = Limits(seconds=20, memory_mib=500)
    found = list(answers("math:sqrt", [4.0, -1.0, "a", 9.0], limits=limits))
    assert [answer.kind for answer in found] == ["value", "fault", "fault", "value"]
    assert (found[0].value, found[3].value) == (2.0, 3.0)
    assert "ValueError: math domain error" in found[1].text


def test_a_crash_is_an_answer_and_the_next_request_is_served() -> None:
    crash, value = answers("hepflows.files:sha256_of", ["/dev/null", "/dev/null"])
    assert crash.kind == value.kind == "value"
    found = list(answers("signal:raise_signal", [11, 10, 0]))
    assert [answer.kind for answer in found[:2]] == ["crash", "crash"]
    assert found[0].text.startswith("SIGSEGV")
    with pytest.raises(DataError, match=r"crashed on it(.|\n)*SIGABRT") as error:
        confined("signal:raise_signal", 6, where="bad.h5")
    assert error.value.where == "bad.h5"


def test_a_hang_is_killed() -> None:
    with pytest.raises(DataError, match=r"takes too long(.|\n)*at most 0.3 s"):
        confined("time:sleep", 600, limits=Limits(seconds=0.3))


def test_memory_is_limited() -> None:
    [answer] = answers("builtins:bytearray", [2**34], limits=Limits(memory_mib=200))
    assert answer.kind == "memory"
    with pytest.raises(DataError, match=r"too much memory(.|\n)*at most 200 MiB"):
        confined("builtins:bytearray", 2**34, limits=Limits(memory_mib=200))


def test_errors_keep_their_class() -> None:
    with pytest.raises(ConfigError, match="TOML syntax error"):
        confined("hepflows.config:parse_config", "x =")


def test_a_child_that_says_nonsense() -> None:
    with pytest.raises(RuntimeError, match="KeyError"):
        confined("hepflows.commands.inspect:answer", {"path": "x"})
    [answer] = answers("no_such_module_anywhere:f", [1])
    assert answer.kind == "crash"
    assert answer.text.startswith("exit code 1")


def test_inspect_untrusted(tmp_path: Path, capsys) -> None:
    path = tmp_path / "small.h5"
    with h5py.File(EPLUS) as source, h5py.File(path, "w") as file:
        for name in ("energy", "layer_0", "layer_1", "layer_2"):
            file[name] = source[name][:50]
    assert main(["inspect", str(path)]) == 0
    trusted = capsys.readouterr().out
    assert main(["inspect", str(path), "--untrusted"]) == 0
    assert capsys.readouterr().out == trusted
    path.write_bytes(path.read_bytes()[:3000])
    assert main(["inspect", str(path), "--untrusted"]) == 2
    assert "truncated or damaged" in capsys.readouterr().err
    assert main(["inspect", str(path), "--untrusted", "--time-limit", "0"]) == 2
    assert "--time-limit: not a limit" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["soft link", "external link", "external storage", "virtual"])
def test_hdf5_leads_nowhere_else(tmp_path: Path, kind: str, monkeypatch) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["layer_0"] = np.ones((50, 3, 96), np.float32)
    path = tmp_path / "bad.h5"
    with h5py.File(EPLUS) as source, h5py.File(path, "w") as file:
        for name in ("energy", "layer_1", "layer_2"):
            file[name] = source[name][:50]
        if kind == "soft link":
            file["elsewhere"] = h5py.ExternalLink("secret.h5", "/")
            file["layer_0"] = h5py.SoftLink("/elsewhere/layer_0")
        elif kind == "external link":
            file["layer_0"] = h5py.ExternalLink("secret.h5", "/layer_0")
        elif kind == "external storage":
            file.create_dataset("layer_0", (50, 3, 96), "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        else:
            layout = h5py.VirtualLayout((50, 3, 96), "f4")
            layout[...] = h5py.VirtualSource(str(secret), "layer_0", shape=(50, 3, 96))
            file.create_virtual_dataset("layer_0", layout)
    with pytest.raises(DataError, match="outside of this file"):
        read_showers(path)


def test_hdf5_that_declares_terabytes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("incident_energies", (2**33, 1), "f8", chunks=(1000, 1))
        file.create_dataset("showers", (2**33, 368), "f8", chunks=(1000, 368))
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="declares more than it can hold"):
        read_showers(path)
    assert main(["inspect", str(path)]) == 2


def test_stated_sizes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10**6)
    require_plausible(10**9, path, where="a")
    with pytest.raises(DataError, match="2000 times the 1000000 bytes"):
        require_plausible(3 * 10**9, path, where="a")
    require_memory(10**6, where="a")
    with pytest.raises(DataError, match=r"too much(.|\n)*first=N"):
        require_memory(10**18, where="a")


def test_deep_and_large_texts(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 500 + "1" + "}" * 500):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(text)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_toml("a = " + "[" * 300 + "]" * 300)
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse_config('task = "calofast"\na = ' + "[" * 100_000)
    assert parse_json("[" * 50 + "]" * 50)
    path = tmp_path / "text"
    path.write_text("x" * 1000)
    with pytest.raises(ValueError, match="more than 999 bytes"):
        read_text(path, max_bytes=999)


@pytest.mark.parametrize(("number", "fits"), [(2**64 - 1, True), (-(2**63), True), (2**64, False), (-(10**400), False)])
def test_integers_that_no_number_type_holds(number: int, fits: bool) -> None:
    for parse, text in ((parse_json, f'{{"a": [{number}]}}'), (parse_toml, f"a = [{number}]")):
        if fits:
            assert parse(text) == {"a": [number]}
        else:
            with pytest.raises(ValueError, match="more than 64 bits"):
                parse(text)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[]", "null", '{"schema": "hepflows-generator/1", "task": ' + "9" * 5000 + "}"]
)
def test_documents_of_artefacts(tmp_path: Path, content: str) -> None:
    (tmp_path / "generator.json").write_text(content)
    with pytest.raises(ArtefactError):
        read_document(tmp_path)


def test_hash_of_a_document_with_surrogates() -> None:
    assert len(document_hash({"a": "\ud800"})) == 64


def test_control_characters_are_shown(tmp_path: Path, capsys) -> None:
    assert printable("a\tb\nä") == "a\tb\nä"
    assert printable("\x1b]0;x\x07 \u202e \ud800") == "\\x1b]0;x\\x07 \\u202e \\ud800"
    name = "x\x1b[2J.h5"
    assert main(["inspect", str(tmp_path / name)]) == 2
    shown = capsys.readouterr().err
    assert "\x1b[2J" not in shown
    assert "x\\x1b[2J.h5" in shown


def test_no_file_name_comes_from_a_manifest() -> None:
    from exporters.manifest import Names

    names = Names.of("a/b.onnx")
    assert {Path(path).parent.name for path in vars(names).values()} == {"a"}
