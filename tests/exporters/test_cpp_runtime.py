"""The directory with ONNX Runtime for C++ programs: links to a wheel, faked here, and never over others' files."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters import cpp_runtime
from exporters.cpp_runtime import main, prepare, prepared
from hepflows.errors import MissingDependencyError

HEADERS = ("onnxruntime_c_api.h", "onnxruntime_cxx_api.h")


def write_headers(include: Path, *names: str, api: int = 20) -> None:
    include.mkdir(parents=True, exist_ok=True)
    for name in names or HEADERS:
        (include / name).write_text(f"#define ORT_API_VERSION {api}\n")


def write_release(directory: Path, version: str = "1.20.1") -> Path:
    """As a release archive has it: a file, and links beside it; the file."""
    lib = directory / "lib"
    lib.mkdir(parents=True)
    (lib / f"libonnxruntime.so.{version}").write_bytes(b"theirs")
    (lib / "libonnxruntime.so.1").symlink_to(f"libonnxruntime.so.{version}")
    (lib / "libonnxruntime.so").symlink_to("libonnxruntime.so.1")
    return lib / f"libonnxruntime.so.{version}"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library as the wheel has it, and headers as npm brings them."""
    library = tmp_path / "site-packages" / "onnxruntime" / "capi" / "libonnxruntime.so.1.20.1"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"library")
    monkeypatch.setattr(cpp_runtime, "wheel_library", lambda: library)
    monkeypatch.setattr(cpp_runtime, "download_headers", write_headers)
    return library


@pytest.fixture
def nothing_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Path:
        raise MissingDependencyError("not installed")

    monkeypatch.setattr(cpp_runtime, "wheel_library", refuse)
    monkeypatch.setattr(cpp_runtime, "download_headers", refuse)


def test_links_to_the_wheel(wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "ort"
    assert main(place) == 2
    assert "include/onnxruntime_c_api.h" in capsys.readouterr().err
    assert main(place, download=True) == 0
    assert capsys.readouterr().out == f"{place.resolve()}\n"
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        assert (place / "lib" / name).resolve() == wheel.resolve()


def test_links_to_a_wheel_that_is_gone_are_renewed(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "ort"
    prepare(place)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (place / "lib" / name).unlink()
        (place / "lib" / name).symlink_to("/gone/onnxruntime/capi/libonnxruntime.so.1.19.2")
    assert prepared(place) is None
    prepare(place)
    assert (place / "lib" / "libonnxruntime.so.1").resolve() == wheel.resolve()


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.usefixtures("nothing_to_take")
def test_a_release_needs_no_wheel_and_stays(tmp_path: Path, download: bool, capsys: pytest.CaptureFixture[str]) -> None:
    library = write_release(tmp_path)
    write_headers(tmp_path / "include")
    assert main(tmp_path, download=download) == 0
    assert capsys.readouterr().out == f"{tmp_path.resolve()}\n"
    assert (tmp_path / "lib" / "libonnxruntime.so").read_bytes() == b"theirs"
    assert (tmp_path / "lib" / "libonnxruntime.so.1").readlink() == Path(library.name)


@pytest.mark.usefixtures("wheel")
def test_a_release_is_never_replaced(tmp_path: Path) -> None:
    place = tmp_path / "release"
    library = write_release(place)
    assert prepare(place) == place.resolve()
    assert (place / "lib" / "libonnxruntime.so").resolve() == library.resolve()
    assert library.read_bytes() == b"theirs"
    assert prepared(place) is not None  # with the fetched headers


@pytest.mark.usefixtures("wheel")
def test_a_file_without_links_is_never_replaced(tmp_path: Path) -> None:
    lib = tmp_path / "release" / "lib"
    lib.mkdir(parents=True)
    (lib / "libonnxruntime.so").write_bytes(b"theirs")
    prepare(lib.parent)
    assert [path.name for path in lib.iterdir()] == ["libonnxruntime.so"]
    assert (lib / "libonnxruntime.so").read_bytes() == b"theirs"


def test_half_of_a_release_is_refused(wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "release"
    write_release(place).unlink()
    assert main(place, download=True) == 2
    assert "libonnxruntime.so" in capsys.readouterr().err
    assert (place / "lib" / "libonnxruntime.so").readlink() == Path("libonnxruntime.so.1")


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize("header", HEADERS)
def test_half_of_the_headers_are_refused(tmp_path: Path, header: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_release(tmp_path / "ort")
    write_headers(tmp_path / "ort" / "include", header)
    assert prepared(tmp_path / "ort") is None
    for download in (False, True):
        assert main(tmp_path / "ort", download=download) == 2
        assert ({*HEADERS} - {header}).pop() in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "ort" / "include").iterdir()] == [header]


@pytest.mark.usefixtures("wheel")
def test_headers_that_are_newer_than_the_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_headers(tmp_path / "ort" / "include", api=21)
    assert main(tmp_path / "ort", download=True) == 2
    assert "1.21 or newer" in capsys.readouterr().err
