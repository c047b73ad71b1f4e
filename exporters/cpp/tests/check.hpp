// A check that also holds in release builds, unlike assert.
#pragma once

#include <cstdlib>
#include <iostream>
#include <string>

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      std::cerr << __FILE__ << ":" << __LINE__ << ": failed: " << #condition << "\n"; \
      std::exit(1);                                                                   \
    }                                                                                 \
  } while (false)

// That `action` throws an `Exception` whose message has `part` in it.
template <class Exception, class Action>
void check_throws(Action action, const std::string& part) {
  try {
    action();
  } catch (const Exception& error) {
    if (std::string(error.what()).find(part) != std::string::npos) return;
    std::cerr << "the message lacks '" << part << "': " << error.what() << "\n";
    std::exit(1);
  }
  std::cerr << "nothing was thrown; expected '" << part << "'\n";
  std::exit(1);
}
