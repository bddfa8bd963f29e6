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
    // What is worth it lies on whole large pages. That halves the page walks of a large arena, and lets all of L2 hold a
    // block as large as L2: small pages fall on its sets by chance, more of them on some than fit.
    bool isLarge = length >= kLargePage / 2;
    if (isLarge)
      length = (length + kLargePage - 1) / kLargePage * kLargePage;
    size_t slack = isLarge ? kLargePage : 0;
    void *mapped = ::mmap(nullptr, length + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
      length = 0;
      return false;
    }
    char *first = static_cast<char *>(mapped);
    if (isLarge) {
      size_t before = (kLargePage - reinterpret_cast<uintptr_t>(first) % kLargePage) % kLargePage;
      if (before)
        ::munmap(first, before);
      first += before;
      if (before < slack)
        ::munmap(first + length, slack - before);
      (void)::madvise(first, length, MADV_HUGEPAGE); // a refusal is harmless
    }
    base = first;
    return true;
  }
  char *data() const { return static_cast<char *>(base); }

private:
  static constexpr size_t kLargePage = size_t(2) << 20;

  void *base = nullptr;
  size_t length = 0;
};

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_ARENA_H
