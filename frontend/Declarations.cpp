//===- Declarations.cpp - params, uses, args and let of a scope ------------===//
#include "frontend/BlockBuilder.h"
#include "frontend/Scalar.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"

using namespace pg::frontend;

/// Largest number of elements of one parameter.
static constexpr int64_t kMaxElements = int64_t(1) << 40;

static std::vector<std::string> keysOf(const SpecNode *map) {
  std::vector<std::string> keys;
  for (const SpecEntry &entry : entriesOf(map))
    keys.push_back(entry.key);
  return keys;
}

bool ParamOwner::declare(ParamDecl decl, int rank, SpecPos pos) {
  auto [at, isNew] =
      held.try_emplace(decl.name, Held{decl, rank, held.size()});
  if (isNew)
    return true;
  const ParamDecl &known = at->second.decl;
  if (known.site != decl.site) {
    reporter.error(pos.isValid() ? pos : decl.pos,
                   "parameter '" + decl.name + "' is declared twice",
                   known.pos, "also declared here");
    return false;
  }
  if (known.type == decl.type)
    return true;
  auto shape = [](mlir::RankedTensorType type) {
    std::string text;
    for (int64_t size : type.getShape())
      text += (text.empty() ? "" : ", ") + std::to_string(size);
    return "[" + text + "]";
  };
  reporter.error(pos.isValid() ? pos : decl.pos,
                 "parameter '" + decl.name + "' has shape " +
                     shape(decl.type) + " here and " + shape(known.type) +
                     " in another call",
                 known.pos, "declared here");
  return false;
}

const ParamDecl *ParamOwner::find(const std::string &name) const {
  auto found = held.find(name);
  return found == held.end() ? nullptr : &found->second.decl;
}

std::vector<ParamDecl> ParamOwner::ordered() const {
  std::vector<const Held *> all;
  for (const auto &[name, entry] : held)
    all.push_back(&entry);
  llvm::sort(all, [](const Held *a, const Held *b) {
    return std::pair(a->rank, a->sequence) < std::pair(b->rank, b->sequence);
  });
  std::vector<ParamDecl> result;
  for (const Held *entry : all)
    result.push_back(entry->decl);
  return result;
}

bool pg::frontend::isPresent(const SpecNode &node, Scope &scope,
                             Reporter &reporter) {
  const SpecNode *when = node.find("when");
  if (!when)
    return true;
  Value value = evaluateNode(*when, scope, reporter);
  if (value.isPoison())
    return true; // reported; keeping the name avoids errors that follow
  std::optional<bool> truth = value.truth();
  if (!truth)
    reporter.error(when->pos, "'when' must be static, got " + value.kindName());
  return truth.value_or(true);
}

/// Puts a name into a scope that must not have it yet.
static void introduce(Scope &scope, const std::string &name, Value value,
                      SpecPos pos, Reporter &reporter) {
  if (!scope.names.try_emplace(name, std::move(value)).second)
    reporter.error(pos, "the name '" + name + "' is already taken here");
}

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

static mlir::Attribute numberAttr(const SpecNode &node, Scope &scope,
                                  mlir::Builder &builder, Reporter &reporter) {
  Value value = evaluateNode(node, scope, reporter);
  if (value.isPoison())
    return {};
  if (value.isNumber())
    return builder.getF64FloatAttr(value.number());
  reporter.error(node.pos, "expected a number, got " + value.kindName());
  return {};
}

