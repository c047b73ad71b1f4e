// A generator exported by hepflows, in a C++ program: header-only, C++17, needs ONNX Runtime and nothing else.
//
//   hepflows::Generator generator("eplus.onnx");
//   std::vector<float> x = generator.sample({10.0F, 50.0F}, 7);      // two showers of 10 and 50 GeV, seed 7
//   for (const hepflows::Hit& hit : generator.hits(x.data())) ...    // of the first one
//
// The same (seed, event index) gives the same event in any batch, and in Python, within the tolerance of the file. Not
// so from a file with int8 weights (`storage` of the metadata): its activations are quantised by the range that they
// have in the batch, so that an event depends a little on those sampled with it, and so on Options::batch, too.
// All errors are hepflows::Error. docs/embedding.md explains the files.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hepflows/engines.hpp"
#include "hepflows/error.hpp"
#include "hepflows/events.hpp"
#include "hepflows/files.hpp"
#include "hepflows/geometry.hpp"
#include "hepflows/golden.hpp"
#include "hepflows/metadata.hpp"
#include "hepflows/par04.hpp"
#include "hepflows/philox.hpp"
#include "hepflows/session.hpp"

namespace hepflows {

struct Options {
  int threads = 1;                         // of one operator; hosts mostly run events side by side
  bool optimise = true;                    // all graph optimisations, or none
  bool check = true;                       // compare the file with its manifest first
  std::size_t batch = 128;                 // events of one run; bounds the memory, and fits the caches
  std::optional<OutOfRange> out_of_range;  // by default what the file says
};

// Events with their weights: rows of output one after the other, and a weight for each event.
struct WeightedEvents {
  std::vector<float> x, weights;
};

// One generator. `run`, `generate` and all const members may be called from several threads; `sample` and `sample_with`
// keep buffers, so give each thread a generator of its own or a lock.
class Generator {
 public:
  // Opens <name>.onnx and compares it with <name>.manifest.json beside it.
  explicit Generator(const std::string& path, Options options = {})
      : Generator(read_file(path, "model"), path, options, options.check ? Names::of(path).manifest : "") {}

  // Opens a model from memory, as it may be stored in another file; `name` is for messages. A host that wants the bytes
  // checked compares sha256(data, size) with the one in the manifest.
  static Generator from_bytes(const void* data, std::size_t size, const std::string& name = "model in memory",
                              Options options = {}) {
    return Generator(std::string(static_cast<const char*>(data), size), name, options, "");
  }

  const Metadata& metadata() const { return metadata_; }
  const std::vector<Condition>& conditions() const { return metadata_.conditions; }
  std::size_t noise_width() const { return metadata_.noise_width; }
  std::size_t output_width() const { return metadata_.output_width; }
  bool weighted() const { return metadata_.weighted; }  // then see sample_weighted()

  // Throws ConditionError if conditions, as `sample` takes them, lie outside the valid range.
  void check_conditions(std::vector<float> conditions) const {
    apply_policy(conditions.data(), rows_of(conditions), metadata_.conditions, OutOfRange::error);
  }

  // One event a row of `conditions` (n, C) in the units of conditions(); rows of output, one after the other.
  // Event i takes the noise of event first_event + i of the seed. A generator without conditions: see run().
  // From a file of the profile par04 these are, as from others, energies in MeV in the order of the geometry.
  // Weighted events are refused: without their weights they follow another distribution.
  std::vector<float> sample(const std::vector<float>& conditions, std::uint64_t seed, std::uint64_t first_event = 0) {
    require_plain();
    return sample_weighted(conditions, seed, first_event).x;
  }

  // The same with noise from the host's own random engine, see engines.hpp.
  template <class Engine>
  std::vector<float> sample_with(const std::vector<float>& conditions, Engine&& engine) {
    require_plain();
    return sample_weighted_with(conditions, std::forward<Engine>(engine)).x;
  }

