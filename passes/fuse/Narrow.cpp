//===- Narrow.cpp - storage types between kernels ---------------------------===//
//
// Inside a kernel row-wise maths stays as it is; what changes is the type of
// what crosses from kernel to kernel, and of what products multiply, as the
// precision policy says (runtime/package/Precision.h).
//
//   1. Every value in memory gets a kind from what it is made of: the result of
//      a sum over the last feature axis, a result of a structured op that has
//      fewer axes than its operands, maps of those, tables made of positions
//      alone, and what is marked pg.wide are statistics; other token tensors are
//      activations.
//      Static tensors, partial sums and named outputs keep their type.
//   2. Every reader says whether it reads a value as a factor of a product, or
//      where products are summed (log-sum-exps, delta), or otherwise. From kind and readers follow the versions of a value that
//      its kernel leaves: mostly one, two when a product and something that
//      needs the wide value read it. Parameters and inputs that products read
//      are cast by a kernel of their own in front of the first of them, once
//      for an entry.
//   3. Kernels are rewritten: narrow arguments are widened where maths reads
//      them, factors are rounded before the product. A value stored in a narrow
//      type is rounded for the readers in its own kernel too, so that every
//      reader sees one number, and a value rebuilt in the backward part from
//      stored ones has the bits it had in the forward part.
//
// Entries without a token axis (optimizer updates) are left alone, but for what
// they round themselves, where the target asks for it (NarrowRounded.cpp).
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/Narrow.h"

#include "passes/fuse/KernelGroups.h"
#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

#include "runtime/package/Precision.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace pg {

Reading readingOf(OpOperand &operand) {
  Operation *op = operand.getOwner();
  if (auto storage = dyn_cast<OperandStorageOpInterface>(op)) {
    OperandStorage how = storage.getOperandStorage(operand.getOperandNumber());
    return how == OperandStorage::Factor ? Reading::Factor
           : how == OperandStorage::Any  ? Reading::AsStored
                                         : Reading::Wide;
  }
  return roleOf(op) == FusionRole::Neighbour ? Reading::AsStored
                                             : Reading::Maths;
}

void eachReader(Value value, function_ref<void(OpOperand &)> visit) {
  for (OpOperand &use : value.getUses()) {
    if (auto reshape = dyn_cast<ReshapeOp>(use.getOwner()))
      eachReader(reshape.getResult(), visit);
    else
      visit(use);
  }
}

bool hasTokenAxis(func::FuncOp entry) {
  return llvm::any_of(entry.getBody().front(), [](Operation &op) {
    return llvm::any_of(op.getResultTypes(), isTokenTensor);
  });
}

namespace {

/// What a value is made of: constants, parameters and positions alone, sums
/// over features of activations, or activations.
enum class Kind { Plain, Statistic, Activation };

/// The policy's columns as element types.
struct Storage {
  Type maths, factor, activation, statistic;
};

Type elementType(rt::DType dtype, MLIRContext *context) {
  if (dtype == rt::DType::F64)
    return Float64Type::get(context);
  if (dtype == rt::DType::BF16)
    return BFloat16Type::get(context);
  return Float32Type::get(context);
}

Type elementOf(Value value) { return getElementTypeOrSelf(value.getType()); }

/// The type of `value` with another element.
RankedTensorType retyped(Value value, Type element) {
  return cast<RankedTensorType>(value.getType()).clone(element);
}

/// The versions of a value in memory that readers ask for.
struct Demand {
  bool asFactor = false, otherwise = false;
  /// By an output, or by an op whose sums are as wide: not to be narrowed.
  bool asWide = false;
};

class EntryNarrower {
public:
  EntryNarrower(func::FuncOp entry, const Storage &storage)
      : entry(entry), storage(storage), outer(entry.getContext()) {}

