//===- AttentionStrips.cpp - emission of the strips of attention ------------===//
#include "passes/cpu/AttentionStrips.h"

#include "passes/cpu/ElementEvaluator.h"
#include "passes/cpu/Strip.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace pg {
namespace {

constexpr const char *kScores = "scores_", *kProducts = "strips_";
constexpr std::pair<ScoreStep, const char *> kSteps[] = {
    {ScoreStep::Softmax, "_softmax"},
    {ScoreStep::Peak, "_peak"},
    {ScoreStep::Probability, "_probability"},
    {ScoreStep::Gradient, "_gradient"}};

enum ScoreArgument {
  Keys, KeyStride, Queries, Count, Factor, Out, OutStride, KeyPairs, PairStride, Shift, Total,
  Probabilities, First, Last, Key0, ClearBegin, ClearEnd, Ahead, AheadRow
};
enum ProductArgument { A, Row, Step, B, C, CStride, Strips, Ranges };

/// 'p' for a pointer, 'i' for an i64, 'f' for a number of the float type.
SmallVector<Type> argumentTypes(Type floatType, StringRef kinds) {
  MLIRContext *context = floatType.getContext();
  SmallVector<Type> types;
  for (char kind : kinds)
    types.push_back(kind == 'p'   ? Type(LLVM::LLVMPointerType::get(context))
                    : kind == 'f' ? floatType
                                  : IntegerType::get(context, 64));
  return types;
}
constexpr const char *kScoreTypes = "pipifpipipppppiiipi";
constexpr const char *kProductTypes = "piippiip";

class ScoreStripsBody {
public:
  ScoreStripsBody(Emitter &e, const ScoreStrips &kernel) : e(e), kernel(kernel) {}

  void emit() {
    e.loop(e.i(0), e.argument(Count), kernel.rows, [&](Val r) {
      Emitter::Vals sums = multiply(r);
      if (kernel.step == ScoreStep::Gradient)
        return storeGradient(r, sums);
      subtractShift(sums);
      Val isClear = (r >= e.argument(ClearBegin)) &
                    (r + static_cast<double>(kernel.rows) <= e.argument(ClearEnd));
      SmallVector<Type> types(sums.size(), e.vectorType());
      storeProbabilities(r, e.ifElse(isClear, types, [&] { return sums; },
                                     [&] { return hideUnseen(r, sums); }));
    });
  }

private:
  Emitter::Vals multiply(Val r) {
    Strip strip(e, {.rows = kernel.rows, .vectors = kernel.vectors, .pairs = kernel.pairs},
                e.addressF(e.argument(Keys), r * e.argument(KeyStride)),
                e.argument(KeyStride), e.i(1));
    // A line of each row ahead for as many steps as a line of a key has.
    int64_t line = Strip::kLineBytes / e.floatBytes();
    int64_t lines = std::max<int64_t>(1, kernel.depth / line);
    int64_t chunk = (kernel.depth + lines - 1) / lines;
    Emitter::Vals now = {
        e.i(0), e.argument(Queries),
        e.addressF(e.argument(Ahead), r * e.argument(AheadRow))};
    now.append(Emitter::Vals(strip.size(), e.vec(0)));
    now = e.loop(
        e.i(0), e.i(kernel.depth), chunk, now,
        [&](Val first, ArrayRef<Val> at) -> Emitter::Vals {
          for (int64_t i = 0; i < kernel.rows; ++i)
            e.prefetch(e.addressF(at[2], e.argument(AheadRow) * static_cast<double>(i)),
                       Emitter::Near::L2);
          Emitter::Vals inner(at);
          inner.erase(inner.begin() + 2);
          Val count = kernel.depth % chunk ? e.min(e.i(kernel.depth) - first, e.i(chunk))
                                           : e.i(chunk);
          inner = strip.run(count, std::min<int64_t>(kUnroll, chunk), inner);
          inner.insert(inner.begin() + 2, e.addressF(at[2], e.i(line)));
          return inner;
        });
    return Emitter::Vals(llvm::drop_begin(now, 3));
  }

  /// In elements of what a row holds.
  Val place(Val r, int64_t i, int64_t v) {
    Val row = (r + static_cast<double>(i)) * e.argument(OutStride);
    return (kernel.pairs ? row * 2.0 : row) + static_cast<double>(v * e.width());
  }

