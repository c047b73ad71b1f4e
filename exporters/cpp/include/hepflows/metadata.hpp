// What an exported model says about itself: the metadata inside the file, and the manifest beside it.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "hepflows/error.hpp"
#include "hepflows/files.hpp"
#include "hepflows/json.hpp"
#include "hepflows/sha256.hpp"

namespace hepflows {

// Version of the contract (metadata `contract_version`) that this client reads.
inline constexpr int kContractVersion = 1;

// One column of the condition, with the range the generator was trained for.
struct Condition {
  std::string name;  // carries the unit, "incident_energy_gev" for example
  std::string unit;
  float low, high;
};

// Absolute differences, at three places of their distribution.
struct Quantiles {
  double median, p999, maximum;
};

// What the golden events must agree to.
struct GoldenBound {
  Quantiles differences;
  bool steps;  // whether a value that is zero on one side only is a fault by itself, or a difference like others
};

// What to do with conditions outside the valid range.
enum class OutOfRange { error, clamp, pass };

inline OutOfRange read_policy(const std::string& name, const std::string& where) {
  if (name == "error") return OutOfRange::error;
  if (name == "clamp") return OutOfRange::clamp;
  if (name == "pass") return OutOfRange::pass;
  throw FileError("unknown out-of-range policy", where, "error, clamp or pass", name);
}

// The metadata this client works with; `all` holds every entry.
struct Metadata {
  Json all;
  std::string profile;  // "generic" or "par04"
  std::string task;     // "calofast", "jetgen", or empty
  std::vector<Condition> conditions;
  OutOfRange out_of_range = OutOfRange::error;
  std::size_t noise_width = 0;
  std::size_t condition_columns = 0;  // of the graph: in the profile par04 not those of `conditions`
  std::size_t output_width = 0;  // of an event, its weight not counted
  bool weighted = false;         // whether the graph has a second output, `weight`
  std::string output_unit;
  double threshold_mev = 0.0;  // smaller energies are zero already

  // `all` is an object of all entries, named without the prefix "hepflows.".
  static Metadata from(Json all, const std::string& where) {
    Metadata result;
    const auto place = [&where](const char* key) { return where + ": hepflows." + key; };
    const Json& version = all.at("contract_version", where);
    if (version.number(place("contract_version")) != kContractVersion)
      throw FileError("another version of the contract", place("contract_version"), std::to_string(kContractVersion),
                      to_text(version.number(where)),
                      "use the headers of the hepflows that wrote the file, or export the generator again");
    result.profile = all.at("profile", where).text(place("profile"));
    if (result.profile != "generic" && result.profile != "par04")
      throw FileError("unknown profile", place("profile"), "generic or par04", result.profile);
    const Json& task = all.at("task", where);
    if (!task.is_null()) result.task = task.text(place("task"));
    for (const Json& entry : all.at("conditions", where).array(place("conditions")))
      result.conditions.push_back(condition(entry, place("conditions")));
    result.out_of_range = read_policy(all.at("out_of_range", where).text(place("out_of_range")), place("out_of_range"));
    result.noise_width = all.at("noise", where).at("width", place("noise")).size(place("noise.width"));
    const Json& io = all.at("io", where);
    std::size_t inputs = 0;
    for (const Json& entry : io.at("inputs", place("io")).array(place("io.inputs")))
      inputs += entry.at("width", place("io.inputs")).size(place("io.inputs.width"));
    if (inputs < result.noise_width)
      throw FileError("the inputs are narrower than the noise", place("io.inputs"),
                      std::to_string(result.noise_width) + " columns or more", std::to_string(inputs));
    result.condition_columns = inputs - result.noise_width;
    const auto& outputs = io.at("outputs", place("io")).array(place("io.outputs"));
    result.weighted = outputs.size() == 2;
    if (outputs.size() != 1 &&
        !(result.weighted && outputs[1].at("name", place("io.outputs")).text(place("io.outputs.name")) == "weight"))
      throw FileError("outputs that this client does not know", place("io.outputs"), "x, or x and weight",
                      std::to_string(outputs.size()) + " outputs",
                      "use the headers of the hepflows that wrote the file, or export the generator again");
    result.output_width = outputs[0].at("width", place("io.outputs")).size(place("io.outputs.width"));
    const Json& output = all.at("output", where);
    if (!output.get("unit").is_null()) result.output_unit = output.get("unit").text(place("output.unit"));
    const Json& threshold = all.at("threshold_mev", where);
    if (!threshold.is_null()) result.threshold_mev = threshold.number(place("threshold_mev"));
    result.all = std::move(all);
    return result;
  }

