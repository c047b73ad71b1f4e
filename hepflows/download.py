"""Downloading published files: checked, continued where an earlier attempt broke off, never half-written.

pooch compares checksums and repeats what fails; what it lacks, continuing a partial file with an HTTP range request
(RFC 9110, section 14), is added here.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from hepflows.errors import HepflowsError, OutputError
from hepflows.files import check_output

if TYPE_CHECKING:
    from pathlib import Path

    from hepflows.datasets import RemoteFile
    from hepflows.train.progress import Reporter

_BLOCK = 2**16  # what an interruption loses at most
_UNIT = 2**20
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class DownloadError(HepflowsError):
    """A file cannot be downloaded, or is not the one that was published."""


def fetch_file(
    file: RemoteFile,
    folder: Path,
    *,
    force: bool = False,
    retries: int = 3,
    timeout_s: float = 30.0,
    reporter: Reporter | None = None,
) -> Path:
    """Download a file, unless it is there already.

    Args:
        file: what to download.
        folder: where to; it is created.
        force: replace a file of this name that is another one.
        retries: how often to try again; each attempt continues the one before.
        timeout_s: how long to wait for the server, each time that nothing comes.
        reporter: where progress goes; None is silent.

    Returns:
        The file, whose checksum is the published one.

    Raises:
        OutputError: another file of this name is there, or the disk refuses.
        DownloadError: the server cannot be reached, answers with an error, or gives another file.
    """
    import pooch
    from requests import RequestException

    from hepflows.train.progress import SilentReporter

    target = folder / file.name
    if target.is_file() and pooch.hashes.hash_matches(target, file.checksum):
        return target
    if target.exists() and not force:
        raise OutputError(
            "another file of this name is there",
            where=target,
            expected=file.checksum,
            remedy="choose another --out or pass --force",
        )
    check_output(target, force=force)
    pooch.get_logger().setLevel("ERROR")
    store = pooch.create(
        path=folder,
        base_url="",
        registry={file.name: file.checksum},
        urls={file.name: file.url},
        retry_if_failed=retries,
    )
    part = folder / f".{file.name}.part"
    try:
        store.fetch(file.name, downloader=_Continued(part, timeout_s, reporter or SilentReporter()))
    except RequestException as error:
        continues = f", which continues at {part.stat().st_size} bytes" if part.exists() else ""
        raise failed("the file cannot be downloaded", file.url, error, continues) from error
    except ValueError as error:  # pooch's word for a checksum that does not fit
        raise DownloadError(
            "what was downloaded is not the published file",
            where=file.url,
            expected=file.checksum,
            found=str(error).splitlines()[0],
            remedy="try again later; if it persists, the file on the server was replaced or damaged",
        ) from error
    except OSError as error:
        raise OutputError("the download cannot be written", where=target, found=error.strerror or error) from error
    return target


class _Continued:
    """Downloader for pooch that keeps what came in a file of its own, and asks for the rest only."""

    def __init__(self, part: Path, timeout_s: float, reporter: Reporter) -> None:
        self._part, self._timeout, self._reporter = part, timeout_s, reporter

    def __call__(self, url: str, output_file: str, _pooch: Any, check_only: bool = False) -> None:  # noqa: ARG002
        from requests import ConnectionError as Disconnected
        from requests import get

        had = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
        with get(url, headers=headers, stream=True, timeout=self._timeout) as response:
            span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            complete = response.status_code == 416 and span is not None and span[2] == str(had)
            if not complete:
                if response.status_code == 416:  # what is there is longer than the file, or was of another one
                    self._part.unlink()
                    raise Disconnected("the server has less than was downloaded before; starting anew")
                response.raise_for_status()
                continues = response.status_code == 206 and span is not None and span[1] == str(had)
                if response.status_code == 206 and not continues:
                    raise Disconnected(f"the server sent another part: {response.headers.get('Content-Range')}")
                self._receive(response, had if continues else 0)
        os.replace(self._part, output_file)  # noqa: PTH105 - pooch names files by strings

    def _receive(self, response: Any, had: int) -> None:
        from requests import ConnectionError as Disconnected

        stated = response.headers.get("Content-Length", "")
        length = int(stated) if stated.isdecimal() else 0
        stage = self._reporter.stage(
            self._part.name[1:].removesuffix(".part"), total=-(-(had + length) // _UNIT), unit="MiB", done=had // _UNIT
        )
        size = had
        with stage as progress, self._part.open("ab" if had else "wb") as file:
            for block in response.iter_content(_BLOCK):
                file.write(block)
                progress.advance((size + len(block)) // _UNIT - size // _UNIT)
                size += len(block)
            progress.advance(1 if size % _UNIT else 0)
        if length and size != had + length:
            raise Disconnected("the connection broke off")


def failed(what: str, url: str, error: Exception, more: str = "") -> DownloadError:
    """The error for a request that failed, with the server's answer if there was one."""
    response = getattr(error, "response", None)
    if response is not None:
        reason = f"HTTP status {response.status_code} {response.reason}"
    else:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no answer'}"
    return DownloadError(what, where=url, found=reason, remedy=f"check the connection and run the command again{more}")
