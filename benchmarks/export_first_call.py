"""The first event of an exported file in a fresh process: ``python -m benchmarks.export_first_call FILE INPUTS.npz``.

Prints the seconds of importing, of loading and of the first run, and the memory that the latter two took, as JSON;
`benchmarks.export` runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    began = time.perf_counter()
    import numpy as np

    from exporters.dependencies import require_runtime, run, session
    from hepflows.benchmarking.memory import peak_growth_mib

    require_runtime()
    seconds = {"import_s": time.perf_counter() - began}
    inputs = np.load(arguments.inputs)
    cond, noise = inputs["cond"], inputs["noise"]

    def first_run() -> None:
        start = time.perf_counter()
        loaded = session(str(arguments.file), threads=arguments.threads)
        seconds["load_s"] = time.perf_counter() - start
        start, cpu = time.perf_counter(), time.process_time()
        run(loaded, cond, noise)
        seconds["first_call_s"] = time.perf_counter() - start
        seconds["first_call_cpu_s"] = time.process_time() - cpu

    peak = peak_growth_mib(first_run)
    if peak is not None:
        seconds["peak_mib"] = peak
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main()
