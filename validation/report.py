"""Writing a comparison as a directory: ``report.html`` with inline pictures, ``report.json``, pictures."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hepflows._version import __version__
from hepflows.files import atomic_directory, check_output
from validation.document import to_json
from validation.gallery import gallery
from validation.plots import style

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from validation.comparison import Comparison

DPI = 110
HEADLINES = ("separation_mean", "auc", "jsd")
"""Metrics of the table on top (besides the ratios and the chief ones), with or without ``_<inputs>``."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number in a table."""

    text: str
    good: str
    title: str


def write_report(comparison: Comparison, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write the report directory; a reader never meets half of it.

    Raises:
        OutputError: the directory exists and `force` is false, or it cannot be written.
    """
    target = check_output(directory, force=force, directory=True)
    with atomic_directory(target, force=force) as temporary:
        (temporary / "pictures").mkdir()
        sections: dict[str, list[tuple[str, str, str]]] = {}
        with style():
            for picture in gallery(comparison.views, reference_label=comparison.reference_label, noun=comparison.noun):
                buffer = io.BytesIO()
                picture.figure.savefig(buffer, format="png", dpi=DPI)
                png = buffer.getvalue()
                (temporary / "pictures" / f"{picture.key}.png").write_bytes(png)
                inline = base64.b64encode(png).decode("ascii")
                sections.setdefault(picture.section, []).append((picture.key, picture.caption, inline))
        text = json.dumps(to_json(comparison), indent=1, allow_nan=False)
        (temporary / "report.json").write_text(text + "\n", encoding="utf-8")
        (temporary / "report.html").write_text(render(comparison, sections), encoding="utf-8")
    return target


def render(comparison: Comparison, sections: dict[str, list[tuple[str, str, str]]]) -> str:
    """The HTML text; `sections` maps heading -> (key, caption, base64 PNG) of its pictures."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("validation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    names = list(comparison.samples)
    headline, details = _split_metrics(comparison)
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        names=names,
        reference_label=comparison.reference_label,
        classifier=comparison.settings.classifier(),
        verdict=verdict(comparison),
        failed=[gate for gate in comparison.gates if not gate.passed],
        headline=_rows(comparison, headline),
        meanings=_meanings(comparison),
        details=_rows(comparison, details),
        sizes=sorted({m.n for metrics in comparison.samples.values() for m in metrics.values()}),
        sections=sections,
        version=__version__,
    )


def verdict(comparison: Comparison) -> list[str]:
    """One sentence for each sample: what its numbers say at this sample size."""
    sentences = []
    for name, metrics in comparison.samples.items():
        separations = [m for key, m in metrics.items() if key.startswith("separation_") and key != "separation_mean"]
        close = sum(m.pull() <= 3 for m in separations)
        text = f"{close} of {len(separations)} distributions agree with the floor within 3 standard errors"
        tests = {key: m for key, m in metrics.items() if _is_a(key, "auc")}
        if tests:
            worst = max(tests, key=lambda key: tests[key].value)
            kind = {"auc": "network", "auc_gbt": "boosted trees"}.get(worst, f"{worst.removeprefix('auc_')} inputs")
            inputs = f"sharpest classifier ({kind})" if len(tests) > 1 else "classifier"
            text += f"; the {inputs} reaches "
            text += f"AUC {number(tests[worst].value, tests[worst].error)}, floor {tests[worst].floor:.3f}"
        sentences.append(f"{name}: {text}.")
    return sentences


def number(value: float, error: float) -> str:
    """Value and error with as many digits as the error deserves."""
    if value != 0 and abs(value) < 1e-4:
        return f"{value:.2e} ± {error:.1e}"
    digits = 3 if error <= 0 else max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def headline_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The table on top of the report as texts: header and rows of metric, floor and one column a sample."""
    header = ["metric", f"{comparison.reference_label} floor", *comparison.samples]
    rows = _rows(comparison, _split_metrics(comparison)[0])
    return header, [[key, floor, *(cell.text for cell in cells)] for key, floor, cells in rows]


def _split_metrics(comparison: Comparison) -> tuple[list[str], list[str]]:
    every = list(dict.fromkeys(key for metrics in comparison.samples.values() for key in metrics))
    chief = list(_meanings(comparison))
    ratios = {f"{view.name}_{which}" for view in comparison.views.ratios for which in ("mean", "std")}
    others = [k for k in every if k not in chief and (k in ratios or any(_is_a(k, name) for name in HEADLINES))]
    return [*chief, *others], [k for k in every if k not in chief and k not in others]


def _is_a(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}_")


def _meanings(comparison: Comparison) -> dict[str, str]:
    """What each chief metric measures."""
    return {k: m.meaning for metrics in comparison.samples.values() for k, m in metrics.items() if m.chief}


def _rows(comparison: Comparison, keys: list[str]) -> list[tuple[str, str, list[Cell]]]:
    """Table rows: metric, floor, one cell a sample."""
    rows = []
    for key in keys:
        floor, cells = "", []
        for metrics in comparison.samples.values():
            if key not in metrics:
                cells.append(Cell(text="-", good="", title="not measured"))
                continue
            metric = metrics[key]
            floor = floor or ("" if metric.floor is None else number(metric.floor, metric.floor_error or 0.0))
            pull = metric.pull()
            good = "good" if pull <= 3 else "fair" if pull <= 10 else "poor"
            cells.append(
                Cell(
                    text=number(metric.value, metric.error),
                    good=good,
                    title=f"{pull:.1f} standard errors above the floor, n = {metric.n}",
                )
            )
        rows.append((key, floor, cells))
    return rows
