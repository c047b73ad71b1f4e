"""`hepflows train`: a configuration and a data file in, generators out."""

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


def train(
    config: Path,
    /,
    *,
    data: DataFile,
    out: Annotated[Path, Parameter(help="Run directory; gets teacher/, student/ and so on.")],
    set_: Overrides = None,
    resume: Resume = False,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Train the generators that a configuration describes.

    Each goes to its own directory: OUT/teacher and OUT/student for example. Ctrl-C saves a checkpoint.
    torchrun --nproc-per-node N -m hepflows train ... shares the work among N processes.

    Parameters
    ----------
    config
        TOML file; see examples/.
    """
    from hepflows import registry
    from hepflows.commands.options import (
        apply_threads,
        check_run_directory,
        resolve_device,
        training_reporter,
    )
    from hepflows.config import load_config
    from hepflows.files import require_file
    from hepflows.train import distributed

    with distributed.setup(resolve_device(device)) as chosen:
        settings = load_config(config, set_ or ())
        require_file(data, "data file")
        distributed.current().on_first(lambda: check_run_directory(out, resume=resume, force=force))
        apply_threads(threads)
        reporter = training_reporter()
        written = registry.task(str(getattr(settings, "task", ""))).train(
            settings, data, out, resume=resume, force=force, device=chosen, threads=threads, reporter=reporter
        )
        for name, directory in written.items():
            reporter.message(f"{name}: {directory}")
