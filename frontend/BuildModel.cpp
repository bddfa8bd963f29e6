//===- BuildModel.cpp - a resolved model as a pg module --------------------===//
//
//   1. sizes and options, once;
//   2. per phase: options of the phase, let, params, uses, families, then the
//      statements of `forward` into `forward@<phase>`;
//   3. parameters of layers that no phase calls;
//   4. one pg.parameter per parameter, in declaration order.
//
//===----------------------------------------------------------------------===//
#include "frontend/BuildModel.h"

#include "frontend/Builtins.h"
#include "frontend/Parser.h"
#include "frontend/Scalar.h"
#include "frontend/Sites.h"

#include "llvm/ADT/STLExtras.h"

using namespace pg::frontend;
using mlir::RankedTensorType;
using mlir::ShapedType;

/// Most layers of a family.
static constexpr int64_t kMaxLayers = 4096;
/// Prefix of names that stand for inputs of the entry, not parameters.
static constexpr llvm::StringLiteral kInputPrefix = "input:";

static Value literal(const SpecNode &node) {
  if (!node.isQuoted) {
    if (auto whole = parseInt(node.text))
      return Value::of(*whole);
    if (auto real = parseFloat(node.text))
      return Value::of(*real);
    if (auto flag = parseBool(node.text))
      return Value::of(*flag);
  }
  return Value::of(node.text);
}

namespace {

/// Parameters of the whole model; inside an entry they are read by pg.param.
class ModelOwner : public ParamOwner {
public:
  using ParamOwner::ParamOwner;

  void enter(mlir::OpBuilder *newBuilder, Reporter *newReporter) {
    builder = newBuilder;
    reporter = newReporter;
    values.clear();
  }

  mlir::Value read(const std::string &name, SpecPos pos) override {
    mlir::Value &value = values[name];
    if (value)
      return value;
    mlir::Location loc = reporter->location(pos);
    llvm::StringRef input(name);
    if (input.consume_front(kInputPrefix)) {
      auto type = RankedTensorType::get({ShapedType::kDynamic},
                                        builder->getI32Type());
      return value = pg::InputOp::create(*builder, loc, type,
                                         builder->getStringAttr(input));
    }
    return value = pg::ParamOp::create(
               *builder, loc, find(name)->type,
               mlir::FlatSymbolRefAttr::get(builder->getContext(), name));
  }

private:
  mlir::OpBuilder *builder = nullptr;
  Reporter *reporter = nullptr;
  std::map<std::string, mlir::Value> values;
};

class LayerFamily : public Family {
public:
  int64_t size() const override { return static_cast<int64_t>(layers.size()); }
  Value at(int64_t index) const override {
    return Value::of(layers[index].get());
  }
  std::vector<std::unique_ptr<BlockUse>> layers;
};

struct Phase {
  std::string name;
  double start = 0;
  const SpecNode *set = nullptr;
  SpecPos pos;
};

/// What one phase declares; lives as long as the model is built, because
/// uncalled uses are declared at the end.
struct PhaseScope {
  Scope scope;
  std::vector<std::unique_ptr<BlockUse>> uses;
  std::vector<std::unique_ptr<LayerFamily>> families;
};

class ModelBuilder {
public:
  ModelBuilder(const MergedFile &model, BlockLibrary &library,
               mlir::ModuleOp module, Reporter &reporter)
      : root(model.root), library(library), module(module), reporter(reporter),
        owner(reporter), builder(module.getContext()) {}

  void run() {
    readOptions();
    readDims();
    std::vector<Phase> phases = readPhases();
    bool sound = true;
    Block body = parseBody(*root.find("forward"), reporter, sound);
    for (const Phase &phase : phases) {
      declared.push_back(std::make_unique<PhaseScope>());
      buildPhase(phase, *declared.back(), sound ? &body : nullptr);
    }
    if (!reporter.hasFailed())
      declareUncalled();
    emitParameters();
    setAttributes(phases);
  }

private:
  void readOptions() {
    const SpecNode *options = root.find("options");
    for (const SpecEntry &entry :
         entriesOf(options))
      optionScope.names["options." + entry.key] = literal(entry.value);
    optionScope.parent = &library.globals();
  }

