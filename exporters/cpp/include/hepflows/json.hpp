// A small strict reader of JSON (RFC 8259): what metadata and manifests are written in. Numbers are doubles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "hepflows/error.hpp"

namespace hepflows {

class Json {
 public:
  enum class Type { null, boolean, number, text, array, object };

  Json() = default;
  static Json parse(const std::string& text, const std::string& where);

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::null; }

  double number(const std::string& where) const { return require(Type::number, where).number_; }
  bool boolean(const std::string& where) const { return require(Type::boolean, where).boolean_; }
  const std::string& text(const std::string& where) const { return require(Type::text, where).text_; }
  const std::vector<Json>& array(const std::string& where) const { return require(Type::array, where).values_; }

  std::size_t size(const std::string& where) const {
    const double value = number(where);
    if (!(value >= 0.0 && value <= 1e15 && value == static_cast<double>(static_cast<std::uint64_t>(value))))
      throw FileError("not a size", where, "an integer >= 0", to_text(value));
    return static_cast<std::size_t>(value);
  }

  std::vector<double> numbers(const std::string& where) const {
    std::vector<double> result;
    for (const Json& value : array(where)) result.push_back(value.number(where));
    return result;
  }

  // Entry of an object; null if there is none of that name.
  const Json& get(const std::string& key) const {
    static const Json none;
    if (type_ == Type::object)
      for (std::size_t i = 0; i < keys_.size(); ++i)
        if (keys_[i] == key) return values_[i];
    return none;
  }

  // Entry that must be there.
  const Json& at(const std::string& key, const std::string& where) const {
    require(Type::object, where);
    for (std::size_t i = 0; i < keys_.size(); ++i)
      if (keys_[i] == key) return values_[i];
    throw FileError("an entry is missing", where, key, {}, "use a file written by `hepflows export`");
  }

  void insert(std::string key, Json value) {
    type_ = Type::object;
    keys_.push_back(std::move(key));
    values_.push_back(std::move(value));
  }

  // The same value; the order of an object's entries does not matter.
  bool operator==(const Json& other) const {
    if (type_ != other.type_ || boolean_ != other.boolean_ || text_ != other.text_) return false;
    if (number_ < other.number_ || number_ > other.number_ || values_.size() != other.values_.size()) return false;
    if (type_ != Type::object) return values_ == other.values_;
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      bool found = false;
      for (std::size_t k = 0; k < keys_.size() && !found; ++k)
        found = keys_[i] == other.keys_[k] && values_[i] == other.values_[k];
      if (!found) return false;
    }
    return true;
  }
  bool operator!=(const Json& other) const { return !(*this == other); }

 private:
  class Parser;

  const Json& require(Type type, const std::string& where) const {
    static const char* const names[] = {"null", "true or false", "a number", "a string", "a list", "an object"};
    if (type_ != type)
      throw FileError("wrong kind of entry", where, names[static_cast<int>(type)], names[static_cast<int>(type_)],
                      "use a file written by `hepflows export`");
    return *this;
  }

  Type type_ = Type::null;
  bool boolean_ = false;
  double number_ = 0.0;
  std::string text_;
  std::vector<std::string> keys_;  // of an object, in the order of `values_`
  std::vector<Json> values_;       // of an array or an object
};

}  // namespace hepflows

#include "hepflows/json_parser.hpp"
