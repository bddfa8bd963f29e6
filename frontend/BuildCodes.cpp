//===- BuildCodes.cpp - weights that programs read from codes ---------------===//
#include "frontend/BuildRecipe.h"

#include "llvm/ADT/StringExtras.h"

#include <set>

using namespace pg::frontend;

bool pg::frontend::readsCodes(const SpecNode *recipe) {
  const SpecNode *section = recipe ? recipe->find("quantise") : nullptr;
  const SpecNode *weights = section ? section->find("weights") : nullptr;
  return weights && weights->text == "fused";
}

void pg::frontend::buildCodes(const SpecNode &recipe, mlir::ModuleOp module,
                              const RecipeValues &values, Reporter &reporter) {
  // Groups without parameters are allowed until a program shall read them.
  if (!readsCodes(&recipe))
    return;
  const SpecNode *section = recipe.find("quantise");
  std::set<std::string> labels;
  for (auto parameter : module.getOps<pg::ParameterOp>())
    labels.insert(parameter.getQuant().str());
  labels.erase("");
  const SpecNode *groups = section->find("groups");
  if (entriesOf(groups).empty())
    reporter.error(section->pos, "'weights: fused' needs 'groups': which weights "
                                 "are held as codes; quantisation groups of the "
                                 "model: " + llvm::join(labels, ", "));
  mlir::Builder builder(module.getContext());
  for (const SpecEntry &entry : entriesOf(groups)) {
    if (!labels.count(entry.key)) {
      reporter.error(entry.keyPos, "no parameter has the quantisation group '" +
                                       entry.key + "'" +
                                       suggest(entry.key, {labels.begin(), labels.end()}));
      continue;
    }
    auto number = [&](const char *key) {
      auto found = values.find("quantise.groups." + entry.key + "." + key);
      return builder.getNamedAttr(
          key, builder.getI64IntegerAttr(found == values.end() ? 0 : found->second.i));
    };
    auto how = builder.getDictionaryAttr({number("bits"), number("rank")});
    // What is no matrix stays as it is: a weights file's codes of it are
    // dequantised when they are read.
    for (auto parameter : module.getOps<pg::ParameterOp>())
      if (parameter.getQuant() == entry.key &&
          mlir::cast<mlir::RankedTensorType>(parameter.getType()).getRank() == 2)
        parameter->setAttr(pg::kCodesAttr, how);
  }
}
