//===- BlockBuilder.cpp - blocks as shared functions -----------------------===//
//
// Building the function of an instantiation:
//   1. arguments: given values, else defaults, in order;
//   2. inputs: their sizes bind names, then expressions are compared;
//   3. let, params, uses;
//   4. the body runs; a parameter becomes an operand when it is first read;
//   5. parameters of uses that the body did not call are declared as well.
//
//===----------------------------------------------------------------------===//
#include "frontend/BlockBuilder.h"

#include "frontend/Parser.h"
#include "frontend/Scalar.h"
#include "frontend/Sites.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace pg::frontend;
using mlir::RankedTensorType;
using mlir::ShapedType;

/// Deepest nesting of blocks in blocks.
static constexpr size_t kMaxBlockDepth = 32;

//===----------------------------------------------------------------------===//
// Look-up
//===----------------------------------------------------------------------===//

BlockLibrary::BlockLibrary(Project &project, const MergedFile &model,
                           mlir::ModuleOp module, Reporter &reporter)
    : project(project), model(model), module(module), reporter(reporter) {
  for (const char *word : {"row", "segment", "bf16", "f32", "i32"})
    globalScope.names[word] = Value::of(std::string(word));
  globalScope.names["T"] = Value::tokenAxis();
}

const BlockSpec *BlockLibrary::find(const std::string &name, SpecPos pos) {
  auto found = specs.find(name);
  if (found != specs.end())
    return found->second.node ? &found->second : nullptr;
  const SpecNode *inlined = model.root.find("blocks");
  const SpecNode *node = inlined ? inlined->find(name) : nullptr;
  if (!node)
    node = project.findLibrary("blocks", name, model, blockSchema(), pos);
  if (!node)
    return nullptr;
  BlockSpec &spec = specs[name];
  spec.name = name;
  spec.node = node;
  spec.body = parseBody(*node->find("body"), reporter, spec.isSound);
  const SpecNode *own = node->find("block");
  if (own && own->text != name)
    reporter.error(own->pos, "expected the block '" + name +
                                 "' in the file of that name, got '" +
                                 own->text + "'");
  return &spec;
}

bool BlockLibrary::exists(const std::string &name) {
  const SpecNode *inlined = model.root.find("blocks");
  return (inlined && inlined->find(name)) ||
         project.findLibrary("blocks", name, model, blockSchema(), SpecPos());
}

const BlockFunction &
BlockLibrary::instantiate(const BlockSpec &spec, const StaticArgs &args,
                          const std::vector<RankedTensorType> *operands,
                          SpecPos pos) {
  std::string key = spec.name + "(";
  llvm::raw_string_ostream stream(key);
  for (const auto &[name, value] : args)
    stream << name << "=" << value.str() << ",";
  stream << ")";
  if (operands)
    for (RankedTensorType type : *operands)
      stream << " " << type;
  else
    stream << " uncalled";
  // A cycle is found before the cache: its entry would not be complete.
  bool isCycle = llvm::is_contained(open, spec.name);
  if (isCycle || open.size() >= kMaxBlockDepth) {
    std::string path;
    for (const std::string &name : open)
      path += name + " -> ";
    reporter.error(pos, (isCycle ? "blocks use each other in a cycle: "
                                 : "blocks nest too deeply: ") +
                            path + spec.name);
    static const BlockFunction kUnsound;
    return kUnsound;
  }
  auto [at, isNew] = functions.try_emplace(key);
  if (isNew) {
    open.push_back(spec.name);
    build(spec, args, operands, pos, at->second);
    open.pop_back();
  }
  return at->second;
}

//===----------------------------------------------------------------------===//
// One instantiation
//===----------------------------------------------------------------------===//

namespace {

/// The scope of a block function: parameters are operands that are added when
/// they are read.
class FunctionOwner : public ParamOwner {
public:
  FunctionOwner(Reporter &reporter, mlir::Block *entry)
      : ParamOwner(reporter), reporter(reporter), entry(entry) {}

  mlir::Value read(const std::string &name, SpecPos pos) override {
    auto found = operands.find(name);
    if (found != operands.end())
      return found->second;
    const ParamDecl *decl = find(name);
    mlir::Value operand =
        entry->addArgument(decl->type, reporter.location(decl->pos));
    operands[name] = operand;
    order.push_back(name);
    return operand;
  }

