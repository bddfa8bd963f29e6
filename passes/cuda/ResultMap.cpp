//===- ResultMap.cpp - a structured op between its kernel's buffers -----------===//
#include "passes/cuda/ResultMap.h"

#include "passes/fuse/Tensors.h"

using namespace mlir;

namespace pg::cuda {

/// Under what neither moves an element nor computes one.
static Value plain(Value value, bool casts) {
  while (true) {
    if (auto reshape = value.getDefiningOp<ReshapeOp>())
      value = reshape.getX();
    else if (auto cast = value.getDefiningOp<CastOp>(); cast && casts)
      value = cast.getX();
    else
      return value;
  }
}

ResultMap::ResultMap(const KernelText &text, Operation *op)
    : outputs(op->getNumResults()) {
  for (Value operand : op->getOperands()) {
    auto argument = dyn_cast<BlockArgument>(plain(operand, false));
    if (!argument) {
      op->emitOpError("expected operands that are arguments of the kernel");
      valid = false;
      return;
    }
    operands.push_back(text.argument(argument));
    alignments.push_back(text.alignment(argument));
  }
  for (auto [k, value] : llvm::enumerate(text.yields())) {
    auto result = dyn_cast<OpResult>(plain(value, true));
    if (!result || result.getOwner() != op) {
      op->emitOpError(
          "expected the kernel to hand out its results and nothing else");
      valid = false;
      return;
    }
    Type element = cast<RankedTensorType>(value.getType()).getElementType();
    outputs[result.getResultNumber()].push_back(
        {text.yield(k), text.def().getModes()[k] == 2, text.yieldAlignment(k),
         elementBytes(element)});
  }
}

std::string ResultMap::put(unsigned result, const std::string &index,
                           const std::string &value) const {
  std::string text;
  for (const Output &output : outputs[result]) {
    std::string place = output.name + " + " + index;
    text += (text.empty() ? "" : "\n") + ("pg_put(" + place + ", ") +
            (output.accumulates ? "pg_get(" + place + ") + " : "") + value +
            ");";
  }
  return text;
}

std::string ResultMap::putPair(unsigned result, const std::string &index,
                               const std::string &first,
                               const std::string &second) const {
  std::string text;
  for (const Output &output : outputs[result]) {
    std::string place = output.name + " + " + index;
    std::string old[2];
    if (output.accumulates) {
      old[0] = "pg_get(" + place + ") + ";
      old[1] = "pg_get(" + place + " + 1) + ";
    }
    text += text.empty() ? "" : "\n";
    if (output.alignment % (2 * output.elementBytes) == 0)
      text += "pg_store<2>(" + place + ", {{" + old[0] + first + ", " + old[1] +
              second + "}});";
    else
      text += "pg_put(" + place + ", " + old[0] + first + ");\npg_put(" + place +
              " + 1, " + old[1] + second + ");";
  }
  return text;
}

} // namespace pg::cuda
