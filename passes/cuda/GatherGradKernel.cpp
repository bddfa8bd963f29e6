//===- GatherGradKernel.cpp - token rows added to the rows of a table ---------===//
//
// Tokens are sorted by word, tokens of a word in their order, without atomics:
//   1. rank: a block per chunk of tokens writes each token's place among the
//      chunk's tokens of its word, and how many the chunk has of every word;
//   2. columns: a thread per word turns these counts into places of chunks;
//   3. words: one block turns the words' counts into where each word begins;
//   4. place: every token goes to its place;
//   5. rows: a block per word (and piece of a row) adds the word's tokens. Its
//      warps take every eighth token and are joined in order.
// The order of additions so depends on the tokens alone.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/ElementEvaluator.h"
#include "passes/cuda/Emitters.h"
#include "passes/cuda/RowTeam.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace pg::cuda {
namespace {

constexpr int64_t kChunk = 1024; ///< tokens ranked by one block
constexpr int64_t kThreads = 256;
constexpr int64_t kWarps = kThreads / 32;
constexpr int64_t kPiece = 1024; ///< elements of a row one block sums

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

class GatherGrad {
public:
  explicit GatherGrad(KernelDefOp def)
      : def(def), op(*def.getBody().front().getOps<GatherGradOp>().begin()),
        type(tensorType(op.getResult())), text(def) {
    words = type.getDimSize(0);
    columns = elementsPerRow(type, true);
    tokens = isTokenTensor(op.getIndex().getType());
    if (!tokens)
      count = tensorType(op.getIndex()).getDimSize(0);
  }

  FailureOr<EmittedKernel> emit() {
    for (Value v : text.yields())
      if (tensorType(v).getShape() != type.getShape())
        return def.emitError("expected every yield of the kernel to have the "
                             "shape of the table, found ")
               << v.getType();
    rank();
    columnsOfChunks();
    startsOfWords();
    place();
    rows();
    if (hasFailed)
      return failure();
    // starts, counts of chunks (one more than whole ones), ranks, order.
    int64_t perToken = tokens ? 8 + llvm::divideCeil(4 * words, kChunk) : 0;
    int64_t fixed = 4 * (words + 1) + 4 * words + 64 +
                    (tokens ? 0
                            : 8 * count + 4 * words *
                                              llvm::divideCeil(count, kChunk));
    return text.finish("scatter", fixed, perToken);
  }

private:
  std::string W() const { return std::to_string(words); }

  /// Names of the workspace's parts, and of the number of tokens.
  void open(SourceWriter &w) {
    w.line("const int n = " +
           (tokens ? std::string("(int)batch.n") : std::to_string(count)) + ";");
    w.line("const int chunks = (n + " + Twine(kChunk - 1) + ") / " +
           Twine(kChunk) + ";");
    w.line("int *const starts = (int *)workspace;");
    w.line("int *const counts = starts + " + Twine(words + 1) + ";");
    w.line("int *const ranks = counts + chunks * " + W() + ";");
    w.line("int *const order = ranks + n;");
  }

  void close(SourceWriter &w, StringRef suffix, rt::WorkItems blocks,
             int64_t shared = 0) {
    Stage stage;
    stage.symbol = (def.getSymName() + "_" + suffix).str();
    stage.threads = kThreads;
    stage.sharedBytes = shared;
    stage.blocks = blocks;
    text.addStage(stage, w);
  }

  rt::WorkItems perTokens(int64_t size) const {
    rt::WorkItems blocks;
    if (tokens)
      blocks.tokensPerItem = size;
    else
      blocks.multiplier = llvm::divideCeil(count, size);
    return blocks;
  }

  /// The word of a token, clamped into the table.
  std::string wordOf(ElementEvaluator &evaluator, const std::string &token,
                     int depth) {
    Term read =
        evaluator.evaluate(op.getIndex(), {Coord::at({token, depth})});
    return "pg_max(pg_min(" + read.text + ", " + std::to_string(words - 1) +
           "), 0)";
  }

