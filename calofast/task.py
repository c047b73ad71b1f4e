"""What calofast offers to the command line: the task `calofast`."""

from __future__ import annotations

import contextlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from hepflows.errors import ConfigError
from hepflows.task import DemoAssets, Description

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from calofast.config import CaloFlowConfig
    from calofast.generator import CaloGenerator
    from calofast.measured import MeasuredShowers
    from calofast.measured_domain import MeasuredDomain
    from calofast.observables import ShowerDomain
    from calofast.reading_config import DataConfig
    from calofast.refinement import ShowerRefinement
    from calofast.showers import Showers
    from calofast.streamed import StreamedShowers
    from hepflows.datasets import DataSet
    from hepflows.train.progress import Reporter

_TEST_PART = (0.8, 1.0)
_DISTILLATIONS = ("student", "student_likelihood")  # directories of checkpoints


class CaloTask:
    """Reading, training and sampling of calorimeter showers; meets `hepflows.task.Task` and `StreamingTask`."""

    name = "calofast"

    @property
    def domain(self) -> ShowerDomain:
        """Observables by which the validation compares showers."""
        from calofast.observables import OBSERVABLES

        return OBSERVABLES

    @property
    def config_type(self) -> type[CaloFlowConfig]:
        """Strict configuration model."""
        from calofast.config import CaloFlowConfig

        return CaloFlowConfig

    @property
    def demo(self) -> DemoAssets:
        """The packaged Geant4 positron showers and a configuration that trains on them in minutes."""
        from calofast.reading import embedded_showers_path

        text = resources.files("calofast").joinpath("data", "demo.toml").read_text(encoding="utf-8")
        return DemoAssets(
            title="CaloFlow on Geant4 positron showers",
            directory="calo",
            config_text=text,
            data_path=embedded_showers_path(),
            test_selection={"part": _TEST_PART},
            exported="student",
            reference="Geant4",
            metrics=("e_tot_ratio_mean", "e_tot_ratio_std", "separation_mean", "auc_low", "auc_high"),
        )

    def sniff(self, path: Path) -> bool:
        """Say whether the file holds showers."""
        from calofast.detection import is_shower_file

        return is_shower_file(path)

    def read(self, path: Path, **selection: Any) -> Showers:
        """Read showers; `selection` is what may stand in the table ``[data]``, see `ReadingConfig`."""
        from calofast.reading import read_showers

        return read_showers(path, **_arguments(selection))

    def iterate(self, path: Path, **selection: Any) -> Iterator[Showers]:
        """Read showers in chunks; `selection` as in `read`."""
        from calofast.reading import iterate_showers

        return iterate_showers(path, **_arguments(selection))

    @property
    def measured_domain(self) -> MeasuredDomain:
        """Observables by which the validation compares showers that `measure` has read."""
        from calofast.measured_domain import MEASURED

        return MEASURED

    def measure(
        self, path: Path, *, options: Mapping[str, float], cache: Path | None = None, **selection: Any
    ) -> MeasuredShowers:
        """Keep only the observables of a file, however large; `options` as `ShowerDomain.configured` takes them."""
        from calofast.measured_files import measure_file

        threshold = self.domain.configured(options).threshold_mev
        return measure_file(path, threshold_mev=threshold, cache=cache, **_arguments(selection))

    def conditions_of(self, events: Showers) -> Mapping[str, NDArray[np.floating[Any]]]:
        """Incident energies and further conditions by name."""
        from calofast.condition_values import conditions_of

        return conditions_of(events)

    def write(self, events: Showers | Iterable[Showers], path: Path, *, force: bool = False) -> Path:
        """Write showers in the format that the suffix names; see `calofast.write_showers`."""
        from calofast.writing import write_showers

        return write_showers(events, path, force=force)

    def describe(self, path: Path, **selection: Any) -> Description:
        """Summarise a file of showers."""
        from calofast.describe import describe_file
        from calofast.summary import summary_rows

        summary = describe_file(path, **_arguments(selection))
        return Description(title=f"showers in {summary.path}", rows=summary_rows(summary), warnings=summary.warnings)

    def train(
        self,
        config: CaloFlowConfig,
        data_path: Path,
        out: Path,
        *,
        resume: bool = False,
        force: bool = False,
        device: str = "cpu",
        threads: int | None = None,  # noqa: ARG002 - the command line has set them
        reporter: Reporter | None = None,
    ) -> Mapping[str, Path]:
        """Train what is configured; artefacts go to out/teacher and out/student, out/coupling or out/inductive."""
        from calofast.training import CaloFlow, Run, distill, fit
        from hepflows.train.run import remove_old, training_folder

        with _opened(config.data, data_path) as showers:
            folder = training_folder(out, resume=resume)
            run = Run.on_file(data_path, directory=folder, resume=resume, device=device, reporter=reporter)
            first = fit(CaloFlow(showers.geometry, config), showers, run=run)
            written: dict[str, Path] = {first.kind: first.save(out / first.kind, force=force or resume)}
            if not resume and config.architecture == "maf":
                remove_old(out / "student")  # of an earlier teacher
            if config.student is not None:
                student = distill(first, showers, run=run)
                written["student"] = student.save(out / "student", force=force or resume)
        return written

    def distill(
        self,
        teacher: Path,
        data_path: Path,
        out: Path,
        *,
        config: CaloFlowConfig,
        resume: bool = False,
        force: bool = False,
        device: str = "cpu",
        threads: int | None = None,  # noqa: ARG002 - the command line has set them
        reporter: Reporter | None = None,
    ) -> Path:
        """Train a student for a saved teacher; checkpoints are kept beside `out`."""
        from calofast.config import StudentConfig
        from calofast.training import Run, distill
        from hepflows.train.run import checkpoints_beside, remove_checkpoints

        generator = self.load(teacher)
        _require_same(config, generator.config)
        with _opened(config.data, data_path) as showers:
            folder = checkpoints_beside(out, _DISTILLATIONS, resume=resume, force=force)
            run = Run.on_file(data_path, directory=folder, resume=resume, device=device, reporter=reporter)
            student = distill(generator, showers, student=config.student or StudentConfig(), run=run)
        saved = student.save(out, force=force or resume)
        remove_checkpoints(folder, _DISTILLATIONS)
        return saved

    @property
    def datasets(self) -> tuple[DataSet, ...]:
        """Published data sets of showers."""
        from calofast.published import DATASETS

        return DATASETS

    @property
    def refinement(self) -> ShowerRefinement:
        """What refinements need to know of these events."""
        from calofast.refinement import ShowerRefinement

        return ShowerRefinement()

    def load(self, artefact: Path, *, device: str = "cpu") -> CaloGenerator:
        """Load a saved generator."""
        from calofast.generator import CaloGenerator

        return CaloGenerator.load(artefact, device=device)


