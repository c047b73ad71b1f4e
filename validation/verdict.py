"""What a report says first: a few sentences on each sample, and the gates that it fails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from validation.headline import number

if TYPE_CHECKING:
    from validation.comparison import Comparison
    from validation.gates import GateOutcome

SHOWN: Final = 5
"""Failed gates that are named at once; the others stand in a table that opens."""


@dataclass(frozen=True, kw_only=True)
class SampleVerdict:
    """The verdict on one sample; `failed` has the gates farthest beyond their limit first."""

    name: str
    sentence: str
    gates: int
    failed: tuple[GateOutcome, ...]

    @property
    def worst(self) -> str:
        """The failed gates farthest beyond their limits, in words."""
        texts = [f"{gate.metric} ({_beyond(gate)})" for gate in self.failed[:SHOWN]]
        more = len(self.failed) - SHOWN
        return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


def verdicts(comparison: Comparison) -> list[SampleVerdict]:
    """The verdict on each sample."""
    found = []
    for name in comparison.samples:
        gates = [gate for gate in comparison.gates if gate.sample == name]
        failed = sorted((gate for gate in gates if not gate.passed), key=_severity, reverse=True)
        found.append(
            SampleVerdict(name=name, sentence=_sentence(comparison, name), gates=len(gates), failed=tuple(failed))
        )
    return found


def _sentence(comparison: Comparison, name: str) -> str:
    """What the numbers of a sample say at this sample size."""
    metrics = comparison.samples[name]
    separations = [m for key, m in metrics.items() if key.startswith("separation_") and key != "separation_mean"]
    close = sum(m.pull() <= 3 for m in separations)
    text = f"{close} of {len(separations)} distributions agree with the floor within 3 standard errors"
    tests = {key: m for key, m in metrics.items() if key == "auc" or key.startswith("auc_")}
    if tests:
        worst = max(tests, key=lambda key: tests[key].value)
        kind = {"auc": "network", "auc_gbt": "boosted trees"}.get(worst, f"{worst.removeprefix('auc_')} inputs")
        inputs = f"sharpest classifier ({kind})" if len(tests) > 1 else "classifier"
        text += f"; the {inputs} reaches "
        text += f"AUC {number(tests[worst].value, tests[worst].error)}, floor {tests[worst].floor:.3f}"
    return f"{text}."


def _severity(gate: GateOutcome) -> float:
    if math.isnan(gate.excess):
        return math.inf
    return gate.excess / gate.limit if gate.limit > 0 else math.inf


def _beyond(gate: GateOutcome) -> str:
    if gate.unmeasured:
        return f"not measured: {gate.unmeasured}"
    severity = _severity(gate)
    if math.isfinite(severity):
        return f"{severity:.3g} times the limit"
    return f"{gate.excess:.3g}, allowed {gate.limit:.3g}"
