//===- Absorb.cpp - prologues and epilogues of matrix products
//-------------===//
//
// Epilogue of a product: maps after it on the shape of its result, as long as
// one tensor is left to store and that moves fewer bytes than a row kernel
// would. Operands are values that exist before the product, parameters
// (broadcast or not) and constants. Prologue: cheap maps (no transcendental
// functions) on the shape of an operand whose only reader is this product and
// whose inputs are stored anyway; of static tensors only what is marked for it.
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/Absorb.h"
#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;

namespace pg {

namespace {

/// Longest chain worth repeating instead of storing its result.
constexpr size_t kMaxRepeatedOps = 8;
/// Longest chain a product evaluates while it packs an operand.
constexpr size_t kMaxPrologueOps = 12;

/// Structured ops between a product and the maps its epilogue may take.
constexpr int64_t kMaxPassed = 2;

using OpSet = llvm::SmallSetVector<Operation *, 8>;

bool isCheapMap(Operation *op) {
  return op && isElementwise(op) && !isTranscendental(op) && !isStaticOp(op);
}

/// True for values every kernel can make or read for itself at no cost per
/// token: constants, static tensors in memory, and broadcasts of those.
bool isStaticSource(Value value) {
  Operation *def = value.getDefiningOp();
  if (!def)
    return false;
  if (isa<FillOp, ConstantOp>(def))
    return true;
  if (auto broadcast = dyn_cast<BroadcastOp>(def)) {
    Value source = broadcast.getX();
    while (Operation *inner = source.getDefiningOp()) {
      if (!isIndexOp(inner) || inner->getNumOperands() == 0)
        break;
      source = inner->getOperand(0);
    }
    return !isTokenTensor(source.getType());
  }
  return false;
}

/// A token tensor that is in memory whatever fusion decides.
bool isStoredToken(Value value) {
  Operation *def = value.getDefiningOp();
  return def && (isStructured(def) || isa<InputOp>(def));
}

/// The cheap maps above and including `op` that can be repeated from one
/// stored tensor; empty when there is more than one or the chain is long.
OpSet repeatableCone(Operation *op) {
  OpSet cone;
  llvm::SmallPtrSet<void *, 2> leaves;
  SmallVector<Operation *> work{op};
  while (!work.empty()) {
    Operation *next = work.pop_back_val();
    if (!cone.insert(next))
      continue;
    if (cone.size() > kMaxRepeatedOps)
      return {};
    for (Value operand : next->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (isStaticSource(operand))
        continue;
      if (isStoredToken(operand) &&
          elementsPerToken(operand.getType()) <=
              elementsPerToken(op->getResult(0).getType()))
        leaves.insert(operand.getAsOpaquePointer());
      else if (isCheapMap(def) &&
               sameShape(operand.getType(), op->getResult(0).getType()))
        work.push_back(def);
      else
        return {};
    }
    if (leaves.size() > 1)
      return {};
  }
  return cone;
}

} // namespace

bool isRepeatable(Operation *op) { return isCheapMap(op) && !repeatableCone(op).empty(); }

void duplicateCheapMaps(func::FuncOp entry) {
  Block &block = entry.getBody().front();
  SmallVector<Operation *> ops;
  for (Operation &op : block.without_terminator())
    ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops)) {
    if (!isCheapMap(op))
      continue;
    llvm::SmallSetVector<Operation *, 4> users;
    for (Operation *user : op->getUsers())
      users.insert(user);
    if (users.size() < 2)
      continue;
    OpSet cone = repeatableCone(op);
    if (cone.empty())
      continue;
    // Use lists have no order of their own: program order keeps the output
    // the same from run to run.
    SmallVector<Operation *> inOrder(users.begin(), users.end());
    llvm::sort(inOrder, [](Operation *a, Operation *b) {
      return a->isBeforeInBlock(b);
    });
    SmallVector<Operation *> chain(cone.begin(), cone.end());
    llvm::sort(chain, [](Operation *a, Operation *b) {
      return a->isBeforeInBlock(b);
    });
    for (Operation *user : llvm::drop_begin(inOrder)) {
      OpBuilder builder(user);
      IRMapping map;
      for (Operation *link : chain)
        builder.clone(*link, map);
      user->replaceUsesOfWith(op->getResult(0), map.lookup(op->getResult(0)));
    }
  }
}

namespace {

class ProductFusion {
public:
  explicit ProductFusion(func::FuncOp entry) : entry(entry) {}