  std::vector<std::string> order;

private:
  Reporter &reporter;
  mlir::Block *entry;
  std::map<std::string, mlir::Value> operands;
};

/// Binds the names in `inputs:` to the sizes of the operands.
class InputBinder {
public:
  InputBinder(const BlockSpec &spec, Scope &scope, Reporter &reporter,
              TensorBuilder &describer, SpecPos callPos)
      : spec(spec), scope(scope), reporter(reporter), describer(describer),
        callPos(callPos) {}

  bool bind(const std::vector<RankedTensorType> &operands) {
    const SpecNode &inputs = *spec.node->find("inputs");
    bool sound = true;
    for (auto [entry, type] : llvm::zip(inputs.entries, operands))
      sound &= bindNames(entry, type);
    if (sound)
      for (auto [entry, type] : llvm::zip(inputs.entries, operands))
        sound &= compareExpressions(entry, type);
    return sound;
  }

private:
  bool mismatch(const SpecEntry &entry, RankedTensorType type,
                const std::string &detail) {
    std::string wanted;
    for (const SpecNode &item : entry.value.items)
      wanted += (wanted.empty() ? "" : ", ") + item.text;
    reporter.error(callPos,
                   "block '" + spec.name + "' expects '" + entry.key +
                       "' of shape [" + wanted + "]" + detail + ", got " +
                       describer.describe(type),
                   entry.keyPos, "declared here");
    return false;
  }

  bool bindNames(const SpecEntry &entry, RankedTensorType type) {
    const auto &items = entry.value.items;
    if (static_cast<int64_t>(items.size()) != type.getRank())
      return mismatch(entry, type, "");
    for (auto [item, size] : llvm::zip(items, type.getShape())) {
      if ((item.text == "T") != ShapedType::isDynamic(size))
        return mismatch(entry, type, "");
      if (item.text == "T" || !isIdentifier(item.text))
        continue;
      auto known = scope.names.find(item.text);
      if (known == scope.names.end()) {
        scope.names[item.text] = Value::of(size);
        describer.sizeNames[item.text] = size;
      } else if (known->second.isPoison()) {
        return false;
      } else if (!known->second.isInt() || known->second.integer != size) {
        return mismatch(entry, type,
                        " with " + item.text + " = " + known->second.str());
      }
    }
    return true;
  }

  bool compareExpressions(const SpecEntry &entry, RankedTensorType type) {
    for (auto [item, size] : llvm::zip(entry.value.items, type.getShape())) {
      if (isIdentifier(item.text))
        continue;
      Value wanted = evaluateNode(item, scope, reporter);
      if (wanted.isPoison())
        return false;
      if (!wanted.isInt() || wanted.integer != size)
        return mismatch(entry, type, " with " + item.text + " = " + wanted.str());
    }
    return true;
  }

  const BlockSpec &spec;
  Scope &scope;
  Reporter &reporter;
  TensorBuilder &describer;
  SpecPos callPos;
};

} // namespace

/// Given values, else defaults, in the order of the file.
static bool bindArgs(const BlockSpec &spec, const StaticArgs &given,
                     Scope &scope, BlockLibrary &library, SpecPos pos) {
  const SpecNode *args = spec.node->find("args");
  bool sound = true;
  for (const SpecEntry &entry : entriesOf(args)) {
    auto value = given.find(entry.key);
    if (value != given.end()) {
      scope.names[entry.key] = value->second;
    } else if (entry.value.isScalar() && !entry.value.isQuoted &&
               entry.value.text == "required") {
      library.getReporter().error(pos, "block '" + spec.name +
                                           "' needs the argument '" +
                                           entry.key + "'",
                                  entry.keyPos, "declared here");
      scope.names[entry.key] = Value::poison();
    } else {
      SpecNode one;
      one.kind = SpecNode::Kind::Map;
      one.entries.push_back(entry);
      scope.names[entry.key] = evaluateArgs(&one, scope, library)[entry.key];
    }
    sound &= !scope.names[entry.key].isPoison();
  }
  return sound;
}

