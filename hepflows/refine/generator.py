"""A refined generator: a generator with refined latents or weighted events, an artefact like any other.

Its directory holds the artefact of the generator that it refines, as ``base``, so that it moves as a whole.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from hepflows.artefact import save_artefact
from hepflows.document import read_document
from hepflows.errors import ConditionError, ConfigError
from hepflows.refine.adapter import require_latents
from hepflows.refine.graph import RefinedLatents, Weighted
from hepflows.refine.refiner import NetworkRefiner
from hepflows.refine.samples import innermost, inputs_of
from hepflows.sampler import evaluate_in_tiles

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray
    from pydantic import JsonValue
    from torch import nn

    from hepflows.density_ratio import DensityRatio
    from hepflows.document import GeneratorDocument
    from hepflows.generator import AnyGenerator
    from hepflows.out_of_range import OutOfRange
    from hepflows.refine.adapter import Adapter
    from hepflows.refine.refiner import Refiner

_WEIGHT: Final = "weight of the event, density of the reference over that of the generator; 1 on average"
BASE = "base"
"""Directory of the refined generator inside of the artefact."""


class _Refined:
    """What refined generators share: all but the sampling they leave to the generator that they refine.

    Args:
        base: the generator that is refined.
        adapter: of its task.
        network: what was learned.
        document: content of ``generator.json``.
        device: torch device of the network.
    """

    def __init__(
        self, base: AnyGenerator, adapter: Adapter, network: nn.Module, document: GeneratorDocument, device: str
    ) -> None:
        self.base, self.adapter, self.device = base, adapter, device
        self.network = network.to(device).eval()
        self._document = document

    @property
    def task(self) -> str:
        """Name of the task of the refined generator."""
        return self.base.task

    @property
    def kind(self) -> str:
        """Kind of the refined generator and how it was refined, ``student+dctr`` for example."""
        return self._document.kind

    @property
    def method(self) -> str:
        """How it was refined."""
        return self.kind.rpartition("+")[2]

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the conditions."""
        return self.base.condition_names

    @property
    def document(self) -> dict[str, Any]:
        """Content of ``generator.json``."""
        return self._document.to_dict()

    def draw_conditions(
        self,
        n: int,
        *,
        seed: int,
        first_event: int = 0,
        ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> dict[str, NDArray[np.floating[Any]]]:
        """See `hepflows.generator.Generator.draw_conditions`."""
        return self.base.draw_conditions(n, seed=seed, first_event=first_event, ranges=ranges)

    def check_conditions(self, conditions: Mapping[str, ArrayLike]) -> None:
        """Raise the `ConditionError` that `sample` would raise for these conditions."""
        self.base.check_conditions(conditions)

    def condition_matrix(self, conditions: Mapping[str, ArrayLike], *, n: int | None = None) -> NDArray[np.float32]:
        """Conditions as (N, C) in the order of `condition_names`."""
        return require_latents(innermost(self), method=self.method).condition_matrix(conditions, n=n)

    def save(self, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the artefact with that of the refined generator inside; see `hepflows.artefact.save_artefact`."""
        self._document = save_artefact(
            directory,
            self._document,
            self.network.state_dict(),
            beside=self._save_base,
            force=force,
        )
        return Path(directory)

    def _save_base(self, folder: Path) -> dict[str, JsonValue]:
        saved = read_document(self.base.save(folder / BASE))
        return {BASE: {"document_sha256": saved.document_sha256}}

    def _own_metadata(self, described: Mapping[str, Any]) -> dict[str, Any]:
        document = self.document
        return {**described, "kind": self.kind, "provenance": document["provenance"], "metrics": document["metrics"]}


class LatentRefinedGenerator(_Refined):
    """A generator whose latents come from a refiner."""

    def __init__(
        self,
        base: AnyGenerator,
        adapter: Adapter,
        refiner: Refiner,
        document: GeneratorDocument,
        *,
        device: str = "cpu",
    ) -> None:
        super().__init__(base, adapter, refiner.network, document, device)
        self.refiner = refiner

    @property
    def takes_latents(self) -> bool:
        """Whether its own noise may be given, and so be refined again."""
        return self.refiner.one_pass

    @property
    def noise_dim(self) -> int:
        """Normal numbers an event takes."""
        return self.refiner.noise_dim

    def sample(
        self,
        conditions: Mapping[str, ArrayLike],
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: OutOfRange = "error",
        latents: NDArray[np.float32] | None = None,
    ) -> Any:
        """Generate events; see `hepflows.generator.Generator.sample`.

        Args:
            conditions: all conditions by name, (N,) each.
            n: number of events, needed where there are no conditions.
            seed: with the event's index it determines the event.
            first_event: index of the first event, a multiple of 256.
            out_of_range: what to do with conditions outside the trained range.
            latents: shape (N, K), instead of the noise that follows from the seed.
        """
        matrix = self.condition_matrix(conditions, n=n)
        base = require_latents(self.base, method=self.method)
        return base.sample(
            conditions,
            n=n,
            seed=seed,
            first_event=first_event,
            out_of_range=out_of_range,
            latents=self._latents(matrix, seed, first_event, latents),
        )

    def sampling_module(self, *, threshold: bool = True) -> nn.Module:
        """Both generators as one module, see `hepflows.generator.ExportableGenerator`."""
        self._require_graph()
        return RefinedLatents(self.network, self.base.sampling_module(threshold=threshold)).eval()  # type: ignore[attr-defined]

    def export_metadata(self) -> dict[str, Any]:
        """What a host needs to know, with the noise of the second generator."""
        self._require_graph()
        described = self._own_metadata(self.base.export_metadata())  # type: ignore[attr-defined]
        return {**described, "noise": {"order": f"{self.noise_dim} of the second generator ({self.method})"}}

    def _latents(
        self,
        matrix: NDArray[np.float32],
        seed: int,
        first_event: int,
        noise: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        n, dim = len(matrix), require_latents(self.base, method=self.method).noise_dim
        if noise is not None and noise.shape != (n, self.noise_dim):
            raise ConditionError("wrong shape", where="latents", expected=(n, self.noise_dim), found=noise.shape)
        if n == 0:
            return np.empty((0, dim), np.float32)

        def evaluate(start: int, rows: NDArray[np.intp], keep: slice) -> NDArray[np.float32]:
            del keep
            cond = torch.from_numpy(np.ascontiguousarray(matrix[rows])).to(self.device)
            if noise is None or not isinstance(self.refiner, NetworkRefiner):
                return self.refiner.draw(cond, seed=seed, first_event=start).cpu().numpy()
            given = torch.from_numpy(np.ascontiguousarray(noise[rows])).to(self.device)
            return self.refiner.apply(cond, given).cpu().numpy()

        return np.asarray(evaluate_in_tiles(evaluate, first_event, n, device=self.device), np.float32)

    def _require_graph(self) -> None:
        if not self.refiner.one_pass:
            raise ConfigError(
                f"a sampler of latents ({self.method}) is a loop over random numbers, which a graph cannot hold",
                where=self.kind,
                remedy="refine the generator inside by laser-flow or laser-gan, one graph with it, or by dctr",
            )
        if not hasattr(self.base, "sampling_module"):
            raise ConfigError("the generator inside cannot be exported", found=type(self.base).__name__)


class WeightedGenerator(_Refined):
    """A generator whose events carry classifier weights w = p_reference / p_generated (DCTR, arXiv 1907.08209)."""

    takes_latents = False

    def __init__(
        self,
        base: AnyGenerator,
        adapter: Adapter,
        ratio: DensityRatio,
        document: GeneratorDocument,
        *,
        device: str = "cpu",
    ) -> None:
        super().__init__(base, adapter, ratio, document, device)
        self.ratio = ratio
        self.features = adapter.features(innermost(base)).eval()

    @property
    def noise_dim(self) -> int:
        """Normal numbers an event takes."""
        dim: int = self.base.noise_dim  # type: ignore[attr-defined]
        return dim

    def sample(
        self,
        conditions: Mapping[str, ArrayLike],
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: OutOfRange = "error",
    ) -> Any:
        """Generate weighted events; see `hepflows.generator.Generator.sample`."""
        events = self.base.sample(conditions, n=n, seed=seed, first_event=first_event, out_of_range=out_of_range)
        return self.reweighted(events, first_event=first_event)

    def reweighted(self, events: Any, *, first_event: int = 0) -> Any:
        """Events of the generator inside with their weights; weights that they have are multiplied."""
        inputs = inputs_of(self.features, self.adapter, self.base, events)

        def evaluate(start: int, rows: NDArray[np.intp], keep: slice) -> NDArray[np.float64]:
            del start, keep
            return self.ratio.weights(torch.from_numpy(np.ascontiguousarray(inputs[rows])).to(self.device))

        weights = np.empty(0)
        if len(inputs):
            weights = evaluate_in_tiles(evaluate, first_event, len(inputs), device=self.device)
        if events.weights is not None:
            weights = weights * events.weights
        return dataclasses.replace(events, weights=weights.astype(np.float32))

    def sampling_module(self, *, threshold: bool = True) -> nn.Module:
        """Generator and weights as one module, cond (N, C), noise (N, Z) to events (N, D) and weights (N, 1)."""
        self._require_graph()
        return Weighted(self.base.sampling_module(threshold=threshold), self.features, self.ratio).eval()  # type: ignore[attr-defined]

    def export_metadata(self) -> dict[str, Any]:
        """What a host needs to know; `weight` says what the weights are."""
        self._require_graph()
        described = self._own_metadata(self.base.export_metadata())  # type: ignore[attr-defined]
        return {**described, "weight": _WEIGHT}

    def _require_graph(self) -> None:
        if not hasattr(self.base, "sampling_module"):
            raise ConfigError("the generator inside cannot be exported", found=type(self.base).__name__)