  void run() {
    Block &block = entry.getBody().front();
    if (!hasTokenAxis(entry))
      return;
    SmallVector<Operation *> ops;
    for (Operation &op : block.without_terminator())
      ops.push_back(&op);
    for (Operation *op : ops) {
      if (auto kernel = dyn_cast<KernelOp>(op))
        classify(kernel);
    }
    SmallVector<Operation *> replaced;
    for (Operation *op : ops) {
      if (auto kernel = dyn_cast<KernelOp>(op)) {
        rewrite(kernel);
      } else if (auto output = dyn_cast<OutputOp>(op)) {
        outer.setInsertionPoint(output);
        output.getValueMutable().assign(outside(output.getValue()));
      }
      if (isa<KernelOp, ReshapeOp>(op))
        replaced.push_back(op);
    }
    for (Operation *op : llvm::reverse(replaced)) {
      op->dropAllUses();
      op->erase();
    }
  }

private:
  //===--- 1. kinds -------------------------------------------------------===//

  Kind kindOutside(Value value) {
    value = throughReshapes(value);
    if (auto it = kinds.find(value); it != kinds.end())
      return it->second;
    // A read: parameters and positions are plain, token tensors of numbers are
    // activations that the runtime hands in.
    return isTokenTensor(value.getType()) && isa<FloatType>(elementOf(value))
               ? Kind::Activation
               : Kind::Plain;
  }

  void classify(KernelOp kernel) {
    Block &body = kernel.getBody().front();
    llvm::DenseMap<Value, Kind> inside;
    for (auto [argument, input] :
         llvm::zip(body.getArguments(), kernel.getInputs()))
      inside[argument] = kindOutside(input);
    for (Operation &op : body.without_terminator()) {
      Kind most = Kind::Plain;
      for (Value operand : op.getOperands())
        most = std::max(most, inside.lookup(operand));
      for (Value result : op.getResults())
        inside[result] = kindOf(&op, result, most);
    }
    for (auto [result, yielded] :
         llvm::zip(kernel.getResults(), body.getTerminator()->getOperands()))
      kinds[result] = inside.lookup(yielded);
  }

  /// Of a result, given the highest kind among the operands.
  Kind kindOf(Operation *op, Value result, Kind most) {
    if (op->hasAttr(kWideAttr))
      return std::min(most, Kind::Statistic);
    auto type = cast<RankedTensorType>(result.getType());
    FusionRole role = roleOf(op);
    if (role == FusionRole::Structured) {
      auto first = cast<RankedTensorType>(op->getOperand(0).getType());
      return type.getRank() < first.getRank() ? Kind::Statistic
                                              : Kind::Activation;
    }
    auto operand =
        op->getNumOperands() > 0
            ? dyn_cast<RankedTensorType>(op->getOperand(0).getType())
            : RankedTensorType();
    if (role == FusionRole::RowReduce && operand) {
      // The last axis is gone: one number for a row or head is left.
      bool keepsFeatures = type.getRank() > 0 && operand.getRank() > 0 &&
                           type.getRank() < operand.getRank() &&
                           !reducesLast(op);
      return keepsFeatures ? most : std::min(most, Kind::Statistic);
    }
    if (isa<GatherOp>(op)) // rows of a table
      return Kind::Activation;
    if (type.getRank() < 2) // one number for a token
      return std::min(most, Kind::Statistic);
    // A statistic repeated over features weighs as much as an activation.
    if (isa<BroadcastOp>(op) && most == Kind::Statistic &&
        elementsPerToken(type) > elementsPerToken(operand))
      return Kind::Activation;
    return most;
  }

  static bool reducesLast(Operation *op) {
    auto axes = op->getAttrOfType<DenseI64ArrayAttr>("axes");
    auto operand = cast<RankedTensorType>(op->getOperand(0).getType());
    return !axes || llvm::is_contained(axes.asArrayRef(), operand.getRank() - 1);
  }

  //===--- 2. versions ----------------------------------------------------===//

  bool isNumber(Value value) { return elementOf(value) == storage.maths; }

