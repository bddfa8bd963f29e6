//===- Emulator.h - CUDA kernels run on the host, under hostile schedules ----===//
//
// A block's threads are fibers of one OS thread. They run until they wait for
// each other; who goes on next is the schedule's choice. Shared memory starts
// as NaN, ends at a guard page, and asynchronous copies land either at once or
// as late as the program allows: what a kernel does not wait for, it does not
// see. One run at a time per process.
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_EMULATOR_EMULATOR_H
#define PG_TEST_EMULATOR_EMULATOR_H

#include <cstdint>
#include <string>
#include <vector>

namespace pg::emulator {

/// Who runs next. Greedy orders keep to one warp until all its lanes wait.
enum class Order { Forward, Reverse, Random, GreedyLow, GreedyHigh };

struct Schedule {
  Order order = Order::Forward;
  bool lateCopies = false; ///< cp.async lands at the wait, its target is NaN before
  uint64_t seed = 1;       ///< of Order::Random
};
/// Every order with early and with late copies.
std::vector<Schedule> everySchedule();
std::string scheduleName(const Schedule &schedule);

/// A launch: `params` are the addresses of the parameters, as for
/// cuLaunchKernel.
struct Launch {
  int64_t blocks = 1;
  int threads = 32;        ///< per block, a multiple of 32
  int64_t sharedBytes = 0; ///< dynamic shared memory
  void **params = nullptr;
};

/// Compiles `source` (which includes <pg_prelude.cuh>) to a shared object at
/// `path`; "" or the compiler's words. Per symbol it exports `pg_call_SYMBOL`,
/// called with the parameters' addresses, and `pg_sizes_SYMBOL`, their sizes.
std::string compileKernels(const std::string &source,
                           const std::vector<std::string> &symbols,
                           const std::string &path);

/// Kernel text compiled by the host compiler and loaded.
class Kernels {
public:
  /// Kernels of a shared object that compileKernels made, loaded by the caller
  /// and kept loaded.
  explicit Kernels(void *library) : handle(library), isOwner(false) {}
  /// Compiles `source` (which includes <pg_prelude.cuh>) with the __global__
  /// functions `symbols`; error() tells of a failure.
  Kernels(const std::string &source, const std::vector<std::string> &symbols);
  ~Kernels();
  Kernels(const Kernels &) = delete;
  Kernels &operator=(const Kernels &) = delete;
  const std::string &error() const { return message; }

  /// Runs all blocks of one kernel; "" or what went wrong: a deadlock, a
  /// divergence, a misaligned access, a write or read outside shared memory,
  /// naming block and thread.
  std::string run(const std::string &symbol, const Launch &launch,
                  const Schedule &schedule) const;

private:
  void *handle = nullptr;
  bool isOwner = true;
  std::string message;
};

/// The same for a kernel that is linked into the program (RaceCheck.h).
std::string runLinked(const std::string &symbol, const Launch &launch,
                      const Schedule &schedule);

/// Memory of exactly `bytes` bytes that ends at a guard page, filled with NaN
/// bits, 16-byte aligned: an access behind the end ends the run.
class GuardedMemory {
public:
  explicit GuardedMemory(int64_t bytes);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory &) = delete;
  GuardedMemory &operator=(const GuardedMemory &) = delete;
  void *data() const { return begin; }
  int64_t size() const { return length; }

private:
  void *mapping = nullptr, *begin = nullptr;
  int64_t mapped = 0, length = 0;
};

} // namespace pg::emulator

#endif // PG_TEST_EMULATOR_EMULATOR_H
