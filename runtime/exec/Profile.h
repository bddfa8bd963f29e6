//===- Profile.h - time per kernel and per category -------------------------===//
#ifndef PG_RUNTIME_EXEC_PROFILE_H
#define PG_RUNTIME_EXEC_PROFILE_H

#include "runtime/package/Package.h"

#include <string>
#include <vector>

namespace pg::rt {

/// Wall time of every launch, added up by kernel. Filled by the executor when
/// profiling is on.
class Profile {
public:
  struct Row {
    std::string name;         ///< kernel symbol or category
    std::string summary;      ///< ops fused, "" for a category
    double seconds = 0;
    int64_t launches = 0;
    double flops = 0, bytes = 0;
  };

  explicit Profile(const Package &package) : package(package), rows(package.kernels.size()) {}

  void add(uint32_t kernel, double seconds, int64_t tokens);
  void reset();

  /// Largest first; rows that never ran are left out.
  std::vector<Row> byKernel() const;
  std::vector<Row> byCategory() const;
  double totalSeconds() const;
  /// A table for people: categories, then the `kernels` slowest kernels.
  std::string report(size_t kernels = 12) const;

private:
  const Package &package;
  std::vector<Row> rows;
};

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_PROFILE_H