  // Events and their weights, which are 1 where the file has none; otherwise as `sample`.
  WeightedEvents sample_weighted(const std::vector<float>& conditions, std::uint64_t seed,
                                 std::uint64_t first_event = 0) {
    return sample_batches(conditions, [&](std::size_t start, std::size_t n) {
      normal_noise(seed, first_event + start, n, noise_width(), noise_.data());
    });
  }

  template <class Engine>
  WeightedEvents sample_weighted_with(const std::vector<float>& conditions, Engine&& engine) {
    return sample_batches(conditions,
                          [&](std::size_t, std::size_t n) { fill_normals(engine, n * noise_width(), noise_.data()); });
  }

  // What `sample` gives, in the caller's memory and from the caller's noise: cond (n, C) in the units of conditions(),
  // noise (n, Z) to x (n, D), and weights (n), which may be null where the events have none. Nothing else is checked.
  // In the profile generic this is run(); in the profile par04 it encodes and decodes, and allocates memory for that.
  void generate(const float* cond, const float* noise, std::size_t n, float* x, float* weights = nullptr) const {
    if (!encoding_) return run(cond, noise, n, x, weights);
    std::vector<float> columns(n * Par04Encoding::kColumns), fractions(n * output_width());
    encoding_->columns(cond, n, columns.data());
    run(columns.data(), noise, n, fractions.data());
    encoding_->voxels_mev(fractions.data(), cond, n, x);
    if (weights != nullptr) std::fill_n(weights, n, 1.0F);
  }

  // One run of the graph in the caller's memory: cond (n, C), noise (n, Z) to x (n, D), as the graph gives it, and
  // weights (n), which may be null where the events have none. Nothing else is checked. cond is what the graph takes,
  // null if it takes none.
  //
  // In the profile generic nothing is copied. In the profile par04 cond are the four columns of its encoding and x are
  // fractions in the order of its mesh; since the graph takes one tensor, each call allocates it and copies noise and
  // columns into it.
  void run(const float* cond, const float* noise, std::size_t n, float* x, float* weights = nullptr) const {
    if (weights == nullptr) require_plain();
    if (n == 0) return;
    std::vector<float*> outputs = {x};
    if (weighted())
      outputs.push_back(weights);
    else if (weights != nullptr)
      std::fill_n(weights, n, 1.0F);
    const std::size_t columns = metadata_.condition_columns;
    if (encoding_) {
      std::vector<float> packed;
      packed.reserve(n * (noise_width() + columns));
      for (std::size_t i = 0; i < n; ++i) {
        packed.insert(packed.end(), noise + i * noise_width(), noise + (i + 1) * noise_width());
        packed.insert(packed.end(), cond + i * columns, cond + (i + 1) * columns);
      }
      session_->run({packed.data()}, n, outputs, name_);
    } else if (columns > 0) {
      session_->run({cond, noise}, n, outputs, name_);
    } else {
      session_->run({noise}, n, outputs, name_);
    }
  }

  // The same, with the sizes checked.
  std::vector<float> run(const std::vector<float>& cond, const std::vector<float>& noise) const {
    require_plain();
    return run_weighted(cond, noise).x;
  }

  WeightedEvents run_weighted(const std::vector<float>& cond, const std::vector<float>& noise) const {
    const std::size_t n = noise.size() / noise_width();
    if (noise.size() != n * noise_width() || cond.size() != n * metadata_.condition_columns)
      throw ShapeError("conditions and noise do not fit together", name_,
                       std::to_string(metadata_.condition_columns) + " conditions and " +
                           std::to_string(noise_width()) + " normal numbers an event",
                       std::to_string(cond.size()) + " and " + std::to_string(noise.size()) + " numbers");
    WeightedEvents events{std::vector<float>(n * output_width()), std::vector<float>(n)};
    run(cond.data(), noise.data(), n, events.x.data(), events.weights.data());
    return events;
  }

