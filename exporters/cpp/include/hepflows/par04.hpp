// The encoding of the profile par04 (docs/par04.md): how Geant4's example asks for a shower, and how it reads one.
//
// Columns: energy over a largest energy, angle over 90 degrees, 0 and 1. Output: fractions of the energy in the cells
// of one regular cylindrical mesh, z running fastest, then phi, then r; the geometry's cells run the other way round.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "hepflows/error.hpp"
#include "hepflows/json.hpp"
#include "hepflows/metadata.hpp"

namespace hepflows {

struct Par04Encoding {
  static constexpr std::size_t kColumns = 4;

  float max_energy_gev = 0.0F;
  float theta_max = 0.0F;  // in the unit of the condition; 0 if the generator has no angle
  float lowest_energy_gev = 0.0F, highest_energy_gev = 0.0F;
  std::size_t n_r = 0, n_phi = 0, n_z = 0;

  // From the metadata entry `encoding`.
  static Par04Encoding from(const Metadata& metadata, const std::string& name) {
    const std::string where = name + ": hepflows.encoding";
    const Json& entry = metadata.all.at("encoding", name);
    const std::vector<double> range = entry.at("energy_range_gev", where).numbers(where + ".energy_range_gev");
    const std::vector<Json>& mesh = entry.at("mesh", where).array(where + ".mesh");
    Par04Encoding result;
    result.max_energy_gev = static_cast<float>(entry.at("max_energy_gev", where).number(where + ".max_energy_gev"));
    result.theta_max = static_cast<float>(entry.at("theta_max", where).number(where + ".theta_max"));
    const auto damaged = [&where](const char* expected) {
      return FileError("the encoding of the profile par04 is damaged", where, expected, {},
                       "use a file written by `hepflows export`");
    };
    if (range.size() != 2 || !(range[0] <= range[1])) throw damaged("energy_range_gev: [low, high], low <= high");
    if (!(result.max_energy_gev > 0.0F)) throw damaged("max_energy_gev: a positive number");
    if (!(result.theta_max >= 0.0F) || metadata.conditions.size() != (result.theta_max > 0.0F ? 2 : 1))
      throw damaged("an energy, and an angle if theta_max is not 0");
    if (metadata.condition_columns != kColumns) throw damaged("four columns beside the noise");
    if (mesh.size() != 3) throw damaged("mesh: [n_r, n_phi, n_z]");
    result.lowest_energy_gev = static_cast<float>(range[0]);
    result.highest_energy_gev = static_cast<float>(range[1]);
    result.n_r = mesh[0].size(where + ".mesh");
    result.n_phi = mesh[1].size(where + ".mesh");
    result.n_z = mesh[2].size(where + ".mesh");
    std::size_t rest = metadata.output_width;  // divided, since a product of wrong sizes may wrap around
    for (const std::size_t size : {result.n_r, result.n_phi, result.n_z}) {
      if (size == 0 || rest % size != 0) throw damaged("mesh: as many cells as outputs");
      rest /= size;
    }
    if (rest != 1) throw damaged("mesh: as many cells as outputs");
    return result;
  }

  std::size_t conditions() const { return theta_max > 0.0F ? 2 : 1; }
  std::size_t cells() const { return n_r * n_phi * n_z; }

  // Columns (n, 4) of the graph from physical conditions (n, C).
  void columns(const float* cond, std::size_t n, float* out) const {
    for (std::size_t row = 0; row < n; ++row, cond += conditions(), out += kColumns) {
      out[0] = cond[0] / max_energy_gev;
      out[1] = theta_max > 0.0F ? cond[1] / theta_max : 0.0F;
      out[2] = 0.0F;
      out[3] = 1.0F;
    }
  }

  // Energies in MeV (n, V) in the order of the geometry from fractions (n, V) in the order of the mesh.
  void voxels_mev(const float* fractions, const float* cond, std::size_t n, float* out) const {
    for (std::size_t row = 0; row < n; ++row, cond += conditions(), fractions += cells()) {
      // the graph gives fractions of the energy that it has clamped
      const float energy_mev = std::clamp(cond[0], lowest_energy_gev, highest_energy_gev) * 1000.0F;
      for (std::size_t z = 0; z < n_z; ++z)
        for (std::size_t phi = 0; phi < n_phi; ++phi)
          for (std::size_t r = 0; r < n_r; ++r) *out++ = fractions[(r * n_phi + phi) * n_z + z] * energy_mev;
    }
  }
};

}  // namespace hepflows
