//===- KernelGroups.h - which ops share a kernel
//---------------------------===//
#ifndef PG_PASSES_FUSE_KERNELGROUPS_H
#define PG_PASSES_FUSE_KERNELGROUPS_H

#include "passes/fuse/Absorb.h"

#include "dialect/Pg.h"

#include <optional>
#include <vector>

namespace pg {

/// One kernel to be. Index ops are not members: every kernel that reads
/// through one gets its own copy.
struct KernelGroup {
  /// Structured op, or null.
  mlir::Operation *anchor = nullptr;
  /// The reduction over tokens whose partial sums this kernel adds up, or null.
  mlir::Operation *combined = nullptr;
  /// Members in program order (anchor included); empty for copies.
  llvm::SmallVector<mlir::Operation *> ops;
  /// Stores this kernel performs, in program order.
  llvm::SmallVector<StoreOp> stores;
  /// Values it leaves in memory, in program order.
  llvm::SmallVector<mlir::Value> results;
  /// Program position, for a stable order among independent kernels.
  int64_t position = 0;
};

/// All kernels of an entry, in launch order.
struct KernelPlan {
  std::vector<KernelGroup> groups;
};

/// Partitions the ops of a scheduled entry. Fails with a diagnostic when
/// in-place writes cannot be ordered.
mlir::FailureOr<KernelPlan> planKernels(mlir::func::FuncOp entry,
                                        const AbsorbedBy &absorbed);

} // namespace pg

#endif // PG_PASSES_FUSE_KERNELGROUPS_H
