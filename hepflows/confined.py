"""Working on files of unknown origin in another process, under limits of time and memory.

The C libraries that parse HDF5, ROOT or ONNX may crash, hang or take all memory on a file made for it. Here they do
so in a child process: the parent learns how each request ended, and starts another child for the rest. Requests and
answers are JSON, never pickle, so that a child that went wrong cannot make its parent run anything. This confines
accidents; it is no sandbox against code that takes over the child.

Example:
    >>> [answer.value for answer in answers("math:sqrt", [4.0, 9.0])]
    [2.0, 3.0]
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from hepflows import errors
from hepflows.errors import DataError, HepflowsError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic import JsonValue

_START_SECONDS = 120.0  # imports take long on a busy machine
_MAX_ANSWER_BYTES = 2**24
_MAX_WRITTEN_BYTES = 2**26
_MAX_STDERR = 300
# a library that cannot be loaded for want of memory raises an ImportError
_NO_MEMORY = ("failed to map segment", "cannot allocate memory", "Cannot allocate memory", "bad_alloc", "MemoryError")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a child may use.

    Attributes:
        seconds: wall-clock time for one request.
        cpu_seconds: processor time for one request; None for twice the wall-clock time.
        memory_mib: memory for one request and the libraries that it loads [MiB]; enforced by Linux.
    """

    seconds: float = 60.0
    cpu_seconds: float | None = None
    memory_mib: int = 2048


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a request ended.

    Attributes:
        kind: ``value``; ``refused``: a `HepflowsError`; ``fault``: any other exception; ``memory``: out of memory;
            ``crash``: the process died; ``hang``: it took too long and was killed.
        value: what the function returned.
        text: message of the error, traceback of a fault, or what is known of a crash.
        error: class and parts of the message of a `HepflowsError`.
        warnings: warnings given on the way.
    """

    kind: Literal["value", "refused", "fault", "memory", "crash", "hang"]
    value: JsonValue = None
    text: str = ""
    error: Mapping[str, str | None] | None = None
    warnings: tuple[str, ...] = ()


def answers(target: str, requests: Iterable[JsonValue], *, limits: Limits | None = None) -> Iterator[Answer]:
    """Call a function with each request, in a child process that serves until it dies.

    Args:
        target: ``module:function``; the function takes one request and returns a value that JSON can hold.
        requests: arguments.
        limits: what each request may use.

    Yields:
        One answer a request, in order.

    Raises:
        MissingDependencyError: this system has no limits for processes.
    """
    limits = limits or Limits()
    child: _Child | None = None
    try:
        for request in requests:
            child = child or _Child(target, limits)
            answer = child.ask(request)
            yield answer
            if answer.kind in ("crash", "hang"):
                child.close()
                child = None
    finally:
        if child is not None:
            child.close()


def confined(target: str, request: JsonValue, *, limits: Limits | None = None, where: object = None) -> JsonValue:
    """Call a function with one request in a child process and return what it returned.

    Args:
        target: as in `answers`.
        request: the argument.
        limits: what it may use.
        where: the file, for messages.

    Raises:
        HepflowsError: the one that the function raised.
        DataError: the child crashed, took too long or too much memory.
        RuntimeError: the function raised something else; the text is its traceback.
    """
    limits = limits or Limits()
    [answer] = answers(target, [request], limits=limits)
    for message in answer.warnings:
        warnings.warn(message, stacklevel=2)
    if answer.kind == "value":
        return answer.value
    if answer.error is not None:
        raise _rebuilt(answer.error)
    if answer.kind == "fault":
        raise RuntimeError(answer.text)
    what, expected = {
        "crash": ("the library that reads this file crashed on it", None),
        "hang": ("reading this file takes too long", f"at most {limits.seconds:g} s"),
        "memory": ("reading this file takes too much memory", f"at most {limits.memory_mib} MiB"),
    }[answer.kind]
    raise DataError(
        what,
        where=where,
        expected=expected,
        found=None if answer.kind == "memory" else answer.text or None,
        remedy="do not trust this file; if it comes from a source that you trust, copy it again"
        + ("" if expected is None else ", or raise the limit"),
    )


class _Child:
    """A process that answers one request after the other."""

    def __init__(self, target: str, limits: Limits) -> None:
        if sys.platform == "win32":
            raise MissingDependencyError(
                "processes cannot be limited on this system", expected="Linux or macOS", found=sys.platform
            )
        self._limits = limits
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._answers, theirs = os.pipe()
        cpu_seconds = 2 * limits.seconds if limits.cpu_seconds is None else limits.cpu_seconds
        arguments = [target, str(theirs), str(cpu_seconds), str(limits.memory_mib)]
        # address space is what is limited, and these set much of it aside that is never used
        frugal = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
        environment = os.environ | frugal | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "hepflows.confined", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=[theirs],
            env=environment,
        )
        os.close(theirs)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._early = self._receive(_START_SECONDS)

    def ask(self, request: JsonValue) -> Answer:
        if self._early.kind != "value":
            return self._early
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        return self._receive(self._limits.seconds)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()
        os.close(self._answers)
        self._stderr.close()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _receive(self, seconds: float) -> Answer:
        """The child's next line, or how it failed to give one."""
        line, deadline = bytearray(), time.monotonic() + seconds
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                return Answer(kind="hang", text=f"no answer within {seconds:g} s")
            part = os.read(self._answers, 2**16)
            line += part
            if not part:
                return self._ended()
            if len(line) > _MAX_ANSWER_BYTES:
                return Answer(kind="crash", text="an answer without end")
        try:
            fields = json.loads(line)
            return Answer(**{**fields, "warnings": tuple(fields.get("warnings", ()))})
        except (ValueError, TypeError, RecursionError) as error:
            return Answer(kind="crash", text=f"an answer that makes no sense ({error})")

    def _ended(self) -> Answer:
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return Answer(kind="hang", text="processor time used up")
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._stderr.seek(0)
        lines = self._stderr.read(_MAX_WRITTEN_BYTES).decode(errors="replace").strip().splitlines()
        return Answer(kind="crash", text=": ".join([name, *(line[:_MAX_STDERR] for line in lines[-1:])]))


