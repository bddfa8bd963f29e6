//===- MicroKernel.cpp - emission of the shared micro-kernels ---------------===//
#include "passes/cpu/MicroKernel.h"

#include "passes/cpu/Strip.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace pg {
namespace {

constexpr const char *kPrefix = "pg_micro_";
constexpr int64_t kUnroll = 2; ///< steps of k a round
constexpr const char *kOf = "of";
constexpr const char *kPairs = "pairs_", *kDouble = "f64_", *kSingle = "f32_";
enum Argument {
  A, Row, Step, B, C, Stride, K, Adds, Ahead, AheadRow, AheadSteps, AheadNext
};

SmallVector<Type> argumentTypes(MLIRContext *context) {
  Type ptr = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64), i1 = IntegerType::get(context, 1);
  return {ptr, i64, i64, ptr, ptr, i64, i64, i1, ptr, i64, i64, i64};
}

void emitMicroKernel(Emitter &e, const MicroKernel &kernel) {
  int64_t rows = kernel.rows, vectors = kernel.vectors;
  Strip strip(e, {.rows = rows, .vectors = vectors, .pairs = kernel.pairs, .panelVectors = kernel.panelVectors},
              e.argument(A), e.argument(Row), e.argument(Step));
  auto place = [&](int64_t i, int64_t v) {
    return e.argument(Stride) * static_cast<double>(i) +
           static_cast<double>(v * e.width());
  };
  SmallVector<Type> types(strip.size(), e.vectorType());
  Emitter::Vals oldC = e.ifElse(
      e.argument(Adds), types,
      [&] {
        Emitter::Vals old;
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t v = 0; v < vectors; ++v)
            old.push_back(e.loadV(e.argument(C), place(i, v)));
        return old;
      },
      [&] { return Emitter::Vals(strip.size(), e.vec(0)); });
  SmallVector<Val> aheadRow;
  for (int64_t i = 0; i < rows; ++i)
    aheadRow.push_back(e.argument(AheadRow) * static_cast<double>(i));

  Val k = e.argument(K), chunk = e.argument(AheadSteps);
  Emitter::Vals carried = {e.i(0), e.argument(B), e.argument(Ahead)};
  carried.append(oldC);
  carried = e.loopBy(
      e.i(0), k, chunk, carried,
      [&](Val first, ArrayRef<Val> at) -> Emitter::Vals {
        for (Val row : aheadRow)
          e.prefetch(e.addressF(at[2], row), Emitter::Near::L2);
        Val ahead = e.addressF(at[2], e.argument(AheadNext));
        Emitter::Vals inner(at);
        inner.erase(inner.begin() + 2);
        inner = strip.run(e.min(k - first, chunk), kUnroll, inner);
        inner.insert(inner.begin() + 2, ahead);
        return inner;
      });
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t v = 0; v < vectors; ++v)
      e.store(carried[3 + i * vectors + v], e.argument(C), place(i, v));
}

} // namespace

std::string sharedSymbol(const Emitter &e, bool pairs, const std::string &rest) {
  return std::string(kPrefix) + (pairs ? kPairs : e.floatBytes() == 8 ? kDouble : kSingle) + rest;
}

std::optional<SharedSymbol> parseSharedSymbol(StringRef symbol) {
  if (!symbol.consume_front(kPrefix))
    return std::nullopt;
  bool isDouble = symbol.consume_front(kDouble), pairs = !isDouble && symbol.consume_front(kPairs);
  if (!isDouble && !pairs && !symbol.consume_front(kSingle))
    return std::nullopt;
  return SharedSymbol{isDouble, pairs, symbol};
}

std::string MicroKernel::symbol(const Emitter &e) const {
  return sharedSymbol(e, pairs, std::to_string(rows) + "x" + std::to_string(vectors) +
                                    (panelVectors ? kOf + std::to_string(panelVectors) : std::string()));
}

void callMicroKernel(Emitter &e, const MicroKernel &kernel,
                     const MicroTile &tile) {
  // Without lines to ask for, those that are read anyway.
  LinesAhead ahead = tile.ahead;
  if (!ahead.at)
    ahead = {tile.a, tile.row, tile.k, e.i(0)};
  e.call(kernel.symbol(e), {tile.a, tile.row, tile.step, tile.b, tile.c,
                            tile.stride, tile.k, tile.adds,
                            ahead.at, ahead.row, ahead.steps, ahead.next});
}

bool defineMicroKernel(ModuleOp module, StringRef symbol,
                       const CpuTarget &target) {
  auto parts = parseSharedSymbol(symbol);
  if (!parts)
    return false;
  MicroKernel kernel;
  kernel.pairs = parts->pairs;
  StringRef rest = parts->rest;
  if (rest.consumeInteger(10, kernel.rows) || !rest.consume_front("x") ||
      rest.consumeInteger(10, kernel.vectors))
    return false;
  if (rest.consume_front(kOf) && rest.consumeInteger(10, kernel.panelVectors))
    return false;
  if (!rest.empty())
    return false;
  Builder b(module.getContext());
  Emitter e(module, symbol, module.getLoc(),
            parts->isDouble ? Type(b.getF64Type()) : b.getF32Type(), target,
            argumentTypes(module.getContext()));
  emitMicroKernel(e, kernel);
  e.finish();
  return true;
}

bool isSharedFunction(StringRef symbol) { return parseSharedSymbol(symbol).has_value(); }
bool isPairFunction(StringRef symbol) {
  auto parts = parseSharedSymbol(symbol);
  return parts && parts->pairs;
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
