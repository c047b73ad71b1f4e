"""The studies themselves: what each trains, generates and compares."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jetgen as jg
from benchmarks import jet_studies_numbers as numbers
from benchmarks.jet_measures import Measurer, drawn_wasserstein, sizes
from benchmarks.jet_runs import TRAINED_PART, Cell, data_file, load, train
from benchmarks.jet_studies_settings import Settings, once
from benchmarks.jet_table import SEED
from hepflows.commands.options import terminal_reporter
from hepflows.errors import ConfigError, DataError
from jetgen.observables import mass_deviation
from jetgen.tagger import tagger_activations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hepflows.observable import Measure

    Metrics = dict[str, dict[str, float]]

TRANSFORMS = ("spline", "affine")
CUT_VARIANTS = ("vnf", "exact")
MULTIPLES = (1, 10, 100)
CONDITION_JETS = 10_000
NEIGHBOURS = 2000
"""Generated and held-out jets whose nearest training jet is sought."""
CONSTRAINT_SAMPLES = 5
CONSTRAINT_ROWS = ("free", "made_exact", "difference")
"""Beside the floor."""
_LEAST = 10  # jets in a mass window that are worth a comparison


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Held-out jets, and how samples are compared with them."""

    reference: jg.Jets
    measure: Callable[[jg.Jets], Metrics]

    def __call__(self, sample: jg.Jets) -> dict[str, Any]:
        """The metrics of a sample, and how many jets stand behind them."""
        return {**sizes(self.reference, sample), "metrics": self.measure(sample)}


def transform(s: Settings) -> None:
    """CNF(m, n) with splines and with affine couplings, trained for the same time."""
    reference, real = s.held_out(), s.trained_on()
    measurer = Measurer(reference, seed=SEED, classifier=s.classifier)
    compare = Comparison(reference=reference, measure=measurer)
    for name in TRANSFORMS:
        cell = Cell(kind=s.kind, variant="cnf_mn", directory=s.place("transform", name))
        settings, n = (f"coupling.transform={name}",), s.generated or len(real)
        once(s, cell.directory, partial(_trained, s, cell, compare, n=n, settings=settings))
    once(s, s.place("transform", "floor"), partial(compare, real))


def constituents(s: Settings) -> None:
    """The masses of jets that are cut to their hardest constituents, without conditions and with the exact mass."""
    for particles in s.particles:
        place = s.place("constituents", str(particles))
        reference, real = s.held_out(particles=particles), s.trained_on(particles=particles)
        compare = Comparison(reference=reference, measure=partial(_masses, reference))
        for variant in CUT_VARIANTS:
            cell = Cell(kind=s.kind, variant=variant, directory=place / variant)
            n = s.generated or len(real)
            once(s, cell.directory, partial(_trained, s, cell, compare, n=n, particles=particles))
        once(s, place / "floor", partial(compare, real))


def condition(s: Settings) -> None:
    """How the masses of generated jets follow the conditions."""
    for cell in s.conditioned():
        once(s, s.place("condition", cell.variant), partial(_followed, s, cell))


def window(s: Settings) -> None:
    """Jets with conditions in a narrow window of the mass, against held-out jets in it."""
    cells = s.conditioned()
    reference, real = (_inside(jets, s.window) for jets in (s.held_out(), s.trained_on()))
    compare = Comparison(reference=reference, measure=partial(_shapes, numbers.shape_measures(reference)))
    place = s.place("window", f"{s.window[0]:g}-{s.window[1]:g}")
    once(s, place / "floor", partial(compare, real))
    for cell in cells:
        once(s, place / cell.variant, partial(_windowed, s, cell, compare, s.generated or len(real)))


def constraint(s: Settings) -> None:
    """The same network with its masses free and made exact, sample by sample of equal noise."""
    found = [cell for cell in s.conditioned() if cell.variant == "cnf_mn"]
    if not found:
        raise ConfigError("the study needs the generator cnf_mn", where=s.cells)
    place = s.place("constraint")
    if not all((place / name / "result.json").exists() for name in CONSTRAINT_ROWS):
        entries = _constrained(s, found[0])
        for name in CONSTRAINT_ROWS:
            once(s, place / name, partial(entries.__getitem__, name))
    reference, n = s.held_out(), s.generated or None
    compare = Comparison(reference=reference, measure=partial(_shapes, numbers.shape_measures(reference)))
    once(s, place / "floor", partial(compare, s.trained_on().select(slice(n))))


def oversampling(s: Settings) -> None:
    """Far more jets than the few that the generator knows, and whether it repeats those."""
    reference, every = s.held_out(), jg.read_jets(data_file(s.kind), part=TRAINED_PART)
    if len(every) <= s.first:
        raise ConfigError("too few jets in the file", where="--first", expected=f"< {len(every)}", found=s.first)
    known, others = every.select(slice(s.first)), every.select(slice(s.first, None))
    place = s.place("oversampling", str(s.first))
    compare = Comparison(reference=reference, measure=partial(_whole, reference))
    cell = Cell(kind=s.kind, variant="exact", directory=place / "exact")
    for multiple in MULTIPLES:
        n = multiple * s.first
        once(s, place / f"x{multiple}", partial(_trained, s, cell, compare, n=n, first=s.first))
    once(s, place / "memory", partial(_memory, cell, known, reference))
    once(s, place / "known", partial(compare, known))
    once(s, place / "others", partial(compare, others.select(slice(s.real))))


