// Rows of a generator's output as physics objects: hits of a shower, constituents of a jet.
#pragma once

#include <cstddef>
#include <vector>

#include "hepflows/geometry.hpp"

namespace hepflows {

// A calorimeter cell with energy.
struct Hit {
  std::size_t cell;  // column of the output
  int layer;
  double x_mm, y_mm, z_mm;  // centre of the cell, see geometry.hpp
  float energy_mev;
};

// Appends the hits of one shower, `energies_mev` of one row: cells with energy, and not below the threshold.
inline void append_hits(const float* energies_mev, const Geometry& geometry, double threshold_mev,
                        std::vector<Hit>& hits) {
  const std::vector<Cell>& cells = geometry.cells();
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const float energy = energies_mev[i];
    if (!(energy > 0.0F && energy >= static_cast<float>(threshold_mev))) continue;
    hits.push_back({i, cells[i].layer, cells[i].x_mm, cells[i].y_mm, cells[i].z_mm, energy});
  }
}

// A constituent of a jet, relative to the jet's axis and transverse momentum.
struct Constituent {
  float eta_rel, phi_rel, pt_rel;
};

// Constituents of one jet, in falling order of pT, from a row of 4 P numbers: eta_rel, phi_rel, pt_rel and mask of each
// of P slots. Empty slots (mask 0) are left out.
inline std::vector<Constituent> constituents(const float* row, std::size_t width) {
  std::vector<Constituent> result;
  for (std::size_t i = 0; i + 4 <= width; i += 4)
    if (row[i + 3] > 0.5F) result.push_back({row[i], row[i + 1], row[i + 2]});
  return result;
}

}  // namespace hepflows
