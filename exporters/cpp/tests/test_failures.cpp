// test_failures NAME.onnx LIBRARY: whatever function of ONNX Runtime fails, the client throws its own exception.
//
// This program defines OrtGetApiBase itself, and hands out the library's functions with one of them replaced. So it
// also sees which settings the client asks for.
#include <dlfcn.h>

#include <functional>
#include <string>
#include <vector>

#include "check.hpp"
#include "hepflows/hepflows_generator.hpp"

namespace {

const OrtApiBase* real_base = nullptr;
OrtApi api;  // what the client sees

const OrtApi* ORT_API_CALL get_api(uint32_t) noexcept { return &api; }
const char* ORT_API_CALL version() noexcept { return real_base->GetVersionString(); }
const OrtApiBase kBase = {get_api, version};

const OrtApi& real_api() { return *real_base->GetApi(ORT_API_VERSION); }

template <class... Arguments>
OrtStatusPtr ORT_API_CALL fail(Arguments...) noexcept {
  return real_api().CreateStatus(ORT_FAIL, "made to fail");
}

// Makes a function of the interface fail, whatever it takes.
template <class... Arguments>
void replace(OrtStatusPtr(ORT_API_CALL*& function)(Arguments...) noexcept) {
  function = &fail<Arguments...>;
}

int without_memory_pattern = 0;

OrtStatusPtr ORT_API_CALL disable_memory_pattern(OrtSessionOptions* options) noexcept {
  ++without_memory_pattern;
  return real_api().DisableMemPattern(options);
}

}  // namespace

extern "C" const OrtApiBase* ORT_API_CALL OrtGetApiBase() noexcept { return &kBase; }

int main(int argc, char** argv) {
  CHECK(argc == 3);
  void* library = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
  CHECK(library != nullptr);
  const auto entry = reinterpret_cast<const OrtApiBase*(ORT_API_CALL*)()>(dlsym(library, "OrtGetApiBase"));
  CHECK(entry != nullptr);
  real_base = entry();
  CHECK(real_base != &kBase);
  CHECK(real_base->GetApi(ORT_API_VERSION) != nullptr);
  api = real_api();

  const std::string model = argv[1];
  const auto open_and_run = [&model] { return hepflows::Generator(model).self_test(); };
  api.DisableMemPattern = disable_memory_pattern;
  CHECK(open_and_run().passed());
  CHECK(without_memory_pattern == 1);  // see session.hpp for why

  const std::vector<std::function<void()>> failures = {
      [] { replace(api.CreateEnv); },
      [] { replace(api.SetIntraOpNumThreads); },
      [] { replace(api.CreateSessionFromArray); },
      [] { replace(api.GetAllocatorWithDefaultOptions); },
      [] { replace(api.SessionGetInputCount); },
      [] { replace(api.SessionGetInputName); },
      [] { replace(api.SessionGetInputTypeInfo); },
      [] { replace(api.SessionGetOutputCount); },
      [] { replace(api.SessionGetOutputName); },
      [] { replace(api.SessionGetOutputTypeInfo); },
      [] { replace(api.GetDimensions); },
      [] { replace(api.SessionGetModelMetadata); },
      [] { replace(api.ModelMetadataGetCustomMetadataMapKeys); },
      [] { replace(api.ModelMetadataLookupCustomMetadataMap); },
      [] { replace(api.CreateTensorWithDataAsOrtValue); },
      [] { replace(api.Run); },
  };
  for (const auto& make_fail : failures) {
    api = real_api();
    make_fail();
    check_throws<hepflows::Error>(open_and_run, "made to fail");
  }
  api = real_api();
  CHECK(open_and_run().passed());
  return 0;
}
