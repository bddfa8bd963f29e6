//===- AttentionText.cpp - what the attention kernels share -------------------===//
#include "passes/cuda/AttentionText.h"

#include "passes/cuda/Emitters.h"

using namespace mlir;

namespace pg::cuda {

AttentionShape AttentionShape::of(Operation *op) {
  auto sizes = [&](unsigned operand) {
    return cast<RankedTensorType>(op->getOperand(operand).getType());
  };
  AttentionShape shape;
  shape.heads = sizes(0).getDimSize(1);
  shape.groups = sizes(1).getDimSize(1);
  shape.keyWidth = sizes(0).getDimSize(2);
  shape.valueWidth = sizes(2).getDimSize(2);
  shape.element = memoryType(sizes(0).getElementType());
  auto fill = [&](auto attention) {
    shape.scale = attention.getScale().convertToDouble();
    shape.window = attention.getWindow();
    shape.bySegment = attention.getWithin() == Within::segment;
  };
  if (auto attention = dyn_cast<AttentionOp>(op))
    fill(attention);
  else
    fill(cast<AttentionGradOp>(op));
  return shape;
}

Holes attentionHoles(const AttentionShape &shape) {
  constexpr double kLog2E = 1.4426950408889634;
  std::string sum = shape.sum();
  Holes holes;
  holes.set("heads", shape.heads).set("groups", shape.groups);
  holes.set("keyWidth", shape.keyWidth).set("valueWidth", shape.valueWidth);
  holes.set("keySteps", shape.keySteps()).set("valueSteps", shape.valueSteps());
  holes.set("keyPitch", shape.keyPitch()).set("valuePitch", shape.valuePitch());
  holes.set("fragments", shape.fragments());
  holes.set("sum", sum).set("element", shape.element);
  holes.set("scale", literalOf(shape.scale, sum));
  holes.set("scaleLog2", literalOf(shape.scale * kLog2E, sum));
  holes.set("log2e", literalOf(kLog2E, sum));
  holes.set("ln2", literalOf(1 / kLog2E, sum));
  holes.set("begins", shape.bySegment ? "batch.segment_begin" : "batch.row_begin");
  holes.set("ends", shape.bySegment ? "batch.segment_end" : "batch.row_end");
  // First key that `token` sees, and one past the last query that sees `key`.
  std::string window = std::to_string(shape.window);
  holes.set("firstKey",
            shape.window > 0
                ? "pg_max(first_of[token], token - " +
                      std::to_string(shape.window - 1) + ")"
                : "first_of[token]");
  holes.set("queryEnd", shape.window > 0
                            ? "pg_min(last_of[last_key], last_key + " + window + ")"
                            : "last_of[last_key]");
  return holes;
}

std::string copyHeadTile(const std::string &from, int64_t alignment,
                         const std::string &to, const std::string &token0,
                         const std::string &head, const std::string &heads,
                         int64_t width, const std::string &rows,
                         const std::string &steps, const std::string &pitch) {
  Holes holes;
  holes.set("from", from).set("to", to).set("token0", token0);
  holes.set("head", head).set("heads", heads).set("width", width);
  holes.set("rows", rows).set("steps", steps).set("pitch", pitch);
  holes.set("limit", width % 16 ? " && 8 * c < " + std::to_string(width)
                                : std::string());
  if (width % 8 == 0 && alignment % 16 == 0)
    return holes.fill(
        R"(#pragma unroll
for (int i = 0; i < @rows@ * @steps@ * 2 / kThreads; ++i) {
    const int chunk = thread + i * kThreads, r = chunk / (2 * @steps@), c = chunk % (2 * @steps@);
    pg_cp_async16(@to@ + pg_swizzle(r, c, @pitch@), @from@ + (@heads@ll * (@token0@ + r) + @head@) * @width@ + 8 * c, @token0@ + r < tokens@limit@);
})");
  return holes.fill(
      R"(for (int i = thread; i < @rows@ * @steps@ * 16; i += kThreads) {
    const int r = i / (16 * @steps@), c = i % (16 * @steps@);
    const bool inside = @token0@ + r < tokens && c < @width@;
    pg_put(reinterpret_cast<bf16 *>(@to@ + pg_swizzle(r, c / 8, @pitch@)) + c % 8,
           inside ? pg_get(@from@ + (@heads@ll * (@token0@ + r) + @head@) * @width@ + c) : 0.0f);
})");
}

std::string storePair(const ResultMap &buffers, unsigned result,
                      const std::string &at, int64_t width,
                      const std::string &first, const std::string &second) {
  if (!buffers.isWanted(result))
    return "";
  std::string count = std::to_string(width);
  std::string index = count + " * " + at + " + c";
  if (width % 2) {
    // Rows begin at odd elements: one by one.
    return "if (c < " + count + ") {\n" +
           indentLines(buffers.put(result, index, first), 1) + "}\nif (c + 1 < " +
           count + ") {\n" +
           indentLines(buffers.put(result, index + " + 1", second), 1) + "}";
  }
  std::string both = buffers.putPair(result, index, first, second);
  if (width % 16 == 0)
    return both;
  return "if (c < " + count + ") {\n" + indentLines(both, 1) + "}";
}

FailureOr<EmittedKernel> emitAttentionKernel(KernelDefOp def) {
  Operation *op = *def.getBody().front().getOps<AttentionOp>().begin();
  KernelText text(def);
  ResultMap buffers(text, op);
  if (!buffers.isValid())
    return failure();
  AttentionShape shape = AttentionShape::of(op);
  if (shape.onTensorCores())
    emitTensorCoreAttention(text, shape, buffers);
  else
    emitFmaAttention(text, shape, buffers);
  return text.finish("attention");
}

FailureOr<EmittedKernel> emitAttentionGradKernel(KernelDefOp def) {
  Operation *op = *def.getBody().front().getOps<AttentionGradOp>().begin();
  KernelText text(def);
  ResultMap buffers(text, op);
  if (!buffers.isValid())
    return failure();
  AttentionShape shape = AttentionShape::of(op);
  if (shape.onTensorCores())
    emitTensorCoreAttentionGrad(text, shape, buffers);
  else
    emitFmaAttentionGrad(text, shape, buffers);
  return text.finish("attention");
}

} // namespace pg::cuda
