"""Sampling an exported file with nothing but numpy and onnxruntime: no torch, as production hosts do it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from exporters.dependencies import open_model, require_runtime, run
from exporters.exportable import apply_policy, read_conditions, read_policy
from exporters.manifest import Names, check_hash, from_properties, read_manifest
from exporters.par04 import Par04Encoding
from hepflows.errors import ArtefactError, ConditionError, ConfigError
from hepflows.files import require_file
from hepflows.philox import normal_noise

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from hepflows.out_of_range import OutOfRange

Provider = Literal["cpu", "cuda", "auto"]
_CUDA = "CUDAExecutionProvider"


class OnnxGenerator:
    """A sampler loaded from ``<name>.onnx``.

    Args:
        path: the model; its manifest lies beside it.
        threads: threads of one run; None takes the processors this process may use.
        provider: where to run: "cpu"; "cuda", an error if there is none; "auto", CUDA where there is one.
        check: compare the file with its manifest first.

    Attributes:
        metadata: everything the model says about itself.
        conditions: the columns of the condition, with units and valid ranges.
        noise_dim: standard normal numbers an event needs.
        n_outputs: numbers an event has, its weight not counted.
        weighted: whether events have weights.
        provider: where it runs, "cpu" or "cuda".

    Raises:
        DataError: there is no such file.
        ArtefactError: it is altered, damaged, no file of ours, or its manifest is missing.
        ConfigError: CUDA is asked for but absent.
        MissingDependencyError: onnxruntime is absent, too old, or installed twice.

    Example:
        ``OnnxGenerator("eplus.onnx").sample([10.0, 50.0], seed=7)``
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        provider: Provider = "cpu",
        check: bool = True,
    ) -> None:
        names = Names.of(require_file(path, "ONNX file"))
        if check:
            check_hash(names.model, read_manifest(names.manifest)["model"]["sha256"])
        cuda = _wants_cuda(provider)
        self._session = open_model(names.model, threads=threads, cuda=cuda)
        self.provider: Literal["cpu", "cuda"] = "cuda" if self._session.get_providers()[0] == _CUDA else "cpu"
        if provider == "cuda" and self.provider == "cpu":
            raise ConfigError(
                "CUDA was asked for, but the runtime fell back to the CPU",
                expected="a driver and the CUDA and cuDNN libraries that this onnxruntime-gpu was built for",
                remedy="install them, or use provider='cpu'",
            )
        with damage_as_error(names.model):
            properties = self._session.get_modelmeta().custom_metadata_map
            self.metadata: dict[str, Any] = from_properties(properties, where=names.model)
            if self.metadata["noise"] is None:
                raise ConfigError(
                    "this file maps events and generates none",
                    where=names.model,
                    found=self.metadata["task"],
                    remedy="open it with onnxruntime: inputs and outputs stand in its manifest",
                )
            self.conditions = read_conditions(self.metadata, where=str(names.model))
            self.noise_dim = int(self.metadata["noise"]["width"])
            self.n_outputs = int(self._session.get_outputs()[0].shape[1])
            self.weighted = len(self._session.get_outputs()) > 1
            encoding = self.metadata["encoding"]
            self._encoding = None if encoding is None else Par04Encoding.from_dict(encoding)
            self._n_columns = len(self.conditions if self._encoding is None else self._encoding.names)
            self._policy = read_policy(self.metadata, where=str(names.model))
            width = sum(int(given.shape[1]) for given in self._session.get_inputs())
            if width != self.noise_dim + self._n_columns:
                raise ValueError(f"inputs of {width} columns, described are {self.noise_dim} + {self._n_columns}")

    def sample(
        self,
        conditions: ArrayLike,
        *,
        seed: int,
        first_event: int = 0,
        batch: int = 128,
        out_of_range: OutOfRange | None = None,
    ) -> NDArray[np.float32]:
        """Sample one event a condition; the same (seed, event index) gives the same event in any batch.

        Not so from files with int8 weights, whose events depend a little on the others of the batch.

        Args:
            conditions: shape (N, C) in the units of `self.conditions`, or (N,) if there is only one.
            seed: 64-bit seed of the counter-based noise.
            first_event: index of the first event, for shards of a larger sample.
            batch: events a run; it bounds the memory and changes results within the tolerance only. More events than
                fit the caches are slower, see docs/benchmarks.md.
            out_of_range: "error", "clamp" or "pass"; None takes the policy recorded in the file.

        Returns:
            Shape (N, D): what the generator gives, whatever the profile. From a file of the profile `par04` these are
            energies in MeV in the order of the geometry.

        Raises:
            ConditionError: wrong shape, or outside the valid range under the policy "error".
            ConfigError: the events have weights.
        """
        self._require_plain("sample_weighted")
        return self._sample(conditions, seed, first_event, batch, out_of_range)

    def sample_weighted(
        self,
        conditions: ArrayLike,
        *,
        seed: int,
        first_event: int = 0,
        batch: int = 128,
        out_of_range: OutOfRange | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sample events with their weights: (N, D) and (N,), 1 where events have none. Arguments as in `sample`."""
        return self._apart(self._sample(conditions, seed, first_event, batch, out_of_range))

    def _sample(
        self, conditions: ArrayLike, seed: int, first_event: int, batch: int, out_of_range: OutOfRange | None
    ) -> NDArray[np.float32]:
        """Events (N, D), and their weights as one column more."""
        if batch < 1:
            raise ConfigError("the batch size must be positive", found=batch)
        cond = apply_policy(self._columns(conditions), self.conditions, out_of_range or self._policy)
        x = np.empty((len(cond), self.n_outputs + self.weighted), dtype=np.float32)
        for start in range(0, len(cond), batch):
            part = cond[start : start + batch]
            noise = normal_noise(seed, first_event + start, len(part), self.noise_dim)
            if self._encoding is None:
                x[start : start + len(part)] = self._run(part, noise)
            else:
                cells = self._run(self._encoding.columns(part), noise)
                x[start : start + len(part)] = self._encoding.voxels_mev(cells, part)
        return x

    def check_conditions(self, conditions: ArrayLike) -> None:
        """Raise `ConditionError` if conditions, as `sample` takes them, lie outside the valid range."""
        apply_policy(self._columns(conditions), self.conditions, "error")

    def run(self, cond: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """One run of the graph on the caller's own noise: (N, C), (N, Z) to (N, D); values are not checked.

        `cond` is what the graph takes: in the profile `par04` the four columns of its encoding.

        Raises:
            ConditionError: wrong shape or type.
            ConfigError: the events have weights.
        """
        self._require_plain("run_weighted")
        return self._run(cond, noise)

    def run_weighted(
        self, cond: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `run`, with the weights of the events: (N, D) and (N,), 1 where events have none."""
        return self._apart(self._run(cond, noise))

    def _run(self, cond: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        for name, array, width in (("cond", cond, self._n_columns), ("noise", noise, self.noise_dim)):
            if array.dtype != np.float32 or array.shape != (len(cond), width):
                raise ConditionError(
                    "the graph takes other tensors",
                    where=name,
                    expected=f"float32 of shape ({len(cond)}, {width})",
                    found=f"{array.dtype} of shape {array.shape}",
                )
        return run(self._session, cond, noise)

    def _apart(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if not self.weighted:
            return rows, np.ones(len(rows), dtype=np.float32)
        return np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, -1])

    def _require_plain(self, instead: str) -> None:
        if self.weighted:
            raise ConfigError(
                "the events of this file have weights, without which they follow another distribution",
                where=str(self.metadata.get("kind")),
                remedy=f"call {instead}(...), which gives events and weights",
            )

    def _columns(self, conditions: ArrayLike) -> NDArray[np.float32]:
        """Conditions as (N, C) float32."""
        names = [condition.name for condition in self.conditions]
        try:
            cond = np.asarray(conditions, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ConditionError("conditions are not an array of numbers", found=str(error)) from error
        if cond.ndim == 1 and len(names) == 1:
            cond = cond[:, None]
        if cond.ndim != 2 or cond.shape[1] != len(names):
            raise ConditionError(
                "conditions have the wrong shape",
                expected=f"(N, {len(names)}): {', '.join(names)}",
                found=np.shape(conditions),
            )
        return np.ascontiguousarray(cond)


@contextlib.contextmanager
def damage_as_error(path: Path) -> Iterator[None]:
    """Turn what metadata of a wrong shape raise into an `ArtefactError`."""
    try:
        yield
    except (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ArtefactError(
            "the model's metadata or shapes are damaged",
            where=path,
            found=f"{type(error).__name__}: {error}",
            remedy="copy it again, or export the generator again",
        ) from error


def _wants_cuda(provider: Provider) -> bool:
    if provider not in {"cpu", "cuda", "auto"}:
        raise ConfigError("unknown provider", expected="cpu, cuda or auto", found=provider)
    available = require_runtime().get_available_providers()
    if provider == "cuda" and _CUDA not in available:
        raise ConfigError(
            "CUDA was asked for, but this ONNX Runtime has none",
            expected=_CUDA,
            found=", ".join(available),
            remedy="pip uninstall onnxruntime, then pip install 'hepflows[gpu]'; or use provider='cpu'",
        )
    return provider != "cpu" and _CUDA in available
