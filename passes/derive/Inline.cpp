//===- Inline.cpp - calls become bodies -----------------------------------===//
//
// 1. Visit functions depth first over their calls; a call back into a function
//    being visited is a cycle.
// 2. On leaving a function, all its callees are free of calls: copy each
//    callee's block in front of the call, with the call's operands for its
//    arguments.
// 3. Erase the private functions but those that parameters name: pg-derive
//    uses these.
// 4. Only now is it known which tables token ids are looked up in: check their
//    rows; and which sites there are: number those of one name.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Passes.h"
#include "passes/derive/Simplify.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_INLINEPASS
#include "passes/derive/Passes.h.inc"

namespace {

class CallInliner {
public:
  explicit CallInliner(ModuleOp module) : symbols(module) {}

  LogicalResult inlineInto(func::FuncOp function) {
    auto [state, isNew] = states.try_emplace(function, State::Open);
    if (!isNew) {
      if (state->second == State::Done)
        return success();
      return function.emitError("function '")
             << function.getName() << "' calls itself";
    }
    SmallVector<func::CallOp> calls;
    function.walk([&](func::CallOp call) { calls.push_back(call); });
    for (func::CallOp call : calls)
      if (failed(replaceCall(call)))
        return failure();
    states[function] = State::Done;
    return success();
  }

private:
  enum class State { Open, Done };

  LogicalResult replaceCall(func::CallOp call) {
    auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
    if (!callee || callee.isExternal())
      return call.emitError("callee '")
             << call.getCallee() << "' has no body in this module";
    if (!callee.getBody().hasOneBlock())
      return call.emitError("callee '")
             << call.getCallee() << "' has more than one block";
    if (failed(inlineInto(callee))) {
      // The error names the callee; this note leads to it.
      emitRemark(call.getLoc()) << "called from here";
      return failure();
    }
    OpBuilder builder(call);
    IRMapping mapping;
    Block &body = callee.getBody().front();
    mapping.map(body.getArguments(), call.getOperands());
    for (Operation &op : body.without_terminator()) {
      Operation *copy = builder.clone(op, mapping);
      copy->walk([&](Operation *inner) {
        inner->setLoc(CallSiteLoc::get(inner->getLoc(), call.getLoc()));
      });
    }
    SmallVector<Value> results;
    for (Value value : body.getTerminator()->getOperands())
      results.push_back(mapping.lookup(value));
    call.replaceAllUsesWith(results);
    call.erase();
    return success();
  }

  SymbolTable symbols;
  llvm::DenseMap<Operation *, State> states;
};

/// Token ids reach up to the vocabulary: a table with fewer rows is a mistake.
LogicalResult checkTables(ModuleOp module) {
  auto vocabulary = module->getAttrOfType<IntegerAttr>("pg.vocabulary");
  if (!vocabulary)
    return success();
  WalkResult walked = module.walk([&](GatherOp gather) {
    auto input = gather.getIndex().getDefiningOp<InputOp>();
    auto table = cast<RankedTensorType>(gather.getTable().getType());
    if (!input || input.getName() != "tokens" ||
        table.getDimSize(0) >= vocabulary.getInt())
      return WalkResult::advance();
    gather.emitError("token ids up to ")
        << vocabulary.getInt() - 1 << " are looked up in a table of "
        << table.getDimSize(0) << " rows";
    return WalkResult::interrupt();
  });
  return failure(walked.wasInterrupted());
}

/// One adapter per executed site: the k-th of its name in an entry has number k.
void numberSites(func::FuncOp entry) {
  llvm::StringMap<int64_t> counts;
  entry.walk([&](SiteOp site) { site.setIndex(counts[site.getName()]++); });
}

struct InlinePass : impl::InlinePassBase<InlinePass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    CallInliner inliner(module);
    for (auto function : module.getOps<func::FuncOp>())
      if (function.isPublic() && failed(inliner.inlineInto(function)))
        return signalPassFailure();
    llvm::StringSet<> wanted;
    for (auto parameter : module.getOps<ParameterOp>())
      if (auto name = parameter->getAttrOfType<FlatSymbolRefAttr>(kFakeQuantAttr))
        wanted.insert(name.getValue());
    for (auto function :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (!function.isPrivate())
        continue;
      if (!wanted.contains(function.getSymName()))
        function.erase();
      else if (failed(inliner.inlineInto(function)))
        return signalPassFailure();
    }
    if (failed(checkTables(module)))
      return signalPassFailure();
    for (auto entry : module.getOps<func::FuncOp>())
      numberSites(entry);
  }
};

} // namespace
} // namespace pg
