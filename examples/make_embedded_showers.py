"""Make calofast/data/eplus.h5, the showers that come with the package, from the project's Geant4 file.

Usage: python examples/make_embedded_showers.py --data eplus.h5 --out calofast/data/eplus.h5

Takes every fourth of the first 16000 showers, so none of the last 20 % of the 22000, which are kept for
published tables, and rounds the deposits to 12 bits of mantissa (relative error below 1.3e-4), so that the
file compresses to 3 MB.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from calofast.reading import read_showers
from calofast.writing import write_showers

N_SHOWERS = 4000
STRIDE = 4
MANTISSA_BITS = 12


def round_mantissa(values: np.ndarray, bits: int) -> np.ndarray:
    """Round to `bits` binary digits after the leading one, to nearest, ties to even."""
    mantissa, exponent = np.frexp(values.astype(np.float64))  # mantissa in [0.5, 1)
    scale = 2.0 ** (bits + 1)
    return np.ldexp(np.rint(mantissa * scale) / scale, exponent).astype(np.float32)


def main() -> None:
    """Read, thin out, round, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the file of 22000 e+ showers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()

    showers = read_showers(arguments.data, first=N_SHOWERS * STRIDE).select(slice(None, None, STRIDE))
    with h5py.File(arguments.data, "r") as file:
        seconds = file["g4_seconds"][: N_SHOWERS * STRIDE : STRIDE, 0]
    if showers.overflow_mev is None:
        raise SystemExit("the file has no overflow")
    source = {key: text for key, text in showers.provenance.items() if key != "file"}
    write_showers(
        replace(
            showers,
            voxels_mev=round_mantissa(showers.voxels_mev, MANTISSA_BITS),
            overflow_mev=round_mantissa(showers.overflow_mev, MANTISSA_BITS),
            provenance={
                **source,
                "selection": f"entries 0, {STRIDE}, {2 * STRIDE} ... of the source file, {N_SHOWERS} showers",
                "rounding": f"deposits rounded to {MANTISSA_BITS} bits of mantissa",
                "geant4_cpu_seconds_mean": f"{float(np.mean(seconds)):.4f}",
            },
        ),
        arguments.out,
        force=arguments.force,
    )


if __name__ == "__main__":
    main()
