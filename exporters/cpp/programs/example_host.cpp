// A miniature detector simulation that embeds an exported generator of showers:
//
//   example_host NAME.onnx --events 10 --seed 1 --threshold-gev 5 --batch 64 --out hits.csv
//
// Each event has several primary particles. One above the energy threshold and inside the generator's valid range is
// replaced by a sampled shower; the others go through the "full simulation", here a toy (toy_shower.hpp). The energies
// of an event's particles add up cell by cell and are written as hits. An event follows from seed and event number
// alone; the size of the batches changes energies within the tolerance of the file only.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "hepflows/hepflows_generator.hpp"
#include "toy_shower.hpp"

namespace {

// Streams of random numbers, apart from one another and from the noise of sampled events.
constexpr std::uint32_t kPrimaries = 0x100, kFullSimulation = 0x101;
constexpr std::size_t kMostPrimaries = 8;

struct Primary {
  std::size_t event;
  std::uint64_t id;  // of all events: the event index of its noise
  std::vector<float> condition;
};

// Several particles with energies spread over the logarithm, from below the valid range to its end.
std::vector<Primary> primaries_of(std::size_t event, std::uint64_t seed,
                                  const std::vector<hepflows::Condition>& ranges) {
  hepflows::PhiloxEngine engine(seed, event, kPrimaries);
  const double high = ranges[0].high,
               low = ranges[0].low > 0.0F ? 0.1 * static_cast<double>(ranges[0].low) : 1e-3 * high;
  std::vector<Primary> result(2 + static_cast<std::size_t>(engine.flat() * (kMostPrimaries - 1)));
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = {event, event * kMostPrimaries + i, {}};
    for (std::size_t column = 0; column < ranges.size(); ++column) {
      const double u = engine.flat();
      const double value = column == 0 ? low * std::pow(high / low, u)
                                       : ranges[column].low + u * (ranges[column].high - ranges[column].low);
      result[i].condition.push_back(std::min(static_cast<float>(value), ranges[column].high));
    }
  }
  return result;
}

// Samples the showers of many particles, of any events, in one run, and adds them to the cells of their events.
class Sampler {
 public:
  Sampler(const hepflows::Generator& generator, std::uint64_t seed) : generator_(generator), seed_(seed) {}

  void simulate(const std::vector<Primary>& batch, std::size_t first_event, std::vector<std::vector<double>>& cells) {
    const std::size_t width = generator_.noise_width(), columns = generator_.conditions().size();
    cond_.resize(batch.size() * columns);
    noise_.resize(batch.size() * width);
    x_.resize(batch.size() * generator_.output_width());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      std::copy(batch[i].condition.begin(), batch[i].condition.end(), cond_.begin() + static_cast<long>(i * columns));
      hepflows::normal_noise(seed_, batch[i].id, 1, width, noise_.data() + i * width);
    }
    generator_.generate(cond_.data(), noise_.data(), batch.size(), x_.data());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      std::vector<double>& energies = cells[batch[i].event - first_event];
      for (std::size_t cell = 0; cell < energies.size(); ++cell)
        energies[cell] += static_cast<double>(x_[i * energies.size() + cell]);
    }
  }

 private:
  const hepflows::Generator& generator_;
  std::uint64_t seed_;
  std::vector<float> cond_, noise_, x_;
};

// Hits as text: written beside the final name, which appears when all is written.
class HitWriter {
 public:
  explicit HitWriter(const std::string& path) : path_(path), part_(path + ".part"), stream_(part_) {
    require("cannot be opened for writing");
    stream_.precision(9);
    stream_ << "event,cell,layer,x_mm,y_mm,z_mm,energy_mev\n";
  }

  void write(std::size_t event, const std::vector<hepflows::Hit>& hits) {
    for (const hepflows::Hit& hit : hits) {
      stream_ << event << ',' << hit.cell << ',' << hit.layer << ',' << hit.x_mm << ',' << hit.y_mm << ',';
      if (std::isfinite(hit.z_mm)) stream_ << hit.z_mm;  // empty where the geometry does not tell
      stream_ << ',' << hit.energy_mev << '\n';
    }
    require("cannot be written");
  }

