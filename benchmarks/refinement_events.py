"""DCTR and LaSeR on deliberately weak generators of showers and of jets: the classifier's AUC before and after.

A generator is trained for seconds, so that a classifier on low-level inputs (voxels that are not normalised, all
constituents) tells its events apart well. Then each refinement is made, from the same training events, and judged on
others, under whose conditions events are generated. What is missing is run, and goes on where it was stopped::

    python -m benchmarks.refinement_events run showers --data eplus.h5 --out runs/refined
    python -m benchmarks.refinement_events run jets --data g.hdf5 --out runs/refined
    python -m benchmarks.refinement_events show --out benchmarks/results/refinement

Without `--data` the files are showers/eplus.h5 and jets/g.hdf5 under HEPFLOWS_DATA. Only the first 80 % of a file are
read: three quarters of them train, a quarter judges.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from rich.console import Console

import validation
from benchmarks.quoting import with_error
from benchmarks.refinement_domains import DOMAINS
from hepflows import registry
from hepflows.commands.options import terminal_reporter
from hepflows.errors import ConfigError, HepflowsError
from hepflows.files import atomic_file
from hepflows.refine import refine
from hepflows.refine.settings import read_settings
from hepflows.refine.unweighting import unweight
from hepflows.splitting import condition_groups
from hepflows.weights import effective_sample_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.refinement_domains import Domain

SAMPLES: Final = {
    "weak": "weak",
    "dctr": "dctr",
    "unweighted": "dctr",
    "laser-flow": "laser-flow",
    "hmc": "hmc",
    "rejection": "rejection",
}
"""Sample that is judged -> generator that it comes from; `unweighted` are the weighted events after rejection."""
TARGET: Final = 0.05
"""Fall of the AUC that a refinement should reach."""
_BOUND: Final = 0.995  # quantile of the weights up to which rejection is exact
_SEED: Final = 11


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            sys.stdout.write(table(collect(options.out)))
        else:
            run(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Train, refine, sample and measure what is missing."""
    torch.set_num_threads(1)
    name = options.domain or ""
    if name not in DOMAINS:
        raise ConfigError("which events?", where="domain", expected=" or ".join(DOMAINS), found=name or "none")
    domain, path = DOMAINS[name], options.out / f"{name}.json"
    reporter = terminal_reporter()
    events = domain.read(_data(domain, options.data), options.first)
    n = round(0.75 * len(events))
    training, judging = (events.select(part) for part in (np.arange(n), np.arange(n, len(events))))
    settings = [*domain.refinement, *(options.set or ())]
    given: dict[str, Any] = {
        "data": Path(domain.file if options.data is None else options.data).name,
        "n_training": len(training),
        "n_judging": len(judging),
        "weak": domain.weak,
        "refinement": settings,
        "classifier": {"inputs": domain.inputs, "preset": options.preset, "trainings": options.trainings},
    }
    found: dict[str, Any] = _known(path) or {**given, "cpu_seconds": {}, "samples": {}}
    found["data"] = Path(found["data"]).name
    if different := [name for name in given if found[name] != given[name]]:
        raise ConfigError(
            "these results have other settings", where=path, found=", ".join(different), remedy="choose another --out"
        )
    for sample in (s for s in SAMPLES if s in options.samples and s not in found["samples"]):
        began = time.process_time()
        generator = _generator(domain, SAMPLES[sample], training, settings, options.out / name, reporter)
        found["cpu_seconds"].setdefault(SAMPLES[sample], round(time.process_time() - began, 1))
        made = _drawn(sample, generator, domain, judging, options.copies)
        entry = judge(domain, judging, made, found["classifier"])
        if sample != "weak":
            weak = _generator(domain, "weak", training, settings, options.out / name, reporter)
            entry |= alike(domain, weak, judging, round(entry["effective"]), found["classifier"])
        found["samples"][sample] = entry
        _write(path, found)
        reporter.message(f"{name} {sample}: AUC {entry['auc']:.3f}, {entry['effective']:.0f} effective events")


