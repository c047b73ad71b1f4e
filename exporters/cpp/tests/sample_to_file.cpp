// sample_to_file NAME.onnx --conditions FILE --out FILE ...: samples for the comparison with Python.
//
// Conditions are float32 numbers, row by row, in this machine's byte order; so is the output. With --noise FILE the
// noise is written, too; with --from-bytes 1 the model is opened from memory; --policy is error, clamp, pass or empty.
#include <cstring>
#include <fstream>

#include "../programs/command_line.hpp"
#include "hepflows/hepflows_generator.hpp"

namespace {

void write(const std::string& path, const std::vector<float>& values) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!stream.flush()) throw hepflows::Error("the output cannot be written", path);
}

// With a CLHEP-like engine instead of seed and event number: the uniform numbers of event 0.
struct Engine {
  hepflows::PhiloxEngine philox;
  double flat() { return philox.flat(); }
};

}  // namespace

int main(int argc, char** argv) {
  return program::guarded([&] {
    const program::Arguments arguments(argc, argv,
                                       {"sample_to_file",
                                        "Samples for the comparison with Python.",
                                        {{"conditions", "", "float32 numbers, row by row"},
                                         {"out", "", "file to write, as the conditions"},
                                         {"noise", "", "file for the noise"},
                                         {"weights", "", "file for the weights, of a generator that has some"},
                                         {"seed", "1", "of the noise"},
                                         {"first", "0", "index of the first event"},
                                         {"batch", "256", "events a run"},
                                         {"threads", "1", "threads of one run"},
                                         {"policy", "", "error, clamp or pass"},
                                         {"from-bytes", "0", "1: open the model from memory"},
                                         {"engine", "0", "1: draw from a host's engine"}}});
    hepflows::Options options;
    options.batch = arguments.integer("batch", 1, 1000000);
    options.threads = static_cast<int>(arguments.integer("threads", 1, 1024));
    if (!arguments.text("policy").empty())
      options.out_of_range = hepflows::read_policy(arguments.text("policy"), "--policy");
    const std::string bytes = hepflows::read_file(arguments.file(), "model");
    hepflows::Generator generator =
        arguments.integer("from-bytes", 0, 1) == 1
            ? hepflows::Generator::from_bytes(bytes.data(), bytes.size(), "model in memory", options)
            : hepflows::Generator(arguments.file(), options);

    const std::string data = hepflows::read_file(arguments.text("conditions"), "conditions");
    std::vector<float> conditions(data.size() / sizeof(float));
    std::memcpy(conditions.data(), data.data(), conditions.size() * sizeof(float));
    const std::uint64_t seed = arguments.integer("seed", 0, UINT64_MAX);
    const std::uint64_t first = arguments.integer("first", 0, UINT64_MAX);
    if (arguments.integer("engine", 0, 1) == 1) {
      Engine engine{{seed, first, 0}};
      write(arguments.text("out"), generator.sample_with(conditions, engine));
      return 0;
    }
    if (arguments.text("weights").empty()) {
      write(arguments.text("out"), generator.sample(conditions, seed, first));
    } else {
      const hepflows::WeightedEvents events = generator.sample_weighted(conditions, seed, first);
      write(arguments.text("out"), events.x);
      write(arguments.text("weights"), events.weights);
    }
    if (!arguments.text("noise").empty()) {
      const std::size_t n = conditions.size() / generator.conditions().size();
      std::vector<float> noise(n * generator.noise_width());
      hepflows::normal_noise(seed, first, n, generator.noise_width(), noise.data());
      write(arguments.text("noise"), noise);
    }
    return 0;
  });
}
