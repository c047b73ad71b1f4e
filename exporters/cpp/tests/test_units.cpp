// The headers in a program of two translation units: what they define is one thing, not one of each unit.
#include "check.hpp"
#include "hepflows/hepflows_generator.hpp"

const void* constants_of_the_second_unit(int which);

int main() {
  CHECK(&hepflows::detail::kCentral == constants_of_the_second_unit(0));
  CHECK(&hepflows::detail::kMiddle == constants_of_the_second_unit(1));
  CHECK(&hepflows::detail::kTail == constants_of_the_second_unit(2));
  CHECK(&hepflows::detail::kSha256Constants == constants_of_the_second_unit(3));
  return 0;
}
