"""How the cases ended, by format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepflows.confined import Answer

COLUMNS = {
    "refused": "clear errors",
    "value": "accepted",
    "memory": "out of memory",
    "crash": "crashes in C",
    "hang": "hangs",
    "fault": "own tracebacks",
}


@dataclass(frozen=True)
class Finding:
    """A case that neither was accepted nor gave a clear error."""

    specimen: str
    number: int
    mutation: str
    kind: str
    text: str


@dataclass(frozen=True)
class Tally:
    """Numbers of outcomes by specimen, and what stood out."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, specimen: str, number: int, mutation: str, answer: Answer) -> None:
        """Count one answer."""
        self.counts.setdefault(specimen, Counter())[answer.kind] += 1
        if answer.kind not in ("value", "refused"):
            self.findings.append(Finding(specimen, number, mutation, answer.kind, answer.text))

    @property
    def n_faults(self) -> int:
        """Tracebacks of our own."""
        return sum(counter["fault"] for counter in self.counts.values())

    def table(self) -> str:
        """Markdown, one row a format."""
        rows = [["format", "cases", *COLUMNS.values()]]
        rows += [[name, str(counter.total()), *_numbers(counter)] for name, counter in self.counts.items()]
        total: Counter[str] = sum(self.counts.values(), Counter())
        rows.append(["all", str(total.total()), *_numbers(total)])
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        return "\n".join(lines)

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON holds it."""
        return {
            "counts": {name: dict(counter) for name, counter in self.counts.items()},
            "findings": [vars(finding) for finding in self.findings],
        }


def _numbers(counter: Counter[str]) -> list[str]:
    return [str(counter[kind]) for kind in COLUMNS]
