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

/// Persistent workers that spin for a moment and then sleep. Work is dealt out, to each
/// thread what it did in the same time before (a processor shared with other work is
/// slow for milliseconds or for seconds); who has done his own takes from the others.
class ThreadPool {
public:
  /// `threads` >= 1 counts the calling thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int size() const { return int(workers.size()) + 1; }

  /// How a thread takes what it was dealt: in pieces, ever shorter, which leaves
  /// something for others should it fall behind, or in one run, where what is done at
  /// once costs less.
  enum class Cut { Pieces, Runs };

  /// Runs [0, count) cut at multiples of `grain`; returns when all is done.
  /// One caller at a time; must not be called from inside `work`.
  void parallelFor(int64_t count, int64_t grain, Cut cut, WorkFn work, void *context);

  template <typename F> void parallelFor(int64_t count, int64_t grain, F &&body) {
    parallelFor(count, grain, Cut::Pieces, body);
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
  /// What is dealt to a thread. What it measures only the thread writes.
  struct alignas(64) Hand {
    std::atomic<uint64_t> left{0}; ///< grains [high half, low half) not taken yet
    int64_t done = 0; ///< grains, of whomever they were
    double seconds = 0;
    double speed = 1; ///< relative to the mean of the threads
  };
  struct Piece {
    int64_t begin, end; ///< grains
  };

  /// Takes a piece of a hand, from the front or from the back; false when it is empty.
  bool take(Hand &hand, bool atBack, Piece &piece);
  void play(const Piece &piece, int thread);
  /// Its own hand, then the fullest of the others, until all are empty.
  void drain(int thread);
  void workerLoop(int thread);
  void deal(int64_t grains);
  /// What the threads' runs of the job that has ended say of their speeds.
  void learnSpeeds();

  /// Number of the job begun last; a worker that sees a new one looks for work.
  alignas(64) std::atomic<uint32_t> generation{0};
  /// Number of the job whose hands may be touched, else 0; and how many workers may
  /// still do so. Both are written before the other is read, so that the next job
  /// is not written under the eyes of a worker that is late.
  std::atomic<uint32_t> open{0};
  std::atomic<int> inside{0};
  alignas(64) std::atomic<int64_t> grainsLeft{0}; ///< not done yet
  std::atomic<uint32_t> sleepers{0};
  std::atomic<bool> stopping{false};
  // The running job, written while nobody is inside.
  WorkFn work = nullptr;
  void *context = nullptr;
  int64_t total = 0, grain = 1;
  Cut cut = Cut::Pieces;
  std::vector<Hand> hands;
  int spins;
  std::vector<std::thread> workers;
};

/// CPUs this process may run on.
int availableCpus();

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_THREADPOOL_H
