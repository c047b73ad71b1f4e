// What the programs here share: options `--name value`, their help, and one place where errors become messages and
// exit codes.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "hepflows/error.hpp"

namespace program {

class UsageError : public hepflows::Error {
  using Error::Error;
};

// What --help prints, where a program is asked for that and nothing else.
class HelpWanted : public std::exception {
 public:
  explicit HelpWanted(std::string text) : text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

struct Option {
  std::string name, value, meaning;  // its value where none is given; empty for none
};

struct Usage {
  std::string program, purpose;
  std::vector<Option> options;
  std::string exit_codes = "exit code: 0, or 2 with a message on standard error";

  std::string text() const {
    std::string result = "usage: " + program + " NAME.onnx [--option VALUE ...]\n\n" + purpose + "\n\n";
    result += line("NAME.onnx", "exported generator; manifest and golden file lie beside it");
    for (const Option& option : options)
      result += line("--" + option.name + " VALUE",
                     option.meaning + (option.value.empty() ? "" : " (default: " + option.value + ")"));
    return result + line("--help", "print this text") + "\n" + exit_codes + "\n";
  }

 private:
  static std::string line(const std::string& name, const std::string& meaning) {
    constexpr std::size_t width = 24;
    return "  " + name + std::string(name.size() < width ? width - name.size() : 1, ' ') + meaning + "\n";
  }
};

class Arguments {
 public:
  // One positional argument, a file, and options that have defaults.
  Arguments(int argc, char** argv, const Usage& usage) {
    for (const Option& option : usage.options) values_[option.name] = option.value;
    const std::string remedy = usage.program + " --help tells all options";
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word == "--help" || word == "-h") throw HelpWanted(usage.text());
      if (word.empty() || word[0] != '-') {
        if (!file_.empty()) throw UsageError("one file only", word, {}, "'" + file_ + "' and '" + word + "'", remedy);
        file_ = word;
      } else if (word.rfind("--", 0) != 0 || values_.count(word.substr(2)) == 0) {
        throw UsageError("unknown option", word, names(), {}, remedy);
      } else if (i + 1 >= argc) {
        throw UsageError("the option needs a value", word, {}, {}, remedy);
      } else {
        values_[word.substr(2)] = argv[++i];
      }
    }
    if (file_.empty())
      throw UsageError("no file given", "command line", "NAME.onnx, then options: " + names(), {}, remedy);
  }

  const std::string& file() const { return file_; }
  const std::string& text(const std::string& name) const { return values_.at(name); }

  double number(const std::string& name, double low, double high) const {
    const std::string& text = values_.at(name);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value >= low && value <= high))
      throw UsageError("not a number in the range", "--" + name,
                       hepflows::to_text(low) + " ... " + hepflows::to_text(high), text);
    return value;
  }

  std::uint64_t integer(const std::string& name, std::uint64_t low, std::uint64_t high) const {
    return parse_integer(values_.at(name), "--" + name, low, high);
  }

  // Integers between commas.
  std::vector<std::uint64_t> integers(const std::string& name, std::uint64_t low, std::uint64_t high) const {
    std::vector<std::uint64_t> result;
    std::istringstream stream(values_.at(name));
    for (std::string part; std::getline(stream, part, ',');)
      result.push_back(parse_integer(part, "--" + name, low, high));
    if (result.empty()) throw UsageError("no value", "--" + name, "integers between commas");
    return result;
  }

 private:
  static std::uint64_t parse_integer(const std::string& text, const std::string& where, std::uint64_t low,
                                     std::uint64_t high) {
    std::uint64_t value = 0;
    bool valid = !text.empty() && text.size() <= 20;
    for (const char c : text) {
      valid = valid && c >= '0' && c <= '9' && value <= (UINT64_MAX - static_cast<std::uint64_t>(c - '0')) / 10;
      if (valid) value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (!valid || value < low || value > high)
      throw UsageError("not an integer in the range", where, std::to_string(low) + " ... " + std::to_string(high),
                       text);
    return value;
  }

  std::string names() const {
    std::string result;
    for (const auto& [name, value] : values_)
      result += (result.empty() ? "--" : ", --") + name + (value.empty() ? "" : " (" + value + ")");
    return result;
  }

  std::string file_;
  std::map<std::string, std::string> values_;
};

// Runs a program's body; every error is a message on standard error and exit code 2. Help that was asked for is none.
template <class Body>
int guarded(Body body) {
  try {
    return body();
  } catch (const HelpWanted& help) {
    std::cout << help.what() << std::flush;
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
  } catch (...) {
    std::cerr << "error: unknown\n";
  }
  return 2;
}

}  // namespace program
