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
/// from one atomic counter, so no thread waits for a worker that holds no work; work
/// that wants runs is dealt out first, to each thread what it did in the same time
/// before.
class ThreadPool {
public:
  /// `threads` >= 1 counts the calling thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int size() const { return int(workers.size()) + 1; }

  /// How work is cut: into many equal pieces, or into one long run for each thread,
  /// in proportion to the threads' speeds (a processor shared with other work is slow
  /// for seconds), and where there is much of it some short pieces for the end.
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
  /// What is dealt to a thread. Only the thread writes what it measures.
  struct alignas(64) Hand {
    std::atomic<uint32_t> claimed{0}; ///< the last job whose run was taken or empty
    std::atomic<int64_t> begin{0}, end{0};
    int64_t itemsDone = 0;
    double seconds = 0;
    double speed = 1; ///< relative to the mean of the threads
  };

  /// Takes the run dealt to `owner` for a job, if it is still there, and does it.
  void play(uint32_t job, int owner, int thread);
  /// A run, then chunks of a job until none is left or it is over.
  void drain(uint32_t job, int thread);
  void workerLoop(int thread);
  /// Writes the pieces of a job; returns how many.
  int64_t cutWork(uint32_t job, int64_t total, int64_t grain, Cut cut);
  /// Deals the first `grains` grains; returns how many runs are not empty.
  int64_t deal(uint32_t job, int64_t grains, int64_t total, int64_t grain);
  /// What the threads' runs of the job that has ended say of their speeds.
  void learnSpeeds();

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
  std::vector<Hand> hands;
  int spins;
  std::vector<std::thread> workers;
};

/// CPUs this process may run on.
int availableCpus();

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_THREADPOOL_H
