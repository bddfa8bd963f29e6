//===- ProductEpilogue.cpp - operands and yields of a product kernel ----------===//
#include "passes/cuda/ProductEpilogue.h"

#include "passes/fuse/Tensors.h"

using namespace mlir;

namespace pg::cuda {

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
    operand.codes = type.getElementType().isInteger(8);
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

VectorOutput VectorOutput::declare(SourceWriter &w, const KernelText &text,
                                   unsigned k, const std::string &index,
                                   int64_t width) {
  auto type = cast<RankedTensorType>(text.yields()[k].getType());
  VectorOutput output;
  output.name = w.fresh("result");
  output.pointer = text.yield(k) + " + " + index;
  output.width = width;
  output.accumulates = text.def().getModes()[k] == 2;
  int64_t bytes =
      std::min<int64_t>(16, width * elementBytes(type.getElementType()));
  output.isAligned = text.yieldAlignment(k) % bytes == 0;
  w.line("pg_vec<" + registerType(type.getElementType()) + ", " +
         std::to_string(width) + "> " + output.name + ";");
  return output;
}

void VectorOutput::store(SourceWriter &w) const {
  std::string count = std::to_string(width);
  if (accumulates) {
    std::string old = w.fresh("old");
    std::string index = w.fresh("w");
    if (isAligned)
      w.line("const auto " + old + " = pg_load<" + count + ">(" + pointer +
             ");");
    w.line("#pragma unroll\nfor (int " + index + " = 0; " + index + " < " +
           count + "; ++" + index + ")\n    " + name + "[" + index + "] = " +
           (isAligned ? old + "[" + index + "]"
                      : "pg_get(" + pointer + " + " + index + ")") +
           " + " + name + "[" + index + "];");
  }
  if (isAligned) {
    w.line("pg_store<" + count + ">(" + pointer + ", " + name + ");");
    return;
  }
  std::string index = w.fresh("w");
  w.line("for (int " + index + " = 0; " + index + " < " + count + "; ++" +
         index + ")\n    pg_put(" + pointer + " + " + index + ", " + name + "[" +
         index + "]);");
}

void ProductYields::write(ElementEvaluator &evaluator, const std::string &name,
                          int64_t width, const std::string &inside,
                          const std::string &rowName,
                          const std::string &columnName) const {
  SourceWriter &w = evaluator.writer();
  auto type = cast<RankedTensorType>(product.getType());
  int64_t columns = type.getDimSize(1);
  int64_t rows = type.isDynamicDim(0) ? std::numeric_limits<int64_t>::max()
                                      : type.getDimSize(0);
  Term row{rowName, w.depth()}, column{columnName, w.depth()};
  std::vector<VectorOutput> outputs;
  for (unsigned k = 0; k < text->yields().size(); ++k)
    outputs.push_back(VectorOutput::declare(
        w, *text, k, std::to_string(columns) + "ll * " + rowName + " + " + columnName,
        width));
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
  for (const VectorOutput &output : outputs)
    output.store(w);
  if (!inside.empty())
    w.close();
}

} // namespace pg::cuda
