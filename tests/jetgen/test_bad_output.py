"""An output that cannot be written gives a clear message, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap

import pytest

from hepflows.errors import OutputError
from jetgen.reading import read_jets
from jetgen.writing import write_jets

NAMES = ["f.h5", "f.root", "f.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_existing_output_needs_force(tmp_path, make_jets, name):
    path = tmp_path / name
    path.write_text("precious")
    jets = make_jets(9)
    with pytest.raises(OutputError, match=r"output exists already[\s\S]*--force") as caught:
        write_jets(jets, path)
    assert caught.value.exit_code == 2
    assert path.read_text() == "precious"
    write_jets(jets, path, force=True)
    assert len(read_jets(path)) == 9
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_output_in_an_impossible_place(tmp_path, make_jets, name):
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(OutputError, match=r"cannot be written here|writing failed"):
        write_jets(make_jets(2), tmp_path / "file" / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", NAMES)
def test_chunks_that_fail_leave_nothing_behind(tmp_path, make_jets, name):
    def chunks():
        yield make_jets(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jets(chunks(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "limit"), [("f.h5", 1000), ("f.h5", 60_000), ("f.root", 60_000), ("f.parquet", 60_000)]
)
def test_file_size_limit_of_the_operating_system(tmp_path, name, limit):
    program = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from hepflows.errors import OutputError
        from jetgen.reading import embedded_jets_path, read_jets
        from jetgen.writing import write_jets
        jets = read_jets(embedded_jets_path(), first=1000)
        try:
            write_jets(jets, Path({str(tmp_path)!r}) / {name!r})
        except OutputError as error:
            print(error)
            sys.exit(error.exit_code)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert "writing failed, nothing was left behind" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
