"""The first samples of the reference flow in a fresh process: ``python -m benchmarks.first_call``.

Prints the seconds of importing, of making the flow and of the first event as JSON; `benchmarks.sampling` runs it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import get_args


def main() -> None:
    began = time.perf_counter()
    import torch

    from benchmarks.architecture import Kind, autoregressive_flow, inputs
    from benchmarks.options import add_architecture, parse
    from benchmarks.sampling import shape_of

    options = parse("", None, batches=(1,), quick_batches=(1,), add=add_architecture)
    torch.set_num_threads(options.threads)
    seconds = {"import_s": time.perf_counter() - began}
    shape = shape_of(options)
    noise, context = inputs(shape.features, shape.context, 1, seed=options.seed)
    for kind in get_args(Kind):
        began = time.perf_counter()
        flow = autoregressive_flow(shape, kind, seed=options.seed)
        made, cpu_made = time.perf_counter(), time.process_time()
        with torch.no_grad():
            flow.sample(noise, context)
        seconds[f"{kind}_build_s"] = made - began
        seconds[f"{kind}_first_call_s"] = time.perf_counter() - made
        seconds[f"{kind}_first_call_cpu_s"] = time.process_time() - cpu_made
    for name in ("first_call_s", "first_call_cpu_s"):
        seconds[name] = sum(seconds[f"{kind}_{name}"] for kind in get_args(Kind))
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main()
