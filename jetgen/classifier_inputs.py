"""Feature matrices of the classifier test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from jetgen.energy_flow import PRIME_GRAPHS, energy_flow
from jetgen.jet_shapes import jet_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jetgen.jets import Jets

_TINY: Final = 1e-12  # keeps logarithms finite: of polynomials that vanish for few constituents


def feature_matrix(jets: Jets) -> NDArray[np.float32]:
    """Constituents in falling order of pT, then mass, multiplicity, shapes and prime energy-flow polynomials.

    Args:
        jets: N jets of up to P constituents.

    Returns:
        Shape (N, 4 P + 15), all of order one. A constituent has 5 eta_rel, 5 phi_rel, log10(pT_rel) / 2 + 1 and 1; an
        empty slot four zeros. A multi-layer perceptron learns shapes badly from single constituents, hence both.
    """
    ordered = jets.ordered()
    present = ordered.mask.astype(np.float32)
    log_pt = np.log10(np.maximum(ordered.pt_rel, _TINY)) / 2 + 1
    columns = np.stack([5 * ordered.eta_rel, 5 * ordered.phi_rel, log_pt * present, present], axis=2)
    shapes = jet_shapes(jets)
    ratios = np.stack([shapes.tau_ratio(2), shapes.tau_ratio(3)], axis=1)
    polynomials = np.log10(energy_flow(jets, tuple(PRIME_GRAPHS.values())) + _TINY) / 4 + 1
    high = np.concatenate(
        [
            10 * jets.mass_rel[:, None],
            jets.multiplicity[:, None] / jets.n_slots,
            10 * (1 - shapes.pt_sum[:, None]),
            10 * shapes.width[:, None],
            shapes.dispersion[:, None],
            10 * shapes.tau,
            np.nan_to_num(ratios),
            polynomials,
        ],
        axis=1,
    )
    return np.concatenate([columns.reshape(len(jets), -1), high], axis=1, dtype=np.float32)
