//===- BuildAdapters.cpp - the adapters a recipe asks for ------------------===//
#include "frontend/BuildAdapters.h"

#include "frontend/Scalar.h"

#include "dialect/Pg.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <cmath>
#include <map>

using namespace pg::frontend;
using mlir::RankedTensorType;

namespace {

/// What a site connects.
struct Ends {
  int64_t in = 0, out = 0;
};
using SitesByName = std::map<std::string, std::vector<Ends>>;

/// The sites a forward function meets, calls included, in program order: the
/// order in which pg-inline numbers them.
void meetSites(mlir::func::FuncOp function, mlir::SymbolTable &symbols,
               SitesByName &met) {
  function.walk([&](mlir::Operation *op) {
    if (auto site = mlir::dyn_cast<pg::SiteOp>(op))
      met[site.getName().str()].push_back(
          {site.getFrom().getType().getDimSize(1),
           site.getTo().getType().getDimSize(1)});
    else if (auto call = mlir::dyn_cast<mlir::func::CallOp>(op))
      meetSites(symbols.lookup<mlir::func::FuncOp>(call.getCallee()), symbols,
                met);
  });
}

class AdapterBuilder {
public:
  AdapterBuilder(const SpecNode &adapt, mlir::ModuleOp module,
                 Reporter &reporter)
      : adapt(adapt), module(module), reporter(reporter),
        builder(module.getContext()) {}

  std::vector<Trainable> run() {
    collect();
    if (sites.empty()) {
      reporter.error(adapt.pos, "the model declares no site for adapters; see "
                                "'sites' in the language reference");
      return {};
    }
    chooseNames();
    int64_t rank = *parseInt(adapt.find("rank")->text);
    const SpecNode *slotsNode = adapt.find("slots");
    int64_t slots = slotsNode ? *parseInt(slotsNode->text) : 1;
    builder.setInsertionPoint(*module.getOps<mlir::func::FuncOp>().begin());
    for (const auto &[name, list] : sites)
      for (size_t k = 0; k < list.size(); ++k) {
        std::string base = "adapter." + name + "." + std::to_string(k);
        double bound = 1 / std::sqrt(static_cast<double>(list[k].in));
        declare(base + ".a", {slots, rank, list[k].in}, bound);
        declare(base + ".b", {slots, list[k].out, rank}, 0);
      }
    return std::move(adapters);
  }

private:
  /// Sites of all phases; the k-th of a name is the same in each that has it.
  void collect() {
    mlir::SymbolTable symbols(module);
    for (auto entry : module.getOps<mlir::func::FuncOp>()) {
      if (!entry.getName().starts_with("forward@"))
        continue;
      SitesByName met;
      meetSites(entry, symbols, met);
      for (const auto &[name, list] : met) {
        std::vector<Ends> &known = sites[name];
        for (size_t k = 0; k < list.size(); ++k)
          if (k == known.size())
            known.push_back(list[k]);
          else if (known[k].in != list[k].in || known[k].out != list[k].out)
            return reporter.error(
                adapt.pos, "adapter '" + name + "' number " + std::to_string(k) +
                               " has other sizes in another phase");
      }
    }
  }

  /// Keeps the sites that `sites` lists.
  void chooseNames() {
    const SpecNode *wanted = adapt.find("sites");
    if (!wanted)
      return;
    std::vector<std::string> known;
    for (const auto &[name, list] : sites)
      known.push_back(name);
    SitesByName kept;
    for (const SpecNode &item : wanted->items)
      if (auto found = sites.find(item.text); found != sites.end())
        kept.insert(*found);
      else
        reporter.error(item.pos, "the model has no site '" + item.text + "'" +
                                     suggest(item.text, known));
    sites = std::move(kept);
  }

  void declare(const std::string &name, llvm::ArrayRef<int64_t> shape,
               double bound) {
    auto type = RankedTensorType::get(shape, builder.getF32Type());
    mlir::DictionaryAttr draw;
    if (bound > 0)
      draw = builder.getDictionaryAttr(
          {builder.getNamedAttr("kind", builder.getStringAttr("uniform")),
           builder.getNamedAttr("low", builder.getF64FloatAttr(-bound)),
           builder.getNamedAttr("high", builder.getF64FloatAttr(bound))});
    pg::StateOp::create(builder, reporter.location(adapt.pos),
                        builder.getStringAttr(name),
                        mlir::TypeAttr::get(type),
                        builder.getStringAttr("adapter"),
                        mlir::FlatSymbolRefAttr(),
                        builder.getF64FloatAttr(0.0), draw);
    adapters.push_back({name, type, /*optimizer=*/0, /*isAdapter=*/true});
  }

  const SpecNode &adapt;
  mlir::ModuleOp module;
  Reporter &reporter;
  mlir::OpBuilder builder;
  SitesByName sites;
  std::vector<Trainable> adapters;
};

} // namespace

void pg::frontend::buildAdapters(const SpecNode &adapt,
                                 const OptimizerUse &optimizer,
                                 mlir::ModuleOp module, RecipeValues &values,
                                 Reporter &reporter) {
  std::vector<OptimizerUse> optimizers = {optimizer};
  UpdateProgram program{"adapt_apply",
                        "adapt.optimizer.args",
                        adapt.pos,
                        optimizers,
                        AdapterBuilder(adapt, module, reporter).run(),
                        std::nullopt};
  if (!reporter.hasFailed())
    buildUpdates(program, module, values, reporter);
}
