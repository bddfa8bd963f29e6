//===- Init.cpp - pgrun init -----------------------------------------------------===//
#include "runtime/train/Initialise.h"
#include "runtime/weights/Weights.h"
#include "tools/pgrun/Verbs.h"

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  int64_t seed = -1;
  std::string output;
};

Status run(const Options &options) {
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  int64_t seed = options.seed >= 0 ? options.seed : Recipe(executor.package()).integer("seed");
  if (Status status = initialise(executor, uint64_t(seed)); !status)
    return status;
  if (Status status = saveWeights(executor, options.output,
                                  {{"model", executor.package().model}, {"program", executor.package().programHash},
                                   {"seed", std::to_string(seed)}, {"step", "0"}});
      !status)
    return status;
  return print(options.output);
}

} // namespace

VerbFn addInit(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  app.add_option("-o,--output", options->output, "the weights, .safetensors")->required();
  app.add_option("--seed", options->seed, "seed of the initialisers; default that of the recipe")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 62));
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
