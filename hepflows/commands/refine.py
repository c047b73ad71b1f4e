"""`hepflows refine`: a better generator from a trained one and reference events."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import Annotated

from cyclopts import Parameter

from hepflows.commands.options import (  # noqa: TC001 - cyclopts reads the annotations
    DataFile,
    Device,
    Force,
    Overrides,
    Reading,
    Resume,
    Threads,
)
from hepflows.refine.methods import Method  # noqa: TC001 - cyclopts reads the annotations

_ROUNDS = ("round_*",)


def refine(
    artefact: Path,
    /,
    *,
    data: DataFile,
    method: Annotated[
        Method,
        Parameter(
            help="dctr: weights on events; laser-flow, laser-gan: a second generator in latent space; hmc, rejection: "
            "sampling in latent space; discflow: fine-tuning with classifier weights."
        ),
    ],
    out: Annotated[Path, Parameter(help="Directory of the refined generator.")],
    config: Annotated[Path | None, Parameter(help="TOML file of settings; see docs/refinement.md.")] = None,
    set_: Overrides = None,
    read: Reading = None,
    resume: Resume = False,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Refine a trained generator with a classifier between its events and reference events.

    The result is an artefact like any other: generate, validate and export take it.

    Parameters
    ----------
    artefact
        Artefact directory of the generator.
    """
    from hepflows import registry
    from hepflows.commands.options import (
        apply_threads,
        parse_reading,
        resolve_device,
        terminal_reporter,
    )
    from hepflows.errors import ConfigError, OutputError
    from hepflows.files import check_output, require_file, sha256_of
    from hepflows.refine import refine as refined
    from hepflows.refine.methods import CHECKPOINTED
    from hepflows.refine.settings import read_settings
    from hepflows.train.run import checkpoints_beside, remove_checkpoints

    settings = read_settings(config, set_ or ())
    require_file(data, "data file")
    if resume and method not in CHECKPOINTED:
        raise ConfigError(
            f"{method} keeps no checkpoints to resume from",
            where="--resume",
            expected=f"--method {' or '.join(CHECKPOINTED)}",
            remedy="leave --resume out",
        )
    if resume and out.exists() and not force:
        raise OutputError(
            "output exists already",
            where=out,
            remedy="add --force to --resume to replace it when the refinement is finished, or choose another --out",
        )
    check_output(out, force=force, directory=True)
    chosen = resolve_device(device)
    apply_threads(threads)
    generator = registry.load(artefact)
    task = registry.task(generator.task)
    registry.require_own_file(task, data)
    events = task.read(data, **parse_reading(read))
    folder = None
    if method in CHECKPOINTED:
        folder = checkpoints_beside(out, _ROUNDS, resume=resume, force=force)
    reporter = terminal_reporter()
    found = refined(
        generator,
        events,
        method,
        settings,
        device=chosen,
        directory=folder,
        resume=resume,
        reporter=reporter,
        provenance={"data_file": data.name, "data_sha256": sha256_of(data), "n_events": len(events)},
    )
    found.save(out, force=force)
    if folder is not None:
        remove_checkpoints(folder, _ROUNDS)
    reporter.message(f"{found.document['kind']}: {out}")
