// Counter-based noise, the same numbers as in Python: the noise of event i follows from (seed, i) alone.
//
// Philox4x32-10 (Salmon et al., SC 2011) with key = seed and counter = (block, stream, event low word, event high
// word); a word w is the uniform u = (w + 0.5) 2^-32; normals are its quantile by algorithm AS 241 (Wichura, Appl.
// Statist. 37 (1988) 477) in double, rounded to float. Integers are the same bits everywhere, normals within one unit
// in the last place. docs/noise.md defines the numbers and lists test vectors.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace hepflows {

using Words = std::array<std::uint32_t, 4>;

// The block function: 128 bits of counter and 64 bits of key to four random words.
inline Words philox4x32(Words c, std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

// Elements 4 * block ... 4 * block + 3 of an event.
inline Words random_block(std::uint64_t seed, std::uint64_t event, std::uint32_t block, std::uint32_t stream = 0) {
  return philox4x32({block, stream, static_cast<std::uint32_t>(event), static_cast<std::uint32_t>(event >> 32)},
                    static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

// Exact in double; never 0 or 1.
inline double to_uniform(std::uint32_t word) { return (static_cast<double>(word) + 0.5) * 0x1p-32; }

namespace detail {

// Numerator and denominator of AS 241, routine PPND16, lowest order first.
struct Ratio {
  double a[8], b[8];

  double operator()(double r) const {
    double numerator = a[7], denominator = b[7];
    for (int i = 6; i >= 0; --i) {
      numerator = numerator * r + a[i];
      denominator = denominator * r + b[i];
    }
    return numerator / denominator;
  }
};

inline constexpr Ratio kCentral{
    {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3},
    {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
     3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3}};
inline constexpr Ratio kMiddle{
    {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4},
    {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
     1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9}};
inline constexpr Ratio kTail{
    {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7},
    {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2, 7.86869131145613259100e-4,
     1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15}};

}  // namespace detail

// Quantile of the standard normal distribution for 0 < u < 1.
inline double normal_quantile(double u) {
  const double q = u - 0.5;
  if (std::abs(q) <= 0.425) return q * detail::kCentral(0.180625 - q * q);
  const double r = std::sqrt(-std::log(q < 0 ? u : 1.0 - u));
  return std::copysign(r <= 5.0 ? detail::kMiddle(r - 1.6) : detail::kTail(r - 5.0), q);
}

// Standard normal numbers of events first_event ... first_event + n - 1, `width` each, written row by row to `out`.
inline void normal_noise(std::uint64_t seed, std::uint64_t first_event, std::size_t n, std::size_t width, float* out,
                         std::uint32_t stream = 0) {
  for (std::size_t row = 0; row < n; ++row, out += width) {
    for (std::size_t start = 0; start < width; start += 4) {
      const Words words = random_block(seed, first_event + row, static_cast<std::uint32_t>(start / 4), stream);
      for (std::size_t i = 0; i < 4 && start + i < width; ++i)
        out[start + i] = static_cast<float>(normal_quantile(to_uniform(words[i])));
    }
  }
}

// Uniform numbers of one event and stream, one after the other: an engine with flat(), as CLHEP's engines have it.
class PhiloxEngine {
 public:
  PhiloxEngine(std::uint64_t seed, std::uint64_t event, std::uint32_t stream)
      : seed_(seed), event_(event), stream_(stream) {}

  double flat() {
    if (next_ % 4 == 0) words_ = random_block(seed_, event_, next_ / 4, stream_);
    return to_uniform(words_[next_++ % 4]);
  }

 private:
  std::uint64_t seed_, event_;
  std::uint32_t stream_, next_ = 0;
  Words words_{};
};

}  // namespace hepflows
