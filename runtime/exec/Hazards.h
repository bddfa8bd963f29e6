//===- Hazards.h - which launches must wait for which -----------------------===//
#ifndef PG_RUNTIME_EXEC_HAZARDS_H
#define PG_RUNTIME_EXEC_HAZARDS_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pg::rt {

/// Memory that a launch reads, or writes (and may read).
struct Access {
  uintptr_t begin; ///< of a byte, in any numbering of all memory
  uint64_t bytes;
  bool writes;
};

/// For every launch the earlier ones that touched the same bytes last, one of the two
/// writing, ascending. Launches that wait for these leave the numbers of the list's
/// order, bit by bit. `accesses` has one list per launch.
std::vector<std::vector<size_t>> launchesBefore(const std::vector<std::vector<Access>> &accesses);

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_HAZARDS_H
