// Stands in for a runtime library that is older than the headers: it has no interface of their version.
#include <onnxruntime_c_api.h>

namespace {

const OrtApi* ORT_API_CALL get_api(uint32_t) noexcept { return nullptr; }
const char* ORT_API_CALL version() noexcept { return "1.2.3"; }
const OrtApiBase kBase = {get_api, version};

}  // namespace

extern "C" const OrtApiBase* ORT_API_CALL OrtGetApiBase() noexcept { return &kBase; }