  /// The numbers of all keys of a strip at one vector of queries.
  void put(Val r, int64_t v, ArrayRef<Val> numbers) {
    if (!kernel.pairs) {
      for (auto [i, number] : llvm::enumerate(numbers))
        e.store(number, e.argument(Out), place(r, i, v));
      return;
    }
    if (kernel.step == ScoreStep::Probability) { // for a sum over queries alone
      for (auto [i, number] : llvm::enumerate(numbers))
        e.store(convertElements(e, number, e.builder().getBF16Type()), e.argument(Out), place(r, i, v));
      return;
    }
    for (int64_t i = 0; i < kernel.rows; i += 2) {
      Val halves = roundedHalves(e, numbers[i], numbers[i + 1]);
      if (kernel.step == ScoreStep::Gradient)
        for (int64_t which : {0, 1})
          e.store(e.half(halves, which), e.argument(Out), place(r, i + which, v));
      e.store(e.pairsOfHalves(halves), e.argument(KeyPairs),
              (r / 2.0 + static_cast<double>(i / 2)) * e.argument(PairStride) +
                  static_cast<double>(v * e.width()));
    }
  }

  Val probability(Val r, int64_t i, int64_t v) {
    if (!kernel.pairs)
      return e.loadV(e.argument(Probabilities), place(r, i, v));
    auto halves = VectorType::get({e.width()}, e.builder().getBF16Type());
    return convertElements(e, e.load(halves, e.argument(Probabilities), place(r, i, v)), e.floatType());
  }

  /// S - shift in place of the products, which may have any sign and size: what is
  /// not seen is hidden behind it.
  void subtractShift(Emitter::Vals &sums) {
    Val factor = e.broadcast(e.argument(Factor));
    for (int64_t v = 0; v < kernel.vectors; ++v) {
      Val shift = e.loadV(e.argument(Shift), e.i(v * e.width())), minus = -shift;
      for (int64_t i = 0; i < kernel.rows; ++i) {
        Val &sum = sums[i * kernel.vectors + v];
        // Queries of pairs are what they are in memory; others carry the factor.
        sum = kernel.pairs ? e.fma(sum, factor, minus) : sum - shift;
      }
    }
  }

  /// kUnseen in place of the numbers of keys that a query does not see.
  Emitter::Vals hideUnseen(Val r, Emitter::Vals sums) {
    auto i32Vector = VectorType::get({e.width()}, e.builder().getI32Type());
    for (int64_t i = 0; i < kernel.rows; ++i) {
      Val key = e.broadcast(e.toI32(e.argument(Key0) + r + static_cast<double>(i)));
      for (int64_t v = 0; v < kernel.vectors; ++v) {
        Val at = e.i(v * e.width());
        Val seen = (key >= e.load(i32Vector, e.argument(First), at)) &
                   (key <= e.load(i32Vector, e.argument(Last), at));
        Val &sum = sums[i * kernel.vectors + v];
        sum = e.select(seen, sum, e.vec(kUnseen));
      }
    }
    return sums;
  }

  void storeProbabilities(Val r, ArrayRef<Val> sums) {
    bool isPeak = kernel.step == ScoreStep::Peak;
    for (int64_t v = 0; v < kernel.vectors; ++v) {
      Val at = e.i(v * e.width());
      SmallVector<Val> terms;
      for (int64_t i = 0; i < kernel.rows; ++i) {
        Val x = sums[i * kernel.vectors + v];
        terms.push_back(isPeak ? x : e.exp2(x));
      }
      if (!isPeak)
        put(r, v, terms);
      if (kernel.step == ScoreStep::Probability)
        continue;
      // A tree: short chains.
      auto join = [&](Val a, Val b) { return isPeak ? e.larger(a, b) : a + b; };
      while (terms.size() > 1) {
        SmallVector<Val> pairs;
        for (size_t i = 0; i < terms.size(); i += 2)
          pairs.push_back(i + 1 < terms.size() ? join(terms[i], terms[i + 1])
                                               : terms[i]);
        terms = pairs;
      }
      e.store(join(e.loadV(e.argument(Total), at), terms[0]), e.argument(Total), at);
    }
  }

  void storeGradient(Val r, ArrayRef<Val> sums) {
    for (int64_t v = 0; v < kernel.vectors; ++v) {
      Val delta = e.loadV(e.argument(Shift), e.i(v * e.width()));
      SmallVector<Val> gradients;
      for (int64_t i = 0; i < kernel.rows; ++i)
        gradients.push_back(probability(r, i, v) * (sums[i * kernel.vectors + v] - delta));
      put(r, v, gradients);
    }
  }

  static constexpr int64_t kUnroll = 4;

