"""What a physics package offers to the command line: the seam between the engine and the physics.

A package announces an object meeting `Task` under the entry-point group ``hepflows.tasks``. Importing the
module that holds it happens at each command that needs a task, so keep heavy imports inside the methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from hepflows.generator import Generator
    from hepflows.refine.adapter import Adapter
    from hepflows.train.progress import Reporter

EventsT = TypeVar("EventsT")
EventsT_co = TypeVar("EventsT_co", covariant=True)
ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `hepflows inspect` says about a data file.

    Attributes:
        title: one line naming the kind of file.
        rows: (label, text) pairs in the order of printing; texts carry units.
        warnings: what a user should look at before training on it.
    """

    title: str
    rows: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DemoAssets:
    """What `hepflows demo` needs of a task; all of it is packaged with the task.

    Attributes:
        directory: name of the folder that gets this task's results, ``calo`` for example.
        title: what a reader of the report sees, ``Calorimeter showers`` for example.
        config_text: TOML of a configuration that trains in minutes.
        data_path: packaged data file.
        test_selection: options of `Task.read` for events that training never sees, ``{"part": (0.8, 1.0)}``.
        exported: which of the artefacts that training gives is exported, ``student`` for example.
        reference: what the reference events are, ``Geant4`` for example.
        metrics: metrics that are printed at the end.
    """

    directory: str
    title: str
    config_text: str
    data_path: Path
    test_selection: Mapping[str, object]
    exported: str
    reference: str
    metrics: tuple[str, ...]


@runtime_checkable
class Task(Protocol[EventsT, ConfigT]):
    """Reading, training and sampling of one kind of events.

    ``EventsT`` is the package's frozen container (Showers, Jets), ``ConfigT`` its `StrictConfig`, which must
    have a key ``task`` equal to `name`.
    """

    @property
    def name(self) -> str:
        """Name in the configuration (``task = "calofast"``) and in artefacts."""
        ...

    @property
    def domain(self) -> Any:
        """Object with which the validation computes observables; see validation.domain."""
        ...

    @property
    def config_type(self) -> type[ConfigT]:
        """Strict configuration model; `hepflows.config.load_config` builds it from TOML."""
        ...

    @property
    def demo(self) -> DemoAssets | None:
        """Packaged demonstration, or None if the task has none."""
        ...

    def sniff(self, path: Path) -> bool:
        """Say whether this task can read the file; cheap, and False rather than an exception."""
        ...

    def read(self, path: Path, **selection: Any) -> EventsT:
        """Read events; ``part=(0.8, 1.0)`` and ``first=n`` are understood by every task.

        Further names are the task's own, and may stand in its configuration and in ``--read``.

        Raises:
            ConfigError: a name is unknown or its value ill-typed.
            DataError: the file or its content cannot be used.
        """
        ...

    def conditions_of(self, events: EventsT) -> Mapping[str, NDArray[np.floating[Any]]]:
        """Conditions under which such events could be generated, by name, each of shape (N,)."""
        ...

    def write(self, events: EventsT | Iterable[EventsT], path: Path, *, force: bool = False) -> Path:
        """Write events, or batches of events one after the other, in the format that the suffix names."""
        ...

    def describe(self, path: Path, **selection: Any) -> Description:
        """Summarise a data file, or what `read` would take of it, for `hepflows inspect`."""
        ...

    def train(
        self,
        config: ConfigT,
        data_path: Path,
        out: Path,
        *,
        resume: bool = False,
        force: bool = False,
        device: str = "cpu",
        threads: int | None = None,
        reporter: Reporter | None = None,
    ) -> Mapping[str, Path]:
        """Train everything the configuration asks for.

        Args:
            config: validated configuration.
            data_path: data file.
            out: run directory; artefacts are written to ``out/teacher`` and so on.
            resume: continue from the checkpoints in `out`.
            force: overwrite what is in `out`.
            device: torch device, already checked to exist.
            threads: CPU threads for torch, or None to leave its choice alone.
            reporter: where progress goes; None is silent.

        Returns:
            Artefact directories by name, ``{"teacher": ..., "student": ...}``.

        Raises:
            Interrupted: the user stopped; checkpoints are written.
        """
        ...

    def distill(
        self,
        teacher: Path,
        data_path: Path,
        out: Path,
        *,
        config: ConfigT,
        resume: bool = False,
        force: bool = False,
        device: str = "cpu",
        threads: int | None = None,
        reporter: Reporter | None = None,
    ) -> Path:
        """Train a student for the teacher saved at `teacher` and return the student's directory `out`."""
        ...

    def load(self, artefact: Path, *, device: str = "cpu") -> Generator[EventsT]:
        """Load a generator saved by this task.

        Raises:
            ArtefactError: the artefact is incomplete, altered or of another schema version.
        """
        ...


AnyTask: TypeAlias = Task[Any, Any]


@runtime_checkable
class StreamingTask(Protocol[EventsT_co]):
    """A task that can also read files larger than memory."""

    def iterate(self, path: Path, **selection: Any) -> Iterator[EventsT_co]:
        """Read in chunks what `Task.read` reads as a whole; the same selection, the same errors."""
        ...


@runtime_checkable
class MeasuringTask(Protocol[EventsT_co]):
    """A task that can compare files larger than memory: of their events it keeps the observables only."""

    @property
    def measured_domain(self) -> Any:
        """Domain of the validation for what `measure` returns."""
        ...

    def measure(
        self, path: Path, *, options: Mapping[str, float], cache: Path | None = None, **selection: Any
    ) -> EventsT_co:
        """Measure a file in chunks.

        Args:
            path: the file.
            options: settings of the task's domain, such as the hit threshold.
            cache: directory for measurements, found again by the content of the file; None for no cache.
            **selection: as for `Task.read`.
        """
        ...


@runtime_checkable
class RefiningTask(Protocol):
    """A task whose generators can be refined; see `hepflows.refine`."""

    @property
    def refinement(self) -> Adapter:
        """What a refinement needs to know of the events."""
        ...