  // Largest differences from the golden events that are allowed.
  GoldenBound golden_bound(const std::string& where) const {
    const std::string place = where + ": hepflows.tolerance";
    const Json& tolerance = all.at("tolerance", where);
    return {bound_of(tolerance, place), tolerance.at("steps", place).boolean(place + ".steps")};
  }

  // The same of their weights.
  GoldenBound weight_bound(const std::string& where) const {
    const std::string place = where + ": hepflows.tolerance";
    return {bound_of(all.at("tolerance", where).at("weight", place), place + ".weight"), golden_bound(where).steps};
  }

 private:
  static Quantiles bound_of(const Json& entry, const std::string& place) {
    const Json& bound = entry.at("golden_bound", place);
    const auto number = [&](const char* key) { return bound.at(key, place).number(place + ".golden_bound." + key); };
    return {number("median"), number("p999"), number("maximum")};
  }

  static Condition condition(const Json& entry, const std::string& where) {
    const std::vector<double> range = entry.at("valid_range", where).numbers(where);
    if (range.size() != 2 || !(std::isfinite(range[0]) && std::isfinite(range[1]) && range[0] <= range[1]))
      throw FileError("a condition has no valid range", where, "valid_range: [low, high], finite, low <= high");
    return {entry.at("name", where).text(where), entry.at("unit", where).text(where), static_cast<float>(range[0]),
            static_cast<float>(range[1])};
  }
};

// Refuses or clamps conditions (n, C), row by row in `cond`, as the policy says.
inline void apply_policy(float* cond, std::size_t n, const std::vector<Condition>& valid, OutOfRange policy) {
  if (policy == OutOfRange::pass) return;
  for (std::size_t row = 0; row < n; ++row) {
    for (std::size_t column = 0; column < valid.size(); ++column) {
      float& value = cond[row * valid.size() + column];
      const Condition& range = valid[column];
      if (value >= range.low && value <= range.high) continue;
      const bool nan = std::isnan(value);
      if (policy == OutOfRange::error || nan)
        throw ConditionError(range.name + (nan ? " is not a number" : " lies outside the valid range"),
                             "event " + std::to_string(row),
                             to_text(range.low) + " ... " + to_text(range.high) + " " + range.unit, to_text(value),
                             nan ? "give a number" : "stay inside the range, or choose the policy OutOfRange::clamp");
      value = value < range.low ? range.low : range.high;
    }
  }
}

// The manifest <name>.manifest.json.
struct Manifest {
  Json all;
  std::string model_sha256, golden_sha256;

  static Manifest read(const std::string& path) {
    const std::string remedy = "keep the manifest beside the model, as `hepflows export` wrote it";
    Manifest result;
    result.all = Json::parse(read_file(path, "manifest", remedy), path);
    const std::string schema = result.all.at("schema", path).text(path + ": schema");
    if (schema != "hepflows-manifest/1")
      throw FileError("not a manifest of this version", path, "hepflows-manifest/1", schema, remedy);
    result.model_sha256 = result.all.at("model", path).at("sha256", path + ": model").text(path + ": model.sha256");
    result.golden_sha256 = result.all.at("golden", path).at("sha256", path + ": golden").text(path + ": golden.sha256");
    return result;
  }
};

inline void check_hash(const std::string& data, const std::string& path, const std::string& expected) {
  const std::string found = sha256(data.data(), data.size());
  if (found != expected)
    throw FileError("the file is not the one that was exported", path, "SHA-256 " + expected, found,
                    "copy it again, or export the generator again");
}

}  // namespace hepflows
