"""Make jetgen/data/top.h5, the jets that come with the package, from the project's Pythia file.

Usage: python examples/make_embedded_jets.py --data t.hdf5 --out jetgen/data/top.h5

Takes entries 0, 5, 10 ... 39995, so none of the last 20 % of the 49999 jets, which are kept for published
tables, and rounds the coordinates of the constituents to 14 bits of mantissa (relative error below 3.1e-5), so
that the file compresses to 2 MB. Rounding is monotonic: falling pT stays falling.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from jetgen.reading import read_jets
from jetgen.writing import write_jets

N_JETS = 8000
STRIDE = 5
MANTISSA_BITS = 14


def round_mantissa(values: np.ndarray, bits: int) -> np.ndarray:
    """Round to `bits` binary digits after the leading one, to nearest, ties to even."""
    mantissa, exponent = np.frexp(values.astype(np.float64))  # mantissa in [0.5, 1)
    scale = 2.0 ** (bits + 1)
    return np.ldexp(np.rint(mantissa * scale) / scale, exponent).astype(np.float32)


def main() -> None:
    """Read, thin out, round, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the file of 49999 top jets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()

    jets = read_jets(arguments.data, first=N_JETS * STRIDE, kind="t").select(slice(None, None, STRIDE))
    rounded = replace(
        jets,
        eta_rel=round_mantissa(jets.eta_rel, MANTISSA_BITS),
        phi_rel=round_mantissa(jets.phi_rel, MANTISSA_BITS),
        pt_rel=round_mantissa(jets.pt_rel, MANTISSA_BITS),
        provenance={
            "generator": jets.provenance["generator"],
            "selection": f"entries 0, {STRIDE}, {2 * STRIDE} ... of the source file, {N_JETS} jets",
            "rounding": f"coordinates of the constituents rounded to {MANTISSA_BITS} bits of mantissa",
        },
    )
    write_jets(rounded, arguments.out, force=arguments.force)
    change = np.abs(rounded.mass_rel / jets.mass_rel - 1)
    print(f"{len(rounded)} jets, {arguments.out.stat().st_size / 1e6:.2f} MB, ordered: {rounded.is_ordered}")
    print(f"relative change of the relative mass: median {np.median(change):.1e}, largest {change.max():.1e}")


if __name__ == "__main__":
    main()
