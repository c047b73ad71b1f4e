// hepflows_verify NAME.onnx: compares the file with its manifest and runs its golden events on this machine, with graph
// optimisations on and off. Exit code 0: as exported; 1: outside the tolerance; 2: something is missing or altered.
#include <iostream>

#include "command_line.hpp"
#include "hepflows/hepflows_generator.hpp"

int main(int argc, char** argv) {
  return program::guarded([&] {
    const program::Arguments arguments(
        argc, argv,
        {"hepflows_verify",
         "Compares an exported file with its manifest and runs its golden events on this machine, with graph\n"
         "optimisations on and off.",
         {{"threads", "1", "threads of one run"}},
         "exit code: 0 as exported, 1 outside the tolerance, 2 something is missing or altered"});
    hepflows::Options options;
    options.threads = static_cast<int>(arguments.integer("threads", 1, 1024));
    bool passed = true;
    for (const bool optimise : {true, false}) {
      options.optimise = optimise;
      const hepflows::Generator generator(arguments.file(), options);
      const hepflows::SelfTest test = generator.self_test();
      std::cout << "optimisation " << (optimise ? "on" : "off") << ": off by at most " << test.differences.maximum
                << " " << generator.metadata().output_unit << " (allowed " << test.bound.maximum << ") in "
                << test.events << " events, " << test.flips << " threshold flips\n";
      if (test.weight_differences)
        std::cout << "  weights off by at most " << test.weight_differences->maximum << " (allowed "
                  << test.weight_bound->maximum << ")\n";
      for (const std::string& failure : test.failures) std::cout << "  " << failure << "\n";
      passed = passed && test.passed();
    }
    std::cout << arguments.file() << ": " << (passed ? "as exported" : "OUTSIDE THE TOLERANCE") << " with ONNX Runtime "
              << hepflows::runtime_version() << "\n";
    return passed ? 0 : 1;
  });
}