  Demand demandOf(Value value) {
    Demand demand;
    eachReader(value, [&](OpOperand &use) {
      auto kernel = dyn_cast<KernelOp>(use.getOwner());
      if (!kernel) {
        demand.asWide |= isa<OutputOp>(use.getOwner());
        return;
      }
      Demand inside = insideDemand(
          kernel.getBody().front().getArgument(use.getOperandNumber()));
      demand.asFactor |= inside.asFactor;
      demand.otherwise |= inside.otherwise;
      demand.asWide |= inside.asWide;
    });
    return demand;
  }

  /// What the ops of a kernel want of an argument.
  static Demand insideDemand(BlockArgument argument) {
    Demand demand;
    eachReader(argument, [&](OpOperand &use) {
      Reading reading = readingOf(use);
      (reading == Reading::Factor ? demand.asFactor : demand.otherwise) = true;
      demand.asWide |= reading == Reading::Wide;
    });
    return demand;
  }

  /// The element type in which a kernel's result is stored for readers that do
  /// not multiply it.
  Type storedElement(Value value, const Demand &demand) {
    if (!isTokenTensor(value.getType()) || demand.asWide)
      return storage.maths;
    return kinds.lookup(value) == Kind::Activation ? storage.activation
                                                   : storage.statistic;
  }

  /// The version of `value` that all but products read.
  Value outside(Value value) {
    Value now = plain.lookup(throughReshapes(value));
    return viewAs(value, now ? now : throughReshapes(value)); // no entry: a read
  }

  /// The version of `value` that products read.
  Value outsideFactor(Value value) {
    Value base = throughReshapes(value);
    Value &factor = factors[base];
    if (!factor)
      factor = castKernel(base);
    return viewAs(value, factor);
  }

  /// `memory` under the shape of `value`.
  Value viewAs(Value value, Value memory) {
    RankedTensorType type = retyped(value, elementOf(memory));
    if (memory.getType() == type)
      return memory;
    Value &view = views[{memory, type}];
    if (!view)
      view = ReshapeOp::create(outer, value.getLoc(), type, memory);
    return view;
  }

  /// A kernel that only casts `read` to the type of factors.
  Value castKernel(Value read) {
    Location loc = read.getLoc();
    RankedTensorType type = retyped(read, storage.factor);
    auto kernel = KernelOp::create(outer, loc, TypeRange(type), read, ArrayAttr());
    auto *body = new Block();
    kernel.getBody().push_back(body);
    OpBuilder in(entry.getContext());
    in.setInsertionPointToEnd(body);
    Value cast = CastOp::create(in, loc, type, body->addArgument(read.getType(), loc));
    YieldOp::create(in, loc, cast);
    return kernel.getResult(0);
  }

  //===--- 3. kernels -----------------------------------------------------===//

  /// A result of a rewritten kernel, and which readers it is for.
  struct Version {
    Value old, inside;
    bool isPlain, isFactor;
  };

  void rewrite(KernelOp kernel) {
    outer.setInsertionPoint(kernel);
    Block &body = kernel.getBody().front();
    narrowed.clear();
    rounded.clear();
    SmallVector<Value> inputs;
    for (Value input : kernel.getInputs())
      rewriteInput(input, body, inputs);
    for (Operation &op : llvm::make_early_inc_range(body.without_terminator()))
      narrowOperands(&op);

    auto yield = cast<YieldOp>(body.getTerminator());
    SmallVector<Version> versions;
    for (unsigned i = 0; i < kernel.getNumResults(); ++i)
      addVersions(kernel.getResult(i), yield->getOpOperand(i), versions);
    SmallVector<Value> yields;
    SmallVector<Type> types;
    for (const Version &version : versions) {
      yields.push_back(version.inside);
      types.push_back(version.inside.getType());
    }
    for (Value stored : yield.getValues().drop_front(kernel.getNumResults()))
      yields.push_back(stored);
    yield.getValuesMutable().assign(yields);
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
      if (isOpTriviallyDead(&op))
        op.erase();

    auto now = KernelOp::create(outer, kernel.getLoc(), types, inputs,
                                kernel.getTargetsAttr());
    now.getBody().takeBody(kernel.getBody());
    for (auto [version, result] : llvm::zip(versions, now.getResults())) {
      if (version.isPlain)
        plain[version.old] = result;
      if (version.isFactor)
        factors[version.old] = result;
    }
  }

