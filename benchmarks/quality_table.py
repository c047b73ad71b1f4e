"""Turn report.json files of `hepflows validate` into the Markdown table of README.

python -m benchmarks.quality_table report_caloflow/report.json report_calochallenge/report.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

FIRST = ("e_tot_ratio_mean", "e_tot_ratio_std", "separation_mean")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path)
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in parser.parse_args().reports]
    names = list(reports[0]["samples"])
    print("| metric | Geant4 floor | " + " | ".join(names) + " |")
    print("|---|---|" + "---|" * len(names))
    shown: set[str] = set()
    for report in reports:
        metrics: dict[str, Any] = report["samples"][names[0]]
        fractions = [name for name in metrics if name.startswith("layer_fraction_")]
        separations = sorted(name for name in metrics if name.startswith("separation_") and name not in FIRST)
        tests = [name for name in metrics if name.startswith(("auc_", "jsd_"))]
        for name in [*FIRST, *fractions, *separations, *tests]:
            label = _label(name, metrics.get(name))
            if label is None or label in shown:
                continue
            shown.add(label)
            cells = [_cell(report["samples"][sample][name]) for sample in names]
            floor = _cell({"value": metrics[name]["floor"], "error": metrics[name].get("floor_error")})
            print(f"| {label} | {floor} | " + " | ".join(cells) + " |")


def _label(name: str, entry: dict[str, Any] | None) -> str | None:
    if entry is None:
        return None
    if "preset" not in entry:
        return f"`{name}` (n = {entry['n']})"
    size = f"{entry['n_train_per_class']} per class, {entry['trainings']} trainings"
    mirrored = ", mirrored copies" if entry.get("mirrored") else ""
    return f"`{name}`, preset {entry['preset']} ({size}{mirrored})"


def _cell(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return "-"
    error = entry.get("error")
    return f"{entry['value']:.4g}" + ("" if error is None else f" ± {error:.1g}")


if __name__ == "__main__":
    main()
