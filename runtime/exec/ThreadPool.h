//===- ThreadPool.h - one persistent pool per process -----------------------===//
#ifndef PG_RUNTIME_EXEC_THREADPOOL_H
#define PG_RUNTIME_EXEC_THREADPOOL_H

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace pg::rt {

/// Work [begin, end) on behalf of thread `thread` (0 = the caller).
using WorkFn = void (*)(void *context, int64_t begin, int64_t end, int thread);

/// Persistent workers that spin for a moment and then sleep. Chunks are drawn
/// from one atomic counter, so no thread waits for a worker that holds no work.
class ThreadPool {
public:
  /// `threads` >= 1 counts the calling thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int size() const { return int(workers.size()) + 1; }

  /// How work is cut: into many equal pieces, or into pieces that begin with a
  /// thread's whole share and shrink with what is left.
  enum class Cut { Even, Runs };

  /// Runs [0, count) cut at multiples of `grain`; returns when all is done.
  /// One caller at a time; must not be called from inside `work`.
  void parallelFor(int64_t count, int64_t grain, Cut cut, WorkFn work, void *context);

  template <typename F> void parallelFor(int64_t count, int64_t grain, F &&body) {
    parallelFor(count, grain, Cut::Even, body);
  }
  template <typename F> void parallelFor(int64_t count, int64_t grain, Cut cut, F &&body) {
    parallelFor(
        count, grain, cut,
        [](void *context, int64_t begin, int64_t end, int thread) {
          (*static_cast<std::remove_reference_t<F> *>(context))(begin, end, thread);
        },
        &body);
  }

private:
  /// Draws chunks of job `generation` until none is left or it is over.
  void drain(uint32_t generation, int thread);
  void workerLoop(int thread);
  /// Writes the pieces of a job; returns how many.
  int64_t cutWork(int64_t total, int64_t grain, Cut cut);

  // The work counter: job number in the high half, next chunk in the low half.
  // A worker that wakes late fails its exchange and looks again.
  alignas(64) std::atomic<uint64_t> next{0};
  alignas(64) std::atomic<int64_t> chunksDone{0};
  alignas(64) std::atomic<uint32_t> generation{0};
  std::atomic<uint32_t> sleepers{0};
  std::atomic<bool> stopping{false};
  // The running job; written before `next` is published with its number.
  std::atomic<WorkFn> work{nullptr};
  std::atomic<void *> context{nullptr};
  std::atomic<int64_t> chunks{0};
  std::vector<std::atomic<int64_t>> chunkBegin; ///< and the end of the last one
  int spins;
  std::vector<std::thread> workers;
};

/// CPUs this process may run on.
int availableCpus();

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_THREADPOOL_H
