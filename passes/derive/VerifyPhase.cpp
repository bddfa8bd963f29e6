//===- VerifyPhase.cpp - what a module holds after each phase -------------===//
//
// A dump of any phase can be read back and continued, so each phase is checked
// where it starts: the pass reports every op that should be gone by then, or
// that a later phase makes.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Passes.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_VERIFYPHASEPASS
#include "passes/derive/Passes.h.inc"

namespace {

constexpr StringLiteral kPhases[] = {
    "spec", "inlined", "derived", "decomposed", "fused", "outlined", "planned"};
enum Phase { Spec, Inlined, Derived, Decomposed, Fused, Outlined, Planned };

class PhaseVerifier {
public:
  explicit PhaseVerifier(Phase phase) : phase(phase) {}

  LogicalResult verify(ModuleOp module) {
    for (auto parameter : module.getOps<ParameterOp>())
      if (auto name = parameter->getAttrOfType<FlatSymbolRefAttr>(kFakeQuantAttr))
        fakeQuant.insert(name.getValue());
    for (Operation &op : *module.getBody()) {
      if (auto function = dyn_cast<func::FuncOp>(op))
        verifyFunction(function);
      else if (isa<KernelDefOp>(op))
        expect(phase >= Outlined, &op, "is made by outlining");
      else
        expect(isa<ParameterOp, StateOp>(op) || phase >= Outlined, &op,
               "does not stand at the top of a module");
    }
    return success(isLegal);
  }

private:
  void expect(bool condition, Operation *op, const Twine &what) {
    if (condition)
      return;
    isLegal = false;
    op->emitOpError() << what << "; not legal in phase '" << kPhases[phase]
                      << "'";
  }

  void verifyFunction(func::FuncOp function) {
    if (function.isPrivate()) {
      // What parameters name stays until training programs are derived.
      bool isNamed = fakeQuant.contains(function.getSymName());
      return expect(phase == Spec || (phase == Inlined && isNamed), function,
                    isNamed ? "is private after derivation"
                            : "is private after inlining");
    }
    expect(function.getNumArguments() == 0 && function.getNumResults() == 0,
           function, "is an entry with arguments or results");
    expect(function.getBody().hasOneBlock(), function,
           "is an entry without exactly one block");
    expect(phase < Derived || !function.getName().starts_with("forward@"),
           function, "is a forward entry after derivation");
    expect(phase < Derived || !function.getName().starts_with("adapted@"),
           function, "is an adapted forward entry after derivation");
    expect(phase < Planned || function->hasAttr("pg.arena_bytes"), function,
           "has no 'pg.arena_bytes'");
    llvm::StringSet<> outputs;
    for (Operation &op : function.getBody().getOps()) {
      verifyOp(&op);
      if (auto output = dyn_cast<OutputOp>(op))
        expect(outputs.insert(output.getName()).second, output,
               "names an output twice");
    }
  }

  void verifyOp(Operation *op) {
    if (isa<ParamOp, ReadStateOp, InputOp, ScalarOp, OutputOp, func::ReturnOp>(
            op))
      return;
    if (isa<func::CallOp>(op))
      return expect(phase == Spec, op, "is a call after inlining");
    if (isa<KernelOp>(op))
      return expect(phase == Fused, op, "is made by fusion and then outlined");
    if (auto launch = dyn_cast<LaunchOp>(op)) {
      expect(phase >= Outlined, op, "is made by outlining");
      return expect(phase < Planned || launch.getNumResults() == 0 ||
                        launch.getOffsets(),
                    op, "has no arena offsets");
    }
    if (auto slice = dyn_cast<SliceOp>(op); slice && phase >= Outlined)
      return expect(slice.getAxis() == 0 &&
                        isa_and_nonnull<ParamOp, ReadStateOp>(
                            slice.getX().getDefiningOp()),
                    op, "outside a kernel is no leading part of a symbol");
    if (phase >= Fused) // a reshape between kernels is a view of memory
      return expect(isa<ReshapeOp>(op), op, "is outside a kernel");
    expect(isa_and_nonnull<PgDialect>(op->getDialect()), op,
           "is not an op of the pg dialect");
    expect((!isa<PartialSumOp, CombineOp, SplatOp>(op)), op,
           "exists only inside kernels");
    if (phase >= Derived)
      expect((!isa<StopGradientOp, SiteOp>(op)), op,
             "has no meaning after derivation");
    if (phase >= Decomposed)
      expect((!isa<RmsNormOp, CrossEntropyOp, DequantiseOp>(op)), op,
             "is left over by decomposition");
  }

  Phase phase;
  llvm::StringSet<> fakeQuant;
  bool isLegal = true;
};

struct VerifyPhasePass : impl::VerifyPhasePassBase<VerifyPhasePass> {
  using Base::Base;

  void runOnOperation() override {
    const auto *known = llvm::find(kPhases, StringRef(phase));
    if (known == std::end(kPhases)) {
      getOperation().emitError("unknown phase '") << phase << "'";
      return signalPassFailure();
    }
    auto index = static_cast<Phase>(known - std::begin(kPhases));
    if (failed(PhaseVerifier(index).verify(getOperation())))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
} // namespace pg
