"""`hepflows validate`: generated events against a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hepflows.commands.options import Device, Force, Reading, Threads, whole_number
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from validation.comparison import Comparison

DEFAULT_GATES = "default"
"""Instead of a file, the word for the preset's gates."""


def validate(
    reference: Path,
    /,
    *generated: str,
    out: Annotated[Path, Parameter(help="Directory of the report.")],
    preset: Annotated[str, Parameter(help="How thoroughly: quick, full, caloflow, calochallenge or jetnet.")] = "quick",
    trainings: Annotated[
        int | None,
        Parameter(
            converter=whole_number,
            help="Trainings of each classifier; 0 leaves the test out; default: the preset's.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, Parameter(converter=whole_number, help="Epochs of each training; default: the preset's.")
    ] = None,
    folds: Annotated[
        int | None,
        Parameter(converter=whole_number, help="Folds of a k-fold classifier test, 3 or more, in place of trainings."),
    ] = None,
    learning_curve: Annotated[
        bool | None,
        Parameter(help="Repeat the classifier test with 1/8, 1/4 and 1/2 of its training events; default: if full."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        Parameter(help="Classifier inputs: low, low_normed, log, high; all for jets. May be repeated.", negative=""),
    ] = None,
    part: Annotated[str, Parameter(help="Part of the reference file, by position; the last fifth: 0.8:1.")] = "0:1",
    threshold_mev: Annotated[
        float | None, Parameter(help="Cells below are zeroed in all samples; default: the geometry's.")
    ] = None,
    compat: Annotated[
        str | None,
        Parameter(
            help="calochallenge: separation powers without out-of-range entries, as its evaluation code has them."
        ),
    ] = None,
    gates: Annotated[
        Path | None, Parameter(help="TOML file with limits, or 'default'; exit code 1 if one is exceeded.")
    ] = None,
    default_gates: Annotated[
        bool, Parameter(help="The preset's limits, for all metrics that --gates does not name.", negative="")
    ] = False,
    baseline: Annotated[
        Path | None, Parameter(help="report.json of an older comparison; exit code 1 if a metric is worse.")
    ] = None,
    baseline_sigma: Annotated[
        float | None, Parameter(help="Standard errors by which a metric may be worse; default: 4.")
    ] = None,
    training: Annotated[
        Path | None, Parameter(help="File of the training events, to tell whether they are copied.")
    ] = None,
    training_part: Annotated[
        str | None, Parameter(help="Part of the training file, as with --part; default: all.")
    ] = None,
    timing: Annotated[
        list[str] | None,
        Parameter(
            help="Generators to time: artefact, exported file or JSON of `hepflows benchmark`, each PATH or NAME=PATH.",
            negative="",
        ),
    ] = None,
    reference_label: Annotated[
        str | None, Parameter(help="Name of the reference in the report; default: the task's.")
    ] = None,
    task: Annotated[str | None, Parameter(help="Task that reads the files, if it is not clear.")] = None,
    read: Reading = None,
    read_generated: Annotated[
        list[str] | None, Parameter(help="The same for the files of generated events.", negative="")
    ] = None,
    stream: Annotated[
        bool | None,
        Parameter(help="Keep observables only, not events; default: if a file is larger than 2 GB."),
    ] = None,
    cache: Annotated[
        Path | None, Parameter(help="With --stream: directory that keeps what was measured, by the files' content.")
    ] = None,
    seed: Annotated[int, Parameter(converter=whole_number, help="Seed of splits, bootstrap and classifiers.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
) -> int:
    """Compare generated events with a reference and write report.html and report.json.

    Every number comes with its uncertainty and with the floor that the reference reaches against itself.

    Parameters
    ----------
    reference
        File of reference events, not used in the training.
    generated
        Files of generated events, each PATH or NAME=PATH.
    """
    from hepflows import registry
    from hepflows.commands.options import (
        apply_threads,
        parse_reading,
        parse_selection,
        resolve_device,
        terminal_reporter,
    )
    from hepflows.files import check_output, require_file
    from validation.baseline import read_baseline
    from validation.comparison import compare
    from validation.gates import read_gates
    from validation.reading import event_source
    from validation.settings import Settings
    from validation.timing import name_sources, timing_of

    files = name_files(generated)
    sources = name_sources(timing or ())
    for option, given, needed in (
        ("--baseline-sigma", baseline_sigma, baseline),
        ("--training-part", training_part, training),
    ):
        if given is not None and needed is None:
            other = option.rpartition("-")[0]
            raise ConfigError(f"{option} says nothing without {other}", remedy=f"add {other} FILE, or leave it out")
    training_part = training_part or "0:1"
    selection = parse_selection(part, read)
    trained_on = parse_selection(training_part, read, option="--training-part")
    chosen_device = resolve_device(device)
    own_gates = gates is not None and str(gates) != DEFAULT_GATES
    check_output(out, force=force, directory=True)
    settings = Settings(
        preset=preset,
        trainings=trainings,
        epochs=epochs,
        folds=folds,
        learning_curve=learning_curve,
        inputs=None if not inputs else tuple(inputs),
        gates=read_gates(gates) if gates is not None and own_gates else {},
        default_gates=default_gates or (gates is not None and not own_gates),
        baseline_sigma=4.0 if baseline_sigma is None else baseline_sigma,
        options={} if threshold_mev is None else {"threshold_mev": threshold_mev},
        compat=compat,
        reference_label=reference_label,
        seed=seed,
        device=chosen_device,
    )
    paths = (reference, *files.values(), *([] if training is None else [training]))
    for path in paths:
        require_file(path)
    older = None if baseline is None else read_baseline(baseline)
    apply_threads(threads)
    timings = tuple(timing_of(path, name, device=chosen_device, threads=threads) for name, path in sources.items())
    reader = registry.task_for_file(reference) if task is None else registry.task(task)
    reporter = terminal_reporter()
    source = event_source(reader, paths, settings, stream=stream, cache=cache)
    comparison = compare(
        source.read(reference, **selection),
        {
            name: source.read(path, **parse_reading(read_generated, option="--read-generated"))
            for name, path in files.items()
        },
        source.domain,
        settings=source.settings,
        provenance={
            "reference": {"file": reference.name, "part": part}
            | _said(read)
            | ({} if training is None else {"training_file": training.name, "training_part": training_part}),
            **{name: {"file": path.name} | _said(read_generated) for name, path in files.items()},
        },
        training=None if training is None else source.read(training, **trained_on),
        baseline=older,
        timings=timings,
        reporter=reporter,
    )
    comparison.write(out, force=force)
    for line in summary_lines(comparison):
        reporter.message(line)
    reporter.message(f"report: {out / 'report.html'}")
    return 0 if comparison.passed else 1


def _said(read: Sequence[str] | None) -> dict[str, str]:
    """How a file was read, for the report."""
    return {"read": " ".join(read)} if read else {}


def name_files(generated: Sequence[str]) -> dict[str, Path]:
    """Sample names and paths from ``PATH`` (named after the file) and ``NAME=PATH`` arguments.

    Raises:
        ConfigError: no files, an empty or reserved name, or one name twice.
    """
    files: dict[str, Path] = {}
    for argument in generated:
        name, separator, path = argument.partition("=")
        if not separator or Path(argument).exists():  # a path may contain "="
            name, path = Path(argument).stem, argument
        if not name or not path or name == "reference":
            raise ConfigError("not a sample", where="GENERATED", expected="PATH or NAME=PATH", found=argument)
        if name in files:
            raise ConfigError(
                "two samples have the same name", where="GENERATED", found=name, remedy="name them: NAME=PATH"
            )
        files[name] = Path(path)
    if not files:
        raise ConfigError("nothing to compare", where="GENERATED", expected="at least one file")
    return files


def summary_lines(comparison: Comparison) -> list[str]:
    """The headline metrics as a plain table, and the gates that failed."""
    from validation.headline import headline_table

    header, rows = headline_table(comparison)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    lines += [f"caution: {text}" for text in comparison.cautions]
    lines += [
        f"gate failed: {gate.sample}: {gate.metric} "
        + (
            f"could not be measured: {gate.unmeasured}"
            if gate.unmeasured
            else f"deviates by {gate.excess:.4g}, allowed {gate.limit:.4g}"
        )
        for gate in comparison.gates
        if not gate.passed
    ]
    if comparison.baseline is not None:
        lines += [f"worse than the baseline: {worse.text()}" for worse in comparison.baseline.worse]
    return lines
