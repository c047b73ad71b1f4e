"""What a trained generator offers, whichever package, architecture or runtime it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from torch import nn

    from hepflows.out_of_range import OutOfRange

EventsT_co = TypeVar("EventsT_co", covariant=True)


@runtime_checkable
class Generator(Protocol[EventsT_co]):
    """A trained sampler of events under conditions.

    A sampler run from an exported file (ONNX) meets the same protocol as one loaded from an artefact, so that
    both are used, compared and tested by the same code.
    """

    @property
    def task(self) -> str:
        """Name of the task that trained it, ``calofast`` for example."""
        ...

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the conditions with their units, ``incident_energy_gev`` for example; empty if there are none."""
        ...

    @property
    def document(self) -> Mapping[str, Any]:
        """Content of ``generator.json``: configuration, units, geometry, valid range, provenance, metrics."""
        ...

    def sample(
        self,
        conditions: Mapping[str, ArrayLike],
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: OutOfRange = "error",
    ) -> EventsT_co:
        """Generate events.

        Args:
            conditions: all conditions by name, each of shape (N,).
            n: number of events, needed where there are no conditions.
            seed: with the event's index it determines the event, whatever the batch it is generated in.
            first_event: index of the first event, for shards and batches of one sample; a multiple of 256.
            out_of_range: what to do with conditions outside the trained range: "error", "clamp" to its nearest end, or
                "pass" them on. What is passed an artefact extrapolates to, while the graph of an exported file clamps.
                Both come with a warning.

        Raises:
            ConditionError: a condition is missing, ill-shaped or outside the trained range.
        """
        ...

    def draw_conditions(
        self, n: int, *, seed: int, first_event: int = 0, ranges: Mapping[str, tuple[float, float]] = ...
    ) -> dict[str, NDArray[np.floating[Any]]]:
        """Draw conditions of n events; those of an event follow from the seed and its index.

        Args:
            n: number of events.
            seed: of the counter-based random numbers.
            first_event: index of the first event.
            ranges: lower and upper end by name; what a condition without one is drawn from, if it may be without,
                is the generator's to say.

        Raises:
            ConditionError: a name is unknown, or a range is missing or impossible.
        """
        ...

    def check_conditions(self, conditions: Mapping[str, ArrayLike]) -> None:
        """Refuse what `sample` would refuse, before hours of sampling.

        Raises:
            ConditionError: a condition is missing, ill-shaped or outside the trained range.
        """
        ...

    def save(self, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the artefact directory; see `hepflows.artefact.save_artefact`."""
        ...


@runtime_checkable
class ExportableGenerator(Generator[EventsT_co], Protocol[EventsT_co]):
    """A generator that can be written as a graph for other hosts."""

    @property
    def noise_dim(self) -> int:
        """Number Z of standard normal numbers that one event takes."""
        ...

    def sampling_module(self, *, threshold: bool = True) -> nn.Module:
        """Module in eval mode with forward(cond (N, C), noise (N, Z)) -> (N, D), float32, physical units.

        Without `threshold` the output is that before the hit threshold, which is continuous.
        """
        ...

    def export_metadata(self) -> Mapping[str, Any]:
        """JSON-able description: conditions, units, ranges, geometry, threshold, particle, provenance."""
        ...


AnyGenerator: TypeAlias = Generator[Any]