  /// Gives the next argument of `body` what it reads from now on; a second
  /// argument follows where product and maths read different versions.
  void rewriteInput(Value input, Block &body, SmallVectorImpl<Value> &inputs) {
    BlockArgument argument = body.getArgument(inputs.size());
    Demand demand;
    if (isNumber(argument))
      demand = insideDemand(argument);
    bool wantsFactor = demand.asFactor && storage.factor != storage.maths;
    Value factor = wantsFactor ? outsideFactor(input) : Value();
    Value base = throughReshapes(input);
    if (wantsFactor && demand.otherwise && plain.lookup(base) != factors[base]) {
      inputs.push_back(outside(input));
      inputs.push_back(factor);
      Value second = body.insertArgument(inputs.size() - 1, factor.getType(),
                                         argument.getLoc());
      narrowed[{argument, storage.factor}] = second;
      argument = body.getArgument(inputs.size() - 2);
    } else {
      inputs.push_back(wantsFactor ? factor : outside(input));
    }
    Value now = inputs[argument.getArgNumber()];
    if (now.getType() == argument.getType())
      return;
    // The narrow argument is widened once for the maths.
    Type wide = elementOf(argument), element = elementOf(now);
    argument.setType(now.getType());
    OpBuilder in(entry.getContext());
    in.setInsertionPointToStart(&body);
    auto cast = CastOp::create(in, argument.getLoc(), retyped(argument, wide), argument);
    argument.replaceAllUsesExcept(cast.getResult(), cast);
    if (auto it = narrowed.find({argument, storage.factor}); it != narrowed.end())
      narrowed[{cast, storage.factor}] = it->second;
    narrowed[{cast, element}] = argument;
  }

  /// `value` in another element type, for a reader at the insertion point of
  /// `in`: cast behind its definition, under the same reshapes.
  Value narrow(Value value, Type element, OpBuilder &in) {
    if (elementOf(value) == element)
      return value;
    if (Value known = narrowed.lookup({value, element}))
      return known;
    RankedTensorType type = retyped(value, element);
    Value now;
    if (auto reshape = value.getDefiningOp<ReshapeOp>()) {
      Value source = narrow(reshape.getX(), element, in);
      now = ReshapeOp::create(in, value.getLoc(), type, source);
    } else {
      OpBuilder after(entry.getContext());
      after.setInsertionPointAfterValue(value);
      now = CastOp::create(after, value.getLoc(), type, value);
    }
    narrowed[{value, element}] = now;
    return now;
  }

  /// Rounds the factors of products, and lets ops read narrow arguments as they
  /// lie in memory.
  void narrowOperands(Operation *op) {
    OpBuilder in(op);
    for (OpOperand &operand : op->getOpOperands()) {
      if (!isa<RankedTensorType>(operand.get().getType()) ||
          !isNumber(operand.get()))
        continue;
      Reading reading = readingOf(operand);
      if (reading == Reading::Factor && storage.factor != storage.maths) {
        operand.set(narrow(operand.get(), storage.factor, in));
      } else if (reading == Reading::AsStored) {
        Type element = storedInArgument(operand.get());
        if (!element)
          continue;
        Value stored = narrow(operand.get(), element, in);
        if (isa<OperandStorageOpInterface>(op))
          operand.set(stored);
        else
          return moveNarrow(op, operand.getOperandNumber(), stored);
      }
    }
  }

  /// The element type of the argument that `value` is widened from, or null.
  static Type storedInArgument(Value value) {
    value = throughReshapes(value);
    auto cast = value.getDefiningOp<CastOp>();
    return cast && isa<BlockArgument>(cast.getX()) ? elementOf(cast.getX()) : Type();
  }