void BlockLibrary::build(const BlockSpec &spec, const StaticArgs &args,
                         const std::vector<RankedTensorType> *operands,
                         SpecPos pos, BlockFunction &result) {
  mlir::OpBuilder builder(reporter.getContext());
  const SpecNode &inputs = *spec.node->find("inputs");
  mlir::Location loc = reporter.location(spec.node->pos);
  // Built apart; joins the module when it is complete.
  std::string symbol =
      "block." + spec.name + "." + std::to_string(counters[spec.name]++);
  mlir::OwningOpRef<mlir::func::FuncOp> func = mlir::func::FuncOp::create(
      loc, symbol, builder.getFunctionType({}, {}));
  mlir::Block *entry = func->addEntryBlock();
  builder.setInsertionPointToEnd(entry);

  TensorBuilder tensors(builder, reporter);
  tensors.sizeNames = sizeNames;
  Scope scope;
  scope.parent = &globalScope;
  FunctionOwner owner(reporter, entry);
  tensors.readParameter = [&](const Value &parameter, SpecPos at) {
    return owner.read(parameter.text, at);
  };

  int errorsBefore = reporter.errorCount();
  bool sound = bindArgs(spec, args, scope, *this, pos);
  if (operands)
    sound &= InputBinder(spec, scope, reporter, tensors, pos).bind(*operands);
  if (!sound)
    return;
  declareLets(spec.node->find("let"), scope, reporter);
  declareParams(spec.node->find("params"), scope, owner, reporter);
  std::vector<std::unique_ptr<BlockUse>> uses;
  declareUses(spec.node->find("uses"), scope, *this, owner, 0, uses);
  if (operands) {
    for (auto [input, type] : llvm::zip(inputs.entries, *operands)) {
      mlir::Value value =
          entry->addArgument(type, reporter.location(input.keyPos));
      if (!scope.names.try_emplace(input.key, Value::of(value)).second)
        reporter.error(input.keyPos,
                       "the name '" + input.key + "' is already taken here");
    }
    if (!spec.isSound)
      return;
    Sites sites(spec.node->find("sites"), spec.body, reporter);
    Interpreter interpreter(scope, reporter, &tensors);
    interpreter.setSites(&sites);
    std::optional<std::vector<Value>> returned = interpreter.run(spec.body);
    SpecPos bodyPos = spec.node->find("body")->pos;
    if (!returned) {
      reporter.error(bodyPos, "block '" + spec.name + "' returns nothing");
      return;
    }
    llvm::SmallVector<mlir::Value> results;
    for (const Value &value : *returned) {
      if (value.isPoison())
        return;
      mlir::Value tensor =
          tensors.tensor(value, bodyPos, "'return' of '" + spec.name + "'");
      if (!tensor)
        return;
      results.push_back(tensor);
    }
    mlir::func::ReturnOp::create(builder, loc, results);
    func->setFunctionType(builder.getFunctionType(
        entry->getArgumentTypes(), mlir::ValueRange(results).getTypes()));
    func->setPrivate();
  }
  for (const auto &use : uses)
    use->declareUncalled();
  if (reporter.errorCount() != errorsBefore)
    return;
  result.params = owner.ordered();
  result.operands = owner.order;
  result.isSound = true;
  if (operands) {
    result.func = func.release();
    module.push_back(result.func);
  }
}

//===----------------------------------------------------------------------===//
// Uses
//===----------------------------------------------------------------------===//

std::string BlockUse::ownerName(const std::string &relative) const {
  if (names)
    if (const SpecNode *mapped = names->find(relative)) {
      // Layers are a level of their own: names are relative to it.
      size_t dot = path.find('.');
      return (dot == std::string::npos ? "" : path + ".") + mapped->text;
    }
  return path + "." + relative;
}

