// One ONNX Runtime session: opened from bytes, checked, run on the caller's memory.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "hepflows/error.hpp"
#include "hepflows/json.hpp"

namespace hepflows {

// Version of the ONNX Runtime that the program runs with.
inline std::string runtime_version() { return OrtGetApiBase()->GetVersionString(); }

// Throws RuntimeError if that is older than the headers the program was compiled with.
//
// The C++ classes of ONNX Runtime then hold a null pointer and crash at their first use, so this comes before any of
// them. It works whether or not ORT_API_MANUAL_INIT is defined, which is the host's choice: its own code may use ONNX
// Runtime too, and all translation units must agree.
inline void require_runtime() {
  const OrtApi* api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (api == nullptr)
    throw RuntimeError("ONNX Runtime is older than the headers this program was compiled with", "libonnxruntime",
                       "1." + std::to_string(ORT_API_VERSION) + " or newer", runtime_version(),
                       "run with a newer library, or compile with the headers of this one");
#ifdef ORT_API_MANUAL_INIT
  Ort::InitApi(api);
#endif
}

struct Tensor {
  std::string name;
  std::size_t width;
};

class Session {
 public:
  // `where` names the model in messages.
  Session(const void* data, std::size_t size, const std::string& where, int threads, bool optimise)
      : env_(make_env(where)), session_(nullptr) {
    try {
      Ort::SessionOptions options;
      options.SetIntraOpNumThreads(threads);
      options.SetInterOpNumThreads(1);
      options.SetGraphOptimizationLevel(optimise ? ORT_ENABLE_ALL : ORT_DISABLE_ALL);
      // 1.18 plans memory wrongly for some graphs: wrong events from the second run on. Not planning is as fast.
      options.DisableMemPattern();
      // Idle threads that spin would take processors from the host.
      options.AddConfigEntry("session.intra_op.allow_spinning", "0");
      session_ = Ort::Session(env_, data, size, options);
    } catch (const Ort::Exception& error) {
      throw FileError("ONNX Runtime " + runtime_version() + " cannot load the model", where, {}, error.what(),
                      "copy it again, or export the generator again");
    }
    try {
      Ort::AllocatorWithDefaultOptions allocator;
      for (std::size_t i = 0; i < session_.GetInputCount(); ++i)
        inputs_.push_back(
            tensor(session_.GetInputNameAllocated(i, allocator).get(), session_.GetInputTypeInfo(i), where));
      for (std::size_t i = 0; i < session_.GetOutputCount(); ++i)
        outputs_.push_back(
            tensor(session_.GetOutputNameAllocated(i, allocator).get(), session_.GetOutputTypeInfo(i), where));
    } catch (const Ort::Exception& error) {
      throw failure("failed to tell the inputs and outputs", where, error);
    }
  }

  const std::vector<Tensor>& inputs() const { return inputs_; }
  const std::vector<Tensor>& outputs() const { return outputs_; }

  // All metadata entries under the prefix "hepflows.", as one object.
  Json metadata(const std::string& where) const {
    static const std::string prefix = "hepflows.";
    Json result;
    try {
      Ort::AllocatorWithDefaultOptions allocator;
      const Ort::ModelMetadata model = session_.GetModelMetadata();
      for (const auto& key : model.GetCustomMetadataMapKeysAllocated(allocator)) {
        const std::string name = key.get();
        if (name.compare(0, prefix.size(), prefix) != 0) continue;
        const auto text = model.LookupCustomMetadataMapAllocated(name.c_str(), allocator);
        result.insert(name.substr(prefix.size()), Json::parse(text.get(), where + ": " + name));
      }
    } catch (const Ort::Exception& error) {
      throw failure("failed to read the metadata", where, error);
    }
    if (result.is_null())
      throw FileError("not a model of hepflows: it has no metadata of ours", where, {}, {},
                      "use a file written by `hepflows export`");
    return result;
  }

  // One run on n events: `inputs` and `outputs` in graph order. Safe to call from several threads.
  void run(const std::vector<const float*>& inputs, std::size_t n, const std::vector<float*>& outputs,
           const std::string& where) const {
    std::array<const char*, 2> names{}, output_names{};
    std::vector<Ort::Value> values, results;
    values.reserve(inputs_.size());
    results.reserve(outputs.size());
    try {
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        names[i] = inputs_[i].name.c_str();
        // The C interface takes inputs as mutable, but does not write to them.
        values.push_back(view(const_cast<float*>(inputs[i]), n, inputs_[i].width));
      }
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        output_names[i] = outputs_[i].name.c_str();
        results.push_back(view(outputs[i], n, outputs_[i].width));
      }
      session_.Run(Ort::RunOptions{nullptr}, names.data(), values.data(), values.size(), output_names.data(),
                   results.data(), results.size());
    } catch (const Ort::Exception& error) {
      throw failure("failed to run the model", where, error);
    }
  }

 private:
  static RuntimeError failure(const char* what, const std::string& where, const Ort::Exception& error) {
    return RuntimeError("ONNX Runtime " + runtime_version() + " " + what, where, {}, error.what());
  }

  static Ort::Env make_env(const std::string& where) {
    require_runtime();
    try {
      return Ort::Env(ORT_LOGGING_LEVEL_ERROR, "hepflows");
    } catch (const Ort::Exception& error) {
      throw failure("cannot be started", where, error);
    }
  }

  static Tensor tensor(const std::string& name, const Ort::TypeInfo& info, const std::string& where) {
    if (info.GetONNXType() != ONNX_TYPE_TENSOR)
      throw FileError("not a tensor", where + ": " + name, "float32 of shape (batch, width)");
    const auto description = info.GetTensorTypeAndShapeInfo();
    const std::vector<std::int64_t> shape = description.GetShape();
    std::string found =
        description.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? "float32" : "another type";
    found += ", shape (";
    for (std::size_t i = 0; i < shape.size(); ++i)
      found += (i > 0 ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
    if (description.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || shape.size() != 2 || shape[0] >= 0 ||
        shape[1] < 1)
      throw FileError("a tensor of the wrong type or shape", where + ": " + name, "float32, shape (any, a fixed width)",
                      found + ")", "use a file written by `hepflows export`");
    return {name, static_cast<std::size_t>(shape[1])};
  }

  static Ort::Value view(float* data, std::size_t n, std::size_t width) {
    const std::array<std::int64_t, 2> shape = {static_cast<std::int64_t>(n), static_cast<std::int64_t>(width)};
    static const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    return Ort::Value::CreateTensor<float>(memory, data, n * width, shape.data(), shape.size());
  }

  Ort::Env env_;
  // The runtime's Run is not const, but safe to call from several threads.
  mutable Ort::Session session_;
  std::vector<Tensor> inputs_, outputs_;
};

}  // namespace hepflows
