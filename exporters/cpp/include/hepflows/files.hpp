// Reading files, and the names of the files of one export, side by side.
#pragma once

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "hepflows/error.hpp"

namespace hepflows {

// The whole file, byte by byte.
inline std::string read_file(const std::string& path, const std::string& what, const std::string& remedy = {}) {
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  std::string data;
  if (stream) data.assign(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  if (!stream || stream.bad() || (data.empty() && errno != 0))
    throw FileError("the " + what + " cannot be read", path, {}, errno != 0 ? std::strerror(errno) : "", remedy);
  return data;
}

struct Names {
  std::string model, manifest, golden;

  // Names that belong to <name>.onnx.
  static Names of(const std::string& model) {
    const auto slash = model.find_last_of("/\\");
    const auto dot = model.find_last_of('.');
    const bool suffix = dot != std::string::npos && (slash == std::string::npos || dot > slash + 1);
    const std::string stem = suffix ? model.substr(0, dot) : model;
    return {model, stem + ".manifest.json", stem + ".golden.bin"};
  }
};

}  // namespace hepflows