  void readDims() {
    const SpecNode *dims = root.find("dims");
    for (const SpecEntry &entry :
         entriesOf(dims)) {
      Value value = evaluateNode(entry.value, optionScope, reporter);
      if (!value.isPoison() && (!value.isInt() || value.integer < 1)) {
        reporter.error(entry.value.pos,
                       "'" + entry.key + "' expects an integer of at least 1, "
                                         "got " +
                           (value.isNumber() ? value.str() : value.kindName()));
        value = Value::poison();
      }
      if (entry.key == "T")
        reporter.error(entry.keyPos, "'T' is the token axis and has no size");
      else
        library.globals().names[entry.key] = value;
      if (value.isInt())
        library.sizes()[entry.key] = value.integer;
    }
  }

  std::vector<Phase> readPhases() {
    std::vector<Phase> phases;
    const SpecNode *node = root.find("phases");
    for (const SpecEntry &entry :
         entriesOf(node)) {
      const SpecNode &start = *entry.value.find("start");
      Phase phase{entry.key, *parseFloat(start.text), entry.value.find("set"),
                  entry.keyPos};
      bool isFirst = phases.empty();
      if (isFirst ? phase.start != 0 : phase.start <= phases.back().start)
        reporter.error(start.pos,
                       isFirst ? "the first phase must start at 0"
                               : "phases must start one after the other, got " +
                                     start.text + " after '" +
                                     phases.back().name + "'");
      phases.push_back(phase);
    }
    if (phases.empty())
      phases.push_back({"main", 0, nullptr, root.pos});
    return phases;
  }

  /// Options of the phase under `options.x` and, where no other name is in the
  /// way, under `x`.
  void setOptions(const Phase &phase, Scope &scope) {
    scope.names = optionScope.names;
    scope.parent = &library.globals();
    std::vector<std::string> known;
    for (const auto &[name, value] : optionScope.names)
      known.push_back(name.substr(8));
    for (const SpecEntry &entry :
         entriesOf(phase.set)) {
      auto found = scope.names.find("options." + entry.key);
      if (found == scope.names.end()) {
        reporter.error(entry.keyPos, "the model has no option '" + entry.key +
                                         "'" + suggest(entry.key, known));
        continue;
      }
      found->second = literal(entry.value);
    }
    std::map<std::string, Value> bare;
    for (const auto &[name, value] : scope.names)
      if (!isTaken(name.substr(8)))
        bare[name.substr(8)] = value;
    scope.names.merge(bare);
  }

  bool isTaken(const std::string &name) const {
    if (library.globals().find(name))
      return true;
    for (const char *section : {"let", "params", "uses", "layers"})
      if (const SpecNode *node = root.find(section))
        if (node->find(name))
          return true;
    return name == "tokens" || name == "position";
  }

  void buildPhase(const Phase &phase, PhaseScope &made, const Block *body) {
    Scope &scope = made.scope;
    setOptions(phase, scope);
    declareLets(root.find("let"), scope, reporter);
    declareParams(root.find("params"), scope, owner, reporter);
    const SpecNode *uses = root.find("uses");
    declareUses(uses, scope, library, owner, 0, made.uses);
    declareFamilies(scope, made, uses ? static_cast<int>(uses->entries.size())
                                      : 0);
    auto tokens = RankedTensorType::get({ShapedType::kDynamic},
                                        builder.getI32Type());
    for (const char *input : {"tokens", "position"})
      if (!scope.names
               .try_emplace(input, Value::parameter(
                                       kInputPrefix.str() + input, tokens))
               .second)
        reporter.error(root.pos, llvm::Twine("the name '") + input +
                                     "' is an input of the model");
    if (body)
      buildForward(phase, scope, *body);
  }

