//===- ThreadPool.h - one persistent pool per process -----------------------===//
#ifndef PG_RUNTIME_EXEC_THREADPOOL_H
#define PG_RUNTIME_EXEC_THREADPOOL_H

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

namespace pg::rt {

/// Work [begin, end) on behalf of thread `thread` (0 = the caller).
using WorkFn = void (*)(void *context, int64_t begin, int64_t end, int thread);

/// Persistent workers that spin for a moment and then sleep. Work is dealt out, to each
/// thread what it did in the same time before (a processor shared with other work is
/// slow for milliseconds or for seconds); who has done his own takes from the others,
/// and goes on with the next job that need not wait.
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

  /// [0, count) cut at multiples of `grain`.
  struct Job {
    int64_t count, grain;
    Cut cut;
    WorkFn work;
    void *context;
    std::span<const uint32_t> after; ///< earlier jobs of the list that must have ended
  };

  /// Runs all jobs; returns when all is done. Threads go through them in order and begin
  /// one as soon as those it comes after have ended, whatever others still have to do.
  /// One caller at a time; must not be called from inside `work`.
  void run(std::span<const Job> list);

  /// Runs one job.
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
  /// What is dealt to a thread of one job, and, written by that thread alone, what it
  /// did of the job.
  struct alignas(64) Hand {
    std::atomic<uint64_t> left{0}; ///< grains [high half, low half) not taken yet
    int64_t done = 0; ///< grains, of whomever they were
    double seconds = 0;
  };
  struct alignas(64) State {
    std::atomic<uint64_t> dealt{0}; ///< twice the number of the run in which it was dealt last, and one more when done
    std::atomic<int64_t> grainsLeft{0}; ///< not done yet
    int64_t grain = 1;
  };
  struct Piece {
    int64_t begin, end; ///< grains
  };

  std::span<Hand> handsOf(size_t job) { return {hands.get() + job * size_t(size()), size_t(size())}; }
  /// The first thread that comes to a job deals it out.
  void deal(size_t job);
  /// Takes a piece of a hand, from the front or from the back; false when it is empty.
  static bool take(Hand &hand, bool atBack, Cut cut, Piece &piece);
  void play(size_t job, const Piece &piece, int thread);
  /// Its own hand, then the fullest of the others, until all are empty.
  void drain(size_t job, int thread);
  /// All jobs in order.
  void work(int thread);
  void workerLoop(int thread);
  /// What the threads' runs of a job that has ended say of their speeds.
  void learnSpeeds(std::span<const Hand> hands);

  /// Number of the run begun last; a worker that sees a new one looks for work.
  alignas(64) std::atomic<uint32_t> generation{0};
  /// Number of the run whose jobs may be touched, else 0; and how many workers may
  /// still do so. Both are written before the other is read, so that the next run
  /// is not written under the eyes of a worker that is late.
  std::atomic<uint32_t> open{0};
  std::atomic<int> inside{0};
  std::atomic<uint32_t> sleepers{0};
  std::atomic<bool> stopping{false};
  // The run, written while nobody is inside.
  std::span<const Job> jobs;
  uint64_t runNumber = 0;
  size_t capacity = 0; ///< jobs that there is room for
  std::unique_ptr<State[]> states;
  std::unique_ptr<Hand[]> hands;
  std::vector<std::atomic<double>> speeds; ///< of the threads, relative to their mean
  int spins;
  std::vector<std::thread> workers;
};

/// CPUs this process may run on.
int availableCpus();

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_THREADPOOL_H
