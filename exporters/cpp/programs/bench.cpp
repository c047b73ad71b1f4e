// hepflows_bench NAME.onnx --batches 1,10,100,1000 --threads 1 --repeats 0: time of one event by batch size, as JSON.
//
// `ms_per_event` is one run of the graph, in the profile par04 with encoding and decoding, on noise that was drawn
// before; `with_noise` draws it with Philox, too. Each is the median of the repeats, after one run that is not counted.
// Repeats 0: as many as take about a second, at least 5.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <vector>

#include "command_line.hpp"
#include "hepflows/hepflows_generator.hpp"

namespace {

constexpr std::uint32_t kConditionStream = 0x200;  // apart from the noise of the events

// Conditions spread over the valid range, evenly in the logarithm where that is positive.
std::vector<float> conditions(const hepflows::Generator& generator, std::size_t n) {
  std::vector<float> result;
  for (std::size_t event = 0; event < n; ++event) {
    hepflows::PhiloxEngine engine(1, event, kConditionStream);
    for (const hepflows::Condition& range : generator.conditions()) {
      const double u = engine.flat(), low = range.low, high = range.high;
      const double value = low > 0.0 ? low * std::pow(high / low, u) : low + (high - low) * u;
      result.push_back(std::clamp(static_cast<float>(value), range.low, range.high));
    }
  }
  return result;
}

template <class Function>
double seconds(Function function) {
  const auto start = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Timing {
  double median_ms;
  std::size_t repeats;
};

// Time of one event.
template <class Function>
Timing measure(std::size_t batch, std::size_t repeats, Function function) {
  const double first = seconds(function);
  if (repeats == 0)
    repeats = std::clamp(static_cast<std::size_t>(1.0 / std::max(first, 1e-6)), std::size_t{5}, std::size_t{2000});
  std::vector<double> times;
  for (std::size_t i = 0; i < repeats; ++i) times.push_back(seconds(function));
  std::sort(times.begin(), times.end());
  const double median = 0.5 * (times[(repeats - 1) / 2] + times[repeats / 2]);
  return {1e3 * median / static_cast<double>(batch), repeats};
}

}  // namespace

int main(int argc, char** argv) {
  return program::guarded([&] {
    const program::Arguments arguments(
        argc, argv,
        {"hepflows_bench",
         "Times one event by batch size and prints JSON: ms_per_event is the graph alone, ms_per_event_with_noise\n"
         "draws the noise, too; medians.",
         {{"batches", "1,10,100,1000", "batch sizes, between commas"},
          {"threads", "1", "threads of one run"},
          {"repeats", "0", "runs that are timed; 0 for as many as take about a second"}}});
    hepflows::Options options;
    options.threads = static_cast<int>(arguments.integer("threads", 1, 1024));
    const std::size_t repeats = arguments.integer("repeats", 0, 1000000);
    const auto batches = arguments.integers("batches", 1, 1000000);
    const double loading = seconds([&] { const hepflows::Generator generator(arguments.file(), options); });
    const hepflows::Generator generator(arguments.file(), options);

    std::cout << "{\"onnxruntime\": \"" << hepflows::runtime_version() << "\", \"threads\": " << options.threads
              << ", \"load_seconds\": " << loading << ", \"rows\": [";
    const char* separator = "";
    for (const std::size_t batch : batches) {
      const std::vector<float> cond = conditions(generator, batch);
      std::vector<float> noise(batch * generator.noise_width()), x(batch * generator.output_width()), weights(batch);
      const auto draw = [&] { hepflows::normal_noise(1, 0, batch, generator.noise_width(), noise.data()); };
      const auto run = [&] { generator.generate(cond.data(), noise.data(), batch, x.data(), weights.data()); };
      draw();
      const Timing graph = measure(batch, repeats, run);
      const Timing all = measure(batch, repeats, [&] {
        draw();
        run();
      });
      std::cout << separator << "{\"batch\": " << batch << ", \"ms_per_event\": " << graph.median_ms
                << ", \"repeats\": " << graph.repeats << ", \"ms_per_event_with_noise\": " << all.median_ms
                << ", \"repeats_with_noise\": " << all.repeats << "}" << std::flush;
      separator = ", ";
    }
    std::cout << "]}\n";
    return 0;
  });
}