  void buildForward(const Phase &phase, Scope &scope, const Block &body) {
    const SpecNode &forward = *root.find("forward");
    mlir::Location loc = reporter.location(forward.pos);
    auto func = mlir::func::FuncOp::create(loc, "forward@" + phase.name,
                                           builder.getFunctionType({}, {}));
    module.push_back(func);
    builder.setInsertionPointToEnd(func.addEntryBlock());
    owner.enter(&builder, &reporter);
    TensorBuilder tensors(builder, reporter);
    tensors.sizeNames = library.sizes();
    tensors.readParameter = [&](const Value &parameter, SpecPos pos) {
      return owner.read(parameter.text, pos);
    };
    Sites sites(root.find("sites"), body, reporter);
    Interpreter interpreter(scope, reporter, &tensors);
    interpreter.setSites(&sites);
    std::optional<std::vector<Value>> returned = interpreter.run(body);
    if (returned && llvm::any_of(*returned, [](const Value &value) {
          return value.isPoison();
        }))
      return;
    Value logits = returned && returned->size() == 1 ? (*returned)[0]
                                                     : Value::poison();
    if (!logits.isTensor() || logits.type.getRank() != 2 ||
        !pg::isTokenTensor(logits.type) || !logits.type.getElementType().isF32()) {
      std::string got =
          logits.isTensor() ? "a tensor of shape " + tensors.describe(logits.type)
          : !returned       ? "nothing"
          : returned->size() != 1
              ? std::to_string(returned->size()) + " values"
              : logits.kindName();
      reporter.error(forward.pos,
                     "'forward' must return the logits [T, V], got " + got);
      return;
    }
    mlir::Value z = tensors.tensor(logits, forward.pos, "'forward'");
    vocabulary = logits.type.getDimSize(1);
    mlir::Value targets =
        owner.read((kInputPrefix + "targets").str(), forward.pos);
    mlir::Value nll = pg::CrossEntropyOp::create(
        builder, loc, tensors.floatType({ShapedType::kDynamic}), z, targets);
    pg::OutputOp::create(builder, loc, builder.getStringAttr("logits"), z);
    pg::OutputOp::create(builder, loc, builder.getStringAttr("nll"), nll);
    mlir::func::ReturnOp::create(builder, loc);
  }

  //===-- families --------------------------------------------------------===//

  /// One of the layers a range names; poison after an error.
  bool rangeLayers(const SpecNode &node, Scope &scope, int64_t count,
                   std::vector<int64_t> &layers) {
    Value::List chosen;
    size_t dots = node.isScalar() ? node.text.find("..") : std::string::npos;
    if (dots != std::string::npos) {
      SpecNode ends[2] = {node, node};
      ends[0].text = node.text.substr(0, dots);
      ends[1].text = node.text.substr(dots + 2);
      ends[1].pos.column += static_cast<int>(dots) + 2;
      Value from = evaluateNode(ends[0], scope, reporter);
      Value to = evaluateNode(ends[1], scope, reporter);
      if (from.isPoison() || to.isPoison())
        return false;
      if (!from.isInt() || !to.isInt() || from.integer > to.integer ||
          from.integer < 0 || to.integer >= count) {
        reporter.error(node.pos, "the range is " + from.str() + ".." +
                                     to.str() + ", there are layers 0.." +
                                     std::to_string(count - 1));
        return false;
      }
      for (int64_t i = from.integer; i <= to.integer; ++i)
        layers.push_back(i);
      return true;
    }
    Value value = evaluateNode(node, scope, reporter);
    if (value.isPoison())
      return false;
    chosen = value.isList() ? *value.list : Value::List{value};
    for (const Value &item : chosen) {
      if (!item.isInt() || item.integer < 0 || item.integer >= count) {
        reporter.error(node.pos, "expected layers from 0 to " +
                                     std::to_string(count - 1) + ", got " +
                                     item.str());
        return false;
      }
      layers.push_back(item.integer);
    }
    return true;
  }

  void declareFamilies(Scope &scope, PhaseScope &made, int firstRank) {
    const SpecNode *families = root.find("layers");
    int rank = firstRank;
    for (const SpecEntry &entry :
         entriesOf(families)) {
      auto family = std::make_unique<LayerFamily>();
      bool sound = fillFamily(entry, scope, *family, rank);
      rank += static_cast<int>(family->layers.size());
      Value value = sound ? Value::of(family.get()) : Value::poison();
      if (!scope.names.try_emplace(entry.key, value).second)
        reporter.error(entry.keyPos,
                       "the name '" + entry.key + "' is already taken here");
      made.families.push_back(std::move(family));
    }
  }

