//===- RowReuse.cpp - reductions of a row, and values kept between loops ------===//
#include "passes/cuda/RowEmitter.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace pg::cuda {
namespace {

constexpr int64_t kHeldElements = 96;

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

} // namespace

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

RowEmitter::Kind RowEmitter::kindOf(Value v) const {
  Kind kind;
  kind.element = tensorType(v).getElementType();
  kind.isSum = isa<ReduceSumOp>(v.getDefiningOp());
  kind.type = registerType(kind.element);
  kind.start = kind.isSum ? "0"
                          : literal(kind.element,
                                    -std::numeric_limits<double>::infinity());
  return kind;
}

std::string RowEmitter::joined(const Kind &kind, StringRef a,
                               StringRef b) const {
  return kind.isSum ? (a + " + " + b).str()
                    : ("pg_max(" + a + ", " + b + ")").str();
}

/// The join of x over `lanes` neighbouring threads, or over the block.
std::string RowEmitter::overTeam(const Kind &kind, StringRef x, int64_t lanes) {
  std::string what = kind.isSum ? "sum" : "max";
  if (lanes == 1)
    return x.str();
  if (lanes <= 32)
    return "pg_lanes_" + what + "<" + std::to_string(lanes) + ">(" + x.str() +
           ")";
  std::string warps = std::to_string(lanes / 32);
  int64_t bytes = kind.element.isF64() ? 8 : 4;
  std::string &scratch = homes["scratch " + kind.type];
  if (scratch.empty()) {
    scratch = "scratch_" + kind.type;
    w.line(top, kind.type + " *const " + scratch + " = (" + kind.type +
                    " *)(pg_shared() + " +
                    Twine(sharedPiece(bytes * (lanes / 32))) + ");");
  }
  return "pg_block_" + what + "<" + warps + ">(" + x.str() + ", " + scratch +
         ")";
}

/// True when each result belongs to the whole row or to lanes that are
/// neighbours in one warp.
bool RowEmitter::isLinear(const LoopGroup &group, Value reduction,
                          const RowLayout &layout) const {
  int64_t rank = group.space.getRank();
  // The reduced dimensions are the last ones.
  for (auto [k, axis] : llvm::enumerate(llvm::reverse(group.axes)))
    if (axis != rank - 1 - static_cast<int64_t>(k))
      return false;
  int64_t count = elementsPerRow(tensorType(reduction), true);
  if (count == 1)
    return true;
  int64_t length = layout.elements / count;
  int64_t lanes = length / layout.width;
  return length % layout.width == 0 && llvm::isPowerOf2_64(lanes) &&
         lanes <= std::min<int64_t>(32, team.lanes);
}

int64_t RowEmitter::sharedPiece(int64_t bytes) {
  int64_t offset = shared;
  shared += llvm::alignTo(bytes, 16);
  return offset;
}

void RowEmitter::barrierAt(SourceWriter::Block *slot) {
  if (team.lanes == 1)
    return;
  w.line(slot, team.lanes > 32 ? "pg_barrier();" : "pg_warp_barrier();");
}

/// Shared array of the team that holds a reduction's results.
std::string RowEmitter::homeOf(Value v, int64_t count, StringRef type) {
  std::string &name =
      homes[std::to_string(reinterpret_cast<uintptr_t>(v.getAsOpaquePointer()))];
  if (name.empty()) {
    usesHomes = true;
    name = w.fresh("results");
    int64_t bytes = type == "double" ? 8 : 4;
    w.line(top, type + " *const " + name + " = (" + type + " *)(pg_shared() + " +
                    Twine(sharedPiece(count * bytes * team.teams)) +
                    ") + team * " + Twine(count) + ";");
  }
  return name;
}

//===----------------------------------------------------------------------===//
// Values kept between loops
//===----------------------------------------------------------------------===//