def _arguments(selection: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `read_showers` from entries of the table ``[data]``."""
    from calofast.reading_config import ReadingConfig
    from hepflows.config import build

    return build(ReadingConfig, selection, where="--read").arguments()


@contextlib.contextmanager
def _opened(data: DataConfig, path: Path) -> Iterator[Showers | StreamedShowers]:
    """Showers to train with, in memory or in their file as configured."""
    if data.stream:
        from calofast.streamed import stream_showers

        with stream_showers(path, buffer=data.buffer, **data.arguments()) as showers:
            yield showers
    else:
        from calofast.reading import read_showers

        yield read_showers(path, **data.arguments())


def _require_same(given: CaloFlowConfig, trained: CaloFlowConfig) -> None:
    """Refuse settings that only the teacher's own training could have followed."""
    wanted, found = (_flat(config.model_dump(mode="json")) for config in (trained, given))
    fixed = (
        "seed",
        "architecture",
        "preprocessing.",
        "layer_energies.",
        "teacher.",
        "sampling.",
        "data.conditions",
        "data.validation_fraction",
    )
    for name in sorted(wanted.keys() | found.keys()):
        if name.startswith(fixed) and wanted.get(name) != found.get(name):
            raise ConfigError(
                "a student takes this from its teacher",
                where=name,
                expected=wanted.get(name),
                found=found.get(name),
                remedy="change [student] and the selection in [data] only, or train another teacher",
            )


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested tables by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


TASK = CaloTask()
