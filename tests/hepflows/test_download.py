"""Downloads from a server that breaks off, lies, is slow or not there: the right file, or none, and a clear error."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from hepflows import datasets
from hepflows.cli import main
from hepflows.datasets import DataSet, Record, RemoteFile, catalogue
from hepflows.download import DownloadError, fetch_file
from hepflows.errors import OutputError
from hepflows.records import files_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 20_000  # 5 MB
CHECKSUM = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = "3b" * 32


class Server(ThreadingHTTPServer):
    """Serves one file, and under /record what `listing` is.

    `script` says how each request for the file in turn is answered, the last one for all that follow.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[str] = ["whole"]
        self.ranges: list[str | None] = []
        self.released = threading.Event()
        self.listing = b""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def file(self) -> RemoteFile:
        return RemoteFile(name="a.h5", url=f"{self.base}/a.h5?download=1", checksum=CHECKSUM)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/record":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.listing)))
            self.end_headers()
            self.wfile.write(self.server.listing)
            return
        stated = self.headers.get("Range")
        self.server.ranges.append(stated)
        behaviour = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        start = int(stated.removeprefix("bytes=").removesuffix("-")) if stated and behaviour != "no ranges" else 0
        if behaviour == "missing":
            self.send_error(404)
            return
        if start >= len(CONTENT) and stated:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour == "corrupt":
            body = body[:-1] + b"?"
        if behaviour in ("cut", "stuck"):
            body = body[:2_000_000]
        self.wfile.write(body)
        if behaviour == "stuck":
            self.server.released.wait(20)
        if behaviour in ("cut", "stuck"):
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    path = fetch_file(server.file, tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert fetch_file(server.file, tmp_path / "new") == path
    assert server.ranges == [None]
    assert names(tmp_path / "new") == {"a.h5"}


def test_what_broke_off_is_continued(server: Server, tmp_path: Path) -> None:
    server.script = ["cut"]
    with pytest.raises(DownloadError, match="continues at 1966080 bytes"):
        fetch_file(server.file, tmp_path, retries=0)
    assert names(tmp_path) == {".a.h5.part"}
    server.script = ["whole"]
    assert fetch_file(server.file, tmp_path, retries=0).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1966080-"]
    assert names(tmp_path) == {"a.h5"}


def test_an_attempt_is_repeated_by_itself(server: Server, tmp_path: Path) -> None:
    server.script = ["cut", "whole"]
    assert fetch_file(server.file, tmp_path, retries=1).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1966080-"]


def test_a_slow_server(server: Server, tmp_path: Path) -> None:
    server.script = ["stuck"]
    with pytest.raises(DownloadError, match=r"cannot be downloaded(.|\n)*timed out(.|\n)*continues at"):
        fetch_file(server.file, tmp_path, retries=0, timeout_s=0.3)
    server.script = ["whole"]
    assert fetch_file(server.file, tmp_path, retries=0).read_bytes() == CONTENT
    assert server.ranges[1] is not None


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".a.h5.part").write_bytes(CONTENT[:1000])
    server.script = ["no ranges"]
    assert fetch_file(server.file, tmp_path, retries=0).read_bytes() == CONTENT


def test_a_part_that_is_complete_or_too_long(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".a.h5.part").write_bytes(CONTENT)
    assert fetch_file(server.file, tmp_path, retries=0).read_bytes() == CONTENT
    (tmp_path / "a.h5").unlink()
    (tmp_path / ".a.h5.part").write_bytes(CONTENT + b"more")
    with pytest.raises(DownloadError, match="starting anew"):
        fetch_file(server.file, tmp_path, retries=0)
    assert fetch_file(server.file, tmp_path, retries=0).read_bytes() == CONTENT


def test_a_corrupted_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.script = ["corrupt"]
    with pytest.raises(DownloadError, match=r"not the published file(.|\n)*expected: md5:") as error:
        fetch_file(server.file, tmp_path, retries=0)
    assert error.value.exit_code == 2
    assert names(tmp_path) == set()


def test_a_part_of_another_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".a.h5.part").write_bytes(b"x" * 5000)
    with pytest.raises(DownloadError, match="not the published file"):
        fetch_file(server.file, tmp_path, retries=0)
    assert fetch_file(server.file, tmp_path, retries=0).read_bytes() == CONTENT


def test_a_missing_file_and_no_server(server: Server, tmp_path: Path) -> None:
    server.script = ["missing"]
    with pytest.raises(DownloadError, match="HTTP status 404"):
        fetch_file(server.file, tmp_path, retries=0)
    nowhere = RemoteFile(name="a.h5", url="http://127.0.0.1:9/a.h5", checksum=CHECKSUM)
    with pytest.raises(DownloadError, match="check the connection"):
        fetch_file(nowhere, tmp_path, retries=0)
    assert names(tmp_path) == set()


def test_files_of_the_user_are_not_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(OutputError, match="another file of this name"):
        fetch_file(server.file, tmp_path)
    assert (tmp_path / "a.h5").read_text() == "mine"
    assert fetch_file(server.file, tmp_path, force=True, retries=0).read_bytes() == CONTENT


