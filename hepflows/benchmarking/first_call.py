"""The first event of a saved generator in a fresh process: ``python -m hepflows.benchmarking.first_call ARTEFACT``.

Prints the seconds of importing, of loading and of the first event as JSON; `startup.measure_startup` runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Load and sample once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    began = time.perf_counter()
    from hepflows.benchmarking.artefact import conditions_inside
    from hepflows.commands.options import apply_threads
    from hepflows.registry import load

    apply_threads(arguments.threads)
    imported = time.perf_counter()
    generator = load(arguments.artefact, device=arguments.device)
    loaded, cpu_loaded = time.perf_counter(), time.process_time()
    generator.sample(conditions_inside(generator, 1), n=1, seed=1)
    first = time.perf_counter()
    seconds = {
        "import_s": imported - began,
        "load_s": loaded - imported,
        "first_call_s": first - loaded,
        "first_call_cpu_s": time.process_time() - cpu_loaded,
    }
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main()
