// The test vectors of docs/noise.md: integers and uniforms to the bit, normals within one unit in the last place.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.hpp"
#include "hepflows/philox.hpp"

namespace {

struct Vector {
  std::uint64_t seed, event;
  std::uint32_t element, word;
  double uniform;
  std::uint32_t normal_bits;
};

constexpr Vector kVectors[] = {
    {0u, 0u, 0, 0x6627e8d5, 0.3990464707603678, 0xbe82fa50},
    {0u, 0u, 1, 0xe169c58d, 0.8805201979121193, 0x3f96bb4f},
    {0u, 0u, 2, 0xbc57ac4c, 0.7357127844588831, 0x3f2153b7},
    {0u, 0u, 3, 0x9b00dbd8, 0.6054818538250402, 0x3e88fdeb},
    {1u, 0u, 0, 0xe3e80670, 0.8902591728838161, 0x3f9d2c14},
    {1u, 0u, 3, 0xb615aa27, 0.7112680765567347, 0x3f0e9da7},
    {1u, 0u, 4, 0xac08141b, 0.6719982688082382, 0x3ee41069},
    {7u, 0u, 0, 0xf4607a2d, 0.9545971261104569, 0x3fd87804},
    {7u, 0u, 1, 0xc009f9dc, 0.7501522219972685, 0x3f2ccac2},
    {7u, 0u, 2, 0x1d3aba42, 0.11417736171279103, 0xbf9a3097},
    {7u, 0u, 3, 0x15edac82, 0.08565786539111286, 0xbfaf1a3e},
    {7u, 255u, 0, 0x6f1fe007, 0.434080125647597, 0xbe29face},
    {7u, 255u, 1, 0xe74805bb, 0.9034427244914696, 0x3fa694f3},
    {7u, 256u, 0, 0x0cc3c9cd, 0.049862492247484624, 0xbfd2b64d},
    {7u, 256u, 5, 0x43265b99, 0.26230404374655336, 0xbf22e1d3},
    {7u, 256u, 506, 0xad167f39, 0.6761245265370235, 0x3ee9ed55},
    {18446744073709551615u, 4294967301u, 0, 0x536485a5, 0.32575259485747665, 0xbee74192},
    {18446744073709551615u, 4294967301u, 3, 0xd3e145d1, 0.8276561390375718, 0x3f71e7d1},
};

std::uint32_t bits(float value) {
  std::uint32_t result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

// Exact equality, which compilers rightly warn of elsewhere.
bool same(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

int main() {
  for (const Vector& vector : kVectors) {
    const auto words = hepflows::random_block(vector.seed, vector.event, vector.element / 4);
    CHECK(words[vector.element % 4] == vector.word);
    CHECK(same(hepflows::to_uniform(vector.word), vector.uniform));
    std::vector<float> row(vector.element + 1);
    hepflows::normal_noise(vector.seed, vector.event, 1, row.size(), row.data());
    CHECK(std::abs(static_cast<std::int64_t>(bits(row.back())) - static_cast<std::int64_t>(vector.normal_bits)) <= 1);
    hepflows::PhiloxEngine engine(vector.seed, vector.event, 0);
    double uniform = 0.0;
    for (std::uint32_t i = 0; i <= vector.element; ++i) uniform = engine.flat();
    CHECK(same(uniform, vector.uniform));
  }

  // Another stream: incident energies
  CHECK(hepflows::random_block(7, 0, 0, 0x45)[0] == 0x0cfbb0ca);
  CHECK(hepflows::random_block(7, 1, 0, 0x45)[0] == 0xf17c42ac);

  // Rows do not depend on how many are drawn at once, at the carry of the event's low word either
  std::vector<float> rows(3 * 5), row(5);
  const std::uint64_t first = 0xFFFFFFFF;
  hepflows::normal_noise(3, first, 3, 5, rows.data());
  for (std::uint64_t i = 0; i < 3; ++i) {
    hepflows::normal_noise(3, first + i, 1, 5, row.data());
    CHECK(std::memcmp(row.data(), rows.data() + 5 * i, sizeof(float) * 5) == 0);
  }

  // The largest magnitude that can occur
  CHECK(std::abs(hepflows::normal_quantile(hepflows::to_uniform(0)) + 6.33795775) < 1e-8);
  CHECK(std::abs(hepflows::normal_quantile(hepflows::to_uniform(0xFFFFFFFF)) - 6.33795775) < 1e-8);
  return 0;
}