  AbsorbedBy run() {
    SmallVector<MatmulOp> products(entry.getBody().front().getOps<MatmulOp>());
    for (MatmulOp product : products)
      takeEpilogue(product);
    for (MatmulOp product : products)
      for (Value operand : product->getOperands())
        takePrologue(product, operand);
    return absorbed;
  }

private:
  /// The row-wise ops soon after a structured op. The schedule sinks them to
  /// their first needer, which may lie behind products of other gradients.
  SmallVector<Operation *> gapAfter(Operation *anchor) {
    SmallVector<Operation *> gap;
    int64_t passed = 0;
    for (Operation *op = anchor->getNextNode(); op; op = op->getNextNode()) {
      if (isReadOp(op) || !isStructured(op))
        gap.push_back(op);
      else if (++passed > kMaxPassed)
        break;
    }
    return gap;
  }

  /// True when `value` exists before the product runs and has its shape.
  bool availableBefore(Value value, MatmulOp product) {
    if (isStaticSource(value))
      return true;
    if (!sameShape(value.getType(), product.getType()))
      return false;
    // Of another product's epilogue only the value it leaves has readers here.
    Operation *def = value.getDefiningOp();
    return def && !isIndexOp(def) &&
           (!absorbed.contains(def) || isStaticOp(product)) &&
           def->isBeforeInBlock(product);
  }

  /// Values of the epilogue (and the product) that others read.
  SmallVector<Value> openValues(MatmulOp product, const OpSet &taken) {
    SmallVector<Value> open;
    auto check = [&](Value value) {
      if (llvm::any_of(value.getUsers(),
                       [&](Operation *user) { return !taken.contains(user); }))
        open.push_back(value);
    };
    check(product.getResult());
    for (Operation *op : taken)
      check(op->getResult(0));
    return open;
  }

  /// Maps of the gap that do not need the product but feed `value`; added to
  /// `side`. False when `value` is out of reach.
  bool reachSide(Value value, MatmulOp product, const OpSet &taken,
                 OpSet &side) {
    Operation *def = value.getDefiningOp();
    if (taken.contains(def) || side.contains(def) ||
        value == product.getResult() || availableBefore(value, product))
      return true;
    if (!def || !isElementwise(def) || absorbed.contains(def) ||
        !sameShape(value.getType(), product.getType()) ||
        side.size() >= kMaxRepeatedOps)
      return false;
    for (Value operand : def->getOperands())
      if (!reachSide(operand, product, taken, side))
        return false;
    side.insert(def);
    return true;
  }

  /// Maps beside the chain may join only when nothing else reads them.
  bool feedOnly(Operation *op, const OpSet &taken, const OpSet &side) {
    return llvm::all_of(side, [&](Operation *link) {
      return llvm::all_of(link->getUsers(), [&](Operation *user) {
        return user == op || taken.contains(user) || side.contains(user);
      });
    });
  }

  void takeEpilogue(MatmulOp product) {
    SmallVector<Operation *> gap = gapAfter(product);
    OpSet taken;
    size_t best = 0;
    for (Operation *op : gap) {
      if (taken.contains(op) || absorbed.contains(op) || !isElementwise(op) ||
          !sameShape(op->getResult(0).getType(), product.getType()))
        continue;
      bool follows = llvm::any_of(op->getOperands(), [&](Value operand) {
        return operand == product.getResult() ||
               taken.contains(operand.getDefiningOp());
      });
      if (!follows)
        continue;
      OpSet side;
      if (!llvm::all_of(op->getOperands(),
                        [&](Value operand) {
                          return reachSide(operand, product, taken, side);
                        }) ||
          !feedOnly(op, taken, side))
        continue;
      taken.insert(side.begin(), side.end());
      taken.insert(op);
      SmallVector<Value> open = openValues(product, taken);
      if (open.size() == 1 && open.front() != product.getResult())
        best = taken.size();
    }
    if (best == 0)
      return;
    while (taken.size() > best)
      taken.pop_back();
    if (!savesBytes(product, taken))
      return;
    for (Operation *op : taken)
      absorbed[op] = product;
  }

  /// Readers of a value, reshapes looked through: those are views of memory.
  static void collectReaders(Value value, SmallVectorImpl<Operation *> &readers) {
    for (Operation *user : value.getUsers())
      if (auto reshape = dyn_cast<ReshapeOp>(user))
        collectReaders(reshape.getResult(), readers);
      else
        readers.push_back(user);
  }