bool BlockUse::declareAll(const BlockFunction &function, SpecPos at) const {
  bool sound = true;
  std::vector<std::string> known;
  for (const ParamDecl &param : function.params) {
    known.push_back(param.name);
    ParamDecl mine = param;
    mine.name = ownerName(param.name);
    mine.site = path + "/" + param.site;
    sound &= owner.declare(std::move(mine), rank, at);
  }
  // Mapped names must exist; a parameter that is switched off may be named.
  const SpecNode *declared = spec->node->find("params");
  const SpecNode *used = spec->node->find("uses");
  for (const SpecEntry &entry :
       entriesOf(names)) {
    llvm::StringRef first = llvm::StringRef(entry.key).split('.').first;
    if (llvm::is_contained(known, entry.key) ||
        (declared && declared->find(entry.key)) || (used && used->find(first)))
      continue;
    library.getReporter().error(entry.keyPos, "block '" + spec->name +
                                                  "' has no parameter '" +
                                                  entry.key + "'" +
                                                  suggest(entry.key, known));
    sound = false;
  }
  return sound;
}

void BlockUse::declareUncalled() const {
  if (wasCalled || !spec)
    return;
  const BlockFunction &function =
      library.instantiate(*spec, args, nullptr, pos);
  if (function.isSound)
    declareAll(function, pos);
}

Value BlockUse::call(const std::vector<Argument> &arguments, SpecPos at,
                     TensorBuilder &tensors) const {
  wasCalled = true;
  Reporter &reporter = library.getReporter();
  const SpecNode &inputs = *spec->node->find("inputs");
  const SpecNode *argSpecs = spec->node->find("args");
  std::string form = spec->name + "(";
  std::vector<std::string> known;
  for (auto [index, entry] : llvm::enumerate(inputs.entries)) {
    form += (index ? ", " : "") + entry.key;
    known.push_back(entry.key);
  }
  form += ")";
  for (const SpecEntry &entry :
       entriesOf(argSpecs))
    known.push_back(entry.key);
  std::vector<const Argument *> slots(inputs.entries.size());
  StaticArgs callArgs = args;
  size_t place = 0;
  for (const Argument &argument : arguments) {
    size_t slot = place;
    if (!argument.keyword.empty()) {
      if (argSpecs && argSpecs->find(argument.keyword)) {
        if (argument.value.isTensor()) {
          reporter.error(argument.pos, "'" + argument.keyword +
                                           "' is a static argument of '" +
                                           spec->name + "', got a tensor");
          return Value::poison();
        }
        callArgs[argument.keyword] = argument.value;
        continue;
      }
      slot = llvm::find(known, argument.keyword) - known.begin();
      if (slot >= known.size()) {
        reporter.error(argument.pos, "'" + argument.keyword +
                                         "' is no input or argument of " +
                                         form +
                                         suggest(argument.keyword, known));
        return Value::poison();
      }
    } else {
      ++place;
    }
    if (slot >= slots.size()) {
      reporter.error(argument.pos, "too many inputs: " + form + " takes " +
                                       std::to_string(slots.size()));
      return Value::poison();
    }
    if (slots[slot]) {
      reporter.error(argument.pos, "'" + known[slot] + "' is given twice: " +
                                       form);
      return Value::poison();
    }
    slots[slot] = &argument;
  }
  std::vector<RankedTensorType> types;
  llvm::SmallVector<mlir::Value> operands;
  for (auto [index, slot] : llvm::enumerate(slots)) {
    if (!slot) {
      reporter.error(at, "missing input '" + known[index] + "': " + form);
      return Value::poison();
    }
    mlir::Value tensor = tensors.tensor(
        slot->value, slot->pos,
        "'" + known[index] + "' of block '" + spec->name + "'");
    if (!tensor)
      return Value::poison();
    operands.push_back(tensor);
    types.push_back(typeOf(tensor));
  }
  const BlockFunction &function =
      library.instantiate(*spec, callArgs, &types, at);
  if (!function.isSound || !declareAll(function, at))
    return Value::poison();
  for (const std::string &name : function.operands)
    operands.push_back(owner.read(ownerName(name), at));
  mlir::func::FuncOp func = function.func;
  auto call = mlir::func::CallOp::create(tensors.getBuilder(),
                                         tensors.location(at), func, operands);
  if (call.getNumResults() == 1)
    return Value::of(call.getResult(0));
  Value::List results;
  for (mlir::Value value : call.getResults())
    results.push_back(Value::of(value));
  return Value::of(std::move(results));
}