  bool fillFamily(const SpecEntry &entry, Scope &scope, LayerFamily &family,
                  int rank) {
    const SpecNode &node = entry.value;
    const SpecNode &countNode = *node.find("count");
    Value count = evaluateNode(countNode, scope, reporter);
    if (!count.isInt() || count.integer < 1 || count.integer > kMaxLayers) {
      if (!count.isPoison())
        reporter.error(countNode.pos, "'count' expects an integer from 1 to " +
                                          std::to_string(kMaxLayers) +
                                          ", got " + count.str());
      return false;
    }
    // The range that holds for each layer; later ones win.
    std::vector<const SpecNode *> ranges(count.integer);
    const SpecNode *rangeList = node.find("ranges");
    for (const SpecNode &range :
         itemsOf(rangeList)) {
      std::vector<int64_t> layers;
      if (!rangeLayers(*range.find("layers"), scope, count.integer, layers))
        return false;
      for (int64_t layer : layers)
        ranges[layer] = &range;
    }
    bool sound = true;
    for (int64_t i = 0; i < count.integer; ++i) {
      Scope layerScope;
      layerScope.parent = &scope;
      layerScope.names["i"] = Value::of(i);
      auto use = std::make_unique<BlockUse>(library, owner, ++rank);
      sound &= fillLayer(node, ranges[i], layerScope, *use);
      use->path = entry.key + "." + std::to_string(i);
      use->pos = entry.keyPos;
      if (!use->spec)
        return false;
      family.layers.push_back(std::move(use));
    }
    return sound;
  }

  bool fillLayer(const SpecNode &node, const SpecNode *range, Scope &scope,
                 BlockUse &use) {
    const SpecNode *ownBlock = range ? range->find("block") : nullptr;
    const SpecNode *ownArgs = range ? range->find("args") : nullptr;
    const SpecNode *ownNames = range ? range->find("names") : nullptr;
    const SpecNode *args = node.find("args");
    use.spec = resolveBlock(ownBlock ? *ownBlock : *node.find("block"), scope,
                            library);
    use.names = ownNames ? ownNames : node.find("names");
    if (!use.spec)
      return false;
    int before = reporter.errorCount();
    use.args = evaluateArgs(args, scope, library);
    // Arguments of the family are meant for its usual block.
    if (ownBlock || isChosen(*node.find("block"), scope))
      keepKnownArgs(use.args, args, *use.spec, reporter);
    else
      checkArgs(use.args, args, *use.spec, reporter);
    for (auto &[name, value] : evaluateArgs(ownArgs, scope, library))
      use.args[name] = value;
    checkArgs(use.args, ownArgs, *use.spec, reporter);
    return reporter.errorCount() == before;
  }

  //===-- the end ---------------------------------------------------------===//

  /// Parameters of uses and layers that no phase called.
  void declareUncalled() {
    std::set<std::string> known; // paths whose calls declared them
    for (const ParamDecl &decl : owner.ordered())
      known.insert(decl.site.substr(0, decl.site.find('/')));
    auto declare = [&](const BlockUse &use) {
      if (known.insert(use.path).second)
        use.declareUncalled();
    };
    for (const auto &phase : declared) {
      for (const auto &use : phase->uses)
        declare(*use);
      for (const auto &family : phase->families)
        for (const auto &layer : family->layers)
          declare(*layer);
    }
  }

  void emitParameters() {
    builder.setInsertionPointToStart(module.getBody());
    for (const ParamDecl &decl : owner.ordered())
      pg::ParameterOp::create(builder, reporter.location(decl.pos), decl.name,
                              decl.type, decl.init, decl.group, decl.quant);
  }

  void setAttributes(const std::vector<Phase> &phases) {
    llvm::SmallVector<mlir::Attribute> list;
    for (const Phase &phase : phases)
      list.push_back(builder.getDictionaryAttr(
          {builder.getNamedAttr("name", builder.getStringAttr(phase.name)),
           builder.getNamedAttr("start", builder.getF64FloatAttr(phase.start))}));
    module->setAttr("pg.model", builder.getStringAttr(root.find("model")->text));
    module->setAttr("pg.vocabulary", builder.getI64IntegerAttr(vocabulary));
    module->setAttr("pg.phases", builder.getArrayAttr(list));
  }

  const SpecNode &root;
  BlockLibrary &library;
  mlir::ModuleOp module;
  Reporter &reporter;
  ModelOwner owner;
  mlir::OpBuilder builder;
  Scope optionScope;
  std::vector<std::unique_ptr<PhaseScope>> declared;
  int64_t vocabulary = 0;
};

} // namespace

void pg::frontend::buildModel(const MergedFile &model, BlockLibrary &library,
                              mlir::ModuleOp module, Reporter &reporter) {
  ModelBuilder(model, library, module, reporter).run();
}