def _rebuilt(parts: Mapping[str, str | None]) -> HepflowsError:
    kind = getattr(errors, parts["class"] or "", DataError)
    if not (isinstance(kind, type) and issubclass(kind, HepflowsError)):
        kind = DataError
    return kind(
        parts["what"] or "", where=parts["where"], expected=parts["expected"], found=parts["found"],
        remedy=parts["remedy"],
    )  # fmt: skip


class _Allowance:
    """The limits of this process, renewed for each request."""

    def __init__(self, cpu_seconds: float, memory_mib: int) -> None:
        self._seconds = cpu_seconds
        self._memory = memory_mib * 2**20

    def __enter__(self) -> Self:
        import resource

        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, _MAX_WRITTEN_BYTES)
        used = _address_space()
        if used is not None:
            _limit(resource.RLIMIT_AS, used + self._memory)
        # the parent watches the clock; this also ends a child whose parent was killed
        spent = resource.getrusage(resource.RUSAGE_SELF)
        until = int(spent.ru_utime + spent.ru_stime + self._seconds) + 2
        _limit(resource.RLIMIT_CPU, until)
        return self

    def __exit__(self, *_: object) -> None:
        import resource

        _limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)  # to write the answer


def _limit(kind: int, value: int) -> None:
    """Set a soft limit, as far as the hard one, which stays, allows."""
    import resource

    hard = resource.getrlimit(kind)[1]
    allowed = value if hard == resource.RLIM_INFINITY else hard if value == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, hard))


def _address_space() -> int | None:
    """Bytes of address space that this process has, None where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no path of a user's
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _serve(target: str, channel: int, allowance: _Allowance) -> None:
    """Answer the requests on standard input until it ends."""
    from hepflows.registry import Plugin

    function = Plugin(name=target, group="confined", target=target, distribution="hepflows").load()
    with os.fdopen(channel, "w", encoding="ascii", buffering=1) as out:
        out.write(json.dumps({"kind": "value"}) + "\n")
        for line in sys.stdin:
            out.write(json.dumps(_answered(function, json.loads(line), allowance)) + "\n")


def _answered(function: Callable[[Any], Any], request: JsonValue, allowance: _Allowance) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with allowance:
                found: dict[str, Any] = {"kind": "value", "value": function(request)}
                json.dumps(found)
        except HepflowsError as error:
            parts = {name: getattr(error, name) for name in ("what", "where", "expected", "found", "remedy")}
            found = {"kind": "refused", "text": str(error), "error": {"class": type(error).__name__, **parts}}
        except MemoryError as error:
            found = {"kind": "memory", "text": str(error)}
        except Exception:  # noqa: BLE001 - the parent decides what to make of it
            text = traceback.format_exc()
            found = {"kind": "memory" if any(sign in text for sign in _NO_MEMORY) else "fault", "text": text}
    return {**found, "warnings": [str(entry.message) for entry in caught]}


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), _Allowance(float(sys.argv[3]), int(sys.argv[4])))
