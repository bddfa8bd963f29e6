//===- QuantisationCase.cpp - weights from recorded codes -------------------===//
//
// Every weight of the case that is recorded as codes, scales and factors is
// written as a weights file of this project (runtime/weights/Codes.h). Then
//
//   1. its values must be the recorded ones, bit for bit;
//   2. two packages of a model that looks the weight up and multiplies by it, one
//      that reads the values and one that reads the codes, score every row from
//      that file: log-likelihoods and logits against products in double.
//
// How codes are chosen is not checked yet.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/ApplyProgram.h"
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/Compare.h"
#include "tools/pg-golden/Process.h"

#include "runtime/weights/Codes.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

using namespace pg;
using namespace pg::golden;

namespace {

/// Part of a stored weight -> tensor of the case that holds it.
using PartNames = std::map<std::string, std::string>;

struct StoredWeight {
  std::string name;
  PartNames parts;    ///< by suffix, ".codes"; {"", tensor} = stored as itself
  std::string wanted; ///< tensor of the case with its values
};

/// A matrix of doubles.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;
};

class QuantisationRun {
public:
  QuantisationRun(const Case &golden, const Environment &environment)
      : golden(golden), environment(environment) {}

  rt::Status run(std::vector<Check> &checks);

private:
  rt::StatusOr<std::vector<StoredWeight>> storedWeights() const;
  rt::Status check(const StoredWeight &stored, std::vector<Check> &checks);
  rt::Status checkProducts(const StoredWeight &stored, const Matrix &w,
                           const std::string &file, const std::string &weights,
                           std::vector<Check> &checks);
  bool has(const std::string &name) const { return io->find(name) != nullptr; }

  const Case &golden;
  const Environment &environment;
  std::optional<rt::SafetensorsFile> io;
};

/// Adds `tensor` as part `suffix` when the case has it.
void add(PartNames &parts, const rt::SafetensorsFile &io, const char *suffix,
         const std::string &tensor) {
  if (io.find(tensor))
    parts[suffix] = tensor;
}

rt::StatusOr<std::vector<StoredWeight>> QuantisationRun::storedWeights() const {
  std::vector<StoredWeight> all;
  std::string method = golden.text("method");
  if (method == "gptq") {
    all.push_back({"weight", {{".codes", "codes"}, {".scale", "scales"}}, "dequantised"});
  } else if (method == "lqer") {
    for (std::string way : {"asym", "sym"}) {
      StoredWeight weight{way, {{".codes", "codes"}, {".scale", "scales"}}, way + ".reconstructed"};
      for (auto [suffix, factor] : {std::pair(".left", ".A"), std::pair(".right", ".B")}) {
        add(weight.parts, *io, (std::string(suffix) + ".codes").c_str(), way + factor + "_codes");
        for (const char *scale : {"_scale", "_scales"})
          add(weight.parts, *io, (std::string(suffix) + ".scale").c_str(), way + factor + scale);
      }
      all.push_back(std::move(weight));
    }
  } else if (method == "per-row" || method == "mixed") {
    const std::string mark = "dequantised";
    for (const auto &[name, view] : io->tensors()) {
      size_t at = name.find(mark);
      if (at == std::string::npos)
        continue;
      StoredWeight weight;
      weight.wanted = name;
      if (at > 0) { // "int6.dequantised" beside "int6.codes"
        weight.name = name.substr(0, at - 1);
        add(weight.parts, *io, ".codes", weight.name + ".codes");
        add(weight.parts, *io, ".scale", weight.name + ".scales");
      } else { // "dequantised.tok_emb.weight" beside "stored.tok_emb.weight.q"
        weight.name = name.substr(mark.size() + 1);
        std::string stored = "stored." + weight.name;
        const std::pair<const char *, const char *> kNames[] = {
            {"", ""}, {".codes", ".q"}, {".codes", ".gq"}, {".scale", ".scale"}, {".scale", ".gs"},
            {".left.codes", ".lqA_a"}, {".left.scale", ".lqAs_a"},
            {".right.codes", ".lqB_a"}, {".right.scale", ".lqBs_a"}};
        for (auto [suffix, recorded] : kNames)
          add(weight.parts, *io, suffix, stored + recorded);
      }
      all.push_back(std::move(weight));
    }
  } else {
    return rt::Status(rt::Code::Invalid, "no rule for the method '" + method + "'");
  }
  return all;
}

