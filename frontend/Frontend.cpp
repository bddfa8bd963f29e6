//===- Frontend.cpp - YAML to a pg module -----------------------------------===//
#include "frontend/Frontend.h"

#include "frontend/BuildAdapters.h"
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
                            const std::vector<OptimizerUse> &optimizers,
                            const std::vector<QuantiserUse> &quantisers) {
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
  auto addModules = [&](const char *section, const char *kind,
                        const auto &uses) {
    std::map<std::string, const SpecNode *> byName;
    for (const ModuleUse &use : uses)
      byName[use.module->find(kind)->text] = use.module;
    SpecNode modules;
    modules.kind = SpecNode::Kind::Map;
    for (const auto &[name, module] : byName)
      modules.entries.push_back({name, {}, *module});
    if (!modules.entries.empty())
      root.entries.push_back({section, {}, std::move(modules)});
  };
  addModules("optimizer_files", "optimizer", optimizers);
  addModules("quantiser_files", "quantiser", quantisers);
  return toYaml(root);
}

const std::vector<std::string> &pg::frontend::programNames() {
  static const std::vector<std::string> names = {
      "score", "logits", "accumulate", "apply", "calibrate", "adapt"};
  return names;
}

/// The programs asked for, or those that follow from the recipe.
static std::vector<std::string> choosePrograms(const Sources &sources,
                                               const MergedFile *recipe) {
  if (!sources.programs.empty())
    return sources.programs;
  std::vector<std::string> programs = {"score", "logits"};
  // Codes are not trained.
  bool trains = !recipe || !readsCodes(&recipe->root);
  if (trains)
    programs.push_back("accumulate");
  if (recipe && trains)
    programs.push_back("apply");
  if (recipe && recipe->root.find("adapt"))
    programs.push_back("adapt");
  return programs;
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
  std::vector<QuantiserUse> quantisers;
  if (recipe && recipeSound) {
    built.recipe = flattenRecipe(recipe->root, reporter);
    optimizers = findOptimizers(*recipe, project, reporter);
    quantisers = findQuantisers(*recipe, project, reporter);
  }
  std::vector<std::string> programs =
      choosePrograms(sources, recipe ? &*recipe : nullptr);
  auto isAsked = [&](const char *program) {
    return llvm::is_contained(programs, program);
  };
  const SpecNode *adapt = recipe ? recipe->root.find("adapt") : nullptr;
  for (auto [program, section, present] :
       {std::make_tuple("apply", "a recipe", recipe.has_value()),
        std::make_tuple("adapt", "a recipe with a section 'adapt'",
                        adapt != nullptr)})
    if (isAsked(program) && !present)
      reporter.error(recipe ? recipe->root.pos : model->root.pos,
                     llvm::Twine("the program '") + program + "' needs " +
                         section);
  bool fused = recipe && readsCodes(&recipe->root);
  for (const char *program : {"accumulate", "apply", "calibrate"})
    if (fused && isAsked(program))
      reporter.error(recipe->root.find("quantise")->pos,
                     llvm::Twine("the program '") + program +
                         "' needs the weights themselves: ask for score, logits "
                         "and adapt alone, or set quantise.weights to materialise");
  std::optional<OptimizerUse> adapterOptimizer;
  if (adapt && recipeSound)
    adapterOptimizer = findAdapterOptimizer(*recipe, project, reporter);
  if (!modelSound)
    return mlir::failure();

  mlir::Location loc = reporter.location(model->root.pos);
  built.module = mlir::ModuleOp::create(loc);
  mlir::ModuleOp module = *built.module;
  BlockLibrary library(project, *model, module, reporter);
  buildModel(*model, library, module, reporter);
  if (isAsked("apply") && !reporter.hasFailed())
    buildOptimizer(optimizers, recipe->root, module, built.recipe, reporter);
  if (recipe && isAsked("accumulate") && !reporter.hasFailed())
    buildQat(quantisers, module, built.recipe, reporter);
  if (isAsked("adapt") && !reporter.hasFailed())
    buildAdapters(*adapt, *adapterOptimizer, module, built.recipe, reporter);
  if (recipe && recipeSound && !reporter.hasFailed())
    buildCodes(recipe->root, module, built.recipe, reporter);
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
  if (!sources.programs.empty() || isAsked("adapt") || fused) {
    llvm::SmallVector<llvm::StringRef> names(programs.begin(), programs.end());
    module->setAttr("pg.programs", builder.getStrArrayAttr(names));
  }
  if (mlir::failed(mlir::verify(module)))
    return mlir::failure();
  if (adapterOptimizer)
    optimizers.push_back(*adapterOptimizer); // its module belongs to the text
  built.spec = specText(model->root, library, recipe ? &*recipe : nullptr,
                        optimizers, quantisers);
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
  if (which == "quantiser")
    return toJsonSchema(quantiserSchema(), "quantiser file");
  if (which == "recipe")
    return toJsonSchema(recipeSchema(), "recipe file");
  if (which == "functions")
    return builtinsJson();
  return "";
}
