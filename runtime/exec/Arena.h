//===- Arena.h - aligned memory mapped once ----------------------------------===//
#ifndef PG_RUNTIME_EXEC_ARENA_H
#define PG_RUNTIME_EXEC_ARENA_H

#include <cstddef>
#include <cstdint>
#include <sys/mman.h>
#include <utility>

namespace pg::rt {

/// One private mapping, zeroed, page-aligned (so 64-byte aligned), owned.
/// Pages cost memory only when touched.
class Arena {
public:
  Arena() = default;
  Arena(Arena &&other) noexcept : base(std::exchange(other.base, nullptr)), length(std::exchange(other.length, 0)) {}
  Arena &operator=(Arena &&other) noexcept {
    std::swap(base, other.base);
    std::swap(length, other.length);
    return *this;
  }
  ~Arena() {
    if (base)
      ::munmap(base, length);
  }

  /// False when the machine refuses. A vector load at the last element may
  /// read up to 64 bytes further, which is kept mapped.
  bool allocate(uint64_t bytes) {
    length = size_t(bytes) + 64;
    void *mapped = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
      length = 0;
      return false;
    }
    // Large pages halve the page walks of a large arena; refusal is harmless.
    (void)::madvise(mapped, length, MADV_HUGEPAGE);
    base = mapped;
    return true;
  }
  char *data() const { return static_cast<char *>(base); }

private:
  void *base = nullptr;
  size_t length = 0;
};

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_ARENA_H
