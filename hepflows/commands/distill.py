"""`hepflows distill`: a fast student for a teacher that is trained already."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import Annotated

from cyclopts import Parameter

from hepflows.commands.options import (  # noqa: TC001 - cyclopts reads the annotations
    DataFile,
    Device,
    Force,
    Overrides,
    Resume,
    Threads,
)


def distill(
    teacher: Path,
    /,
    *,
    data: DataFile,
    out: Annotated[Path, Parameter(help="Directory of the student.")],
    config: Annotated[Path | None, Parameter(help="TOML file; by default the teacher's own configuration.")] = None,
    set_: Overrides = None,
    resume: Resume = False,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Train a student for a trained teacher.

    torchrun --nproc-per-node N -m hepflows distill ... shares the work among N processes.

    Parameters
    ----------
    teacher
        Artefact directory of the teacher.
    """
    from hepflows import registry
    from hepflows.artefact import read_document
    from hepflows.commands.options import (
        apply_threads,
        resolve_device,
        training_reporter,
    )
    from hepflows.config import config_from_dict, load_config
    from hepflows.errors import ConfigError
    from hepflows.files import check_output, require_file
    from hepflows.train import distributed

    with distributed.setup(resolve_device(device)) as chosen:
        document = read_document(teacher)
        if config is None:
            settings = config_from_dict(
                document.config, where=f"{teacher}/generator.json: config", overrides=set_ or ()
            )
        else:
            settings = load_config(config, set_ or ())
        name = str(getattr(settings, "task", ""))
        if name != document.task:
            raise ConfigError(
                "the teacher is of another task than the configuration",
                where=teacher if config is None else config,
                expected=f"task {document.task}",
                found=f"task {name}",
                remedy="name a teacher of this task",
            )
        require_file(data, "data file")
        if not resume:  # a stopped distillation has written no `out` yet, only the task knows its checkpoints
            distributed.current().on_first(lambda: check_output(out, force=force, directory=True))
        apply_threads(threads)
        reporter = training_reporter()
        student = registry.task(name).distill(
            teacher,
            data,
            out,
            config=settings,
            resume=resume,
            force=force,
            device=chosen,
            threads=threads,
            reporter=reporter,
        )
        reporter.message(f"student: {student}")
