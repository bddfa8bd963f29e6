//===- CheckHorizon.cpp - no prediction sees what it predicts -------------===//
//
// The static half of the legality audit. One forward walk over an entry gives
// every value the earliest op that may have let a later token in, or none. The
// targets are the tokens one ahead: the loss alone may read them.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Passes.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_CHECKHORIZONPASS
#include "passes/derive/Passes.h.inc"

namespace {

class HorizonChecker {
public:
  LogicalResult check(func::FuncOp entry) {
    bool isLegal = true;
    for (Operation &op : entry.getBody().getOps()) {
      if (auto output = dyn_cast<OutputOp>(op)) {
        if (output.getName() == "nll")
          isLegal &= succeeded(checkOutput(output));
        continue;
      }
      Operation *leak = findLeak(&op);
      if (leak)
        for (Value result : op.getResults())
          leaks[result] = leak;
    }
    return success(isLegal);
  }

private:
  /// The op that lets a later token into the results of `op`, or null.
  Operation *findLeak(Operation *op) {
    if (auto input = dyn_cast<InputOp>(op))
      return input.getName() == "targets" ? op : nullptr;
    bool isLoss = isa<CrossEntropyOp, LinearCrossEntropyOp>(op);
    bool seesTokens = false;
    for (Value operand : op->getOperands()) {
      seesTokens |= isTokenTensor(operand.getType());
      auto input = operand.getDefiningOp<InputOp>();
      if (isLoss && input && input.getName() == "targets")
        continue;
      if (Operation *leak = leaks.lookup(operand))
        return leak;
    }
    if (!seesTokens)
      return nullptr;
    if (auto horizon = dyn_cast<HorizonOpInterface>(op)) {
      Horizon::Kind kind = horizon.getHorizon().kind;
      if (kind == Horizon::Kind::Later || kind == Horizon::Kind::All)
        return op;
    }
    // A static value made of tokens mixes all of them.
    for (Type type : op->getResultTypes())
      if (!isTokenTensor(type))
        return op;
    return nullptr;
  }

  LogicalResult checkOutput(OutputOp output) {
    Operation *leak = leaks.lookup(output.getValue());
    if (!leak)
      return success();
    InFlightDiagnostic error =
        output.emitOpError("nll of a token may depend on a later token");
    error.attachNote(leak->getLoc()) << "which enters here";
    return error;
  }

  llvm::DenseMap<Value, Operation *> leaks;
};

struct CheckHorizonPass : impl::CheckHorizonPassBase<CheckHorizonPass> {
  using Base::Base;

  void runOnOperation() override {
    bool isLegal = true;
    for (auto entry : getOperation().getOps<func::FuncOp>())
      if (!entry.isExternal())
        isLegal &= succeeded(HorizonChecker().check(entry));
    if (!isLegal)
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
} // namespace pg