  // The calorimeter behind the output.
  const Geometry& geometry() const {
    if (!geometry_)
      throw FileError("the model tells no cells", name_ + ": hepflows.geometry", "a calorimeter geometry of hepflows",
                      geometry_problem_, "export a generator of showers, or work with the output itself");
    return *geometry_;
  }

  // Hits of one shower, whose row of `sample` or `generate` starts at `row`; by default above the threshold of the
  // generator.
  std::vector<Hit> hits(const float* row, std::optional<double> threshold_mev = {}) const {
    std::vector<Hit> result;
    append_hits(row, geometry(), threshold_mev.value_or(metadata_.threshold_mev), result);
    return result;
  }

  // Runs the golden events. Without a path, the golden file beside the model, which must be the manifest's.
  SelfTest self_test(const std::string& golden_path = {}) const {
    const std::string path = golden_path.empty() ? Names::of(name_).golden : golden_path;
    const std::string data = read_file(path, "golden file", "keep it beside the model, or export the generator again");
    if (!golden_sha256_.empty()) check_hash(data, path, golden_sha256_);
    const Golden golden = Golden::parse(data, path);
    if (golden.cond.size() != golden.events * metadata_.condition_columns ||
        golden.noise.size() != golden.events * noise_width() ||
        golden.expected.size() != golden.events * (output_width() + (weighted() ? 1 : 0)))
      throw FileError("the golden file belongs to another model", path, {}, {}, "export the generator again");
    const WeightedEvents found = run_weighted(golden.cond, golden.noise);
    if (!weighted()) return compare_with_golden(found.x, golden, metadata_.golden_bound(name_), 0, output_width());
    std::vector<float> rows;
    for (std::size_t i = 0; i < golden.events; ++i) {
      const auto row = found.x.begin() + static_cast<std::ptrdiff_t>(i * output_width());
      rows.insert(rows.end(), row, row + static_cast<std::ptrdiff_t>(output_width()));
      rows.push_back(found.weights[i]);
    }
    SelfTest result = compare_with_golden(rows, golden, metadata_.golden_bound(name_), 0, output_width());
    const SelfTest weights =
        compare_with_golden(rows, golden, metadata_.weight_bound(name_), output_width(), output_width() + 1);
    result.weight_differences = weights.differences;
    result.weight_bound = weights.bound;
    for (const std::string& failure : weights.failures) result.failures.push_back("weight: " + failure);
    return result;
  }

 private:
  Generator(const std::string& data, const std::string& name, const Options& options, const std::string& manifest_path)
      : name_(name), options_(options) {
    if (options_.threads < 1 || options_.batch < 1)
      throw Error("threads and batch must be positive", "Options", "1 or more",
                  std::to_string(options_.threads) + " and " + std::to_string(options_.batch));
    std::optional<Manifest> manifest;
    if (!manifest_path.empty()) {
      manifest = Manifest::read(manifest_path);
      check_hash(data, name, manifest->model_sha256);
      golden_sha256_ = manifest->golden_sha256;
    }
    session_ = std::make_unique<Session>(data.data(), data.size(), name, options_.threads, options_.optimise);
    metadata_ = Metadata::from(session_->metadata(name), name);
    if (manifest && manifest->all.at("metadata", manifest_path) != metadata_.all)
      throw FileError("the manifest does not say what the model says about itself", manifest_path, {}, {},
                      "restore the manifest, or export the generator again");
    if (metadata_.profile == "par04") encoding_ = Par04Encoding::from(metadata_, name);
    check_tensors();
    read_geometry();
  }

  void check_tensors() const {
    std::vector<Tensor> expected;
    if (encoding_) {
      expected.push_back({"input", noise_width() + metadata_.condition_columns});
    } else {
      if (metadata_.condition_columns > 0) expected.push_back({"cond", metadata_.condition_columns});
      expected.push_back({"noise", noise_width()});
    }
    require_tensors("inputs", session_->inputs(), expected);
    std::vector<Tensor> outputs = {{"x", output_width()}};
    if (weighted()) outputs.push_back({"weight", 1});
    require_tensors("outputs", session_->outputs(), outputs);
    if (weighted() && encoding_)
      throw FileError("weighted events in the profile par04", name_, {}, {}, "use a file written by `hepflows export`");
    if (!encoding_ && metadata_.conditions.size() != metadata_.condition_columns)
      throw FileError("the conditions are not the columns of the graph", name_ + ": hepflows.conditions",
                      std::to_string(metadata_.condition_columns), std::to_string(metadata_.conditions.size()));
  }

