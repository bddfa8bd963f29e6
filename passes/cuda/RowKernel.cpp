//===- RowKernel.cpp - kernels without a structured op ------------------------===//
#include "passes/cuda/Emitters.h"
#include "passes/cuda/RowEmitter.h"
#include "passes/cuda/WholeEmitter.h"

using namespace mlir;

namespace pg::cuda {

/// Elements of a row up to which a team of threads computes it.
static constexpr int64_t kTeamElements = 16384;

/// Static tensors without rows, or with so few and long ones that rows would
/// leave most of the device idle.
static bool isWhole(KernelDefOp def, const RowPlan &plan) {
  if (plan.domain.kind == RowDomain::Kind::Whole)
    return true;
  if (plan.domain.kind != RowDomain::Kind::Leading)
    return false;
  bool reduces = false;
  int64_t widest = 1;
  for (const LoopGroup &group : plan.groups) {
    reduces |= !group.reductions.empty();
    widest = std::max(widest, elementsPerRow(group.space, true));
  }
  return !reduces || widest > kTeamElements;
}

FailureOr<EmittedKernel> emitRowKernel(KernelDefOp def) {
  FailureOr<RowPlan> plan = planRows(def);
  if (failed(plan))
    return failure();
  KernelText text(def);
  if (isWhole(def, *plan)) {
    WholeEmitter emitter(text, std::move(*plan));
    if (failed(emitter.run()))
      return failure();
    return text.finish("row", emitter.workspaceBytes());
  }
  RowEmitter emitter(text, std::move(*plan));
  if (failed(emitter.run()))
    return failure();
  text.addStage(emitter.stage(), emitter.text());
  return text.finish("row");
}

} // namespace pg::cuda
