// The parser behind Json::parse.
#pragma once

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <locale>
#include <sstream>
#include <string>
#include <utility>

#include "hepflows/error.hpp"
#include "hepflows/json.hpp"

namespace hepflows {

class Json::Parser {
 public:
  Parser(const std::string& text, const std::string& where) : text_(text), where_(where) {}

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) fail("the end");
    return value;
  }

 private:
  static constexpr int kDeepest = 100;  // far beyond any manifest, far below any stack

  [[noreturn]] void fail(const std::string& expected) const {
    throw FileError("not valid JSON", where_ + ", byte " + std::to_string(at_), expected,
                    at_ < text_.size() ? "'" + text_.substr(at_, 12) + "'" : "the end of the text",
                    "copy the file again, or export the generator again");
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }

  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool take_word(const char* word) {
    const std::string text(word);
    if (text_.compare(at_, text.size(), text) != 0) return false;
    at_ += text.size();
    return true;
  }

  Json parse_value(int depth) {
    if (depth > kDeepest) fail("fewer levels");
    Json value;
    if (take('{')) {
      value.type_ = Type::object;
      if (take('}')) return value;
      do {
        if (!take('"')) fail("a name in quotes");
        std::string key = parse_string();
        for (const std::string& other : value.keys_)
          if (other == key) fail("each name once, not '" + key + "' again");
        if (!take(':')) fail("a colon");
        value.insert(std::move(key), parse_value(depth + 1));
      } while (take(','));
      if (!take('}')) fail("a comma or a closing brace");
    } else if (take('[')) {
      value.type_ = Type::array;
      if (take(']')) return value;
      do value.values_.push_back(parse_value(depth + 1));
      while (take(','));
      if (!take(']')) fail("a comma or a closing bracket");
    } else if (take('"')) {
      value.type_ = Type::text;
      value.text_ = parse_string();
    } else if (take_word("true")) {
      value.type_ = Type::boolean;
      value.boolean_ = true;
    } else if (take_word("false")) {
      value.type_ = Type::boolean;
    } else if (!take_word("null")) {
      value.type_ = Type::number;
      value.number_ = parse_number();
    }
    return value;
  }

  bool digits() {
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ > start;
  }

  double parse_number() {
    const std::size_t start = at_;
    if (at_ < text_.size() && text_[at_] == '-') ++at_;
    const std::size_t first = at_;
    if (!digits() || (text_[first] == '0' && at_ > first + 1)) fail("a value");
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (!digits()) fail("a digit");
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      if (!digits()) fail("a digit");
    }
    // Not strtod: a host may have set a locale in which the decimal point is a comma.
    stream_.clear();
    stream_.str(text_.substr(start, at_ - start));
    double value = 0.0;
    if (!(stream_ >> value)) fail("a number that a double holds");
    return value;
  }

  std::uint32_t parse_hex4() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (at_ >= text_.size() || !std::isxdigit(static_cast<unsigned char>(text_[at_])))
        fail("four hexadecimal digits");
      const char c = text_[at_];
      value = value * 16 + static_cast<std::uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
  }

  void append_utf8(std::string& out, std::uint32_t code) const {
    const auto tail = [&out, code](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      tail(0);
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      tail(6), tail(0);
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      tail(12), tail(6), tail(0);
    }
  }

  std::string parse_string() {
    std::string result;
    while (true) {
      if (at_ >= text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20) fail("a closing quote");
      const char c = text_[at_++];
      if (c == '"') return result;
      if (c != '\\') {
        result += c;
        continue;
      }
      const char kind = at_ < text_.size() ? text_[at_++] : '\0';
      static const std::string from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
      if (const auto place = from.find(kind); kind != '\0' && place != std::string::npos) {
        result += to[place];
      } else if (kind == 'u') {
        std::uint32_t code = parse_hex4();
        if (code >= 0xD800 && code < 0xDC00) {
          if (!take_word("\\u")) fail("the second half of a surrogate pair");
          const std::uint32_t low = parse_hex4();
          if (low < 0xDC00 || low > 0xDFFF) fail("the second half of a surrogate pair");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xDC00 && code <= 0xDFFF) {
          fail("the first half of a surrogate pair");
        }
        append_utf8(result, code);
      } else {
        fail("an escape sequence");
      }
    }
  }

  const std::string& text_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::istringstream stream_ = [] {
    std::istringstream stream;
    stream.imbue(std::locale::classic());
    return stream;
  }();
};

inline Json Json::parse(const std::string& text, const std::string& where) { return Parser(text, where).document(); }

}  // namespace hepflows