rt::Status QuantisationRun::check(const StoredWeight &stored, std::vector<Check> &checks) {
  const rt::TensorView *wanted = io->find(stored.wanted);
  if (!wanted || stored.parts.empty())
    return {rt::Code::Invalid, "'" + stored.name + "' is not recorded in parts that are known"};
  std::vector<rt::TensorToWrite> tensors;
  for (const auto &[suffix, tensor] : stored.parts) {
    const rt::TensorView *view = io->find(tensor);
    if (!view)
      return {rt::Code::Invalid, "no tensor '" + tensor + "'"};
    tensors.push_back({"weight" + suffix, view->dtype, view->shape, view->bytes});
  }
  std::string file = stored.name;
  std::replace(file.begin(), file.end(), '.', '_');
  std::string weights = environment.scratch + "/" + file + ".safetensors";
  if (rt::Status written = rt::writeSafetensors(weights, std::move(tensors)); !written)
    return written;
  auto own = rt::SafetensorsFile::read(weights);
  auto expected = tensorOf(*io, stored.wanted);
  if (!own || !expected)
    return own ? expected.status() : own.status();
  std::vector<double> values;
  if (rt::isStoredAsCodes(*own, "weight")) {
    auto numbers = rt::dequantise(*own, "weight", wanted->shape);
    if (!numbers)
      return numbers.status();
    values.assign(numbers->begin(), numbers->end());
  } else {
    auto numbers = tensorOf(*own, "weight");
    if (!numbers)
      return numbers.status();
    values = std::move(*numbers);
  }
  checks.push_back({stored.name + " values", maxAbsDifference(values, *expected), 0});
  if (wanted->shape.size() != 2 || !stored.parts.count(".codes"))
    return rt::Status::ok();
  Matrix w{wanted->shape[0], wanted->shape[1], std::move(*expected)};
  return checkProducts(stored, w, file, weights, checks);
}

/// Logits W W^T, and the log-likelihood of row i + 1 after row i.
void products(const Matrix &w, std::vector<double> &logits, std::vector<double> &nll) {
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.rows; ++j) {
      double z = 0;
      for (int64_t k = 0; k < w.columns; ++k)
        z += w.values[size_t(i * w.columns + k)] * w.values[size_t(j * w.columns + k)];
      logits.push_back(z);
    }
    auto begin = logits.end() - w.rows;
    double top = *std::max_element(begin, logits.end()), sum = 0;
    for (auto z = begin; z != logits.end(); ++z)
      sum += std::exp(*z - top);
    nll.push_back(top + std::log(sum) - begin[(i + 1) % w.rows]);
  }
}

