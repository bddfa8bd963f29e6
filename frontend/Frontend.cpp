//===- Frontend.cpp - YAML to a pg module -----------------------------------===//
#include "frontend/Frontend.h"

#include "frontend/BuildModel.h"
#include "frontend/BuildRecipe.h"
#include "frontend/Builtins.h"
#include "frontend/Resolve.h"

#include "dialect/Pg.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"

using namespace pg::frontend;

/// Tokens planned for without a recipe, and rows of the logits entry.
static constexpr int64_t kDefaultMaxTokens = 4096;
static constexpr int64_t kLogitRows = 8;

/// The resolved specification; blocks found in files are put into the model,
/// so that the text stands alone.
static std::string specText(SpecNode model, const BlockLibrary &library,
                            const MergedFile *recipe,
                            const std::vector<OptimizerUse> &optimizers) {
  SpecNode blocks;
  blocks.kind = SpecNode::Kind::Map;
  for (const auto &[name, spec] : library.used()) {
    SpecEntry entry{name, {}, *spec.node};
    llvm::erase_if(entry.value.entries, [](const SpecEntry &inner) {
      return inner.key == "block";
    });
    blocks.entries.push_back(std::move(entry));
  }
  llvm::erase_if(model.entries, [](const SpecEntry &entry) {
    return entry.key == "blocks";
  });
  if (!blocks.entries.empty())
    model.entries.push_back({"blocks", {}, std::move(blocks)});
  SpecNode root;
  root.kind = SpecNode::Kind::Map;
  root.entries.push_back({"model_file", {}, std::move(model)});
  if (recipe)
    root.entries.push_back({"recipe_file", {}, recipe->root});
  SpecNode modules;
  modules.kind = SpecNode::Kind::Map;
  std::map<std::string, const SpecNode *> byName;
  for (const OptimizerUse &use : optimizers)
    byName[use.module->find("optimizer")->text] = use.module;
  for (const auto &[name, module] : byName)
    modules.entries.push_back({name, {}, *module});
  if (!modules.entries.empty())
    root.entries.push_back({"optimizer_files", {}, std::move(modules)});
  return toYaml(root);
}

static mlir::FailureOr<Built> buildAll(mlir::MLIRContext &context,
                                       const Sources &sources) {
  Reporter reporter(&context);
  Project project(reporter);
  std::optional<MergedFile> model = project.load(sources.modelPath);
  std::optional<MergedFile> recipe;
  if (!sources.recipePath.empty())
    recipe = project.load(sources.recipePath);
  if (!model || reporter.hasFailed())
    return mlir::failure();
  applySets(sources.sets, project, &model->root,
            recipe ? &recipe->root : nullptr, reporter);
  bool modelSound =
      validate(model->root, modelSchema(), "the model", reporter);
  bool recipeSound = !recipe || validate(recipe->root, recipeSchema(),
                                         "the recipe", reporter);

  Built built;
  std::vector<OptimizerUse> optimizers;
  if (recipe && recipeSound) {
    built.recipe = flattenRecipe(recipe->root, reporter);
    optimizers = findOptimizers(*recipe, project, reporter);
  }
  if (!modelSound)
    return mlir::failure();

  mlir::Location loc = reporter.location(model->root.pos);
  built.module = mlir::ModuleOp::create(loc);
  mlir::ModuleOp module = *built.module;
  BlockLibrary library(project, *model, module, reporter);
  buildModel(*model, library, module, reporter);
  if (recipe && !reporter.hasFailed())
    buildOptimizer(optimizers, recipe->root, module, built.recipe, reporter);
  if (reporter.hasFailed())
    return mlir::failure();

  mlir::Builder builder(&context);
  int64_t maxTokens = sources.maxTokens;
  if (maxTokens == 0)
    maxTokens = recipe ? built.recipe["batch.micro_tokens"].i
                       : kDefaultMaxTokens;
  std::string precision = sources.precision;
  if (precision.empty())
    precision = recipe ? built.recipe["precision"].s : "f32";
  module->setAttr("pg.max_tokens", builder.getI64IntegerAttr(maxTokens));
  module->setAttr("pg.logit_rows", builder.getI64IntegerAttr(kLogitRows));
  module->setAttr("pg.precision", builder.getStringAttr(precision));
  if (mlir::failed(mlir::verify(module)))
    return mlir::failure();
  built.spec = specText(model->root, library, recipe ? &*recipe : nullptr,
                        optimizers);
  return built;
}

mlir::FailureOr<Built> pg::frontend::build(mlir::MLIRContext &context,
                                           const Sources &sources) {
  context.loadDialect<pg::PgDialect, mlir::func::FuncDialect>();
  return buildAll(context, sources);
}

std::string pg::frontend::schemaJson(llvm::StringRef which) {
  if (which == "model")
    return toJsonSchema(modelSchema(), "model file");
  if (which == "block")
    return toJsonSchema(blockSchema(), "block file");
  if (which == "optimizer")
    return toJsonSchema(optimizerSchema(), "optimizer file");
  if (which == "recipe")
    return toJsonSchema(recipeSchema(), "recipe file");
  if (which == "functions")
    return builtinsJson();
  return "";
}