  void rank() {
    SourceWriter w;
    ElementEvaluator evaluator(w, text);
    open(w);
    std::string chunk = std::to_string(kChunk), threads = std::to_string(kThreads);
    w.line("int *const words = (int *)pg_shared();");
    w.line("const int begin = (int)pg_block() * " + chunk + ";");
    w.line("const int size = pg_min(n - begin, " + chunk + ");");
    w.line("int *const own = counts + pg_block() * " + W() + ";");
    w.line("for (int k = pg_thread(); k < " + W() + "; k += " + threads + ")");
    w.line("    own[k] = 0;");
    w.open("for (int k = pg_thread(); k < size; k += " + threads + ")");
    w.line("const int token = begin + k;");
    w.line("words[k] = " + wordOf(evaluator, "token", w.depth()) + ";");
    w.close();
    w.line("pg_barrier();");
    w.open("for (int k = pg_thread(); k < size; k += " + threads + ")");
    w.line("const int word = words[k];");
    w.line("int before = 0, behind = 0;");
    w.line("for (int j = 0; j < k; ++j)");
    w.line("    before += words[j] == word;");
    w.line("for (int j = k + 1; j < size; ++j)");
    w.line("    behind += words[j] == word;");
    w.line("ranks[begin + k] = before;");
    w.line("if (behind == 0)");
    w.line("    own[word] = before + 1;");
    w.close();
    hasFailed |= evaluator.failed();
    close(w, "rank", perTokens(kChunk), kChunk * 4);
  }

  void columnsOfChunks() {
    SourceWriter w;
    open(w);
    w.line("const int word = (int)pg_block() * " + Twine(kThreads) +
           " + pg_thread();");
    w.open("if (word < " + W() + ")");
    w.line("int sum = 0;");
    w.open("#pragma unroll 4\nfor (int chunk = 0; chunk < chunks; ++chunk)");
    w.line("int *const own = counts + chunk * " + W() + " + word;");
    w.line("const int here = *own;");
    w.line("*own = sum;");
    w.line("sum += here;");
    w.close();
    w.line("starts[word] = sum;");
    w.close();
    rt::WorkItems blocks;
    blocks.multiplier = llvm::divideCeil(words, kThreads);
    close(w, "columns", blocks);
  }

  void startsOfWords() {
    SourceWriter w;
    open(w);
    int64_t each = llvm::divideCeil(words, kThreads);
    w.line("int *const sums = (int *)pg_shared();");
    w.line("const int first = pg_thread() * " + Twine(each) + ";");
    w.line("const int last = pg_min(first + " + Twine(each) + ", " + W() + ");");
    w.line("int own = 0;");
    w.line("for (int word = first; word < last; ++word)");
    w.line("    own += starts[word];");
    w.line("sums[pg_thread()] = own;");
    w.line("pg_barrier();");
    w.line("int sum = 0;");
    w.line("for (int t = 0; t < pg_thread(); ++t)");
    w.line("    sum += sums[t];");
    w.open("for (int word = first; word < last; ++word)");
    w.line("const int here = starts[word];");
    w.line("starts[word] = sum;");
    w.line("sum += here;");
    w.close();
    w.line("if (pg_thread() == 0)");
    w.line("    starts[" + W() + "] = n;");
    close(w, "words", rt::WorkItems(), kThreads * 4);
  }

  void place() {
    SourceWriter w;
    ElementEvaluator evaluator(w, text);
    open(w);
    w.line("const int token = (int)pg_block() * " + Twine(kThreads) +
           " + pg_thread();");
    w.open("if (token < n)");
    w.line("const int word = " + wordOf(evaluator, "token", w.depth()) + ";");
    w.line("const int chunk = token / " + Twine(kChunk) + ";");
    w.line("order[starts[word] + counts[chunk * " + W() +
           " + word] + ranks[token]] = token;");
    w.close();
    hasFailed |= evaluator.failed();
    close(w, "place", perTokens(kThreads));
  }

