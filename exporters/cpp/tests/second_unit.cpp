// The other translation unit of test_units.cpp.
#include "hepflows/hepflows_generator.hpp"

const void* constants_of_the_second_unit(int which);

const void* constants_of_the_second_unit(int which) {
  const void* const places[] = {&hepflows::detail::kCentral, &hepflows::detail::kMiddle, &hepflows::detail::kTail,
                                &hepflows::detail::kSha256Constants};
  return places[which];
}