  /// An op that only moves elements between tokens does so in the narrow type.
  void moveNarrow(Operation *op, unsigned index, Value stored) {
    OpBuilder in(op);
    Operation *now = in.clone(*op);
    now->setOperand(index, stored);
    Value result = now->getResult(0);
    auto type = cast<RankedTensorType>(result.getType());
    result.setType(type.clone(elementOf(stored)));
    Value wide = CastOp::create(in, op->getLoc(), type, result);
    op->getResult(0).replaceAllUsesWith(wide);
    narrowed[{wide, elementOf(stored)}] = result;
    op->erase();
  }

  /// What the kernel leaves of a result in memory.
  void addVersions(Value result, OpOperand &yielded,
                   SmallVectorImpl<Version> &versions) {
    Value value = yielded.get();
    if (!isNumber(result)) {
      versions.push_back({result, value, true, false});
      return;
    }
    Demand demand = demandOf(result);
    Type stored = storedElement(result, demand);
    if (demand.asFactor && !demand.otherwise && !demand.asWide)
      stored = storage.factor;
    OpBuilder in(yielded.getOwner());
    Value kept = value;
    if (stored != elementOf(value)) {
      kept = narrow(value, stored, in);
      roundForAll(value, stored);
    }
    bool isShared = stored == storage.factor;
    versions.push_back({result, kept, true, isShared});
    if (demand.asFactor && !isShared)
      versions.push_back(
          {result, narrow(value, storage.factor, in), false, true});
  }

  /// Readers of `value` inside the kernel see what is stored of it.
  void roundForAll(Value value, Type element) {
    value = throughReshapes(value);
    Value stored = narrowed.lookup({value, element});
    auto cast = stored.getDefiningOp<CastOp>();
    // Widened from what is stored already, or done for an earlier result.
    if (!cast || cast.getX() != value || !rounded.insert(value).second)
      return;
    OpBuilder after(entry.getContext());
    after.setInsertionPointAfter(cast);
    Value wide = CastOp::create(after, value.getLoc(), value.getType(), cast);
    value.replaceUsesWithIf(wide, [&](OpOperand &use) {
      return use.getOwner() != cast.getOperation() && !isa<YieldOp>(use.getOwner());
    });
  }

  func::FuncOp entry;
  const Storage &storage;
  OpBuilder outer;
  llvm::DenseMap<Value, Kind> kinds;
  /// Results of old kernels: what stands for them outside kernels.
  llvm::DenseMap<Value, Value> plain, factors;
  llvm::DenseMap<std::pair<Value, Type>, Value> views;
  // Of the kernel being rewritten: values in another element type, and values
  // whose readers see the rounded one.
  llvm::DenseMap<std::pair<Value, Type>, Value> narrowed;
  llvm::DenseSet<Value> rounded;
};

} // namespace

LogicalResult narrowStorage(ModuleOp module, StringRef name, bool rounded) {
  const rt::PrecisionPolicy *policy = rt::findPrecisionPolicy(name.str());
  if (!policy)
    return module.emitError("unknown precision policy '")
           << name << "'; expected " << rt::precisionNames();
  MLIRContext *context = module.getContext();
  Storage storage{elementType(policy->maths, context),
                  elementType(policy->factor, context),
                  elementType(policy->activation, context),
                  elementType(policy->statistic, context)};
  bool isUniform = storage.factor == storage.maths &&
                   storage.activation == storage.maths &&
                   storage.statistic == storage.maths;
  for (func::FuncOp entry : entriesOf(module)) {
    if (!isUniform)
      EntryNarrower(entry, storage).run();
    if (rounded)
      storeRounded(entry);
  }
  return success();
}

#define GEN_PASS_DEF_NARROWPASS
#include "passes/fuse/Passes.h.inc"

namespace {
struct NarrowPass : impl::NarrowPassBase<NarrowPass> {
  using Base::Base;
  void runOnOperation() override {
    auto named = getOperation()->getAttrOfType<StringAttr>("pg.precision");
    if (policy.empty())
      policy = named ? named.getValue().str() : std::string("f32");
    if (failed(narrowStorage(getOperation(), policy, rounded)))
      signalPassFailure();
  }
};
} // namespace

} // namespace pg
