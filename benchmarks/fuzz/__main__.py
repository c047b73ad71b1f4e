"""Give mutated files of every format to the readers, and count how that ends.

python -m benchmarks.fuzz                                   20 000 cases
python -m benchmarks.fuzz --cases 500 --only showers.h5     one format
python -m benchmarks.fuzz --only calo.onnx --number 17      one case, which stays in --keep

Every case follows from --seed, the format's name and its number. Cases run one after the other in a child process
with limits of time and memory; when it dies or is killed, the case at fault is known, another child takes over, and
the case is tried once more alone. Exit code 1 if one of our own tracebacks was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fuzz.cases import make_case
from benchmarks.fuzz.report import Tally
from benchmarks.fuzz.specimens import make_specimens
from hepflows.confined import Limits, answers
from hepflows.errors import HepflowsError
from hepflows.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from benchmarks.fuzz.specimens import Specimen
    from hepflows.confined import Answer

READ = "benchmarks.fuzz.reading:read"
# processor time tells a hang from a busy machine
LIMITS = Limits(seconds=300.0, cpu_seconds=60.0, memory_mib=2048)
ROUNDS = 10
_PACKAGES = ("hepflows", "h5py", "uproot", "awkward", "pyarrow", "onnxruntime", "safetensors", "torch", "numpy")


class FuzzError(HepflowsError):
    """The run would tell nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000, help="of all formats together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="name of a format; may be repeated")
    parser.add_argument("--number", type=int, help="run this case alone")
    parser.add_argument("--specimens", type=Path, help="directory that keeps the valid files for the next run")
    parser.add_argument("--keep", type=Path, help="directory for the files of cases that stood out")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    _one_processor()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="hepflows-fuzz-") as folder:
        root = Path(folder)
        specimens = make_specimens(given.specimens or root / "specimens")
        chosen = [specimens[name] for name in given.only or specimens]
        numbers = shares(chosen, given.cases)
        if given.number is not None:
            numbers = {specimen.name: range(given.number, given.number + 1) for specimen in chosen}
        tally = Tally()
        try:
            for specimen in chosen:
                require_accepted(specimen)
        except FuzzError as error:
            sys.stderr.write(f"error: {error}\n")
            return error.exit_code
        for specimen, part in in_rounds(chosen, numbers):
            fuzz(specimen, part, seed=given.seed, folder=root, tally=tally, keep=given.keep)
            seconds = time.perf_counter() - start
            print(f"{specimen.name}: {dict(tally.counts[specimen.name])}, {seconds:.0f} s", flush=True)
            if given.json is not None:
                with atomic_file(given.json, force=True) as temporary:
                    temporary.write_text(json.dumps(tally.to_dict(), indent=1) + "\n", encoding="utf-8")
    print(tally.table())
    print(", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES) + f", Python {platform.python_version()}")
    for finding in tally.findings:
        print(f"{finding.kind}: {finding.specimen} --number {finding.number} ({finding.mutation})")
        print("  " + "\n  ".join(finding.text.strip().splitlines()[-3:]))
    return 1 if tally.n_faults else 0


def require_accepted(specimen: Specimen) -> None:
    """Raise `FuzzError` unless the readers take the file as it is: else no mutation of it would tell anything."""
    request: JsonValue = {"name": specimen.name, "family": specimen.family, "path": str(specimen.path)}
    [answer] = answers(READ, [request], limits=LIMITS)
    if answer.kind != "value":
        raise FuzzError(
            "a valid file is refused", where=specimen.path, found=answer.text, remedy="choose new --specimens"
        )


def fuzz(
    specimen: Specimen, numbers: range, *, seed: int, folder: Path, tally: Tally, keep: Path | None = None
) -> None:
    """Run some cases of one format.

    Args:
        specimen: the format.
        numbers: which cases.
        seed: of all cases.
        folder: for the files, which are removed again.
        tally: where outcomes are counted.
        keep: where the files of cases that stand out are moved to.
    """
    mutations: dict[int, str] = {}

    def requests() -> Iterator[JsonValue]:
        for number in numbers:
            path, mutations[number] = make_case(specimen, seed=seed, number=number, folder=folder / str(number))
            yield {"name": specimen.name, "family": specimen.family, "path": str(path)}

    for number, found in zip(numbers, answers(READ, requests(), limits=LIMITS), strict=True):
        answer = found if found.kind not in ("crash", "hang") else _alone(specimen, folder / str(number), found)
        tally.add(specimen.name, number, mutations.pop(number), answer)
        if keep is not None and answer.kind not in ("value", "refused"):
            shutil.copytree(folder / str(number), keep / f"{specimen.name}-{number}", dirs_exist_ok=True)
        shutil.rmtree(folder / str(number))


def _alone(specimen: Specimen, folder: Path, first: Answer) -> Answer:
    """What the case does without the others before it; what it did after them, if it does nothing now."""
    request: JsonValue = {"name": specimen.name, "family": specimen.family, "path": str(folder / specimen.path.name)}
    [again] = answers(READ, [request], limits=LIMITS)
    return again if again.kind not in ("value", "refused") else first


def shares(specimens: Sequence[Specimen], cases: int) -> dict[str, range]:
    """How many cases each format gets; together they are at least `cases`."""
    total = sum(specimen.share for specimen in specimens)
    return {specimen.name: range(-int(-cases * specimen.share // total)) for specimen in specimens}


def in_rounds(specimens: Sequence[Specimen], numbers: Mapping[str, range]) -> Iterator[tuple[Specimen, range]]:
    """A tenth of every format's cases, then the next tenth: a run that is stopped has seen all formats."""
    for turn in range(ROUNDS):
        for specimen in specimens:
            of = numbers[specimen.name]
            part = of[len(of) * turn // ROUNDS : len(of) * (turn + 1) // ROUNDS]
            if part:
                yield specimen, part


def _one_processor() -> None:
    """One thread in every library, and one processor for those that ask how many there are."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    sys.exit(main())
