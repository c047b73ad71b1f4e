"""ONNX Runtime for C++ programs from the installed Python package, whose wheel holds the library but no headers.

`python -m exporters.cpp_runtime --download DIR` makes a directory with ``lib/`` (links to the wheel's library) and
``include/`` (the C++ headers, from a package of the npm registry) and prints its path, for CMake's
``-DONNXRUNTIME_DIR``. Whoever has ONNX Runtime's own release or a system package needs none of this;
a directory that is complete, by whomever, is left as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import cyclopts

from hepflows.errors import HepflowsError, MissingDependencyError

#: npm package with the headers of the C and C++ interfaces (MIT licence), and the version we test with.
HEADERS_PACKAGE: Final = "com.github.asus4.onnxruntime@0.4.9"
_HEADER: Final = "onnxruntime_cxx_api.h"
_API_HEADER: Final = "onnxruntime_c_api.h"
_HEADERS: Final = (_API_HEADER, _HEADER)
_LIBRARIES: Final = ("libonnxruntime.so", "libonnxruntime.so.1")  # what the linker and what the loader look for
_VERSIONED: Final = r"libonnxruntime\.so\.\d+\.\d+\.\d+"
_DISTRIBUTIONS: Final = ("onnxruntime", "onnxruntime-gpu")
_BY_HAND: Final = (
    "install libonnxruntime-dev or unpack a release archive of ONNX Runtime, and set ONNXRUNTIME_DIR to it"
)


def prepared(directory: Path) -> Path | None:
    """The directory, made absolute, if it has library and headers already; else None."""
    headers = all((directory / "include" / name).is_file() for name in _HEADERS)
    return directory.resolve() if headers and (directory / "lib" / _LIBRARIES[0]).exists() else None


def prepare(directory: Path) -> Path:
    """Put library and headers there, unless they are there already. A library that is none of our links stays.

    Returns:
        The directory, made absolute.

    Raises:
        MissingDependencyError: no library in the Python environment, no npm, no network, half of the headers or of a
            library of somebody else's, or headers that are newer than the library.
    """
    if complete := prepared(directory):
        return complete
    include, links = directory / "include", [directory / "lib" / name for name in _LIBRARIES]
    theirs = [link for link in links if os.path.lexists(link) and not _is_our_link(link)]
    if theirs and not links[0].exists():
        raise MissingDependencyError(
            "a library of ONNX Runtime that is not from here is incomplete",
            where=directory / "lib",
            expected=links[0].name,
            found=", ".join(link.name for link in theirs),
            remedy="complete it, or name another directory",
        )
    library = links[0].resolve() if theirs else wheel_library()
    if not any((include / name).is_file() for name in _HEADERS):
        download_headers(include)
    check_versions(include, library)
    if not theirs:
        for link in links:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(library)
    return directory.resolve()


def _is_our_link(path: Path) -> bool:
    """Whether it is a link to a wheel's library, as `prepare` makes it; the wheel may be gone."""
    return path.is_symlink() and re.fullmatch(r".*/onnxruntime/capi/" + _VERSIONED, str(path.readlink())) is not None


def wheel_library() -> Path:
    """The shared library inside the installed Python package.

    Raises:
        MissingDependencyError: there is none.
    """
    found = []
    for distribution in _DISTRIBUTIONS:
        try:
            files = metadata.files(distribution) or []
        except metadata.PackageNotFoundError:
            continue
        found.append(f"{distribution} {metadata.version(distribution)}")
        for file in files:
            if re.fullmatch(_VERSIONED, file.name):
                return Path(str(file.locate())).resolve()
    raise MissingDependencyError(
        "no ONNX Runtime library for C++ programs",
        where="the Python environment",
        expected="onnxruntime or onnxruntime-gpu, 1.20 or newer, for Linux",
        found=", ".join(found) or "neither is installed",
        remedy=f"pip install 'hepflows[onnx]'; or {_BY_HAND}",
    )


def download_headers(include: Path) -> None:
    """Fetch the headers with npm.

    Raises:
        MissingDependencyError: npm is absent, or could not fetch the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise MissingDependencyError(
            "the C++ headers of ONNX Runtime are missing, and there is no npm to fetch them",
            where=include,
            expected=_HEADER,
            remedy=f"install npm; or {_BY_HAND}",
        )
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", HEADERS_PACKAGE, "--ignore-scripts", "--silent"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
        archives = list(Path(place).glob("*.tgz"))
        if done.returncode or not archives:
            raise MissingDependencyError(
                "the C++ headers of ONNX Runtime could not be fetched",
                where=" ".join(command[1:]),
                found=done.stderr.strip()[-500:] or f"exit code {done.returncode}",
                remedy=f"try again with a network; or {_BY_HAND}",
            )
        headers = _headers(archives[0])
    include.mkdir(parents=True, exist_ok=True)
    # those whose presence counts come last, so that an interruption is begun anew
    for name in sorted(headers, key=lambda name: name in _HEADERS):
        (include / name).write_bytes(headers[name])


def _headers(archive: Path) -> dict[str, bytes]:
    """Headers in the archive; it holds the same ones for several systems, of which the first is taken."""
    headers: dict[str, bytes] = {}
    with tarfile.open(archive) as content:
        for member in content:
            path = Path(member.name)
            if path.suffix == ".h" and path.name not in headers and (file := content.extractfile(member)):
                headers[path.name] = file.read()
    if any(name not in headers for name in _HEADERS):
        raise MissingDependencyError(
            "the package has no C++ headers", where=HEADERS_PACKAGE, expected=" and ".join(_HEADERS), remedy=_BY_HAND
        )
    return headers


def check_versions(include: Path, library: Path) -> None:
    """Raise `MissingDependencyError` if the headers are incomplete, or ask for a newer library than this one.

    A library whose name does not tell its version passes.
    """
    missing = [name for name in _HEADERS if not (include / name).is_file()]
    if missing:
        raise MissingDependencyError(
            "headers of ONNX Runtime are missing",
            where=include,
            expected=" and ".join(_HEADERS),
            found=f"no {' and no '.join(missing)}",
            remedy=f"complete them, or name another directory; or {_BY_HAND}",
        )
    match = re.search(r"#define ORT_API_VERSION (\d+)", (include / _API_HEADER).read_text(encoding="utf-8"))
    version = re.fullmatch(r"libonnxruntime\.so\.1\.(\d+)\..*", library.name)
    wanted = int(match[1]) if match else 0
    if version and wanted > int(version[1]):
        raise MissingDependencyError(
            "ONNX Runtime is older than its headers",
            where=library,
            expected=f"1.{wanted} or newer",
            found=library.name.removeprefix("libonnxruntime.so."),
            remedy=f"pip install --upgrade onnxruntime; or {_BY_HAND}",
        )


def main(
    directory: Path,
    /,
    *,
    download: Annotated[bool, cyclopts.Parameter(help="Fetch missing headers with npm (150 MB).", negative="")] = False,
) -> int:
    """Make a directory with ONNX Runtime's library and C++ headers and print its path.

    Parameters
    ----------
    directory
        Where to put them, or where they are.
    """
    try:
        place = prepared(directory)
        if place is None and not download:
            raise MissingDependencyError(
                "ONNX Runtime for C++ programs is missing",
                where=directory,
                expected=" and ".join((f"lib/{_LIBRARIES[0]}", *(f"include/{name}" for name in _HEADERS))),
                remedy=f"pass --download; or {_BY_HAND}",
            )
        sys.stdout.write(f"{place or prepare(directory)}\n")
    except HepflowsError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))
