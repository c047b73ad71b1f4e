"""What a data repository states of a record: addresses and checksums of its files.

For data sets whose checksums are not known here. They guard against a download that breaks off or is damaged; that
the record is the published one rests on the repository and its certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepflows.datasets import RemoteFile
from hepflows.download import DownloadError, failed
from hepflows.plain_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hepflows.datasets import DataSet, Record

_LIMIT = 4 * 2**20  # bytes: a listing of some thousand files
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}


def files_of(data_set: DataSet, *, timeout_s: float = 30.0) -> tuple[RemoteFile, ...]:
    """The files of a data set, asked of its record where their checksums are not known here.

    Args:
        data_set: whose files.
        timeout_s: how long to wait for the server, each time that nothing comes.

    Raises:
        DownloadError: the repository cannot be reached, or its answer does not state all files with their checksums.
    """
    record = data_set.record
    if record is None:
        return data_set.files
    try:
        stated = {file.name: file for file in _READERS[record.kind](_answer(record, timeout_s))}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unclear(
            record, "a list of files with addresses and checksums", f"{type(error).__name__}: {error}"
        ) from error
    missing = [name for name in record.names if name not in stated]
    if missing:
        raise _unclear(record, ", ".join(record.names), ", ".join(sorted(stated)[:20]) or "no files")
    found = tuple(stated[name] for name in record.names)
    for file in found:
        algorithm, _, digits = file.checksum.partition(":")
        if _DIGITS.get(algorithm) != len(digits) or not set(digits) <= set("0123456789abcdef"):
            raise _unclear(record, f"a checksum of {file.name}: {', '.join(_DIGITS)}", file.checksum[:100])
        if file.url.partition(":")[0] != record.url.partition(":")[0]:
            raise _unclear(record, f"an address of {file.name} like {record.url}", file.url[:200])
    return found


def _answer(record: Record, timeout_s: float) -> Any:
    from requests import RequestException, get

    try:
        with get(record.url, headers={"Accept": "application/json"}, stream=True, timeout=timeout_s) as response:
            response.raise_for_status()
            text = b""
            for block in response.iter_content(2**16):
                text += block
                if len(text) > _LIMIT:
                    raise ValueError(f"more than {_LIMIT} bytes")
    except RequestException as error:
        raise failed("the list of files cannot be had", record.url, error) from error
    return parse_json(text.decode("utf-8"))


def _zenodo(answer: Any) -> Iterator[RemoteFile]:
    for file in answer["files"]:
        yield _file(file["key"], file["links"]["self"], file["checksum"])


def _mendeley(answer: Any) -> Iterator[RemoteFile]:
    for file in answer:
        content = file["content_details"]
        yield _file(file["filename"], content["download_url"], f"sha256:{content['sha256_hash']}")


def _file(*texts: Any) -> RemoteFile:
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"not three texts: {texts}"[:200])
    name, url, checksum = texts
    return RemoteFile(name=name, url=url, checksum=checksum)


_READERS: Mapping[str, Callable[[Any], Iterator[RemoteFile]]] = {"zenodo": _zenodo, "mendeley": _mendeley}


def _unclear(record: Record, expected: str, found: str) -> DownloadError:
    return DownloadError(
        "the record does not state its files as it used to",
        where=record.url,
        expected=expected,
        found=found,
        remedy="download the files from the data set's page, which hepflows fetch --list tells",
    )
