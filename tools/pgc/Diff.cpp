//===- Diff.cpp - pgc diff ----------------------------------------------------===//
#include "tools/pgc/Tool.h"

#include "frontend/YamlReader.h"
#include "passes/report/Difference.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

namespace pg::tool {
namespace {

using frontend::SpecNode;
using report::Difference;

struct DiffOptions : BuildOptions {
  std::string other;
  std::vector<std::string> beforeSets, afterSets;
  bool json = false;
};

/// A value on one line; bodies keep their lines.
std::string valueText(const SpecNode &node) {
  switch (node.kind) {
  case SpecNode::Kind::Null:
    return "null";
  case SpecNode::Kind::Scalar:
    return node.text.empty() ? "''" : node.text;
  case SpecNode::Kind::List: {
    std::vector<std::string> items;
    for (const SpecNode &item : node.items)
      items.push_back(valueText(item));
    return "[" + llvm::join(items, ", ") + "]";
  }
  case SpecNode::Kind::Map: {
    std::vector<std::string> items;
    for (const frontend::SpecEntry &entry : node.entries) {
      std::string text = valueText(entry.value);
      if (llvm::StringRef(text).contains('\n'))
        text = "...";
      items.push_back(entry.key + ": " + text);
    }
    return "{" + llvm::join(items, ", ") + "}";
  }
  }
  return "";
}

void compareNodes(const SpecNode &before, const SpecNode &after, const std::string &path,
                  std::vector<Difference::Setting> &settings) {
  if (!before.isMap() || !after.isMap()) {
    std::string a = valueText(before), b = valueText(after);
    if (a != b)
      settings.push_back({path, a, b});
    return;
  }
  std::string prefix = path.empty() ? "" : path + ".";
  for (const frontend::SpecEntry &entry : before.entries) {
    if (const SpecNode *match = after.find(entry.key))
      compareNodes(entry.value, *match, prefix + entry.key, settings);
    else
      settings.push_back({prefix + entry.key, valueText(entry.value), ""});
  }
  for (const frontend::SpecEntry &entry : after.entries)
    if (!before.find(entry.key))
      settings.push_back({prefix + entry.key, "", valueText(entry.value)});
}

/// What differs in two resolved specifications, under the paths of `--set`.
std::vector<Difference::Setting> compareSpecs(const std::string &before,
                                              const std::string &after,
                                              mlir::MLIRContext &context) {
  frontend::Reporter reporter(&context);
  frontend::SourceFile oldFile{"before", before}, newFile{"after", after};
  std::optional<SpecNode> a = readYaml(oldFile, reporter), b = readYaml(newFile, reporter);
  std::vector<Difference::Setting> settings;
  if (!a || !b)
    return settings;
  static const SpecNode nothing = [] {
    SpecNode node;
    node.kind = SpecNode::Kind::Map;
    return node;
  }();
  const std::pair<const char *, const char *> parts[] = {
      {"model_file", ""}, {"recipe_file", "recipe"}, {"optimizer_files", "optimizers"}};
  for (auto [key, prefix] : parts) {
    const SpecNode *old = a->find(key), *fresh = b->find(key);
    compareNodes(old ? *old : nothing, fresh ? *fresh : nothing, prefix, settings);
  }
  llvm::erase_if(settings, [](const Difference::Setting &row) {
    return row.path == "model" || row.path == "extends" || row.path == "recipe.recipe";
  });
  return settings;
}

int diff(const DiffOptions &options) {
  Session session;
  Build before, after;
  BuildOptions side = options;
  side.stopAfter = "planned";
  llvm::append_range(side.sources.sets, options.beforeSets);
  if (int code = buildProgram(session, side, before))
    return code;
  side.sources = options.sources;
  if (!options.other.empty())
    side.sources.modelPath = options.other;
  llvm::append_range(side.sources.sets, options.afterSets);
  if (int code = buildProgram(session, side, after))
    return code;
  Difference difference =
      report::compare(*before.module, *after.module,
                      compareSpecs(before.parts.spec, after.parts.spec, session.context()));
  if (options.json)
    llvm::outs() << llvm::formatv("{0:2}", difference.json()) << "\n";
  else
    llvm::outs() << difference.text();
  return kOk;
}

} // namespace

void addDiff(CLI::App &app, int &exitCode) {
  CLI::App *verb =
      app.add_subcommand("diff", "what changes from one model to another, and what it costs");
  auto options = std::make_shared<DiffOptions>();
  addBuildFlags(*verb, *options);
  verb->add_option("other", options->other, "model to compare with (default: the same file)");
  verb->add_option("--set-before", options->beforeSets, "--set for the first model alone")
      ->allow_extra_args(false);
  verb->add_option("--set-after", options->afterSets, "--set for the second model alone")
      ->allow_extra_args(false);
  verb->add_flag("--json", options->json, "the difference as JSON");
  verb->footer("Examples: pgc diff models/pr1693.model.yaml models/tiny/quickstart.model.yaml\n"
               "          pgc diff models/pr1693.model.yaml --set-after options.num_loops=1");
  verb->callback([options, &exitCode] { exitCode = diff(*options); });
}

} // namespace pg::tool
