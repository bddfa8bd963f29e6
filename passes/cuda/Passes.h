//===- Passes.h - passes of the CUDA target -----------------------------------===//
#ifndef PG_PASSES_CUDA_PASSES_H
#define PG_PASSES_CUDA_PASSES_H

namespace pg {

/// Registers `pg-emit-cuda`.
void registerCudaPasses();

} // namespace pg

#endif // PG_PASSES_CUDA_PASSES_H
