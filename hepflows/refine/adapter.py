"""What a refinement needs of a task: numbers instead of events, inputs of a classifier, and a likelihood.

hepflows knows no physics, so a task announces an `Adapter` as its property ``refinement``
(`hepflows.task.RefiningTask`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor, nn

    from hepflows.generator import AnyGenerator
    from hepflows.out_of_range import OutOfRange


@runtime_checkable
class LatentGenerator(Protocol):
    """What a refinement in latent space asks of a generator: its latents may be given instead of drawn."""

    @property
    def noise_dim(self) -> int:
        """Number Z of standard normal numbers that one event takes."""
        ...

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
        """Events as `hepflows.generator.Generator.sample` gives them, from latents (N, Z) if there are any."""
        ...

    def condition_matrix(self, conditions: Mapping[str, ArrayLike], *, n: int | None = None) -> NDArray[np.float32]:
        """Conditions as (N, C) in the order of `condition_names`."""
        ...


class FineTuning(Protocol):
    """A copy of a generator whose likelihood is trained further; the generator itself stays as it is."""

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def training_events(self) -> NDArray[np.int64]:
        """Positions of the events that train."""
        ...

    @property
    def validation_events(self) -> NDArray[np.int64]:
        """Positions of the events that are held out."""
        ...

    def losses(self, events: NDArray[np.int64], *, training: bool) -> Tensor:
        """Negative log-likelihoods (B,) of events at these positions, augmented at random if `training`."""
        ...

    def generator(
        self, training: Mapping[str, Any] | None = None, provenance: Mapping[str, Any] | None = None
    ) -> AnyGenerator:
        """The generator as it is trained now; its artefact says `training` and `provenance` as well."""
        ...


class Adapter(Protocol):
    """What a task tells a refinement."""

    def conditions(self, events: Any) -> Mapping[str, NDArray[np.floating[Any]]]:
        """Conditions under which such events could be generated, by name, shape (N,) each."""
        ...

    def numbers(self, generator: Any, events: Any) -> NDArray[np.float32]:
        """Events as the generator's sampling module gives them, shape (N, D).

        Raises:
            DataError: the generator does not make such events.
        """
        ...

    def features(self, generator: Any) -> nn.Module:
        """Module x (N, D), cond (N, C) to inputs (N, F) of a classifier, in portable operators.

        It may have a buffer ``emphasis`` (F,), factors of the standardised inputs: see `hepflows.classifier.fit_ratio`.
        """
        ...

    def latent_emphasis(self, generator: Any) -> NDArray[np.float32] | None:
        """Factors (Z,) of a generator's latents in the classifier on latents, None for 1; see `fit_ratio`."""
        ...

    def fine_tuning(self, generator: Any, events: Any, *, device: str) -> FineTuning:
        """Training of a copy of the generator on events by its likelihood.

        Raises:
            ConfigError: it has no likelihood.
        """
        ...


def adapter_of(generator: AnyGenerator) -> Adapter:
    """The adapter of a generator's task.

    Raises:
        ConfigError: the task does not say how its events are refined.
    """
    from hepflows import registry
    from hepflows.task import RefiningTask

    task: object = registry.task(generator.task)
    if not isinstance(task, RefiningTask):
        raise ConfigError(
            f"generators of the task {generator.task} cannot be refined",
            expected="a task with the property `refinement`",
            remedy="see hepflows.task.RefiningTask, if you bring this task",
        )
    return task.refinement


def takes_latents(generator: object) -> TypeGuard[LatentGenerator]:
    """Whether the latents of a generator may be given."""
    return isinstance(generator, LatentGenerator) and bool(getattr(generator, "takes_latents", True))


def require_latents(generator: object, *, method: str) -> LatentGenerator:
    """Refuse a generator whose latents cannot be given.

    Raises:
        ConfigError: a generator from an exported file, or one with weights or a sampler of latents already.
    """
    if takes_latents(generator):
        return generator
    raise ConfigError(
        f"the latents of this generator cannot be refined by {method}",
        found=f"{type(generator).__name__} {getattr(generator, 'kind', '')}".rstrip(),
        remedy="refine the artefact that training gave; weights (dctr) come last",
    )