  void rows() {
    SourceWriter w;
    ElementEvaluator evaluator(w, text);
    open(w);
    int64_t pieces = llvm::divideCeil(columns, kPiece);
    int64_t piece = llvm::divideCeil(columns, pieces);
    // The last dimension decides the width of an access.
    int64_t last = type.getRank() > 1 ? type.getShape().back() : 1;
    int64_t width = 4;
    while (width > 1 && (last % width != 0 || piece % width != 0 ||
                         piece < 32 * width))
      width /= 2;
    int64_t steps = llvm::divideCeil(piece, 32 * width);
    std::string number = registerType(type.getElementType());
    std::string size = std::to_string(piece);
    w.line("const int word = (int)(pg_block() / " + Twine(pieces) + ");");
    w.line("const int from = (int)(pg_block() % " + Twine(pieces) + ") * " +
           size + ";");
    w.line("const int begin = starts[word], end = starts[word + 1];");
    bool onlyAdds = llvm::all_of(
        llvm::enumerate(text.yields()), [&](auto yield) {
          return yield.value() == op.getResult() &&
                 def.getModes()[yield.index()] == 2;
        });
    if (onlyAdds)
      w.line("if (begin == end)\n    return;");
    w.line("const int lane = pg_thread() % 32, warp = pg_thread() / 32;");
    w.line(number + " *const sums = (" + number + " *)pg_shared();");
    std::string vector = "pg_vec<" + number + ", " + std::to_string(width) + ">";
    w.line(vector + " sum[" + Twine(steps) + "] = {};");
    w.open("#pragma unroll 2\nfor (int k = begin + warp; k < end; k += " +
           Twine(kWarps) + ")");
    w.line("const int token = order[k];");
    int tokenDepth = w.depth();
    w.open("#pragma unroll\nfor (int i = 0; i < " + Twine(steps) + "; ++i)");
    w.line("const int j = (i * 32 + lane) * " + Twine(width) + ";");
    bool whole = piece == steps * 32 * width && columns == pieces * piece;
    w.line("const bool inside = " +
           (whole ? std::string("true")
                  : "j < " + size + " && from + j < " + std::to_string(columns)) +
           ";");
    w.line("const int p = inside ? from + j : 0;");
    Coord position = width > 1
                         ? Coord::lanesAt({"p", w.depth()}, 0, columns, width)
                         : Coord::at({"p", w.depth()}, 0, columns);
    if (columns == 1)
      position = Coord::constant(0);
    Coords at{Coord::at({"token", tokenDepth})};
    at.append(evaluator.delinearise(position, type.getShape().drop_front()));
    at.truncate(type.getRank());
    std::string condition = whole ? "" : "if (inside) ";
    if (width > 1) {
      evaluator.openVector(width);
      Term x = evaluator.evaluate(op.getDy(), at);
      w.line(condition + "sum[i][" + evaluator.lane() + "] += " + x.text + ";");
      evaluator.closeVector();
    } else {
      Term x = evaluator.evaluate(op.getDy(), at);
      w.line(condition + "sum[i][0] += " + x.text + ";");
    }
    w.close();
    w.close();
    w.open("#pragma unroll\nfor (int i = 0; i < " + Twine(steps) + "; ++i)");
    w.line("const int j = (i * 32 + lane) * " + Twine(width) + ";");
    w.line("if (j < " + size + ")");
    w.line("    pg_store<" + Twine(width) + ">(sums + warp * " +
           Twine(steps * 32 * width) + " + j, sum[i]);");
    w.close();
    w.line("pg_barrier();");
    w.open("for (int j = pg_thread(); j < " + size + "; j += " +
           Twine(kThreads) + ")");
    if (columns != pieces * piece)
      w.line("if (from + j >= " + Twine(columns) + ")\n    break;");
    w.line(number + " all = sums[j];");
    w.line("for (int t = 1; t < " + Twine(kWarps) + "; ++t)");
    w.line("    all += sums[t * " + Twine(steps * 32 * width) + " + j];");
    w.line("const int column = from + j;");
    int depth = w.depth();
    std::string total = "all";
    if (type.getElementType().isBF16())
      total = "pg_round_bf16(all)";
    evaluator.bindCurrent(op.getResult(),
                          evaluator.define(number, "total", total, depth));
    Coords result{Coord::at({"word", 0}, 0, words)};
    Coord column = columns == 1 ? Coord::constant(0)
                                : Coord::at({"column", depth}, 0, columns);
    result.append(
        evaluator.delinearise(column, type.getShape().drop_front()));
    result.truncate(type.getRank());
    SmallVector<Term> values;
    for (Value v : text.yields())
      values.push_back(evaluator.evaluate(v, result));
    for (auto [index, value] : llvm::enumerate(values)) {
      std::string where = text.yield(index) + " + (long long)word * " +
                          std::to_string(columns) + " + column";
      w.line("pg_put(" + where + ", " +
             (def.getModes()[index] == 2 ? "pg_get(" + where + ") + " : "") +
             value.text + ");");
    }
    w.close();
    hasFailed |= evaluator.failed();
    rt::WorkItems blocks;
    blocks.multiplier = words * pieces;
    close(w, "rows", blocks,
          kWarps * steps * 32 * width *
              (type.getElementType().isF64() ? 8 : 4));
  }

  KernelDefOp def;
  GatherGradOp op;
  RankedTensorType type;
  KernelText text;
  int64_t words = 1, columns = 1, count = 0;
  bool tokens = true, hasFailed = false;
};

} // namespace

FailureOr<EmittedKernel> emitGatherGradKernel(KernelDefOp def) {
  return GatherGrad(def).emit();
}

} // namespace pg::cuda