  /// Compares with a row kernel after the product: that one writes and reads
  /// the product's result once more; the epilogue leaves a value that the row
  /// kernel must load, and operands read in both places.
  bool savesBytes(MatmulOp product, const OpSet &taken) {
    auto weight = [](Value value) {
      PerToken bytes = bytesOf(value.getType());
      return bytes.perToken > 0 ? bytes.perToken : bytes.fixed;
    };
    Value open = openValues(product, taken).front();
    int64_t home = gapNumber(open.getDefiningOp());
    auto isInGap = [&](Operation *user) {
      return gapNumber(user) == home && !isStructured(user) &&
             !isa<StoreOp, OutputOp>(user);
    };
    auto readInGap = [&](Value value) {
      SmallVector<Operation *> readers;
      collectReaders(value, readers);
      return llvm::any_of(readers, [&](Operation *user) {
        return isInGap(user) && !taken.contains(user);
      });
    };
    double saved = 2 * weight(product.getResult()), cost = 0;
    if (readInGap(open)) {
      cost += weight(open);
      SmallVector<Operation *> readers;
      collectReaders(open, readers);
      if (llvm::all_of(readers, isInGap))
        cost += weight(open);
    }
    llvm::SmallPtrSet<void *, 8> counted;
    for (Operation *op : taken)
      for (Value operand : op->getOperands())
        if (operand != product.getResult() &&
            !taken.contains(operand.getDefiningOp()) &&
            !isStaticSource(operand) &&
            counted.insert(operand.getAsOpaquePointer()).second &&
            readInGap(operand))
          cost += weight(operand);
    return cost < saved;
  }

  /// True when the value is in memory even without this product's prologue.
  bool storedAnyway(Value value, const OpSet &cone, MatmulOp product) {
    Operation *def = value.getDefiningOp();
    if (!def || isIndexOp(def))
      return false;
    if (isReadOp(def) || isStructured(def))
      return true;
    if (absorbed.contains(def))
      return true; // the one value an epilogue leaves
    // A row-wise value another kernel of another place reads.
    return llvm::any_of(value.getUsers(), [&](Operation *user) {
      if (cone.contains(user) || user == product.getOperation())
        return false;
      if (isStructured(user))
        return true;
      return gapNumber(user) != gapNumber(def);
    });
  }

  int64_t gapNumber(Operation *op) {
    if (gaps.empty()) {
      int64_t number = 0;
      for (Operation &each : entry.getBody().front()) {
        if (isStructured(&each))
          ++number;
        gaps[&each] = number;
      }
    }
    return gaps.lookup(op);
  }

  void takePrologue(MatmulOp product, Value operand) {
    Operation *first = operand.getDefiningOp();
    bool isWanted = first && first->hasAttr(kIntoProductAttr);
    if ((!isCheapMap(first) && !isWanted) || absorbed.contains(first))
      return;
    OpSet cone;
    SmallVector<Operation *> work{first};
    llvm::SmallSetVector<Value, 4> leaves;
    while (!work.empty()) {
      Operation *op = work.pop_back_val();
      bool onlyHere = llvm::all_of(op->getUsers(), [&](Operation *user) {
        return user == product.getOperation() || cone.contains(user);
      });
      if (!onlyHere) {
        leaves.insert(op->getResult(0));
        continue;
      }
      cone.insert(op);
      for (Value input : op->getOperands()) {
        Operation *def = input.getDefiningOp();
        if (isStaticSource(input))
          continue;
        if (isCheapMap(def) && !absorbed.contains(def) &&
            !isStoredToken(input) &&
            sameShape(input.getType(), operand.getType()))
          work.push_back(def);
        else
          leaves.insert(input);
      }
    }
    // A link first seen as shared may have joined later through another user.
    double leafBytes = 0;
    for (Value leaf : leaves) {
      if (cone.contains(leaf.getDefiningOp()))
        continue;
      if (!storedAnyway(leaf, cone, product))
        return;
      leafBytes += bytesOf(leaf.getType()).perToken;
    }
    if (cone.empty() || cone.size() > kMaxPrologueOps ||
        leafBytes > 2 * bytesOf(operand.getType()).perToken)
      return;
    for (Operation *op : cone)
      absorbed[op] = product;
  }

  func::FuncOp entry;
  AbsorbedBy absorbed;
  llvm::DenseMap<Operation *, int64_t> gaps;
};

} // namespace

AbsorbedBy absorbIntoProducts(func::FuncOp entry) {
  return ProductFusion(entry).run();
}

} // namespace pg