void RowEmitter::computed(Value tensor, ArrayRef<Coord> at, const Term &value) {
  auto type = tensorType(tensor);
  if (!inLoop || value.depth <= rowDepth || at.empty() || !isRowCoord(at[0]) ||
      (current.layout.width > 1) == evaluator.lane().empty() ||
      values.contains(tensor) || !current.unrolled ||
      elementsPerRow(type, true) != current.layout.elements)
    return;
  // Weights are the same for every row and stay in the cache.
  if (isa<BlockArgument>(tensor) && !isTokenTensor(type) &&
      plan.domain.kind == RowDomain::Kind::Tokens)
    return;
  std::optional<Coord> position =
      evaluator.known(at.drop_front(), type.getShape().drop_front());
  if (!position || position->key() != current.position.key())
    return;
  Computed record;
  record.loop = current;
  record.term = value;
  record.block = w.current();
  record.lane = evaluator.lane();
  values[tensor] = record;
}

std::optional<Term> RowEmitter::find(Value tensor, ArrayRef<Coord> at) {
  auto type = tensorType(tensor);
  if (auto found = segments.find(tensor); found != segments.end()) {
    Segments &piece = found->second;
    Coord index = evaluator.linearise(at.drop_front(),
                                      type.getShape().drop_front());
    if (inLoop && piece.loop.layout == current.layout) {
      // The same thread has it when the index is that of its own piece.
      Coord own = evaluator.quotientOf(current.position, piece.length);
      if (own.key() == index.key() && current.unrolled) {
        if (current.layout.steps == 1)
          return Term{piece.value, rowDepth};
        if (piece.held.empty()) {
          piece.held = w.fresh("pieces");
          w.line(rowTop, registerType(type.getElementType()) + " " +
                             piece.held + "[" +
                             Twine(piece.loop.layout.steps) + "];");
          w.line(piece.block, piece.held + "[" + piece.loop.step +
                                  "] = " + piece.value + ";");
        }
        return Term{piece.held + "[" + current.step + "]",
                    rowDepth + 1};
      }
    }
    std::string home =
        homeOf(tensor, piece.count, registerType(type.getElementType()));
    if (piece.store) {
      w.line(piece.store, "if (" + piece.mine + ")");
      w.line(piece.store,
             "    " + home + "[" + piece.quotient + "] = " + piece.value + ";");
      piece.store = nullptr;
      barrierAt(piece.after);
    }
    return evaluator.element(home, index, type.getElementType(), rowDepth);
  }
  // Results of emitByOutput.
  if (auto home = homes.find(std::to_string(
          reinterpret_cast<uintptr_t>(tensor.getAsOpaquePointer())));
      home != homes.end()) {
    Coord index = evaluator.linearise(at.drop_front(),
                                      type.getShape().drop_front());
    return evaluator.element(home->second, index, type.getElementType(),
                             rowDepth);
  }

  auto found = values.find(tensor);
  if (found == values.end() || !inLoop)
    return std::nullopt;
  Computed &record = found->second;
  if (record.loop.id == current.id || !current.unrolled ||
      !(record.loop.layout == current.layout) || at.empty() ||
      !isRowCoord(at[0]))
    return std::nullopt;
  std::optional<Coord> position =
      evaluator.known(at.drop_front(), type.getShape().drop_front());
  if (!position || position->key() != current.position.key())
    return std::nullopt;
  const RowLayout &layout = record.loop.layout;
  std::string element = registerType(type.getElementType());
  std::string vector =
      layout.width > 1
          ? "pg_vec<" + element + ", " + std::to_string(layout.width) + ">"
          : element;
  if (record.held.empty()) {
    if (heldElements + layout.steps * layout.width > kHeldElements)
      return std::nullopt;
    heldElements += layout.steps * layout.width;
    record.held = w.fresh("held");
    w.line(rowTop, vector + " " + record.held +
                       (layout.steps > 1 ? "[" + std::to_string(layout.steps) + "]"
                                         : "") + ";");
    std::string place = record.held;
    if (layout.steps > 1)
      place += "[" + record.loop.step + "]";
    if (layout.width > 1)
      place += "[" + record.lane + "]";
    w.line(record.block, place + " = " + record.term.text + ";");
  }
  std::string place = record.held;
  if (layout.steps > 1)
    place += "[" + current.step + "]";
  int depth = layout.steps > 1 ? rowDepth + 1 : rowDepth;
  if (layout.width > 1) {
    place += "[" + evaluator.lane() + "]";
    depth = w.depth();
  }
  return Term{place, depth};
}

} // namespace pg::cuda
