//===- BuildRecipe.cpp - a resolved recipe as values -----------------------===//
#include "frontend/BuildRecipe.h"

#include "frontend/Scalar.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace pg::frontend;
using pg::rt::RecipeValue;

static RecipeValue stringValue(std::string text) {
  RecipeValue value;
  value.kind = RecipeValue::Kind::String;
  value.s = std::move(text);
  return value;
}

static llvm::json::Value toJson(const SpecNode &node) {
  if (node.isList()) {
    llvm::json::Array items;
    for (const SpecNode &item : node.items)
      items.push_back(toJson(item));
    return items;
  }
  if (!node.isQuoted) {
    if (auto whole = parseInt(node.text))
      return *whole;
    if (auto real = parseFloat(node.text))
      return *real;
    if (auto flag = parseBool(node.text))
      return *flag;
  }
  return node.text;
}

/// A scalar or list of type `schema`, already validated.
static RecipeValue convert(const SpecNode &node, const Schema &schema) {
  RecipeValue value;
  switch (schema.type) {
  case Schema::Type::Int:
    value.kind = RecipeValue::Kind::Int;
    value.i = *parseInt(node.text);
    value.f = static_cast<double>(value.i);
    break;
  case Schema::Type::Float:
    value.kind = RecipeValue::Kind::Float;
    value.f = *parseFloat(node.text);
    break;
  case Schema::Type::Bool:
    value.kind = RecipeValue::Kind::Bool;
    value.b = *parseBool(node.text);
    break;
  case Schema::Type::List: {
    std::string text;
    llvm::raw_string_ostream(text) << toJson(node);
    value = stringValue(std::move(text));
    break;
  }
  default:
    value = stringValue(node.text);
  }
  value.location = toString(node.pos);
  return value;
}

static void flatten(const SpecNode *node, const Schema &schema,
                    const std::string &path, RecipeValues &values) {
  if (schema.type == Schema::Type::Map) {
    for (const SpecEntry &entry : entriesOf(node))
      flatten(&entry.value, *schema.item, path + "." + entry.key, values);
    return;
  }
  // Arguments of optimizer modules are typed by the module (buildOptimizer).
  if (schema.type == Schema::Type::Expr)
    return;
  if (schema.type != Schema::Type::Object) {
    values[path] = convert(*node, schema);
    return;
  }
  for (const SchemaField &field : schema.fields) {
    if (field.name == "extends")
      continue;
    std::string inner = path.empty() ? field.name : path + "." + field.name;
    const SpecNode *child = node ? node->find(field.name) : nullptr;
    bool isLeaf = field.schema.type != Schema::Type::Object &&
                  field.schema.type != Schema::Type::Map;
    SpecNode fallback;
    if (!child && isLeaf) {
      if (field.defaultText.empty())
        continue;
      fallback.kind = SpecNode::Kind::Scalar;
      fallback.text = field.defaultText;
      child = &fallback;
    }
    flatten(child, field.schema, inner, values);
  }
}

RecipeValues pg::frontend::flattenRecipe(const SpecNode &recipe,
                                         Reporter &reporter) {
  RecipeValues values;
  flatten(&recipe, recipeSchema(), "", values);
  // A section that is asked for by being there has no defaults elsewhere.
  if (!recipe.find("adapt"))
    std::erase_if(values, [](const auto &entry) {
      return entry.first.rfind("adapt.", 0) == 0;
    });
  // Structure, not a number that a run may change.
  values.erase("quantise.weights");
  auto position = [&](const char *section, const char *key) {
    const SpecNode *outer = recipe.find(section);
    const SpecNode *inner = outer ? outer->find(key) : nullptr;
    return inner ? inner->pos : outer ? outer->pos : recipe.pos;
  };
  int64_t micro = values["batch.micro_tokens"].i;
  int64_t row = values["batch.row_length"].i;
  int64_t rank = values["batch.rank_tokens"].i;
  if (rank == 0)
    rank = micro;
  if (rank % micro != 0)
    reporter.error(position("batch", "rank_tokens"),
                   "'rank_tokens' must be a multiple of micro_tokens = " +
                       std::to_string(micro) + ", got " + std::to_string(rank));
  int64_t ranks = values["batch.logical_ranks"].i;
  int64_t take = rank * ranks;
  // One piece for every logical rank is the plain case.
  if (!values.count("batch.step_tokens")) {
    values["batch.step_tokens"] = values["batch.micro_tokens"];
    values["batch.step_tokens"].i = take;
    values["batch.step_tokens"].f = static_cast<double>(take);
  }
  int64_t step = values["batch.step_tokens"].i;
  if (step % take != 0)
    reporter.error(
        position("batch", "step_tokens"),
        rank == micro && ranks == 1
            ? "'step_tokens' must be a multiple of micro_tokens = " +
                  std::to_string(micro) + ", got " + std::to_string(step)
            : "'step_tokens' must be a multiple of logical_ranks * "
              "rank_tokens = " +
                  std::to_string(take) + ", got " + std::to_string(step));
  if (micro % row != 0)
    reporter.error(position("batch", "micro_tokens"),
                   "'micro_tokens' must be a multiple of row_length = " +
                       std::to_string(row) + ", got " + std::to_string(micro));
  for (const char *key : {"row_length", "batch_tokens"}) {
    int64_t tokens = values[std::string("eval.") + key].i;
    if (tokens > micro)
      reporter.error(position("eval", key),
                     std::string("'") + key +
                         "' must be at most batch.micro_tokens = " +
                         std::to_string(micro) +
                         ", for which memory is planned, got " +
                         std::to_string(tokens));
  }
  return values;
}

std::vector<OptimizerUse>
pg::frontend::findOptimizers(const MergedFile &recipe, Project &project,
                             Reporter &reporter) {
  std::vector<OptimizerUse> uses;
  const SpecNode &groups = *recipe.root.find("optimizer")->find("groups");
  for (const SpecEntry &entry : groups.entries) {
    OptimizerUse use;
    use.name = entry.key;
    use.args = entry.value.find("args");
    use.pos = entry.keyPos;
    use.selector = GroupSelector::of(entry.key, entry.value, entry.keyPos);
    if (findModule(use, "optim", "optimizer", *entry.value.find("module"),
                   recipe, optimizerSchema(), project, reporter))
      uses.push_back(use);
  }
  return uses;
}

std::optional<OptimizerUse>
pg::frontend::findAdapterOptimizer(const MergedFile &recipe, Project &project,
                                   Reporter &reporter) {
  const SpecNode &node = *recipe.root.find("adapt")->find("optimizer");
  OptimizerUse use;
  use.name = "adapt";
  use.args = node.find("args");
  use.pos = node.pos;
  if (!findModule(use, "optim", "optimizer", *node.find("module"), recipe,
                  optimizerSchema(), project, reporter))
    return std::nullopt;
  return use;
}

std::vector<QuantiserUse>
pg::frontend::findQuantisers(const MergedFile &recipe, Project &project,
                             Reporter &reporter) {
  std::vector<QuantiserUse> uses;
  const SpecNode *qat = recipe.root.find("qat");
  for (const SpecEntry &entry : entriesOf(qat ? qat->find("groups") : nullptr)) {
    QuantiserUse use{entry.key, nullptr, entry.value.find("args"), entry.keyPos};
    if (findModule(use, "quant", "quantiser", *entry.value.find("module"),
                   recipe, quantiserSchema(), project, reporter))
      uses.push_back(use);
  }
  return uses;
}