  void finish() {
    stream_.close();
    require("cannot be written");
    if (std::rename(part_.c_str(), path_.c_str()) != 0) fail("cannot be written");
  }

 private:
  void require(const char* problem) {
    if (!stream_) fail(problem);
  }

  [[noreturn]] void fail(const char* problem) {
    throw hepflows::Error(std::string("the output ") + problem, path_, {}, {},
                          "name a file in an existing directory that you may write to, on a disk with room");
  }

  std::string path_, part_;
  std::ofstream stream_;
};

int simulate(const program::Arguments& arguments) {
  const std::size_t events = arguments.integer("events", 1, 1000000000);
  const std::uint64_t seed = arguments.integer("seed", 0, UINT64_MAX);
  const std::size_t batch_size = arguments.integer("batch", 1, 1000000);
  const double threshold_gev = arguments.number("threshold-gev", 0.0, 1e9);

  const hepflows::Generator generator(arguments.file());
  const hepflows::SelfTest test = generator.self_test();
  if (!test.passed())
    throw hepflows::Error("this machine does not reproduce the golden events", arguments.file(), {}, test.failures[0],
                          "try another version of ONNX Runtime");
  const auto& ranges = generator.conditions();
  if (ranges.empty() || ranges[0].unit != "GeV")
    throw hepflows::Error("this host needs a generator of showers", arguments.file(), "a first condition in GeV",
                          ranges.empty() ? "no conditions" : ranges[0].name + " [" + ranges[0].unit + "]");
  const hepflows::Geometry& geometry = generator.geometry();
  const host::ToyShower full_simulation(geometry);
  Sampler sampler(generator, seed);
  HitWriter writer(arguments.text("out"));

  std::size_t sampled = 0, simulated = 0, n_hits = 0;
  std::vector<Primary> waiting;
  std::vector<std::vector<double>> cells;  // of the events in work, from first_event on
  std::size_t first_event = 0;
  const auto flush = [&] {
    if (!waiting.empty()) sampler.simulate(waiting, first_event, cells);
    waiting.clear();
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::vector<float> energies(cells[i].begin(), cells[i].end());
      const std::vector<hepflows::Hit> hits = generator.hits(energies.data());
      writer.write(first_event + i, hits);
      n_hits += hits.size();
    }
    first_event += cells.size();
    cells.clear();
  };
  for (std::size_t event = 0; event < events; ++event) {
    cells.emplace_back(geometry.cells().size(), 0.0);
    for (const Primary& primary : primaries_of(event, seed, ranges)) {
      const float energy_gev = primary.condition[0];
      if (energy_gev > threshold_gev && energy_gev >= ranges[0].low) {
        waiting.push_back(primary);
        ++sampled;
      } else {
        hepflows::PhiloxEngine engine(seed, primary.id, kFullSimulation);
        full_simulation.simulate(static_cast<double>(energy_gev), engine, cells.back());
        ++simulated;
      }
    }
    if (waiting.size() >= batch_size || cells.size() >= batch_size) flush();
  }
  flush();
  writer.finish();
  std::cout << arguments.text("out") << ": " << n_hits << " hits of " << events << " events; " << sampled
            << " particles sampled, " << simulated << " through the stand-in for the full simulation\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return program::guarded([&] {
    return simulate(program::Arguments(
        argc, argv,
        {"example_host",
         "A miniature detector simulation: events of several particles. Those above an energy threshold and inside\n"
         "the generator's valid range are sampled, the others go through a toy that stands in for the full simulation.\n"
         "The energies of an event's particles add up cell by cell.",
         {{"events", "10", "events to simulate"},
          {"seed", "1", "of the random numbers: with the number of an event it determines the event"},
          {"threshold-gev", "5", "particles above this energy are sampled"},
          {"batch", "64", "particles sampled together, at most about"},
          {"out", "hits.csv", "file to write: event, cell, layer, position in mm, energy in MeV"}}}));
  });
}
