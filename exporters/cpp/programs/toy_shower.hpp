// A stand-in for the host's full simulation: a few lines instead of Geant4. It deposits the energy of a particle in
// many steps whose depth follows a gamma distribution and whose distance from the axis is exponential. It resembles a
// shower enough to fill the same cells, and is no simulation of any detector.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "hepflows/geometry.hpp"
#include "hepflows/philox.hpp"

namespace host {

class ToyShower {
 public:
  explicit ToyShower(const hepflows::Geometry& geometry) : geometry_(geometry) {
    // Where the data do not tell the depth of the layers, all are taken as equally deep.
    for (const hepflows::Layer& layer : geometry.layers()) known_ = known_ && std::isfinite(layer.z());
    front_ = known_ ? geometry.layers().front().z_front : 0.0;
    depth_ = known_ ? geometry.layers().back().z_back - front_ : static_cast<double>(geometry.layers().size());
    for (const hepflows::Layer& layer : geometry.layers())
      width_ = std::max({width_, std::abs(layer.first_edges.back()), std::abs(layer.second_edges.back())});
  }

  // Adds the shower to the energies of all cells; what leaves the calorimeter is lost.
  void simulate(double energy_gev, hepflows::PhiloxEngine& engine, std::vector<double>& energies_mev) const {
    constexpr int steps = 400;
    constexpr double rate = 0.5, radiation_lengths = 25.0;
    // The maximum moves deeper with the logarithm of the energy. A whole shape parameter, so that a gamma-distributed
    // number is a sum of exponential ones.
    const int shape = 3 + static_cast<int>(std::max(0.0, std::log(1e3 * energy_gev / 10.0)) * rate);
    for (int step = 0; step < steps; ++step) {
      double product = 1.0;
      for (int i = 0; i < shape; ++i) product *= engine.flat();
      const double z = -std::log(product) / rate / radiation_lengths * depth_;
      const double radius = -std::log(engine.flat()) * 0.1 * width_;
      const double angle = 2.0 * std::acos(-1.0) * engine.flat();
      const std::size_t layer = layer_at(z);
      if (layer == hepflows::Geometry::kNone) continue;
      const std::size_t cell = geometry_.find(layer, radius * std::cos(angle), radius * std::sin(angle));
      if (cell != hepflows::Geometry::kNone) energies_mev[cell] += 1e3 * energy_gev / steps;
    }
  }

 private:
  std::size_t layer_at(double z) const {
    const auto& layers = geometry_.layers();
    if (!known_) return z < depth_ ? static_cast<std::size_t>(z) : hepflows::Geometry::kNone;
    for (std::size_t i = 0; i < layers.size(); ++i)
      if (front_ + z >= layers[i].z_front && front_ + z < layers[i].z_back) return i;
    return hepflows::Geometry::kNone;
  }

  const hepflows::Geometry& geometry_;
  bool known_ = true;
  double front_ = 0.0, depth_ = 0.0, width_ = 0.0;
};

}  // namespace host
