// The golden file: noise, conditions and expected output, with which a host tests itself.
//
// Little-endian: 8 bytes magic, int64 N, C, Z, D, then float64 cond (N, C), noise (N, Z), expected (N, D), row by row.
// Of weighted events the last number of a row is the weight, and D counts it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "hepflows/error.hpp"
#include "hepflows/metadata.hpp"

namespace hepflows {

struct Golden {
  std::size_t events = 0;
  std::vector<float> cond, noise;  // float32 numbers, which the file holds as float64
  std::vector<double> expected;

  // From the bytes of a file.
  static Golden parse(const std::string& data, const std::string& where) {
    constexpr std::size_t header = 40, largest = std::size_t{1} << 40;
    if (data.size() < header || data.compare(0, 8, "HEPFLOW1") != 0)
      throw FileError("not a golden file of this version", where, "HEPFLOW1", data.substr(0, 8),
                      "export the generator again");
    std::array<std::size_t, 4> shape{};
    bool valid = true;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::uint64_t value = read_u64(data, 8 + 8 * i);
      valid = valid && value < largest && (i == 1 || value > 0);
      shape[i] = static_cast<std::size_t>(value);
    }
    const std::size_t row = shape[1] + shape[2] + shape[3];
    if (!valid || (data.size() - header) % 8 != 0 || (data.size() - header) / 8 / row != shape[0] ||
        (data.size() - header) / 8 % row != 0)
      throw FileError("golden file is truncated or altered", where, {}, std::to_string(data.size()) + " bytes",
                      "copy it again, or export the generator again");
    Golden golden;
    golden.events = shape[0];
    std::size_t at = header;
    const auto next = [&data, &at] {
      const std::uint64_t bits = read_u64(data, at);
      double value;
      std::memcpy(&value, &bits, sizeof value);
      at += 8;
      return value;
    };
    for (std::size_t i = 0; i < shape[0] * shape[1]; ++i) golden.cond.push_back(static_cast<float>(next()));
    for (std::size_t i = 0; i < shape[0] * shape[2]; ++i) golden.noise.push_back(static_cast<float>(next()));
    for (std::size_t i = 0; i < shape[0] * shape[3]; ++i) golden.expected.push_back(next());
    return golden;
  }

 private:
  static std::uint64_t read_u64(const std::string& data, std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value |= std::uint64_t{static_cast<unsigned char>(data[at + i])} << (8 * i);
    return value;
  }
};

// How the output of this host agrees with the golden events.
struct SelfTest {
  std::size_t events = 0;
  Quantiles differences{};  // over all events that count
  std::size_t flips = 0;    // values that are zero on one side only
  Quantiles bound{};
  std::optional<Quantiles> weight_differences, weight_bound;  // of weighted events
  std::vector<std::string> failures;                          // what lies outside the tolerance, in words

  bool passed() const { return failures.empty(); }
};

// Compares the columns first ... last - 1 of rows of output with the expected ones. Where the output has steps, events
// in which a value is zero on one side only are counted as flips and left out of the differences; golden events keep off
// every step, so that none is excused.
inline SelfTest compare_with_golden(const std::vector<float>& x, const Golden& golden, const GoldenBound& bound,
                                    std::size_t first, std::size_t last) {
  SelfTest result;
  result.events = golden.events;
  result.bound = bound.differences;
  const std::size_t width = golden.expected.size() / golden.events;
  std::vector<double> differences;
  for (std::size_t row = 0; row < golden.events; ++row) {
    std::size_t flips = 0;
    for (std::size_t i = row * width; i < (row + 1) * width; ++i)
      flips += bound.steps && (x[i] == 0.0F) != (golden.expected[i] == 0.0) ? 1 : 0;
    result.flips += flips;
    if (flips > 0) continue;  // a flip may change the rest of its layer with it
    for (std::size_t i = row * width + first; i < row * width + last; ++i) {
      const double difference = std::abs(static_cast<double>(x[i]) - golden.expected[i]);
      differences.push_back(std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference);
    }
  }
  if (differences.empty()) differences.push_back(std::numeric_limits<double>::infinity());
  std::sort(differences.begin(), differences.end());
  const auto quantile = [&differences](double q) {
    return differences[static_cast<std::size_t>(q * static_cast<double>(differences.size() - 1))];
  };
  result.differences = {quantile(0.5), quantile(0.999), differences.back()};

  const auto check = [&result](const char* name, double value, double limit) {
    if (value <= limit) return;
    result.failures.push_back(std::string(name) + " " + to_text(value) + " > " + to_text(limit));
  };
  check("median", result.differences.median, result.bound.median);
  check("99.9 %", result.differences.p999, result.bound.p999);
  check("maximum", result.differences.maximum, result.bound.maximum);
  if (result.flips > 0) result.failures.push_back(std::to_string(result.flips) + " values are zero on one side only");
  return result;
}

}  // namespace hepflows