  void require_plain() const {
    if (weighted())
      throw Error("the events of this file have weights, without which they follow another distribution", name_, {}, {},
                  "call sample_weighted() or run_weighted(), or give memory for the weights");
  }

  void require_tensors(const char* what, const std::vector<Tensor>& found, const std::vector<Tensor>& expected) const {
    const auto words = [](const std::vector<Tensor>& tensors) {
      std::string text;
      for (const Tensor& tensor : tensors)
        text += (text.empty() ? "" : ", ") + tensor.name + " (N, " + std::to_string(tensor.width) + ")";
      return text;
    };
    if (words(found) != words(expected))
      throw FileError(std::string("the ") + what + " are not those that the metadata name", name_, words(expected),
                      words(found), "use a file written by `hepflows export`");
  }

  // Other tasks have no cells, and other plug-ins may describe theirs in another way: then only hits() is missing.
  void read_geometry() {
    const Json& entry = metadata_.all.at("geometry", name_);
    if (entry.is_null()) {
      geometry_problem_ = "none";
    } else {
      try {
        geometry_ = Geometry::from(entry, "geometry");
        if (geometry_->cells().size() != output_width()) {
          geometry_problem_ =
              std::to_string(geometry_->cells().size()) + " cells, but " + std::to_string(output_width()) + " outputs";
          geometry_.reset();
        }
      } catch (const FileError& error) {
        geometry_problem_ = error.what();
        for (std::size_t at; (at = geometry_problem_.find("\n  ")) != std::string::npos;)
          geometry_problem_.replace(at, 3, "; ");
      }
    }
  }

  std::size_t rows_of(const std::vector<float>& conditions) const {
    const std::size_t columns = metadata_.conditions.size();
    if (columns == 0 || conditions.size() % columns != 0) {
      std::string names;
      for (const Condition& condition : metadata_.conditions)
        names += (names.empty() ? "" : ", ") + condition.name + " [" + condition.unit + "]";
      throw ShapeError(
          "conditions have the wrong shape", name_,
          columns == 0 ? "none: draw noise and call run()" : std::to_string(columns) + " numbers an event: " + names,
          std::to_string(conditions.size()) + " numbers");
    }
    return conditions.size() / columns;
  }

  template <class FillNoise>
  WeightedEvents sample_batches(const std::vector<float>& conditions, FillNoise fill_noise) {
    const std::size_t n = rows_of(conditions), columns = metadata_.conditions.size();
    cond_ = conditions;
    apply_policy(cond_.data(), n, metadata_.conditions, options_.out_of_range.value_or(metadata_.out_of_range));
    noise_.resize(std::min(n, options_.batch) * noise_width());
    WeightedEvents events{std::vector<float>(n * output_width()), std::vector<float>(n)};
    for (std::size_t start = 0; start < n; start += options_.batch) {
      const std::size_t size = std::min(options_.batch, n - start);
      fill_noise(start, size);
      generate(cond_.data() + start * columns, noise_.data(), size, events.x.data() + start * output_width(),
               events.weights.data() + start);
    }
    return events;
  }

  std::string name_;
  Options options_;
  std::string golden_sha256_;
  std::unique_ptr<Session> session_;
  Metadata metadata_;
  std::optional<Par04Encoding> encoding_;  // of the profile par04
  std::optional<Geometry> geometry_;
  std::string geometry_problem_;
  std::vector<float> cond_, noise_;  // kept between calls
};

}  // namespace hepflows