STUDIES: Mapping[str, Callable[[Settings], None]] = {
    "transform": transform,
    "constituents": constituents,
    "condition": condition,
    "window": window,
    "constraint": constraint,
    "oversampling": oversampling,
}


def _trained(
    s: Settings,
    cell: Cell,
    compare: Comparison,
    *,
    n: int,
    settings: Sequence[str] = (),
    particles: int | None = None,
    first: int | None = None,
) -> dict[str, Any]:
    """Train a cell unless it is trained, and compare n jets of it."""
    plan = train(
        cell,
        minutes=s.minutes,
        settings=(*s.overrides, *settings),
        particles=particles,
        first=first,
        reporter=terminal_reporter(),
    )
    generator = load(cell)
    generator.sample(n=1, seed=SEED)  # kernels compile at their first use
    began = time.process_time()
    jets = generator.sample(n=n, seed=SEED)
    sampling_ms = 1000 * (time.process_time() - began) / n
    return {"training": plan, "sampling_cpu_ms": sampling_ms, **compare(jets)}


def _followed(s: Settings, cell: Cell) -> dict[str, Any]:
    generator = load(cell)
    n = s.generated or CONDITION_JETS
    conditions = generator.draw_conditions(n, seed=SEED)
    found = numbers.mass_following(mass_deviation(generator.sample(conditions, seed=SEED)), seed=SEED)
    if generator.config.constraint == "exact":
        found |= numbers.miss_moments(numbers.mass_misses(generator, conditions, seed=SEED), seed=SEED)
    return {"n_sample": n, "metrics": numbers.entries(found)}


def _windowed(s: Settings, cell: Cell, compare: Comparison, n: int) -> dict[str, Any]:
    generator = load(cell)
    jets = generator.sample(generator.draw_conditions(n, seed=SEED, ranges={"mass": s.window}), seed=SEED)
    entry = compare(jets)
    inside = numbers.share(numbers.within(jets.mass_rel, s.window, tolerance=numbers.TOLERANCE))
    entry["metrics"] |= numbers.entries({"inside": inside})
    return entry


def _memory(cell: Cell, known: jg.Jets, reference: jg.Jets) -> dict[str, Any]:
    generator = load(cell)
    # the training sees mirror images as well, and might remember those
    seen = tagger_activations(numbers.with_mirror_images(known, generator.config.data.mirrors))
    samples = generator.sample(n=NEIGHBOURS, seed=SEED), reference.select(slice(NEIGHBOURS))
    ours, theirs = (numbers.nearest_distances(tagger_activations(jets), seen) for jets in samples)
    found = numbers.memorisation(ours, theirs, seed=SEED)
    return {"n_sample": len(ours), "n_reference": len(theirs), "metrics": numbers.entries(found)}


def _constrained(s: Settings, cell: Cell) -> dict[str, dict[str, Any]]:
    """Means over samples, with the deviation of the mean, of each generator and of the difference."""
    free = load(cell)
    made_exact, reference = free.with_exact_mass(), s.held_out()
    wanted, n = numbers.shape_measures(reference), s.generated or len(reference)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in CONSTRAINT_ROWS}
    for seed in range(SEED, SEED + CONSTRAINT_SAMPLES):
        for name, generator in (("free", free), ("made_exact", made_exact)):
            sample = numbers.shape_measures(generator.sample(n=n, seed=seed))
            found = numbers.compare_shapes(wanted, sample, seed=seed)
            rows[name].append({metric: estimate.value for metric, estimate in found.items()})
        one, two = rows["free"][-1], rows["made_exact"][-1]
        rows["difference"].append({name: two[name] - one[name] for name in one})
    return {
        name: {"n_sample": n, "samples": len(values), "metrics": numbers.entries(numbers.means(values))}
        for name, values in rows.items()
    }


def _masses(reference: jg.Jets, sample: jg.Jets) -> Metrics:
    return numbers.entries({"w1m": drawn_wasserstein(reference.mass_rel, sample.mass_rel, seed=SEED)})


def _shapes(reference: Sequence[Measure], sample: jg.Jets) -> Metrics:
    return numbers.entries(numbers.compare_shapes(reference, numbers.shape_measures(sample), seed=SEED))


def _whole(reference: jg.Jets, sample: jg.Jets) -> Metrics:
    return numbers.entries(numbers.exact_wasserstein(reference, sample, seed=SEED))


def _inside(jets: jg.Jets, masses: tuple[float, float]) -> jg.Jets:
    chosen = jets.select(numbers.within(jets.mass_rel, masses))
    if len(chosen) < _LEAST:
        raise DataError("too few jets in the mass window", where=masses, expected=f">= {_LEAST}", found=len(chosen))
    return chosen