def judge(domain: Domain, reference: Any, made: Any, classifier: Mapping[str, Any]) -> dict[str, float]:
    """AUC of validation's classifier between reference and generated events, and what their weights leave of them."""
    preset = validation.PRESETS[classifier["preset"]]
    real, fake = (
        domain.observables.classifier_inputs(sample, preset=preset.name, inputs=domain.inputs)
        for sample in (reference, made)
    )
    groups = condition_groups(*map(domain.observables.condition, (reference, made)))
    weights = None if made.weights is None else made.weights.astype(np.float64)
    result = validation.two_sample_test(
        real,
        fake,
        preset=replace(preset, trainings=classifier["trainings"]),
        groups=(groups[0], groups[1]),
        weights=(None, weights),
        seed=_SEED,
    )
    value, error, spread = result.summary("auc")
    size = float(len(made)) if weights is None else effective_sample_size(weights)[0]
    return {"auc": value, "error": error, "spread": spread, "n": len(made), "effective": size}


def alike(domain: Domain, weak: Any, judging: Any, n: int, classifier: Mapping[str, Any]) -> dict[str, float]:
    """AUC of at most n events of the weak generator: fewer events train a worse classifier, whatever they are."""
    events = _drawn("weak", weak, domain, judging, 1)
    found = judge(domain, judging, events.select(slice(0, n)), classifier)
    return {"weak_auc": found["auc"], "weak_error": found["error"]}


def _generator(domain: Domain, method: str, training: Any, settings: Sequence[str], folder: Path, reporter: Any) -> Any:
    """The weak generator or a refined one, from its artefact if that is there."""
    if (folder / method / "generator.json").exists():
        return registry.load(folder / method)
    if method == "weak":
        generator = domain.fit(training)
    else:
        generator = refine(
            _generator(domain, "weak", training, settings, folder, reporter),
            training,
            method,  # type: ignore[arg-type]  # one of SAMPLES
            read_settings(None, settings),
            directory=folder / f"{method}-training",
            resume=True,
            reporter=reporter,
        )
    generator.save(folder / method, force=True)
    return generator


def _drawn(sample: str, generator: Any, domain: Domain, judging: Any, copies: int) -> Any:
    """Events under the conditions of the judging ones; `copies` of them where weights reduce their number."""
    copies = copies if SAMPLES[sample] == "dctr" else 1
    conditions = {name: np.tile(values, copies) for name, values in domain.conditions(judging).items()}
    made = generator.sample(conditions, seed=_SEED)
    if sample != "unweighted":
        return made
    kept = unweight(made.weights, seed=_SEED, bound=float(np.quantile(made.weights, _BOUND))).kept
    return replace(made.select(kept), weights=None)


def collect(out: Path) -> dict[str, dict[str, Any]]:
    """Results by domain."""
    found = {name: _known(out / f"{name}.json") for name in DOMAINS}
    return {name: entry for name, entry in found.items() if entry}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: AUC, that of as many weak events, the difference, events and what weights leave of them."""
    lines = [
        "| events | sample | AUC | weak, as many | lower by | events | effective |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in found.items():
        for sample in SAMPLES:
            if (one := entry["samples"].get(sample)) is None:
                continue
            auc, weak, fall = with_error(one["auc"], one["error"]), "", ""
            if sample != "weak":
                weak = with_error(one["weak_auc"], one["weak_error"])
                fall = f"{one['weak_auc'] - one['auc']:.3f}"
            lines.append(f"| {name} | {sample} | {auc} | {weak} | {fall} | {one['n']} | {one['effective']:.0f} |")
    return "\n".join(lines) + "\n"


def _data(domain: Domain, given: Path | None) -> Path:
    if given is not None:
        return given
    if "HEPFLOWS_DATA" not in os.environ:
        raise ConfigError("no data", expected=f"--data FILE, or HEPFLOWS_DATA, a directory with {domain.file}")
    return Path(os.environ["HEPFLOWS_DATA"]) / domain.file


def _known(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "show"))
    parser.add_argument("domain", nargs="?", help=" or ".join(DOMAINS))
    parser.add_argument("--data", type=Path, help="file of the events")
    parser.add_argument("--out", type=Path, required=True, help="directory of artefacts and results")
    parser.add_argument("--samples", type=lambda text: text.split(","), default=list(SAMPLES), help="default: all")
    parser.add_argument("--first", type=int, default=16_000, help="events that are read (default: 16000)")
    parser.add_argument("--copies", type=int, default=3, help="weighted events an event that judges (default: 3)")
    parser.add_argument("--preset", default="quick", choices=sorted(validation.PRESETS), help="default: quick")
    parser.add_argument("--trainings", type=int, default=3, help="of each classifier (default: 3)")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="setting of the refinement")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
