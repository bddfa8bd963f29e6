//===- ProductEpilogue.cpp - operands and yields of a product kernel ----------===//
#include "passes/cuda/ProductEpilogue.h"

#include "passes/fuse/Tensors.h"

using namespace mlir;

namespace pg::cuda {

Value throughReshapes(Value value) {
  while (auto reshape = value.getDefiningOp<ReshapeOp>())
    value = reshape.getX();
  return value;
}

namespace {

/// Looks for the one argument that an operand is computed from element by
/// element, at the operand's own coordinates.
class StreamSearch {
public:
  BlockArgument find(Value operand) {
    shape = cast<RankedTensorType>(operand.getType()).getShape();
    visit(operand, true);
    for (BlockArgument candidate : candidates)
      if (!elsewhere.contains(candidate))
        return candidate;
    return {};
  }

private:
  void visit(Value value, bool sameCoordinates) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      if (!type)
        return;
      if (sameCoordinates && type.getShape() == shape &&
          type.getElementType().isBF16())
        candidates.push_back(argument);
      else
        elsewhere.insert(argument);
      return;
    }
    Operation *op = value.getDefiningOp();
    bool elementwise = sameCoordinates && isElementwise(op);
    for (Value input : op->getOperands())
      visit(input, elementwise);
  }

  ArrayRef<int64_t> shape;
  SmallVector<BlockArgument> candidates;
  llvm::DenseSet<Value> elsewhere;
};

} // namespace

ProductOperand describeOperand(KernelText &text, Value value,
                               bool depthInColumns) {
  auto type = cast<RankedTensorType>(value.getType());
  ProductOperand operand;
  operand.depthInColumns = depthInColumns;
  operand.rows = type.isDynamicDim(0) ? 0 : type.getDimSize(0);
  operand.columns = type.getDimSize(1);
  operand.value = value;
  if (auto argument = dyn_cast<BlockArgument>(throughReshapes(value))) {
    operand.pointer = text.argument(argument);
    operand.alignment = text.alignment(argument);
    return operand;
  }
  BlockArgument stream = StreamSearch().find(value);
  if (stream && text.alignment(stream) % 16 == 0) {
    operand.stream = stream;
    operand.streamPointer = text.argument(stream);
  }
  return operand;
}

FailureOr<ProductYields> ProductYields::of(KernelText &text, Value product) {
  auto type = cast<RankedTensorType>(product.getType());
  for (Value value : text.yields()) {
    auto yielded = cast<RankedTensorType>(value.getType());
    if (yielded.getRank() < 1 || yielded.getDimSize(0) != type.getDimSize(0) ||
        elementsPerToken(yielded) != elementsPerToken(type))
      return product.getDefiningOp()->emitOpError(
                 "expected results of the product's shape, got ")
             << yielded;
  }
  ProductYields yields;
  yields.text = &text;
  yields.product = product;
  return yields;
}

int64_t ProductYields::width(int64_t columns) const {
  return columns % 8 == 0 ? 8 : columns % 4 == 0 ? 4 : 1;
}

void ProductYields::write(ElementEvaluator &evaluator, const std::string &name,
                          int64_t width, const std::string &inside,
                          const std::string &rowName) const {
  SourceWriter &w = evaluator.writer();
  auto type = cast<RankedTensorType>(product.getType());
  int64_t columns = type.getDimSize(1);
  int64_t rows = type.isDynamicDim(0) ? std::numeric_limits<int64_t>::max()
                                      : type.getDimSize(0);
  Term row{rowName, w.depth()}, column{"column", w.depth()};
  struct Output {
    std::string name, pointer;
    bool accumulates, vector;
  };
  std::vector<Output> outputs;
  std::string count = std::to_string(width);
  for (auto [k, value] : llvm::enumerate(text->yields())) {
    auto yielded = cast<RankedTensorType>(value.getType());
    Output output;
    output.name = w.fresh("result");
    output.pointer = text->yield(k) + " + " + std::to_string(columns) +
                     "ll * " + rowName + " + column";
    output.accumulates = text->def().getModes()[k] == 2;
    int64_t bytes = std::min<int64_t>(
        16, width * elementBytes(yielded.getElementType()));
    output.vector = text->yieldAlignment(k) % bytes == 0;
    w.line("pg_vec<" + registerType(yielded.getElementType()) + ", " + count +
           "> " + output.name + ";");
    outputs.push_back(output);
  }
  evaluator.openVector(width);
  std::string element = name + "[" + evaluator.lane() + "]";
  if (type.getElementType().isBF16())
    element = "pg_round_bf16(" + element + ")";
  evaluator.bindCurrent(product, {element, w.depth()});
  Coord rowAt = Coord::at(row, 0, rows);
  Coord columnAt = Coord::lanesAt(column, 0, columns, width);
  for (auto [k, yielded] : llvm::enumerate(text->yields())) {
    Value plain = throughReshapes(yielded);
    Value stored = plain.getType() == type ? plain : yielded;
    auto storedType = cast<RankedTensorType>(stored.getType());
    Coords at{rowAt};
    if (storedType.getShape() == type.getShape())
      at.push_back(columnAt);
    else
      at.append(evaluator.delinearise(columnAt,
                                      storedType.getShape().drop_front()));
    Term value = evaluator.evaluate(stored, at);
    w.line(outputs[k].name + "[" + evaluator.lane() + "] = " + value.text + ";");
  }
  evaluator.closeVector();
  evaluator.unbind(product);
  if (!inside.empty())
    w.open("if (" + inside + ")");
  for (const Output &output : outputs) {
    if (output.accumulates) {
      std::string old = w.fresh("old");
      std::string index = w.fresh("w");
      if (output.vector)
        w.line("const auto " + old + " = pg_load<" + count + ">(" +
               output.pointer + ");");
      w.line("#pragma unroll\nfor (int " + index + " = 0; " + index + " < " +
             count + "; ++" + index + ")\n    " + output.name + "[" + index +
             "] = " +
             (output.vector ? old + "[" + index + "]"
                            : "pg_get(" + output.pointer + " + " + index + ")") +
             " + " + output.name + "[" + index + "];");
    }
    if (output.vector) {
      w.line("pg_store<" + count + ">(" + output.pointer + ", " + output.name +
             ");");
    } else {
      std::string index = w.fresh("w");
      w.line("for (int " + index + " = 0; " + index + " < " + count + "; ++" +
             index + ")\n    pg_put(" + output.pointer + " + " + index + ", " +
             output.name + "[" + index + "]);");
    }
  }
  if (!inside.empty())
    w.close();
}

} // namespace pg::cuda