rt::Status QuantisationRun::checkProducts(const StoredWeight &stored, const Matrix &w,
                                          const std::string &file, const std::string &weights,
                                          std::vector<Check> &checks) {
  std::vector<double> logits, nll;
  products(w, logits, nll);
  std::string rows = std::to_string(w.rows), all;
  std::vector<int32_t> row;
  for (int64_t i = 0; i <= w.rows; ++i)
    row.push_back(static_cast<int32_t>(i % w.rows));
  for (int64_t i = 0; i < w.rows; ++i)
    all += (i ? "," : "") + std::to_string(i);
  std::string tokens = environment.scratch + "/" + file + "-tokens.safetensors";
  rt::Status written = rt::writeSafetensors(
      tokens, {{"tokens", "I32", {1, w.rows + 1},
                {reinterpret_cast<const char *>(row.data()), row.size() * sizeof(int32_t)}}});
  if (!written)
    return written;
  int64_t rank = 0;
  if (auto left = stored.parts.find(".left.codes"); left != stored.parts.end())
    rank = io->find(left->second)->shape.back();
  // Bounds of docs/numerics.md: f32 sums in another order, or bf16 factors.
  double bound = environment.precision == "bf16"   ? 1e-2
                 : environment.precision == "f64" ? 1e-6
                                                  : 1e-5;
  for (const char *way : {"materialise", "fused"}) {
    std::string stem = environment.scratch + "/" + file + "-" + way;
    std::vector<std::string> compile = {
        environment.tools + "/pgc", "compile", environment.scratch + "/quantised.model.yaml",
        "--recipe", environment.scratch + "/quantised.recipe.yaml", "--programs", "score,logits",
        "--precision", environment.precision, "-o", stem + ".pgx"};
    for (const std::string &set :
         {"dims.O=" + rows, "dims.I=" + std::to_string(w.columns), "batch.micro_tokens=" + rows,
          "batch.row_length=" + rows, "eval.row_length=" + rows,
          "quantise.weights=" + std::string(way), "quantise.groups.weight.rank=" + std::to_string(rank)})
      compile.insert(compile.end(), {"--set", set});
    compile.insert(compile.end(), environment.compileFlags.begin(), environment.compileFlags.end());
    if (rt::Status ran = runProcess(compile, stem + ".log"); !ran)
      return ran;
    std::vector<std::string> score = {environment.tools + "/pgrun", "score", stem + ".pgx",
                                      "--weights", weights, "--tokens", tokens,
                                      "--logits-rows", all, "-o", stem + ".safetensors"};
    score.insert(score.end(), environment.runFlags.begin(), environment.runFlags.end());
    if (rt::Status ran = runProcess(score, stem + ".log"); !ran)
      return ran;
    auto computed = rt::SafetensorsFile::read(stem + ".safetensors");
    if (!computed)
      return computed.status();
    for (auto [name, wanted] : {std::pair("logits", &logits), std::pair("nll", &nll)}) {
      auto own = tensorOf(*computed, name);
      if (!own)
        return own.status();
      checks.push_back({stored.name + " " + way + " " + name, relativeL2(*own, *wanted), bound});
    }
  }
  return rt::Status::ok();
}

rt::Status QuantisationRun::run(std::vector<Check> &checks) {
  auto file = rt::SafetensorsFile::read(golden.file("io.safetensors"));
  if (!file)
    return file.status();
  io = std::move(*file);
  auto weights = storedWeights();
  if (!weights)
    return weights.status();
  // The optimizer module of the recipe is looked up beside it.
  namespace fs = std::filesystem;
  std::error_code error;
  for (const char *name : {"quantised.model.yaml", "quantised.recipe.yaml"})
    if (!error)
      fs::copy_file(environment.maps + "/" + name, environment.scratch + "/" + name,
                    fs::copy_options::overwrite_existing, error);
  if (error)
    return {rt::Code::Io, environment.scratch + ": " + error.message()};
  std::string models = fs::absolute(environment.maps + "/../../models").lexically_normal().string();
  if (rt::Status linked = linkModules(models, environment.scratch); !linked)
    return linked;
  for (const StoredWeight &stored : *weights)
    if (rt::Status status = check(stored, checks); !status)
      return status.with("'" + stored.name + "'");
  return rt::Status::ok();
}

} // namespace

Outcome golden::runQuantisationCase(const Case &golden, const Environment &environment) {
  Outcome outcome;
  rt::Status status = QuantisationRun(golden, environment).run(outcome.checks);
  outcome.judged(status);
  if (outcome.state == Outcome::State::Pass)
    outcome.message = "(weights from codes; choosing codes is not supported yet)";
  return outcome;
}
