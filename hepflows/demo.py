"""The demonstration: data, training, sampling, export and validation on what the packages bring along.

Every step is a callable found through the registry, and can be replaced by another (see `Steps`), so the
chain itself knows neither detectors nor runtimes.
"""

from __future__ import annotations

import html
import json
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from hepflows import registry
from hepflows.demo_table import print_table
from hepflows.errors import ConfigError
from hepflows.files import atomic_file, check_output
from hepflows.production.batches import sampled
from hepflows.production.conditions import conditions_like
from hepflows.train.progress import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from hepflows.generator import AnyGenerator
    from hepflows.task import AnyTask, DemoAssets
    from hepflows.train.progress import Reporter

SEED: Final = 20260101
BATCH: Final = 256


class Comparison(Protocol):
    """Result of comparing samples with a reference, as the validation package gives it."""

    def write(self, directory: Path, *, force: bool = False) -> object:
        """Write report.html and report.json into a new directory."""
        ...

    def to_json(self) -> Mapping[str, Any]:
        """Content of report.json."""
        ...


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Callables of the chain.

    Attributes:
        tasks: tasks to demonstrate.
        export: writes a generator to a file.
        run_exported: gives a generator that runs that file.
        compare: (reference events, samples by name, domain, reporter=...) -> comparison.
    """

    tasks: tuple[AnyTask, ...]
    export: Callable[[AnyGenerator, Path], object]
    run_exported: Callable[[Path], AnyGenerator]
    compare: Callable[..., Comparison]


def installed_steps() -> Steps:
    """Find the steps among the installed packages.

    Raises:
        ConfigError: one of them is not installed.
        PluginError: one of them is broken.
    """
    return Steps(
        tasks=tuple(task for task in registry.tasks().values() if task.demo is not None),
        export=registry.exporter("onnx"),
        run_exported=registry.runtime("onnx"),
        compare=registry.metric("compare"),
    )


def run_demo(
    out: Path,
    *,
    only: Collection[str] = (),
    force: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    reporter: Reporter | None = None,
    console: Console | None = None,
    steps: Steps | None = None,
) -> int:
    """Run the whole chain and write `out`/report.html with a page for each task.

    Args:
        out: directory to create.
        only: folders of the demonstrations to run, ``calo`` for example; none for all.
        force: replace results of an earlier demonstration.
        device: torch device.
        threads: CPU threads, or None to leave torch's choice.
        reporter: where progress goes; None is silent.
        console: where the final table goes; None is standard output.
        steps: the callables; None takes the installed ones.

    Returns:
        0, or 1 if a gate of the comparison failed.

    Raises:
        OutputError: `out` exists and `force` is false.
        MissingDependencyError: onnxruntime is not installed.
    """
    from rich.console import Console

    check_output(out, force=force, directory=True)
    chain = installed_steps() if steps is None else steps
    chosen = _chosen(chain.tasks, only)
    said = reporter or SilentReporter()
    screen = console or Console()
    passed, pages = True, []
    for task, assets in chosen:
        folder = out / assets.directory
        if folder.is_dir():  # only what an earlier demonstration made, never the rest of the user's directory
            shutil.rmtree(folder)
        summary = _run_task(task, assets, folder, chain, device=device, threads=threads, reporter=said)
        passed = passed and bool(summary["passed"])
        pages.append((assets, summary))
        print_table(summary, assets, console=screen)
    _write_index(out / "report.html", pages)
    screen.print(f"report: {out / 'report.html'}", soft_wrap=True, highlight=False, markup=False)
    return 0 if passed else 1


def _chosen(tasks: Sequence[AnyTask], only: Collection[str]) -> list[tuple[AnyTask, DemoAssets]]:
    found = [(task, assets) for task in tasks if (assets := task.demo) is not None]
    chosen = [(task, assets) for task, assets in found if not only or assets.directory in only]
    if not chosen:
        raise ConfigError(
            "no installed task brings this demonstration" if only else "no installed task brings a demonstration",
            expected=", ".join(assets.directory for _, assets in found) or None,
            found=", ".join(only) or None,
            remedy="reinstall hepflows",
        )
    return chosen


def _run_task(
    task: AnyTask,
    assets: DemoAssets,
    folder: Path,
    chain: Steps,
    *,
    device: str,
    threads: int | None,
    reporter: Reporter,
) -> dict[str, Any]:
    from hepflows.config import parse_config

    start = time.perf_counter()
    config_path = folder / "config.toml"
    with atomic_file(config_path) as temporary:
        temporary.write_text(assets.config_text, encoding="utf-8")
    config = parse_config(assets.config_text, where=str(config_path))

    reporter.message(f"{assets.title}: training on {assets.data_path.name}")
    artefacts = task.train(
        config,
        assets.data_path,
        folder / "run",
        force=True,
        device=device,
        threads=threads,
        reporter=reporter,
    )
    generators = {name: task.load(directory, device=device) for name, directory in artefacts.items()}

    reporter.message(f"exporting {assets.exported} to ONNX")
    exported = folder / f"{assets.exported}.onnx"
    chain.export(generators[assets.exported], exported)
    generators["onnx"] = chain.run_exported(exported)

    reference = task.read(assets.data_path, **assets.test_selection)
    samples = {
        name: _sample_to_files(task, generator, reference, folder / name, reporter=reporter)
        for name, generator in generators.items()
    }

    reporter.message(f"comparing {len(samples)} samples with {len(reference)} held-out events")
    comparison = chain.compare(reference, samples, task.domain, reporter=reporter)
    _write_report(comparison, folder)
    summary = dict(comparison.to_json())
    path = folder / "summary.json"
    written = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    summary |= {"wall_seconds": round(time.perf_counter() - start, 3), "files": [*written, path.name]}
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return summary


def _sample_to_files(task: AnyTask, generator: AnyGenerator, reference: Any, stem: Path, *, reporter: Reporter) -> Any:
    """Generate events under the reference's conditions, write HDF5 and ROOT, and give back what a reader finds."""
    conditions = conditions_like(generator, task, reference, None)
    n = conditions.n
    with reporter.stage(f"generating with {stem.name}", total=n, unit="events") as stage:
        batches = list(sampled(generator, conditions, seed=SEED, bounds=(0, n), batch=BATCH, stage=stage))
    for suffix in (".root", ".h5"):
        task.write(batches, stem.with_suffix(suffix))
    return task.read(stem.with_suffix(".h5"))


def _write_report(comparison: Comparison, folder: Path) -> None:
    """Put report.html and report.json beside the samples, not into a directory of their own."""
    temporary = folder / "report.tmp"
    comparison.write(temporary)
    for file in sorted(temporary.iterdir()):
        file.replace(folder / file.name)
    temporary.rmdir()


def _write_index(path: Path, pages: Sequence[tuple[DemoAssets, Mapping[str, Any]]]) -> None:
    rows = "\n".join(
        f'<li><a href="{html.escape(assets.directory)}/report.html">{html.escape(assets.title)}</a> '
        f"({html.escape(', '.join(summary['samples']))}; {summary['wall_seconds']:.0f} s; "
        f'<a href="{html.escape(assets.directory)}/summary.json">numbers</a>)</li>'
        for assets, summary in pages
    )
    text = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>hepflows demo</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 45em; margin: 3em auto; padding: 0 1em; }}</style></head>
<body><h1>hepflows demo</h1>
<p>Generators trained on the packaged data, compared with events that they never saw.</p>
<ul>
{rows}
</ul></body></html>
"""
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
