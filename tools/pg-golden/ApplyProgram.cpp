//===- ApplyProgram.cpp - given tensors under given optimizer modules --------===//
#include "tools/pg-golden/ApplyProgram.h"
#include "tools/pg-golden/Process.h"

#include "runtime/package/PackageJson.h"
#include "runtime/support/File.h"
#include "runtime/weights/Safetensors.h"

#include <algorithm>
#include <filesystem>

using namespace pg;
using namespace pg::golden;
namespace fs = std::filesystem;

/// A model of the tensors; its forward pass needs none of them.
static std::string modelText(const std::vector<ApplyGroup> &groups) {
  std::string text = "model: tensors\nparams:\n"
                     "  logits_of_tokens: {shape: [2, 2], group: unused}\n";
  for (const ApplyGroup &group : groups)
    for (const ApplyTensor &tensor : group.tensors)
      text += "  " + tensor.name + ": {shape: " + rt::shapeText(tensor.shape) +
              ", group: " + group.name + "}\n";
  return text + "forward: |\n  return gather(logits_of_tokens, tokens)\n";
}

static std::string recipeText(const std::vector<ApplyGroup> &groups,
                              bool hasAverage) {
  std::string text = "recipe: tensors\nbatch: {micro_tokens: 8, row_length: 8}\n"
                     "eval: {row_length: 8}\n";
  if (hasAverage)
    text += "ema: {decay: 0.5}\n";
  text += "optimizer:\n  groups:\n    unused: {module: sgd, lr: 0}\n";
  for (const ApplyGroup &group : groups) {
    text += "    " + group.name + ":\n      module: " + group.module +
            "\n      lr: 0\n";
    if (!group.args.empty())
      text += "      args:\n";
    for (const auto &[name, value] : group.args)
      text += "        " + name + ": " + value + "\n";
  }
  return text;
}

rt::Status golden::linkModules(const std::string &models,
                               const std::string &folder) {
  std::error_code error;
  for (const char *shelf : {"optim", "quant"})
    if (fs::path link = fs::path(folder) / shelf; !fs::exists(link))
      if (fs::create_directory_symlink(fs::path(models) / shelf, link, error);
          error)
        return {rt::Code::Io, link.string() + ": " + error.message()};
  return rt::Status::ok();
}

rt::StatusOr<ApplyProgram>
ApplyProgram::compile(const std::vector<ApplyGroup> &groups, bool hasAverage,
                      const std::string &models,
                      const Environment &environment) {
  const std::string &folder = environment.scratch;
  std::string model = folder + "/tensors.model.yaml",
              recipe = folder + "/tensors.recipe.yaml",
              package = folder + "/tensors.pgx";
  if (rt::Status linked = linkModules(models, folder); !linked)
    return linked;
  for (const auto &[path, text] :
       {std::pair(model, modelText(groups)),
        std::pair(recipe, recipeText(groups, hasAverage))})
    if (rt::Status written = rt::writeFileAtomic(path, text); !written)
      return written;
  if (rt::Status ran = runProcess({environment.tools + "/pgc", "compile", model,
                                   "--recipe", recipe, "-o", package},
                                  folder + "/pgc.log");
      !ran)
    return ran;
  rt::StatusOr<rt::Package> read = rt::readPackage(package);
  if (!read)
    return read.status();
  auto executor = rt::Executor::create(std::move(*read), {});
  if (!executor)
    return executor.status();
  ApplyProgram program;
  program.loaded = std::move(*executor);
  program.entry = program.loaded->findEntry("apply");
  if (program.entry < 0)
    return rt::Status(rt::Code::Invalid, "the package has no 'apply'");
  program.setArguments();
  return program;
}

template <typename Table>
static std::optional<size_t> indexOf(const Table &table,
                                     const std::string &name) {
  auto found = std::find_if(table.begin(), table.end(), [&](const auto &row) {
    return row.name == name;
  });
  if (found == table.end())
    return std::nullopt;
  return static_cast<size_t>(found - table.begin());
}

// Everything is compiled in the f32 policy.
static void store(void *memory, const std::vector<double> &values) {
  for (size_t i = 0; i < values.size(); ++i)
    static_cast<float *>(memory)[i] = static_cast<float>(values[i]);
}

static std::vector<double> load(const void *memory, int64_t count) {
  const float *values = static_cast<const float *>(memory);
  return {values, values + count};
}

void ApplyProgram::setParameter(const std::string &name,
                                const std::vector<double> &values) {
  if (auto index = indexOf(loaded->package().parameters, name))
    store(loaded->parameter(*index), values);
}

void ApplyProgram::setGradient(const std::string &name,
                               const std::vector<double> &values) {
  if (auto index = indexOf(loaded->package().states, "grad." + name))
    store(loaded->state(*index), values);
}

void ApplyProgram::setArguments() {
  const rt::Package &package = loaded->package();
  for (const std::string &scalar : package.entries[static_cast<size_t>(entry)].scalars) {
    size_t dot = scalar.find('.');
    if (dot == std::string::npos)
      continue;
    auto value = package.recipe.find("optimizer.groups." + scalar.substr(0, dot) +
                                     ".args." + scalar.substr(dot + 1));
    if (value != package.recipe.end())
      loaded->setScalar(entry, scalar, value->second.f);
  }
}

void ApplyProgram::setScalar(const std::string &name, double value) {
  loaded->setScalar(entry, name, value);
}

rt::Status ApplyProgram::apply() { return loaded->run(entry, nullptr); }

std::vector<double> ApplyProgram::parameter(const std::string &name) const {
  auto index = indexOf(loaded->package().parameters, name);
  if (!index)
    return {};
  return load(loaded->parameter(*index),
              rt::elementCount(loaded->package().parameters[*index].shape));
}

std::vector<double> ApplyProgram::state(const std::string &name) const {
  auto index = indexOf(loaded->package().states, name);
  if (!index)
    return {};
  return load(loaded->state(*index),
              rt::elementCount(loaded->package().states[*index].shape));
}
