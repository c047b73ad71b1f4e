// Calorimeter geometry of an exported generator: the cells behind the columns of its output.
//
// Layers follow one another, front to back. In a `regular` layer y runs fastest; x and y are the midpoints of the bins.
// In a `cylindrical` layer r runs fastest, with equal bins of the angle alpha from -pi to pi; x = r cos alpha and
// y = r sin alpha at the midpoint of the bin. z is the middle of the layer, NaN where the data do not tell its depth.
// Lengths are in mm, in the generator's own frame: the shower axis lies along z through x = y = 0. A host places and
// rotates the cells.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "hepflows/error.hpp"
#include "hepflows/json.hpp"

namespace hepflows {

struct Layer {
  std::string name;
  bool cylindrical = false;
  std::vector<double> first_edges;                            // x [mm], or alpha [rad]
  std::vector<double> second_edges;                           // y or r [mm], running fastest
  double z_front = std::numeric_limits<double>::quiet_NaN();  // [mm]
  double z_back = std::numeric_limits<double>::quiet_NaN();
  std::size_t first_cell = 0;  // of all cells of the geometry

  std::size_t n_cells() const { return (first_edges.size() - 1) * (second_edges.size() - 1); }
  double z() const { return 0.5 * (z_front + z_back); }
};

// Centre of a cell.
struct Cell {
  int layer;
  double x_mm, y_mm, z_mm;
};

class Geometry {
 public:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  // From the metadata entry `geometry`.
  static Geometry from(const Json& document, const std::string& where) {
    Geometry result;
    for (const Json& entry : document.at("layers", where).array(where + ".layers")) {
      Layer layer = read_layer(entry, where + ".layers[" + std::to_string(result.layers_.size()) + "]");
      layer.first_cell = result.cells_.size();
      result.append_cells(layer);
      result.layers_.push_back(std::move(layer));
    }
    return result;
  }

  const std::vector<Layer>& layers() const { return layers_; }
  const std::vector<Cell>& cells() const { return cells_; }

  // The cell of a layer at a point, kNone if there is none.
  std::size_t find(std::size_t layer_index, double x_mm, double y_mm) const {
    const Layer& layer = layers_.at(layer_index);
    const double first = layer.cylindrical ? std::atan2(y_mm, x_mm) : x_mm;
    const double second = layer.cylindrical ? std::hypot(x_mm, y_mm) : y_mm;
    const std::size_t i = bin(layer.first_edges, first), j = bin(layer.second_edges, second);
    if (i == kNone || j == kNone) return kNone;
    return layer.first_cell + i * (layer.second_edges.size() - 1) + j;
  }

 private:
  static std::size_t bin(const std::vector<double>& edges, double value) {
    if (!(value >= edges.front() && value <= edges.back())) return kNone;
    const auto above = std::upper_bound(edges.begin(), edges.end(), value);
    const auto index = static_cast<std::size_t>(above - edges.begin());
    return std::min(index, edges.size() - 1) - 1;  // the last edge belongs to the last bin
  }

  static std::vector<double> read_edges(const Json& entry, const char* key, const std::string& where) {
    const std::string place = where + "." + key;
    std::vector<double> edges = entry.at(key, where).numbers(place);
    bool rise = edges.size() >= 2;
    for (std::size_t i = 1; i < edges.size(); ++i) rise = rise && edges[i] > edges[i - 1];
    if (!rise) throw FileError("edges must rise", place, "two or more rising numbers");
    return edges;
  }

  static Layer read_layer(const Json& entry, const std::string& where) {
    Layer layer;
    layer.name = entry.at("name", where).text(where + ".name");
    const std::string kind = entry.at("kind", where).text(where + ".kind");
    if (kind == "regular") {
      layer.first_edges = read_edges(entry, "x_edges_mm", where);
      layer.second_edges = read_edges(entry, "y_edges_mm", where);
    } else if (kind == "cylindrical") {
      layer.cylindrical = true;
      const std::size_t n = entry.at("n_alpha", where).size(where + ".n_alpha");
      if (n < 1 || n > 1000000) throw FileError("wrong number of angular bins", where + ".n_alpha", "1 or more");
      const double pi = std::acos(-1.0);
      for (std::size_t i = 0; i <= n; ++i)
        layer.first_edges.push_back(i == n ? pi : -pi + 2.0 * pi * static_cast<double>(i) / static_cast<double>(n));
      layer.second_edges = read_edges(entry, "r_edges_mm", where);
    } else {
      throw FileError("unknown kind of layer", where + ".kind", "regular or cylindrical", kind);
    }
    if (const Json& z = entry.get("z_mm"); !z.is_null()) {
      const std::vector<double> faces = z.numbers(where + ".z_mm");
      if (faces.size() != 2) throw FileError("wrong number of values", where + ".z_mm", "2");
      layer.z_front = faces[0];
      layer.z_back = faces[1];
    }
    return layer;
  }

  void append_cells(const Layer& layer) {
    for (std::size_t i = 0; i + 1 < layer.first_edges.size(); ++i) {
      for (std::size_t j = 0; j + 1 < layer.second_edges.size(); ++j) {
        const double first = 0.5 * (layer.first_edges[i] + layer.first_edges[i + 1]);
        const double second = 0.5 * (layer.second_edges[j] + layer.second_edges[j + 1]);
        const double x = layer.cylindrical ? second * std::cos(first) : first;
        const double y = layer.cylindrical ? second * std::sin(first) : second;
        cells_.push_back({static_cast<int>(layers_.size()), x, y, layer.z()});
      }
    }
  }

  std::vector<Layer> layers_;
  std::vector<Cell> cells_;
};

}  // namespace hepflows