  Emitter &e;
  const ScoreStrips &kernel;
};

void emitProductStrips(Emitter &e, const ProductStrips &kernel) {
  constexpr int64_t kUnroll = 4;
  int64_t rows = kernel.rows, vectors = kernel.vectors;
  e.loop(e.i(0), e.argument(Strips), 1, [&](Val s) {
    auto bound = [&](double which) {
      return e.toI64(e.load(e.builder().getI32Type(), e.argument(Ranges),
                            s * 2.0 + which));
    };
    Val begin = bound(0), end = bound(1), r = s * static_cast<double>(rows);
    e.ifThen(begin < end, [&] {
      Val a = e.addressF(e.argument(A),
                         r * e.argument(Row) + begin * e.argument(Step));
      Strip strip(e,
                  {.rows = rows, .vectors = vectors, .pairs = kernel.pairs, .stepsAreLines = true},
                  a, e.argument(Row), e.argument(Step));
      Emitter::Vals now = {
          e.i(0), e.addressF(e.argument(B), begin * static_cast<double>(
                                                        vectors * e.width()))};
      Val c = e.addressF(e.argument(C), r * e.argument(CStride));
      auto place = [&](int64_t i, int64_t v) {
        return e.argument(CStride) * static_cast<double>(i) +
               static_cast<double>(v * e.width());
      };
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t v = 0; v < vectors; ++v)
          now.push_back(e.loadV(c, place(i, v)));
      // C of the next strip, whose lines lie one after the other, is asked for line by
      // line: with the panel it is more than L1 holds for long.
      int64_t line = Strip::kLineBytes / e.floatBytes(), lines = rows * vectors * e.width() / line;
      Val count = end - begin, rounds = count / static_cast<double>(kUnroll);
      Val ahead = e.addressF(c, e.argument(CStride) * static_cast<double>(rows) +
                                    (e.i(lines) - rounds) * static_cast<double>(line));
      now.insert(now.begin() + 2, ahead);
      now = e.loop(e.i(0), rounds, 1, now, [&](Val, ArrayRef<Val> at) -> Emitter::Vals {
        e.prefetch(at[2], Emitter::Near::L1);
        Emitter::Vals inner(at);
        inner.erase(inner.begin() + 2);
        inner = strip.steps(inner, kUnroll);
        inner.insert(inner.begin() + 2, e.addressF(at[2], e.i(line)));
        return inner;
      });
      now.erase(now.begin() + 2);
      now = e.loop(rounds * static_cast<double>(kUnroll), count, 1, now,
                   [&](Val, ArrayRef<Val> at) { return strip.steps(at, 1); });
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t v = 0; v < vectors; ++v)
          e.store(now[2 + i * vectors + v], c, place(i, v));
    });
  });
}

} // namespace

std::string ScoreStrips::symbol(const Emitter &e) const {
  std::string rest = kScores + std::to_string(rows) + "x" + std::to_string(vectors) + "x" +
                     std::to_string(depth);
  for (auto [known, suffix] : kSteps)
    if (known == step)
      rest += suffix;
  return sharedSymbol(e, pairs, rest);
}

std::string ProductStrips::symbol(const Emitter &e) const {
  return sharedSymbol(e, pairs, kProducts + std::to_string(rows) + "x" + std::to_string(vectors));
}

void callScoreStrips(Emitter &e, const ScoreStrips &kernel, const ScoreTile &t) {
  auto orShift = [&](Val pointer) { return pointer ? pointer : t.shift; }; // never touched
  e.call(kernel.symbol(e),
         {t.keys, t.keyStride, t.queries, t.count, t.factor, orShift(t.out), t.stride,
          orShift(t.keyPairs), t.pairStride, t.shift,
          orShift(t.total), orShift(t.probability), t.first, t.last,
          t.key0, t.clearBegin, t.clearEnd, t.ahead.at, t.ahead.row});
}

void callProductStrips(Emitter &e, const ProductStrips &kernel,
                       const ProductStripsTile &t) {
  e.call(kernel.symbol(e),
         {t.a, t.row, t.step, t.b, t.c, t.stride, t.strips, t.ranges});
}

bool defineAttentionStrips(ModuleOp module, StringRef symbol,
                           const CpuTarget &target) {
  auto parts = parseSharedSymbol(symbol);
  if (!parts)
    return false;
  StringRef rest = parts->rest;
  bool isScores = rest.consume_front(kScores);
  if (!isScores && !rest.consume_front(kProducts))
    return false;
  int64_t rows, vectors;
  if (rest.consumeInteger(10, rows) || !rest.consume_front("x") ||
      rest.consumeInteger(10, vectors))
    return false;
  Builder b(module.getContext());
  Type type = parts->isDouble ? Type(b.getF64Type()) : b.getF32Type();
  auto begin = [&](StringRef kinds) {
    return Emitter(module, symbol, module.getLoc(), type, target,
                   argumentTypes(type, kinds));
  };
  if (!isScores) {
    if (!rest.empty())
      return false;
    Emitter e = begin(kProductTypes);
    emitProductStrips(e, {rows, vectors, parts->pairs});
    e.finish();
    return true;
  }
  ScoreStrips kernel{rows, vectors, 0, ScoreStep::Softmax, parts->pairs};
  if (!rest.consume_front("x") || rest.consumeInteger(10, kernel.depth))
    return false;
  for (auto [step, suffix] : kSteps)
    if (rest == suffix) {
      kernel.step = step;
      Emitter e = begin(kScoreTypes);
      ScoreStripsBody(e, kernel).emit();
      e.finish();
      return true;
    }
  return false;
}

} // namespace pg
