"""What jetgen offers to the command line: the task `jetgen`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any, NoReturn

from hepflows.errors import ConfigError
from hepflows.task import DemoAssets, Description

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from hepflows.datasets import DataSet
    from hepflows.train.progress import Reporter
    from jetgen.config import DataConfig, JetFlowConfig
    from jetgen.generator import JetGenerator
    from jetgen.jets import Jets
    from jetgen.refinement import JetRefinement
    from jetgen.streamed import StreamedJets

_TEST_PART = (0.8, 1.0)


class JetTask:
    """Reading, training and sampling of jets; meets `hepflows.task.Task`."""

    name = "jetgen"

    @property
    def domain(self) -> Any:
        """Observables by which the validation compares jets."""
        from jetgen.observables import OBSERVABLES

        return OBSERVABLES

    @property
    def config_type(self) -> type[JetFlowConfig]:
        """Strict configuration model."""
        from jetgen.config import JetFlowConfig

        return JetFlowConfig

    @property
    def demo(self) -> DemoAssets | None:
        """The packaged top jets and a configuration that trains on them in minutes."""
        from jetgen.reading import embedded_jets_path

        text = resources.files("jetgen").joinpath("data", "demo.toml").read_text(encoding="utf-8")
        return DemoAssets(
            title="JetFlow on Pythia top jets",
            directory="jets",
            config_text=text,
            data_path=embedded_jets_path(),
            test_selection={"part": _TEST_PART},
            exported="exact",
            reference="Pythia",
            metrics=("w1m", "w1p", "w1efp", "fpd", "frechet_tagger", "auc", "mass_relative_error_max"),
        )

    def sniff(self, path: Path) -> bool:
        """Say whether the file holds jets."""
        from jetgen.detection import is_jet_file

        return is_jet_file(path)

    def read(self, path: Path, **selection: Any) -> Jets:
        """Read jets; `selection` is what may stand in the table ``[data]``, see `ReadingConfig`."""
        from jetgen.reading import read_jets

        return read_jets(path, **_arguments(selection))

    def iterate(self, path: Path, **selection: Any) -> Iterator[Jets]:
        """Read in chunks what `read` reads as a whole."""
        from jetgen.reading import iterate_jets

        return iterate_jets(path, **_arguments(selection))

    def conditions_of(self, events: Jets) -> Mapping[str, NDArray[np.floating[Any]]]:
        """Relative masses and multiplicities by name."""
        return events.conditions

    def write(self, events: Jets | Iterable[Jets], path: Path, *, force: bool = False) -> Path:
        """Write jets in the format that the suffix names; see `jetgen.write_jets`."""
        from jetgen.writing import write_jets

        return write_jets(events, path, force=force)

    def describe(self, path: Path, **selection: Any) -> Description:
        """Summarise a file of jets."""
        from jetgen.describe import describe_file
        from jetgen.summary import summary_rows

        summary = describe_file(path, **_arguments(selection))
        return Description(title=f"jets in {summary.path}", rows=summary_rows(summary), warnings=summary.warnings)

    def train(
        self,
        config: JetFlowConfig,
        data_path: Path,
        out: Path,
        *,
        resume: bool = False,
        force: bool = False,
        device: str = "cpu",
        threads: int | None = None,  # noqa: ARG002 - the command line has set them
        reporter: Reporter | None = None,
    ) -> Mapping[str, Path]:
        """Train a generator, or several variants; artefacts go to directories of `out` with the presets' names."""
        from hepflows.train.run import training_folder
        from jetgen.training import JetFlow, Run, fit

        made: dict[str, JetGenerator] = {}
        with _opened(config.data, data_path) as jets:
            folder = training_folder(out, resume=resume)
            run = Run.on_file(data_path, directory=folder, resume=resume, device=device, reporter=reporter)
            for each in config.each():
                if each.trained_as in made:
                    made[each.preset] = made[each.trained_as].with_exact_mass()
                else:
                    own = replace(run, directory=folder / each.preset)
                    made[each.preset] = fit(JetFlow(config=each), jets, run=own)
                made[each.preset].save(out / each.preset, force=force or resume)
        return {name: out / name for name in made}

    def distill(
        self,
        teacher: Path,
        data_path: Path,
        out: Path,
        *,
        config: JetFlowConfig,
        resume: bool = False,
        force: bool = False,
        device: str = "cpu",
        threads: int | None = None,
        reporter: Reporter | None = None,
    ) -> NoReturn:
        """Refuse: jet generators are fast in both directions and need no student."""
        del data_path, out, config, resume, force, device, threads, reporter
        raise ConfigError(
            "jet generators are not distilled: they sample in one pass as they are",
            where=teacher,
            remedy="use the trained generator itself",
        )

    @property
    def datasets(self) -> tuple[DataSet, ...]:
        """Published data sets of jets."""
        from jetgen.published import DATASETS

        return DATASETS

    @property
    def refinement(self) -> JetRefinement:
        """What refinements need to know of these events."""
        from jetgen.refinement import JetRefinement

        return JetRefinement()

    def load(self, artefact: Path, *, device: str = "cpu") -> JetGenerator:
        """Load a saved generator."""
        from jetgen.generator import JetGenerator

        return JetGenerator.load(artefact, device=device)


def _arguments(selection: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `read_jets` from entries of the table ``[data]``."""
    from hepflows.config import build
    from jetgen.config import ReadingConfig

    return build(ReadingConfig, selection, where="--read").arguments()


@contextlib.contextmanager
def _opened(data: DataConfig, path: Path) -> Iterator[Jets | StreamedJets]:
    """Jets to train with, in memory or in their file as configured."""
    if data.stream:
        from jetgen.streamed import stream_jets

        with stream_jets(path, buffer=data.buffer, **data.arguments()) as jets:
            yield jets
    else:
        from jetgen.reading import read_jets

        yield read_jets(path, **data.arguments())


TASK = JetTask()
