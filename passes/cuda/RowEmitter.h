//===- RowEmitter.h - the loops of a row, as CUDA text ------------------------===//
#ifndef PG_PASSES_CUDA_ROWEMITTER_H
#define PG_PASSES_CUDA_ROWEMITTER_H

#include "passes/cuda/ElementEvaluator.h"
#include "passes/cuda/RowTeam.h"

namespace pg::cuda {

/// Writes the body of a kernel whose rows are tokens, taken tokens or leading
/// indices. Values that a later loop asks for at the position where an earlier
/// loop had them stay in registers; reductions with several results per row go
/// through shared memory only when another thread asks for them.
class RowEmitter : public ElementEvaluator::Reuse {
public:
  RowEmitter(KernelText &kernel, RowPlan plan);

  mlir::LogicalResult run();
  Stage stage() const;
  const SourceWriter &text() const { return w; }

  std::optional<Term> find(mlir::Value tensor,
                           llvm::ArrayRef<Coord> at) override;
  void computed(mlir::Value tensor, llvm::ArrayRef<Coord> at,
                const Term &value) override;

private:
  /// The loop being written, or one that was.
  struct Loop {
    RowLayout layout;
    std::string step;      ///< variable; empty for a single step
    Coord position;        ///< of the element (or vector) in the row
    Term inside;           ///< false behind the row's end; "true" when never
    bool unrolled = true;
    int64_t loadsBefore = 0; ///< ElementEvaluator::vectorLoads
    int id = 0;
  };
  /// A value in a loop that has ended.
  struct Computed {
    Loop loop;
    Term term;
    SourceWriter::Block *block = nullptr; ///< where the term may be used
    std::string lane;                     ///< of the vector loop, or empty
    std::string held;                     ///< array, once somebody asked
  };
  /// Results of a reduction, one per `length` elements of its loop.
  struct Segments {
    Loop loop;
    int64_t length = 1;
    std::string value;                    ///< in its step
    SourceWriter::Block *block = nullptr; ///< step block
    SourceWriter::Block *store = nullptr; ///< where it goes to shared memory
    SourceWriter::Block *after = nullptr; ///< behind its loop
    std::string mine;                     ///< condition of the storing lane
    std::string held;
    std::string quotient;                 ///< index text in its step
    int64_t count = 1;
  };
  struct Partial {
    unsigned yield;
    int64_t elements;
    std::string name; ///< shared array of the team, or register
  };

  // Rows.
  void openRows();
  void closeRows();
  void declarePartials();
  void combinePartials();
  Coord leading(mlir::RankedTensorType type) const;
  bool isRowCoord(const Coord &c) const;

  // Loops.
  void emitGroup(const LoopGroup &group);
  Loop openLoop(const RowLayout &layout);
  void closeLoop(const Loop &loop);
  Coords coordsOf(mlir::RankedTensorType type, const Loop &loop);
  Term addressOf(unsigned yield, const Loop &loop);
  void emitLinear(const LoopGroup &group,
                  llvm::ArrayRef<mlir::Value> reductions);
  void emitByOutput(const LoopGroup &group, mlir::Value reduction);
  void storeYield(unsigned index, const Loop &loop, const Term &value);
  bool vectorStore(unsigned index, const Loop &loop) const;
  void finishStore(unsigned index, const Loop &loop);
  void accumulatePartial(unsigned index, const Loop &loop, const Term &value);
  void storeReduction(mlir::Value v, const Term &value, const Term &index,
                      const std::string &condition);
  std::string live(const Term &inside) const;
  mlir::Value storedValue(unsigned index) const;

  // Reductions.
  struct Kind {
    bool isSum;
    mlir::Type element;  ///< of the result
    std::string type;    ///< accumulator
    std::string start;
  };
  Kind kindOf(mlir::Value v) const;
  std::string joined(const Kind &kind, llvm::StringRef a,
                     llvm::StringRef b) const;
  std::string overTeam(const Kind &kind, llvm::StringRef x, int64_t lanes);
  bool isLinear(const LoopGroup &group, mlir::Value reduction,
                const RowLayout &layout) const;
  std::string homeOf(mlir::Value v, int64_t count, llvm::StringRef type);
  void barrierAt(SourceWriter::Block *slot);
  int64_t sharedPiece(int64_t bytes);

  KernelText &kernel;
  RowPlan plan;
  RowTeam team;
  SourceWriter w;
  ElementEvaluator evaluator;
  mlir::ValueRange yields;
  SourceWriter::Block *top = nullptr;     ///< declarations of the kernel
  SourceWriter::Block *rowTop = nullptr;  ///< declarations of a row
  SourceWriter::Block *rowEnd = nullptr;
  Coord row, token;
  bool chunked = false, usesHomes = false;
  int rowDepth = 0, loops = 0;
  Loop current;
  bool inLoop = false;
  int64_t shared = 0, heldElements = 0;
  std::vector<Partial> partials;
  llvm::DenseMap<mlir::Value, Computed> values;
  llvm::DenseMap<mlir::Value, Segments> segments;
  std::map<std::string, std::string> homes;
  std::map<unsigned, std::string> vectors; ///< of yields, in the open step
};

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_ROWEMITTER_H
