//===- MicroKernel.cpp - emission of the shared micro-kernels ---------------===//
#include "passes/cpu/MicroKernel.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace pg {
namespace {

constexpr const char *kPrefix = "pg_micro_", *kScales = "_scaled";
constexpr const char *kPairs = "pairs_", *kDouble = "f64_", *kSingle = "f32_";
enum Argument {
  A, Row, Step, B, C, Stride, K, Adds, Scale, Ahead, AheadRow, AheadSteps, AheadNext
};

SmallVector<Type> argumentTypes(MLIRContext *context) {
  Type ptr = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64), i1 = IntegerType::get(context, 1);
  return {ptr, i64, i64, ptr, ptr, i64, i64, i1, ptr, ptr, i64, i64, i64};
}

class MicroKernelBody {
public:
  MicroKernelBody(Emitter &e, const MicroKernel &kernel) : e(e), kernel(kernel) {}

  void emit() {
    Val k = e.argument(K), chunk = e.argument(AheadSteps);
    // Rows as pointers that LLVM does not know to be related, with a running
    // index for six of them: sums of addresses in the loop would take the place
    // of multiply-adds.
    for (int64_t i = 0; i < kernel.rows; ++i) {
      Val row = e.argument(Row) * static_cast<double>(i);
      if (i < kRowsOfIndex)
        aRow.push_back(e.opaque(e.addressF(e.argument(A), row)));
      aheadRow.push_back(e.argument(AheadRow) * static_cast<double>(i));
    }
    later = e.argument(Row) * static_cast<double>(kRowsOfIndex);
    Emitter::Vals carried = {e.i(0), e.argument(B), e.argument(Ahead)};
    carried.append(oldC());
    carried = e.loopBy(
        e.i(0), k, chunk, carried,
        [&](Val first, ArrayRef<Val> at) -> Emitter::Vals {
          for (Val row : aheadRow)
            e.prefetch(e.addressF(at[2], row), Emitter::Near::L2);
          Val ahead = e.addressF(at[2], e.argument(AheadNext));
          Emitter::Vals inner(at);
          inner.erase(inner.begin() + 2);
          Val count = e.min(k - first, chunk), pairs = count / 2.0 * 2.0;
          inner = e.loop(e.i(0), pairs, 2, inner,
                         [&](Val, ArrayRef<Val> now) { return steps(now, 2); });
          inner = e.loop(pairs, count, 1, inner,
                         [&](Val, ArrayRef<Val> now) { return steps(now, 1); });
          inner.insert(inner.begin() + 2, ahead);
          return inner;
        });
    for (int64_t i = 0; i < kernel.rows; ++i)
      for (int64_t v = 0; v < kernel.vectors; ++v)
        e.store(carried[3 + i * kernel.vectors + v], e.argument(C), place(i, v));
  }

private:
  static constexpr int64_t kLineBytes = 64;

  Val place(int64_t i, int64_t v) {
    return e.argument(Stride) * static_cast<double>(i) +
           static_cast<double>(v * e.width());
  }
  Emitter::Vals oldC() {
    int64_t count = kernel.rows * kernel.vectors;
    SmallVector<Type> types(count, e.vectorType());
    return e.ifElse(
        e.argument(Adds), types,
        [&] {
          Emitter::Vals old;
          for (int64_t i = 0; i < kernel.rows; ++i) {
            Val factor;
            if (kernel.scales)
              factor = e.broadcast(e.loadF(e.argument(Scale), e.i(i)));
            for (int64_t v = 0; v < kernel.vectors; ++v) {
              Val c = e.loadV(e.argument(C), place(i, v));
              old.push_back(factor ? c * factor : c);
            }
          }
          return old;
        },
        [&] { return Emitter::Vals(count, e.vec(0)); });
  }
  /// Steps of k one after the other: index into A, place in B, the sums.
  Emitter::Vals steps(ArrayRef<Val> now, int64_t count) {
    int64_t vectors = kernel.vectors, width = e.width();
    Emitter::Vals next(now);
    for (int64_t s = 0; s < count; ++s) {
      auto at = [&](int64_t step, int64_t v) {
        return e.i((step * vectors + v) * width);
      };
      SmallVector<Val> b;
      for (int64_t v = 0; v < vectors; ++v) {
        b.push_back(e.loadV(now[1], at(s, v)));
        if (v * width * e.floatBytes() % kLineBytes == 0)
          e.prefetch(e.addressF(now[1], at(s + kStepsAhead, v)),
                     Emitter::Near::L1);
      }
      Val second = kernel.rows > kRowsOfIndex ? e.opaque(next[0] + later) : Val();
      for (int64_t i = 0; i < kernel.rows; ++i) {
        Val index = i < kRowsOfIndex ? next[0] : second;
        Val factor = e.broadcast(e.loadF(aRow[i % kRowsOfIndex], index));
        for (int64_t v = 0; v < vectors; ++v) {
          Val &sum = next[2 + i * vectors + v];
          sum = kernel.pairs ? e.dotPairs(factor, b[v], sum)
                             : e.fma(factor, b[v], sum);
        }
      }
      next[0] = e.opaque(next[0] + e.argument(Step));
    }
    next[1] = e.addressF(now[1], e.i(count * vectors * width));
    return next;
  }