def test_the_command(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    small = DataSet(name="small", title="a small one", page="http://127.0.0.1/", files=(server.file,))
    monkeypatch.setattr(datasets, "catalogue", lambda: {"small": small})
    assert main(["fetch", "small", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().err
    assert "5/5 MiB" in shown
    assert CHECKSUM in shown
    assert (tmp_path / "a.h5").read_bytes() == CONTENT
    assert main(["fetch", "smal", "--out", str(tmp_path)]) == 2
    assert "did you mean small?" in capsys.readouterr().err
    assert main(["fetch"]) == 2
    assert main(["fetch", "--list"]) == 0
    assert "a.h5" in capsys.readouterr().out


def test_the_catalogue() -> None:
    found = catalogue()
    expected = {"1-photons", "1-pions", "2", "3"}
    assert set(found) == {*(f"calochallenge-{name}" for name in expected), "calogan", "jetnet"}
    files = [file for one in found.values() for file in one.files]
    assert len({file.checksum for file in files}) == len({file.name for file in files}) == 10
    for file in files:
        algorithm, _, digits = file.checksum.partition(":")
        assert algorithm == "md5"
        assert len(digits) == 32
        assert file.url.startswith("https://zenodo.org/records/")
        assert f"/{file.name}?" in file.url
    assert found["jetnet"].names == ("g.hdf5", "q.hdf5", "t.hdf5", "w.hdf5", "z.hdf5")
    assert found["calogan"].names == ("eplus.hdf5", "gamma.hdf5", "piplus.hdf5")


def stated(server: Server, kind: Any) -> DataSet:
    record = Record(kind=kind, url=f"{server.base}/record", names=("a.h5",))
    return DataSet(name="stated", title="a record", page="http://127.0.0.1/", record=record)


def zenodo(server: Server, **changed: Any) -> dict[str, Any]:
    """The parts of Zenodo's answer that are read, in its nesting."""
    links = {"self": server.file.url}
    file = {"key": "a.h5", "checksum": CHECKSUM, "size": len(CONTENT), "links": links} | changed
    return {"id": 1, "files": [file | {"key": "other.h5"}, file]}


def mendeley(server: Server) -> list[dict[str, Any]]:
    """The parts of the answer of Mendeley Data that are read, in its nesting."""
    details = {"sha256_hash": SHA256, "download_url": server.file.url, "size": len(CONTENT)}
    return [{"filename": "a.h5", "id": "1", "content_details": details}]


def test_files_of_a_record(server: Server) -> None:
    server.listing = json.dumps(zenodo(server)).encode()
    [file] = files_of(stated(server, "zenodo"))
    assert (file.name, file.url, file.checksum) == ("a.h5", server.file.url, CHECKSUM)
    server.listing = json.dumps(mendeley(server)).encode()
    [file] = files_of(stated(server, "mendeley"))
    assert (file.name, file.url, file.checksum) == ("a.h5", server.file.url, f"sha256:{SHA256}")


def test_known_files_are_not_asked_for(server: Server) -> None:
    assert files_of(DataSet(name="known", title="", page="", files=(server.file,))) == (server.file,)


def test_the_command_fetches_what_the_record_states(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.listing = json.dumps(zenodo(server)).encode()
    monkeypatch.setattr(datasets, "catalogue", lambda: {"stated": stated(server, "zenodo")})
    assert main(["fetch", "stated", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "a.h5").read_bytes() == CONTENT
    assert main(["fetch", "--list"]) == 0
    assert "a.h5 (checksums as the record states them)" in capsys.readouterr().out
    server.script = ["corrupt"]
    assert main(["fetch", "stated", "--out", str(tmp_path / "other")]) == 2
    assert "not the published file" in capsys.readouterr().err
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"checksum": "md5:12"}, "a checksum of a.h5"),
        ({"checksum": "crc32:00000000"}, "a checksum of a.h5"),
        ({"checksum": None}, "checksums"),
        ({"links": {}}, "KeyError"),
        ({"links": {"self": "file:///etc/passwd"}}, "an address of a.h5"),
        ({"key": "b.h5"}, "found: b.h5"),
    ],
)
def test_unclear_answers(server: Server, changed: dict[str, Any], words: str) -> None:
    answer = zenodo(server, **changed)
    server.listing = json.dumps(answer | {"files": answer["files"][1:]}).encode()
    with pytest.raises(DownloadError, match="does not state its files") as error:
        files_of(stated(server, "zenodo"))
    assert words in str(error.value)


@pytest.mark.parametrize("listing", [b"", b"<html>", b"[]", b"{}", b"\xff", b"1", b'"' + b"x" * 5_000_000 + b'"'])
def test_answers_that_are_no_list(server: Server, listing: bytes) -> None:
    server.listing = listing
    with pytest.raises(DownloadError, match="does not state its files"):
        files_of(stated(server, "zenodo"))


def test_no_repository() -> None:
    record = Record(kind="zenodo", url="http://127.0.0.1:9/record", names=("a.h5",))
    with pytest.raises(DownloadError, match="the list of files cannot be had"):
        files_of(DataSet(name="stated", title="", page="", record=record), timeout_s=2.0)
