//===- MicroKernel.h - the innermost loop of all products, shared ----------===//
//
// Functions that every kernel of a package calls: a micro-kernel adds a panel of
// B times a few rows of A to a few rows of C. They live in objects of their
// own, so that LLVM compiles each of them once.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_MICROKERNEL_H
#define PG_PASSES_CPU_MICROKERNEL_H

#include "passes/cpu/Emitter.h"

namespace pg {

/// rows x vectors of C in registers.
struct MicroKernel {
  int64_t rows, vectors;
  bool pairs; ///< an element of A and of B is a pair of bf16 numbers
  int64_t panelVectors = 0; ///< of a row of the panel, of which the first `vectors` are multiplied; 0: as many

  /// Name of its function, for the float type of the emitter.
  std::string symbol(const Emitter &e) const;
};

/// Lines of memory that later calls read, asked for while one multiplies: every
/// `steps` steps as many as the micro-kernel has rows. They come
/// from a cache so far away that a loop alone would wait for them; asked for all
/// at once they would take the buffers that the panels need.
struct LinesAhead {
  Val at;    ///< null: none. Need not be memory of the program
  Val row;   ///< elements from one of them to the other
  Val steps; ///< at least 1
  Val next;  ///< elements from those to the next ones
};

/// What one call works on. Strides in elements.
struct MicroTile {
  Val a, row, step; ///< element (r, k) of A at a[r * row + k * step]
  Val b;            ///< the panel: row k at b[k * panelVectors * width]
  Val c, stride;    ///< element (r, j) of C at c[r * stride + j]
  Val k;
  Val adds; ///< i1: to the old C, else overwrites it
  LinesAhead ahead;
};

/// Emits the call; declares the function where the module lacks it.
void callMicroKernel(Emitter &e, const MicroKernel &kernel,
                     const MicroTile &tile);

/// Defines what `symbol` names, in the module; false when it names none.
bool defineMicroKernel(mlir::ModuleOp module, llvm::StringRef symbol,
                       const CpuTarget &target);

/// Name of a shared function that multiplies numbers of the emitter's float type, or
/// pairs of bf16 numbers; `rest` says the kind and the sizes.
std::string sharedSymbol(const Emitter &e, bool pairs, const std::string &rest);
/// The parts of such a name.
struct SharedSymbol {
  bool isDouble, pairs;
  llvm::StringRef rest;
};
/// Nothing when `symbol` is no name of a shared function.
std::optional<SharedSymbol> parseSharedSymbol(llvm::StringRef symbol);
/// Whether this is the name of a shared function.
bool isSharedFunction(llvm::StringRef symbol);
/// Whether it multiplies pairs of bf16 numbers.
bool isPairFunction(llvm::StringRef symbol);
/// Functions that `module` declares and an object of shared functions defines.
std::vector<std::string> sharedFunctionsOf(mlir::ModuleOp module);

} // namespace pg

#endif // PG_PASSES_CPU_MICROKERNEL_H
