"""Built-in commands. Each module holds one; it imports what it needs when it is called."""

from __future__ import annotations

BUILT_IN = {
    "inspect": "hepflows.commands.inspect:inspect",
    "fetch": "hepflows.commands.fetch:fetch",
    "train": "hepflows.commands.train:train",
    "distill": "hepflows.commands.distill:distill",
    "refine": "hepflows.commands.refine:refine",
    "generate": "hepflows.commands.generate:generate",
    "merge": "hepflows.commands.merge:merge",
    "models": "hepflows.commands.models:models",
    "morph": "hepflows.commands.morph:morph",
    "manifold": "hepflows.commands.manifold:manifold",
    "benchmark": "hepflows.commands.benchmark:benchmark",
    "demo": "hepflows.commands.demo:demo",
}
"""Names of commands and where their functions are."""