/// {kind = "normal", std = 5.0e-3}; null after an error.
static mlir::DictionaryAttr initAttr(const SpecNode *init, int64_t rows,
                                     Scope &scope, Reporter &reporter) {
  mlir::Builder builder(reporter.getContext());
  mlir::NamedAttrList attrs;
  auto setKind = [&](llvm::StringRef kind) {
    attrs.set("kind", builder.getStringAttr(kind));
  };
  if (!init || init->isScalar()) {
    setKind(init ? init->text : "zeros");
    return attrs.getDictionary(reporter.getContext());
  }
  const SpecEntry &form = init->entries.front();
  setKind(form.key);
  if (form.key == "orthogonal" && !form.value.find("gain"))
    attrs.set("gain", builder.getF64FloatAttr(1.0));
  for (const SpecEntry &entry : form.value.entries) {
    if (form.key != "rows") {
      mlir::Attribute number =
          numberAttr(entry.value, scope, builder, reporter);
      if (!number)
        return {};
      attrs.set(entry.key, number);
      continue;
    }
    Value list = evaluateNode(entry.value, scope, reporter);
    if (list.isPoison())
      return {};
    llvm::SmallVector<mlir::Attribute> values;
    if (list.isList())
      for (const Value &item : *list.list)
        if (item.isNumber())
          values.push_back(builder.getF64FloatAttr(item.number()));
    if (!list.isList() || static_cast<int64_t>(list.list->size()) != rows ||
        values.size() != list.list->size()) {
      reporter.error(entry.value.pos,
                     "'values' expects a list of " + std::to_string(rows) +
                         " numbers, one per row, got " + list.str());
      return {};
    }
    attrs.set(entry.key, builder.getArrayAttr(values));
  }
  return attrs.getDictionary(reporter.getContext());
}

static std::string textOr(const SpecNode *node, const char *otherwise) {
  return node ? node->text : otherwise;
}

static bool readShape(const SpecNode &shapeNode, Scope &scope,
                      llvm::SmallVectorImpl<int64_t> &shape,
                      Reporter &reporter) {
  bool sound = true;
  int64_t elements = 1;
  for (const SpecNode &item : shapeNode.items) {
    Value size = evaluateNode(item, scope, reporter);
    if (size.isInt() && size.integer >= 1 &&
        (__builtin_mul_overflow(elements, size.integer, &elements) ||
         elements > kMaxElements)) {
      reporter.error(item.pos, "with a size of " + size.str() +
                                   " the tensor has more than 2^40 elements");
      return false;
    }
    if (!size.isInt() || size.integer < 1) {
      sound = false;
      if (!size.isPoison())
        reporter.error(item.pos, "a size must be an integer of at least 1, got " +
                                     (size.isNumber() ? size.str()
                                                      : size.kindName()));
      continue;
    }
    shape.push_back(size.integer);
  }
  return sound;
}

void pg::frontend::declareParams(const SpecNode *params, Scope &scope,
                                 ParamOwner &owner, Reporter &reporter) {
  if (!params)
    return;
  mlir::Builder builder(reporter.getContext());
  for (const SpecEntry &entry : params->entries) {
    const SpecNode &node = entry.value;
    if (!isPresent(node, scope, reporter))
      continue;
    llvm::SmallVector<int64_t> shape;
    bool sound = readShape(*node.find("shape"), scope, shape, reporter);
    mlir::DictionaryAttr init = initAttr(
        node.find("init"), shape.empty() ? 1 : shape[0], scope, reporter);
    if (!sound || !init) {
      introduce(scope, entry.key, Value::poison(), entry.keyPos, reporter);
      continue;
    }
    auto type = mlir::RankedTensorType::get(shape, builder.getF32Type());
    ParamDecl decl{entry.key, type, init,
                   textOr(node.find("group"), "default"),
                   textOr(node.find("quant"), ""), entry.keyPos, ""};
    introduce(scope, entry.key, Value::parameter(entry.key, type),
              entry.keyPos, reporter);
    owner.declare(std::move(decl), 0, entry.keyPos);
  }
}

//===----------------------------------------------------------------------===//
// Uses, arguments, let
//===----------------------------------------------------------------------===//

