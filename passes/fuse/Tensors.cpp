//===- Tensors.cpp - what fusion asks of ops and of their tensors ---------===//

#include "passes/fuse/Tensors.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace pg {

FusionRole roleOf(Operation *op) {
  if (auto fusable = dyn_cast<FusionOpInterface>(op))
    return fusable.getFusionRole();
  return FusionRole::Map;
}

bool isStructured(Operation *op) {
  return roleOf(op) == FusionRole::Structured;
}

bool isReadOp(Operation *op) {
  return isa<ParamOp, ReadStateOp, InputOp, ScalarOp>(op);
}

bool isIndexOp(Operation *op) {
  return isa<ReshapeOp, SliceOp, BroadcastOp, FillOp, SplatOp, IotaOp,
             ConstantOp>(op);
}

bool isTranscendental(Operation *op) {
  return isa<ExpOp, LogOp, TanhOp, SigmoidOp, SqrtOp, RsqrtOp, SinOp, CosOp,
             ErfOp>(op);
}

bool sameShape(Type a, Type b) {
  auto left = dyn_cast<RankedTensorType>(a),
       right = dyn_cast<RankedTensorType>(b);
  return left && right && left.getShape() == right.getShape();
}

bool isElementwise(Operation *op) {
  if (isIndexOp(op) || isReadOp(op) || op->getNumResults() != 1 ||
      op->getNumOperands() == 0 || roleOf(op) != FusionRole::Map ||
      !isa<FusionOpInterface>(op))
    return false;
  // Movement of elements can leave the shape as it was (square transpose).
  if (isa<TransposeOp, PadOp, ConcatOp, GatherOp, PickOp, RotateOp>(op))
    return false;
  return llvm::all_of(op->getOperandTypes(), [&](Type type) {
    return sameShape(type, op->getResult(0).getType());
  });
}

static bool isTokenLike(Type type) {
  return isTokenTensor(type) || isChunkTensor(type);
}

bool isStaticOp(Operation *op) {
  return llvm::none_of(op->getOperandTypes(), isTokenLike) &&
         llvm::none_of(op->getResultTypes(), isTokenLike);
}

PerToken bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return {};
  double bytes =
      double(elementsPerToken(type)) * elementBytes(tensor.getElementType());
  if (isChunkTensor(type))
    return {bytes / cast<ChunksAttr>(tensor.getEncoding()).getGrain(), 0};
  if (isTokenTensor(type))
    return {bytes, 0};
  return {0, bytes};
}

int64_t bytesAt(Type type, int64_t maxTokens) {
  auto tensor = cast<RankedTensorType>(type);
  int64_t bytes =
      elementsPerToken(type) * elementBytes(tensor.getElementType());
  if (isChunkTensor(type)) {
    int64_t grain = cast<ChunksAttr>(tensor.getEncoding()).getGrain();
    return bytes * ((maxTokens + grain - 1) / grain);
  }
  return isTokenTensor(type) ? bytes * maxTokens : bytes;
}

PerToken flopsOf(Operation *op, int64_t context) {
  auto cost = dyn_cast<CostOpInterface>(op);
  if (!cost || isIndexOp(op))
    return {};
  double flops = double(cost.getFlops(context));
  return isStaticOp(op) ? PerToken{0, flops} : PerToken{flops, 0};
}

/// The tensor a reader of `value` really loads from, through views.
static Value throughViews(Value value) {
  while (Operation *def = value.getDefiningOp()) {
    if (!isIndexOp(def) || def->getNumOperands() == 0)
      break;
    value = def->getOperand(0);
  }
  return value;
}

PerToken unfusedBytesOf(Operation *op) {
  PerToken sum;
  if (isIndexOp(op) || isReadOp(op) || isa<OutputOp>(op))
    return sum;
  for (Value operand : op->getOperands()) {
    PerToken view = bytesOf(operand.getType());
    Value source = throughViews(operand);
    if (Operation *def = source.getDefiningOp(); def && isIndexOp(def))
      continue; // a fill or an iota is not in memory
    PerToken whole = bytesOf(source.getType());
    // A slice loads its part only, a broadcast its source only.
    sum += whole.at(kCostContext) < view.at(kCostContext) ? whole : view;
  }
  if (auto store = dyn_cast<StoreOp>(op)) {
    // Adding to a symbol reads it too.
    PerToken target = bytesOf(store.getValue().getType());
    sum += target;
    if (store.getMode() == StoreMode::accumulate)
      sum += target;
  }
  for (Value result : op->getResults())
    sum += bytesOf(result.getType());
  return sum;
}

SmallVector<func::FuncOp> entriesOf(ModuleOp module) {
  SmallVector<func::FuncOp> entries;
  for (auto entry : module.getOps<func::FuncOp>())
    if (!entry.isExternal())
      entries.push_back(entry);
  return entries;
}

const rt::PrecisionPolicy *precisionPolicyOf(ModuleOp module) {
  auto name = module->getAttrOfType<StringAttr>("pg.precision");
  return name ? rt::findPrecisionPolicy(name.getValue().str()) : nullptr;
}

int64_t maxTokensOf(ModuleOp module) {
  if (auto attr = module->getAttrOfType<IntegerAttr>("pg.max_tokens"))
    return attr.getInt();
  return 4096;
}

static void collectLines(Location loc, SmallVectorImpl<std::string> &lines) {
  if (auto file = dyn_cast<FileLineColLoc>(loc)) {
    std::string text = file.getFilename().str() + ":" +
                       std::to_string(file.getLine()) + ":" +
                       std::to_string(file.getColumn());
    if (!llvm::is_contained(lines, text))
      lines.push_back(std::move(text));
  } else if (auto fused = dyn_cast<FusedLoc>(loc)) {
    for (Location part : fused.getLocations())
      collectLines(part, lines);
  } else if (auto call = dyn_cast<CallSiteLoc>(loc)) {
    collectLines(call.getCallee(), lines);
  } else if (auto name = dyn_cast<NameLoc>(loc)) {
    collectLines(name.getChildLoc(), lines);
  }
}

SmallVector<std::string> sourceLines(Location loc) {
  SmallVector<std::string> lines;
  collectLines(loc, lines);
  return lines;
}

StringRef shortName(Operation *op) { return op->getName().stripDialect(); }

} // namespace pg