  /// How far ahead a panel is asked for: it comes from L2, and the machine's own
  /// look ahead is not enough to multiply at full rate.
  static constexpr int64_t kStepsAhead = 8;
  static constexpr int64_t kRowsOfIndex = 6;

  Emitter &e;
  const MicroKernel &kernel;
  SmallVector<Val> aRow, aheadRow;
  Val later; ///< from a row to the one kRowsOfIndex further
};

} // namespace

std::string MicroKernel::symbol(const Emitter &e) const {
  return kPrefix +
         std::string(pairs ? kPairs : e.floatBytes() == 8 ? kDouble : kSingle) +
         std::to_string(rows) + "x" + std::to_string(vectors) +
         (scales ? kScales : "");
}

void callMicroKernel(Emitter &e, const MicroKernel &kernel,
                     const MicroTile &tile) {
  // Without lines to ask for, those that are read anyway.
  LinesAhead ahead = tile.ahead;
  if (!ahead.at)
    ahead = {tile.a, tile.row, tile.k, e.i(0)};
  e.call(kernel.symbol(e), {tile.a, tile.row, tile.step, tile.b, tile.c,
                            tile.stride, tile.k, tile.adds,
                            tile.scale ? tile.scale : tile.c, ahead.at,
                            ahead.row, ahead.steps, ahead.next});
}

bool defineMicroKernel(ModuleOp module, StringRef symbol,
                       const CpuTarget &target) {
  StringRef rest = symbol;
  MicroKernel kernel;
  if (!rest.consume_front(kPrefix))
    return false;
  bool isDouble = rest.consume_front(kDouble);
  kernel.pairs = rest.consume_front(kPairs);
  if (!isDouble && !kernel.pairs && !rest.consume_front(kSingle))
    return false;
  if (rest.consumeInteger(10, kernel.rows) || !rest.consume_front("x") ||
      rest.consumeInteger(10, kernel.vectors))
    return false;
  kernel.scales = rest.consume_front(kScales);
  if (!rest.empty())
    return false;
  Builder b(module.getContext());
  Emitter e(module, symbol, module.getLoc(),
            isDouble ? Type(b.getF64Type()) : b.getF32Type(), target,
            argumentTypes(module.getContext()));
  MicroKernelBody(e, kernel).emit();
  e.finish();
  return true;
}

bool isSharedFunction(StringRef symbol) { return symbol.starts_with(kPrefix); }
bool isPairFunction(StringRef symbol) {
  return symbol.consume_front(kPrefix) && symbol.starts_with(kPairs);
}

std::vector<std::string> sharedFunctionsOf(ModuleOp module) {
  std::vector<std::string> names;
  module.walk([&](LLVM::LLVMFuncOp function) {
    if (function.isExternal() && isSharedFunction(function.getName()))
      names.push_back(function.getName().str());
  });
  return names;
}

} // namespace pg