StaticArgs pg::frontend::evaluateArgs(const SpecNode *args, Scope &scope,
                                      BlockLibrary &library) {
  StaticArgs values;
  for (const SpecEntry &entry : entriesOf(args)) {
    const SpecNode &node = entry.value;
    bool isText = node.isScalar() && node.isQuoted;
    bool isBlock = node.isScalar() && !node.isQuoted &&
                   isIdentifier(node.text) && !scope.find(node.text) &&
                   library.exists(node.text);
    values[entry.key] =
        isText || isBlock
            ? Value::of(node.text)
            : evaluateNode(node, scope, library.getReporter());
  }
  return values;
}

const BlockSpec *pg::frontend::resolveBlock(const SpecNode &node, Scope &scope,
                                            BlockLibrary &library) {
  if (const Value *value = scope.find(node.text)) {
    if (value->isString())
      return library.find(value->text, node.pos);
    if (value->isPoison())
      return nullptr;
  }
  return library.find(node.text, node.pos);
}

void pg::frontend::checkArgs(StaticArgs &args, const SpecNode *written,
                             const BlockSpec &spec, Reporter &reporter) {
  std::vector<std::string> known = keysOf(spec.node->find("args"));
  for (const SpecEntry &entry :
       entriesOf(written)) {
    if (llvm::is_contained(known, entry.key))
      continue;
    args.erase(entry.key);
    reporter.error(entry.keyPos, "block '" + spec.name +
                                     "' has no argument '" + entry.key + "'" +
                                     suggest(entry.key, known));
  }
}

bool pg::frontend::isChosen(const SpecNode &node, const Scope &scope) {
  const Value *value = scope.find(node.text);
  return value && value->isString();
}

void pg::frontend::keepKnownArgs(StaticArgs &args, const SpecNode *written,
                                 const BlockSpec &spec, Reporter &reporter) {
  std::vector<std::string> known = keysOf(spec.node->find("args")), missing;
  for (const std::string &name : known)
    if (!args.count(name))
      missing.push_back(name);
  for (const SpecEntry &entry : entriesOf(written)) {
    if (llvm::is_contained(known, entry.key))
      continue;
    args.erase(entry.key);
    std::string hint = suggest(entry.key, missing);
    if (!hint.empty())
      reporter.error(entry.keyPos, "block '" + spec.name +
                                       "' has no argument '" + entry.key + "'" +
                                       hint);
  }
}

void pg::frontend::declareUses(const SpecNode *uses, Scope &scope,
                               BlockLibrary &library, ParamOwner &owner,
                               int firstRank,
                               std::vector<std::unique_ptr<BlockUse>> &made) {
  if (!uses)
    return;
  Reporter &reporter = library.getReporter();
  // Blocks see no other use while they are being declared.
  std::vector<std::pair<const SpecEntry *, Value>> ready;
  int rank = firstRank;
  for (const SpecEntry &entry : uses->entries) {
    ++rank;
    if (!isPresent(entry.value, scope, reporter))
      continue;
    const SpecNode *args = entry.value.find("args");
    auto use = std::make_unique<BlockUse>(library, owner, rank);
    use->spec = resolveBlock(*entry.value.find("block"), scope, library);
    use->args = evaluateArgs(args, scope, library);
    if (!use->spec) {
      ready.emplace_back(&entry, Value::poison());
      continue;
    }
    if (isChosen(*entry.value.find("block"), scope))
      keepKnownArgs(use->args, args, *use->spec, reporter);
    else
      checkArgs(use->args, args, *use->spec, reporter);
    use->path = entry.key;
    use->names = entry.value.find("names");
    use->pos = entry.keyPos;
    ready.emplace_back(&entry, Value::of(use.get()));
    made.push_back(std::move(use));
  }
  for (auto &[entry, value] : ready)
    introduce(scope, entry->key, value, entry->keyPos, reporter);
}

void pg::frontend::declareLets(const SpecNode *lets, Scope &scope,
                               Reporter &reporter) {
  for (const SpecEntry &entry : entriesOf(lets))
    introduce(scope, entry.key, evaluateNode(entry.value, scope, reporter),
              entry.keyPos, reporter);
}
