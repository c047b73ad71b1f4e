// Exceptions of this client. Every message says what is wrong, where, what was expected, what was found and what to do.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace hepflows {

// Base of all errors thrown on purpose; anything else that escapes is a fault of this client.
class Error : public std::runtime_error {
 public:
  Error(const std::string& what, const std::string& where, const std::string& expected = {},
        const std::string& found = {}, const std::string& remedy = {})
      : std::runtime_error(text(what, where, expected, found, remedy)) {}

 private:
  static std::string text(const std::string& what, const std::string& where, const std::string& expected,
                          const std::string& found, const std::string& remedy) {
    std::string result = where.empty() ? what : where + ": " + what;
    const auto add = [&result](const char* name, const std::string& value) {
      if (!value.empty()) result += std::string("\n  ") + name + ": " + value;
    };
    add("expected", expected);
    add("found", found);
    add("what to do", remedy);
    return result;
  }
};

// A model, manifest or golden file is missing, altered, damaged, or of another contract.
class FileError : public Error {
  using Error::Error;
};

// A condition is outside the valid range or not a number.
class ConditionError : public Error {
  using Error::Error;
};

// Arrays of a size that the model does not take.
class ShapeError : public Error {
  using Error::Error;
};

// The ONNX Runtime that was found cannot be used.
class RuntimeError : public Error {
  using Error::Error;
};

// A number for messages, short.
inline std::string to_text(double value) {
  std::ostringstream stream;
  stream << value;
  return stream.str();
}

}  // namespace hepflows
