"""Writing a comparison as a directory: ``report.html`` with inline pictures, ``report.json``, pictures."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING

from hepflows._version import __version__
from hepflows.files import atomic_directory, check_output
from validation.document import to_json
from validation.gallery import gallery
from validation.headline import rows_of, split_metrics
from validation.plots import style
from validation.verdict import verdicts

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from matplotlib.figure import Figure

    from validation.comparison import Comparison

DPI = 110


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
                png = _png(picture.figure)
                (temporary / "pictures" / f"{picture.key}.png").write_bytes(png)
                inline = base64.b64encode(png).decode("ascii")
                sections.setdefault(picture.section, []).append((picture.key, picture.caption, inline))
        text = json.dumps(to_json(comparison), indent=1, allow_nan=False)
        (temporary / "report.json").write_text(text + "\n", encoding="utf-8")
        (temporary / "report.html").write_text(render(comparison, sections), encoding="utf-8")
    return target


def _png(figure: Figure) -> bytes:
    """A PNG of at most 256 colours: a third of the size, and no difference is to be seen."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    image = Image.open(drawn).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def render(comparison: Comparison, sections: dict[str, list[tuple[str, str, str]]]) -> str:
    """The HTML text; `sections` maps heading -> (key, caption, base64 PNG) of its pictures."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("validation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    names = list(comparison.samples)
    groups, details = split_metrics(comparison)
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        names=names,
        reference_label=comparison.reference_label,
        classifier=comparison.settings.classifier(),
        verdicts=verdicts(comparison),
        headline=[(heading, rows_of(comparison, keys)) for heading, keys in groups],
        meanings=_meanings(comparison),
        details=rows_of(comparison, details),
        sizes=sorted({m.n for metrics in comparison.samples.values() for m in metrics.values()}),
        sections=sections,
        version=__version__,
    )


def _meanings(comparison: Comparison) -> dict[str, str]:
    """What each chief metric measures."""
    return {k: m.meaning for metrics in comparison.samples.values() for k, m in metrics.items() if m.chief}
