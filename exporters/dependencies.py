"""The optional packages of this part: onnx to write a file, onnxruntime to run one."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hepflows.errors import ArtefactError, ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

#: Oldest runtime that loads opset 17 and IR 8 and that we test.
MINIMUM_RUNTIME: Final = (1, 15)
#: The only input of a graph whose noise and condition are one tensor, noise first.
PACKED: Final = "input"
#: Observables (N, D) that a graph takes instead of noise where it maps events, see `exporters.maps`.
MAPPED: Final = "features"
_RUNTIMES: Final = ("onnxruntime", "onnxruntime-gpu")
_INSTALL: Final = "install the extra: pip install 'hepflows[onnx]' (or 'hepflows[gpu]', never both)"


def require_onnx() -> ModuleType:
    """Import onnx or raise `MissingDependencyError` naming the extra."""
    return _import("onnx", "writing an ONNX file")


def require_runtime() -> ModuleType:
    """Import onnxruntime after checking that one distribution of it is installed, and new enough.

    Raises:
        MissingDependencyError: none, two conflicting ones, or one that is too old.
    """
    installed = [name for name in _RUNTIMES if _version(name) is not None]
    if len(installed) > 1:
        raise MissingDependencyError(
            "two distributions of ONNX Runtime own the same import directory and silently disable CUDA",
            where="the Python environment",
            expected="one of onnxruntime and onnxruntime-gpu",
            found=" and ".join(f"{name} {_version(name)}" for name in installed),
            remedy="pip uninstall onnxruntime onnxruntime-gpu, then install the one you want",
        )
    runtime = _import("onnxruntime", "running an ONNX file")
    found = tuple(int(part) for part in re.findall(r"\d+", runtime.__version__)[:2])
    if found < MINIMUM_RUNTIME:
        raise MissingDependencyError(
            "ONNX Runtime is too old for opset 17",
            expected=f"{'.'.join(map(str, MINIMUM_RUNTIME))} or newer",
            found=runtime.__version__,
            remedy=_INSTALL,
        )
    return runtime


def session(model: bytes | str, *, optimise: bool = True, threads: int | None = None, cuda: bool = False) -> Any:
    """Open an onnxruntime.InferenceSession.

    Args:
        model: the file's bytes or its path.
        optimise: apply all graph optimisations, or none.
        threads: threads of one operator; None takes the processors this process may use.
        cuda: put the CUDA provider first (with float32 arithmetic, not TF32).
    """
    runtime = require_runtime()
    if threads is not None and threads < 1:
        raise ConfigError("not a number of threads", where="threads", expected="1 or more", found=threads)
    options = runtime.SessionOptions()
    level = runtime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    # Set explicitly: the runtime's own choice pins threads to processors that a container may not own.
    options.intra_op_num_threads = threads or available_processors()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # 1.18 plans memory wrongly for some graphs and gives wrong events from the second run on; not planning is as fast.
    options.enable_mem_pattern = False
    providers: list[object] = ["CPUExecutionProvider"]
    if cuda:
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
    return runtime.InferenceSession(model, options, providers=providers)


def run(session: Any, cond: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """One run of an InferenceSession: the columns of the condition (N, C), the noise (N, Z) to x (N, D).

    Further outputs follow x column by column: of weighted events the weight is the last one. A graph that maps events
    takes them in the place of the noise.

    Raises:
        ArtefactError: the runtime loaded the file but cannot run it.
    """
    given = {"cond": cond, "noise": noise, MAPPED: noise}
    with _refusals("ONNX Runtime cannot run the file"):
        names = [entry.name for entry in session.get_inputs()]
        if names == [PACKED]:
            given = {PACKED: np.concatenate([noise, cond], axis=1)}
        # a generator without conditions has no such input
        outputs: list[NDArray[np.float32]] = session.run(None, {name: given[name] for name in names})
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)


def open_model(path: Path, *, optimise: bool = True, threads: int | None = None, cuda: bool = False) -> Any:
    """Open a file as `session` does.

    Raises:
        ArtefactError: the runtime cannot load it.
    """
    with _refusals("ONNX Runtime cannot load the file", where=path):
        return session(str(path), optimise=optimise, threads=threads, cuda=cuda)


@contextlib.contextmanager
def _refusals(what: str, *, where: Path | None = None) -> Iterator[None]:
    """Turn what the runtime raises into an `ArtefactError`."""
    try:
        yield
    except Exception as error:
        # onnxruntime's exception classes differ between its versions; all carry the reason as text.
        # What a damaged file makes of its bindings are errors of decoding and RuntimeError.
        if type(error).__module__.startswith("onnxruntime") or isinstance(error, UnicodeDecodeError | RuntimeError):
            raise ArtefactError(
                what,
                where=where,
                found=str(error).splitlines()[0],
                remedy="copy it again, or export the generator again; another version of onnxruntime may do",
            ) from error
        raise


def available_processors() -> int:
    """Processors this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _import(name: str, purpose: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs the package {name}", found=str(error), remedy=_INSTALL
        ) from error


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
