"""The command line: builds the application, runs one command and turns errors into exit codes.

0: done, 1: a gate failed, 2: bad input, 3: internal error, 130: interrupted. Commands live in
`hepflows.commands` and, announced by entry points, in other packages.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import traceback
import warnings
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.text import Text

from hepflows import generic_names, registry
from hepflows._version import __version__
from hepflows.commands import BUILT_IN
from hepflows.errors import HepflowsError
from hepflows.interruption import interruptible
from hepflows.memory_errors import is_out_of_memory
from hepflows.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_BAD_INPUT = 2
EXIT_INTERNAL = 3
EXIT_INTERRUPTED = 130

_USERS_OS_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: arguments without the program's name; those of the process if None.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    debug = os.environ.get("HEPFLOWS_DEBUG", "") not in ("", "0")
    if "--debug" in tokens:
        tokens.remove("--debug")
        debug = True
    console = Console(stderr=True)
    said: set[str] = set()

    def warn(message: Warning | str, *_args: object, **_kwargs: object) -> None:
        if str(message) not in said:  # once, however many batches give it
            said.add(str(message))
            _say(console, "warning", str(message), "yellow")

    with warnings.catch_warnings():
        warnings.showwarning = warn
        for problem in generic_names.overwritten_packages():
            _say(console, "warning", str(problem), "yellow")
        with interruptible():
            code = _run(tokens, console, debug=debug)
    _give_up_unreadable_stderr()
    return code


def build_app(tokens: Sequence[str] = ()) -> App:
    """Put the application together.

    Args:
        tokens: command-line arguments; other packages' commands are imported only if one may be meant.
    """
    app = App(
        name="hepflows",
        help="Normalizing-flow fast simulation for high-energy physics.",
        help_epilogue="Exit codes: 0 done, 1 a gate failed, 2 bad input, 3 internal error, 130 interrupted. "
        "--debug (or HEPFLOWS_DEBUG=1) shows the traceback of an error.",
        version=__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, target in BUILT_IN.items():
        app.command(
            registry.Plugin(name=name, group="built-in", target=target, distribution="hepflows").load(),
            name=name,
        )
    if not tokens or tokens[0] not in BUILT_IN:
        for name, plugin in registry.commands().items():
            if name in BUILT_IN:
                raise registry.PluginError(
                    f"plug-in {name!r} has the name of a built-in command", where=plugin.distribution
                )
            app.command(_loaded_or_broken(plugin), name=name)
    return app


def _run(tokens: Sequence[str], console: Console, *, debug: bool) -> int:
    code: object = 0
    try:
        code = build_app(tokens)(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        command = tokens[0] if tokens and tokens[0] in {*BUILT_IN, *registry.plugins("hepflows.commands")} else ""
        _say(console, "error", f"{error}\n  what to do: hepflows {command} --help".replace("  --", " --"), "bold red")
        code = EXIT_BAD_INPUT
    except HepflowsError as error:
        if debug:
            traceback.print_exc()
        _say(console, "error" if error.exit_code != EXIT_INTERRUPTED else "stopped", str(error), "bold red")
        code = error.exit_code
    except KeyboardInterrupt:
        _say(console, "stopped", "interrupted", "bold red")
        code = EXIT_INTERRUPTED
    except SystemExit as stop:
        # rich leaves this way when the reader (`| head`) has gone, which is no failure
        code = 0 if isinstance(stop.__context__, BrokenPipeError) else stop.code
    except Exception as error:  # noqa: BLE001 - the last resort turns whatever is left into a message
        code = _unexpected(error, console, debug=debug)
    if isinstance(code, str):  # a plug-in's sys.exit("reason")
        _say(console, "error", code, "bold red")
        code = EXIT_INTERNAL
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception, console: Console, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno in _USERS_OS_ERRORS:
        where = f"{error.filename}: " if error.filename else ""
        _say(console, "error", f"{where}the system refused: {error.strerror}", "bold red")
        return EXIT_BAD_INPUT
    if is_out_of_memory(error):
        remedy = "fewer events (--part 0:0.1), smaller batches, or a machine with more memory"
        _say(console, "error", f"memory is short: {error or type(error).__name__}\n  what to do: {remedy}", "bold red")
        return EXIT_BAD_INPUT
    hint = "" if debug else f"\n  traceback: {_kept_traceback(error)}\n  what to do: please report it"
    _say(console, "internal error", f"{type(error).__name__}: {error}{hint}", "bold red")
    return EXIT_INTERNAL


def _kept_traceback(error: Exception) -> str:
    """Write the traceback to a temporary file and say where it is."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="hepflows-traceback-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"hepflows {__version__}\n")
            traceback.print_exception(error, file=file)
    except OSError:  # the disk may be full
        return "run again with --debug"
    return f"{file.name} (--debug shows it here)"


def _loaded_or_broken(plugin: registry.Plugin) -> Callable[..., object]:
    """Import a command; if that fails, give one that says so, for the others must still work."""
    try:
        loaded: Callable[..., object] = plugin.load()
    except registry.PluginError as problem:
        error = problem
    else:
        return loaded

    def broken(*_: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]) -> NoReturn:
        raise error

    broken.__doc__ = f"(cannot be loaded from {plugin.distribution})"
    return broken


def _say(console: Console, kind: str, message: str, style: str) -> None:
    # whatever becomes of the words, the exit code stays; rich leaves by SystemExit when nobody reads them any more
    with contextlib.suppress(OSError, SystemExit):
        console.print(Text.assemble((f"{kind}: ", style), printable(message)), soft_wrap=True, highlight=False)


def _give_up_unreadable_stderr() -> None:
    """Drop words that could not be written (full disk, no reader): Python would fail with them at its end."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
