// test_threads NAME.onnx: threads that call one generator at once get what each would get alone.
#include <cstring>
#include <thread>
#include <vector>

#include "../programs/command_line.hpp"
#include "check.hpp"
#include "hepflows/hepflows_generator.hpp"

namespace {

constexpr std::size_t kThreads = 4, kRuns = 25, kEvents = 16;

// Events of one run, as a host's thread makes them.
std::vector<float> events(const hepflows::Generator& generator, std::size_t number) {
  std::vector<float> cond, noise(kEvents * generator.noise_width()), x(kEvents * generator.output_width());
  for (std::size_t i = 0; i < kEvents; ++i)
    for (const hepflows::Condition& range : generator.conditions())
      cond.push_back(range.low +
                     (range.high - range.low) * static_cast<float>(i + number) / static_cast<float>(kEvents + number));
  hepflows::normal_noise(number, 0, kEvents, generator.noise_width(), noise.data());
  generator.generate(cond.data(), noise.data(), kEvents, x.data());
  return x;
}

}  // namespace

int main(int argc, char** argv) {
  return program::guarded([&] {
    const program::Arguments arguments(argc, argv, {});
    const hepflows::Generator generator(arguments.file());
    std::vector<std::vector<float>> expected, found(kThreads * kRuns);
    for (std::size_t i = 0; i < found.size(); ++i) expected.push_back(events(generator, i));
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&generator, &found, thread] {
        for (std::size_t i = thread; i < found.size(); i += kThreads) found[i] = events(generator, i);
      });
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].size() == expected[i].size());
      CHECK(std::memcmp(found[i].data(), expected[i].data(), sizeof(float) * found[i].size()) == 0);
    }
    CHECK(expected[0] != expected[1]);
    return 0;
  });
}
