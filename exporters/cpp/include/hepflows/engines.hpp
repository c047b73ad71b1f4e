// Noise from the host's own random engine.
//
// Either an engine with `double flat()`, uniform in (0, 1), as every CLHEP::HepRandomEngine has it: its numbers become
// normals by the quantile function. Or anything that gives standard normal numbers when called:
//
//   CLHEP::MTwistEngine engine(seed);
//   generator.sample_with(conditions, engine);                                                // flat()
//   generator.sample_with(conditions, [&] { return CLHEP::RandGauss::shoot(&engine); });      // CLHEP's own normals
//   std::normal_distribution<double> normal;
//   generator.sample_with(conditions, [&] { return normal(std_engine); });
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "hepflows/error.hpp"
#include "hepflows/philox.hpp"

namespace hepflows {
namespace detail {

template <class Engine, class = void>
struct HasFlat : std::false_type {};

template <class Engine>
struct HasFlat<Engine, std::void_t<decltype(std::declval<Engine&>().flat())>> : std::true_type {};

}  // namespace detail

// Writes n standard normal numbers to `out`.
template <class Engine>
void fill_normals(Engine&& engine, std::size_t n, float* out) {
  if constexpr (detail::HasFlat<std::remove_reference_t<Engine>>::value) {
    for (std::size_t i = 0; i < n; ++i) {
      const double u = engine.flat();
      if (!(u > 0.0 && u < 1.0))
        throw Error("the random engine left its range", "flat()", "a number in (0, 1)", to_text(u),
                    "check that the engine is seeded, and not a generator of other numbers");
      out[i] = static_cast<float>(normal_quantile(u));
    }
  } else {
    static_assert(std::is_floating_point_v<std::decay_t<decltype(engine())>>,
                  "an engine needs double flat(), or must return standard normal numbers when called; "
                  "wrap engines of random bits in std::normal_distribution");
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<float>(engine());
  }
}

}  // namespace hepflows
