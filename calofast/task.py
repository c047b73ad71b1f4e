"""What calofast offers to the command line: the task `calofast`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepflows.task import DemoAssets, Description

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from calofast.config import CaloFlowConfig, DataConfig
    from calofast.generator import CaloGenerator
    from calofast.observables import ShowerDomain
    from calofast.showers import Showers
    from calofast.training import Run
    from hepflows.train.progress import Reporter

_TEST_PART = (0.8, 1.0)


class CaloTask:
    """Reading, training and sampling of calorimeter showers; meets `hepflows.task.Task`."""

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
        )

    def sniff(self, path: Path) -> bool:
        """Say whether the file holds showers."""
        from calofast.detection import is_shower_file

        return is_shower_file(path)

    def read(self, path: Path, **selection: Any) -> Showers:
        """Read showers; see `calofast.read_showers`."""
        from calofast.reading import read_showers

        return read_showers(path, **selection)

    def write(self, events: Showers | Iterable[Showers], path: Path, *, force: bool = False) -> Path:
        """Write showers in the format that the suffix names; see `calofast.write_showers`."""
        from calofast.writing import write_showers

        return write_showers(events, path, force=force)

    def describe(self, path: Path) -> Description:
        """Summarise a file of showers."""
        from calofast.describe import describe_file
        from calofast.summary import summary_rows

        summary = describe_file(path)
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
        """Train Flow I, the teacher and, if configured, the student; artefacts go to out/teacher, out/student."""
        from calofast.training import CaloFlow, distill, fit

        showers = _read(config.data, data_path)
        run = _run(out / "training", data_path, resume=resume, device=device, reporter=reporter)
        if not resume:
            _clear(out / "training")
        teacher = fit(CaloFlow(showers.geometry, config), showers, run=run)
        written = {"teacher": teacher.save(out / "teacher", force=force or resume)}
        if config.student is not None:
            student = distill(teacher, showers, run=run)
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
        from calofast.training import distill

        generator = self.load(teacher)
        showers = _read(config.data, data_path)
        folder = out.with_name(f"{out.name}-training")
        if not resume:
            _clear(folder)
        run = _run(folder, data_path, resume=resume, device=device, reporter=reporter)
        student = distill(generator, showers, student=config.student, run=run)
        return student.save(out, force=force or resume)

    def load(self, artefact: Path, *, device: str = "cpu") -> CaloGenerator:
        """Load a saved generator."""
        from calofast.generator import CaloGenerator

        return CaloGenerator.load(artefact, device=device)


def _read(data: DataConfig, path: Path) -> Showers:
    from calofast.detection import named_geometry
    from calofast.reading import read_showers

    return read_showers(
        path,
        format=data.format or None,
        geometry=named_geometry(data.geometry) if data.geometry else None,
        binning_xml=data.binning_xml or None,
        energy_range_gev=data.energy_range_gev,
        first=data.first,
        part=data.part,
        conditions=data.conditions[1:] or None,
    )


def _run(folder: Path, data: Path, *, resume: bool, device: str, reporter: Reporter | None) -> Run:
    from calofast.training import Run
    from hepflows.files import sha256_of
    from hepflows.train.progress import SilentReporter

    return Run(
        directory=folder,
        resume=resume,
        device=device,
        reporter=reporter or SilentReporter(),
        provenance={"data_file": Path(data).name, "data_sha256": sha256_of(data)},
    )


def _clear(folder: Path) -> None:
    """Remove the checkpoints of an earlier training, which a new one must not find."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


TASK = CaloTask()
