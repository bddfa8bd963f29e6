//===- main.cpp - pg-random-models: random models through the compiler -------===//
//
//   pg-random-models --models DIR [--cases N] [--seed S] [--keep FILE]
//
// For each seed: the compiled program against the same program unoptimised (the
// derived entry interpreted in double), two runs and one against two threads bit
// for bit, and for every third f64 model the gradient against differences of
// the compiled loss. Prints one line per hundred models; the first wrong model
// is written to --keep (default: random.model.yaml) and ends the run.
//
//===----------------------------------------------------------------------===//
#include "frontend/Frontend.h"
#include "passes/pipeline/Pipelines.h"
#include "runtime/exec/NotFinite.h"
#include "test/numerics/Compiled.h"
#include "test/numerics/Program.h"
#include "test/random/Draw.h"
#include "test/random/ModelGenerator.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <unistd.h>

using namespace pg;
using namespace pg::random;
using reference::Memory;
using reference::Shape;
using reference::Tensor;

namespace {

struct Options {
  std::string models, keep = "random.model.yaml";
  uint64_t cases = 4, seed = 0;
};

/// What went wrong; empty when nothing did.
using Problem = std::string;

std::vector<int32_t> drawOffsets(Draw &draw, int64_t tokens, int percent) {
  std::vector<int32_t> offsets = {0};
  for (int64_t t = 1; t < tokens; ++t)
    if (draw.chance(percent))
      offsets.push_back(static_cast<int32_t>(t));
  offsets.push_back(static_cast<int32_t>(tokens));
  return offsets;
}

reference::PackedBatch drawBatch(Draw &draw) {
  int64_t tokens = draw.pick<int64_t>({1, 2, 15, 33, 40});
  std::vector<int32_t> rows = drawOffsets(draw, tokens, draw.pick<int>({0, 0, 10}));
  // Every row start begins a segment; some rows are cut further.
  std::vector<int32_t> segments = rows;
  for (int32_t t : drawOffsets(draw, tokens, draw.pick<int>({0, 10, 50})))
    segments.push_back(t);
  std::sort(segments.begin(), segments.end());
  segments.erase(std::unique(segments.begin(), segments.end()), segments.end());
  return reference::PackedBatch(rows, segments);
}

Memory drawMemory(Draw &draw, mlir::ModuleOp module, const reference::PackedBatch &batch, int64_t vocabulary) {
  Memory memory;
  Shape shape{batch.tokens()};
  for (const char *name : {"tokens", "targets"}) {
    Tensor ids(shape);
    for (int64_t t = 0; t < ids.size(); ++t)
      ids[t] = static_cast<double>(draw.range(0, vocabulary - 1));
    memory.inputs[name] = ids;
  }
  memory.inputs["position"] = batch.position();
  memory.scalars["loss_scale"] = 1.0 / static_cast<double>(batch.tokens());
  for (auto parameter : module.getOps<ParameterOp>()) {
    auto type = mlir::cast<mlir::RankedTensorType>(parameter.getType());
    Tensor value(Shape(type.getShape().begin(), type.getShape().end()));
    for (int64_t i = 0; i < value.size(); ++i)
      value[i] = static_cast<float>(0.4 * draw.normal());
    memory.symbols[parameter.getSymName().str()] = value;
  }
  return memory;
}

std::map<std::string, Tensor> resultsOf(const Memory &memory) { return numerics::resultsOf(memory); }

/// Largest difference over the tensors, against the tensor's size or a
/// thousandth of the largest tensor's, whichever is more.
Problem farFrom(const std::map<std::string, Tensor> &found, const std::map<std::string, Tensor> &expected, double bound) {
  double largest = 0;
  auto sizeOf = [](const Tensor &tensor) {
    double size = 0;
    for (double value : tensor.data)
      size = std::max(size, std::fabs(value));
    return size;
  };
  for (const auto &[name, tensor] : expected)
    largest = std::max(largest, sizeOf(tensor));
  for (const auto &[name, tensor] : expected) {
    auto own = found.find(name);
    if (own == found.end() || own->second.size() != tensor.size())
      return name + " is missing";
    double worst = 0;
    for (int64_t i = 0; i < tensor.size(); ++i) {
      double difference = std::fabs(own->second[i] - tensor[i]);
      worst = std::max(worst, std::isfinite(difference) ? difference : 1e300);
    }
    if (worst > bound * std::max(sizeOf(tensor), 1e-3 * largest))
      return name + " differs by " + std::to_string(worst) + ", its largest value is " + std::to_string(sizeOf(tensor));
  }
  return "";
}

Problem differs(const std::map<std::string, Tensor> &a, const std::map<std::string, Tensor> &b) {
  for (const auto &[name, tensor] : a)
    if (std::memcmp(tensor.data.data(), b.at(name).data.data(), tensor.data.size() * sizeof(double)))
      return name;
  return "";
}

Problem checkDirection(Draw &draw, rt::Executor &executor, const std::string &phase,
                       const reference::PackedBatch &batch, Memory memory,
                       const std::map<std::string, Tensor> &results) {
  std::vector<std::string> names;
  for (const auto &[name, tensor] : results)
    if (name.rfind("grad.", 0) == 0)
      names.push_back(name.substr(5));
  const std::string &name = names[size_t(draw.range(0, int64_t(names.size()) - 1))];
  const Tensor gradient = results.at("grad." + name), value = memory.symbols[name];
  Tensor direction(value.shape);
  double expected = 0, gradientSize = 0, size = 0;
  for (int64_t i = 0; i < value.size(); ++i) {
    direction[i] = draw.normal();
    expected += gradient[i] * direction[i];
    gradientSize += gradient[i] * gradient[i];
    size += direction[i] * direction[i];
  }
  const double step = 1e-6;
  double means[2];
  for (int side = 0; side < 2; ++side) {
    for (int64_t i = 0; i < value.size(); ++i)
      memory.symbols[name][i] = value[i] + (side ? -step : step) * direction[i];
    if (rt::Status status = numerics::run(executor, "score@" + phase, batch, memory); !status)
      return status.message();
    means[side] = 0;
    for (double nll : memory.outputs["nll"].data)
      means[side] += nll / static_cast<double>(batch.tokens());
  }
  double found = (means[0] - means[1]) / (2 * step);
  if (std::fabs(found - expected) > 2e-5 * std::sqrt(gradientSize * size) + 1e-7)
    return "the derivative along a direction of " + name + " is " + std::to_string(expected) + ", differences give " +
           std::to_string(found);
  return "";
}

Problem check(uint64_t seed, const std::string &path, const RandomModel &model) {
  Draw draw(seed + 0x5eed);
  mlir::MLIRContext context;
  numerics::loadDialects(context);
  std::string messages;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    messages += diagnostic.str() + "\n";
    return mlir::success();
  });
  bool isDouble = seed % 2 == 0;
  frontend::Sources sources;
  sources.modelPath = path;
  sources.maxTokens = 48;
  sources.precision = isDouble ? "f64" : "f32";
  mlir::FailureOr<frontend::Built> built = frontend::build(context, sources);
  if (mlir::failed(built))
    return "the front end refuses it: " + messages;
  std::vector<std::string> phases = {"main"};
  if (auto named = (*built->module)->getAttrOfType<mlir::ArrayAttr>("pg.phases"); named && !named.empty()) {
    phases.clear();
    for (auto phase : named.getAsRange<mlir::DictionaryAttr>())
      phases.push_back(phase.getAs<mlir::StringAttr>("name").getValue().str());
  }
  std::string phase = phases[size_t(draw.range(0, int64_t(phases.size()) - 1))];
  PipelineOptions options;
  options.precision = sources.precision;
  if (mlir::failed(runPipeline(*built->module, "spec", "derived", options, [](llvm::StringRef) {})))
    return "the passes refuse it: " + messages;
  reference::PackedBatch batch = drawBatch(draw);
  Memory start = drawMemory(draw, *built->module, batch, model.vocabulary), truth = start;
  std::string entry = "accumulate@" + phase;
  if (mlir::failed(reference::run(*built->module, entry, batch, truth)))
    return "the reference cannot run it: " + messages;
  auto expected = resultsOf(truth);

  // The programs that are not run below are other models' work to compile.
  bool hasDirection = isDouble && model.isSmooth && seed % 3 == 0;
  for (mlir::func::FuncOp program : llvm::make_early_inc_range(built->module->getOps<mlir::func::FuncOp>()))
    if (program.getSymName() != entry && !(hasDirection && program.getSymName() == "score@" + phase))
      program.erase();
  auto package = numerics::compilePackage(*built->module, sources.precision);
  if (!package)
    return package.status().message() + ": " + messages;
  std::map<std::string, Tensor> first;
  for (int threads : {2, 2, 1}) {
    auto executor = rt::Executor::create(*package, {.threads = threads, .device = {}, .poison = true});
    if (!executor)
      return executor.status().message();
    Memory memory = start;
    if (rt::Status status = numerics::run(**executor, entry, batch, memory); !status)
      return status.message();
    auto results = resultsOf(memory);
    if (first.empty()) {
      first = results;
      // No launch of a run whose results are finite may leave anything else in memory: where a run went wrong is told
      // by the first that does (runtime/exec/NotFinite.h).
      (*executor)->zeroGradients();
      rt::Batch view = batch.view();
      auto found = rt::launchNotFinite(**executor, (*executor)->findEntry(entry), &view);
      if (!found || !found->empty())
        return found ? "not finite: " + *found : found.status().message();
      if (Problem far = farFrom(first, expected, isDouble ? 1e-9 : 1e-3); !far.empty())
        return "optimised against unoptimised: " + far;
      if (hasDirection)
        if (Problem wrong = checkDirection(draw, **executor, phase, batch, start, first); !wrong.empty())
          return wrong;
    } else if (Problem other = differs(first, results); !other.empty()) {
      return "bits of " + other + " differ from the first run, on " + std::to_string(threads) + " threads";
    }
  }
  return "";
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  if (const char *cases = std::getenv("PG_RANDOM_MODELS"))
    options.cases = std::strtoull(cases, nullptr, 10);
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--models") options.models = value;
    else if (flag == "--cases") options.cases = std::stoull(value);
    else if (flag == "--seed") options.seed = std::stoull(value);
    else if (flag == "--keep") options.keep = value;
  }
  if (options.models.empty()) {
    std::cerr << "usage: pg-random-models --models DIR [--cases N] [--seed S] [--keep FILE]\n";
    return 2;
  }
  // Blocks are found in models/ of a folder above the file: a link stands in.
  namespace fs = std::filesystem;
  fs::path folder = fs::temp_directory_path() / ("pg-random-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  fs::create_directory_symlink(fs::absolute(options.models), folder / "models");
  std::string path = (folder / "random.model.yaml").string();
  int code = 0;
  for (uint64_t seed = options.seed; seed < options.seed + options.cases && !code; ++seed) {
    RandomModel model = generateModel(seed);
    std::ofstream(path) << model.text;
    Problem problem = check(seed, path, model);
    if (!problem.empty()) {
      std::ofstream(options.keep) << model.text;
      std::cerr << "seed " << seed << ": " << problem << "\nthe model is in " << options.keep << "\n";
      code = 1;
    } else if ((seed + 1 - options.seed) % 100 == 0) {
      std::cerr << seed + 1 - options.seed << " models agree\n";
    }
  }
  fs::remove_all(folder);
  if (!code)
    std::cout << options.cases << " random models agree\n";
  return code;
}
