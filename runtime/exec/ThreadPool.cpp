//===- ThreadPool.cpp - spin briefly, then sleep ----------------------------===//
#include "runtime/exec/ThreadPool.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <pthread.h>
#include <sched.h>

namespace pg::rt {
namespace {

/// About 20 to 50 microseconds: longer than the gap between two launches,
/// shorter than a scheduling slice.
constexpr int kSpins = 2000;
/// Equal chunks per thread, up to twice as many: enough that an uneven one does not leave others idle.
constexpr int64_t kChunksPerThread = 8;

/// Grains per thread below which all is dealt out at once: one left over would cost
/// too much alone. Of more this share is left for the end.
constexpr int64_t kFewItems = 64, kTailShare = 8;
/// What one job changes of the speeds, and how long a run must take to count.
constexpr double kLearnRate = 0.25, kLearnSeconds = 5e-5;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

std::vector<int> allowedCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (::sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set))
        cpus.push_back(cpu);
  return cpus;
}

} // namespace

int availableCpus() { return std::max<int>(1, int(allowedCpus().size())); }

ThreadPool::ThreadPool(int threads) : chunkBegin(size_t(2 * kChunksPerThread * threads + 1)), hands(size_t(threads)) {
  std::vector<int> cpus = allowedCpus();
  // Spinning with more threads than CPUs only takes time from the others.
  spins = threads <= int(cpus.size()) ? kSpins : 0;
  for (int i = 1; i < threads; ++i) {
    workers.emplace_back([this, i] { workerLoop(i); });
    // Only a pool that fills the machine is pinned: two small runs beside each
    // other must be free to choose different CPUs.
    if (threads == int(cpus.size())) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpus[size_t(i)], &one);
      (void)::pthread_setaffinity_np(workers.back().native_handle(), sizeof one, &one);
    }
  }
}

ThreadPool::~ThreadPool() {
  stopping.store(true);
  generation.fetch_add(1);
  generation.notify_all();
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::play(uint32_t job, int owner, int thread) {
  Hand &hand = hands[size_t(owner)];
  // Every run of the job before was taken or empty. A worker that is late for its
  // own job finds a later number here.
  uint32_t before = job - 1;
  if (!hand.claimed.compare_exchange_strong(before, job, std::memory_order_acq_rel))
    return;
  int64_t begin = hand.begin.load(std::memory_order_relaxed), end = hand.end.load(std::memory_order_relaxed);
  auto start = std::chrono::steady_clock::now();
  work.load(std::memory_order_relaxed)(context.load(std::memory_order_relaxed), begin, end, thread);
  std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  hands[size_t(thread)].itemsDone += end - begin;
  hands[size_t(thread)].seconds += taken.count();
  chunksDone.fetch_add(1, std::memory_order_release);
}

void ThreadPool::drain(uint32_t job, int thread) {
  play(job, thread, thread);
  uint64_t seen = next.load(std::memory_order_acquire);
  while (uint32_t(seen >> 32) == job) {
    auto index = int64_t(uint32_t(seen));
    // These may belong to a later job; then that job's closing of `next` has
    // happened before and the exchange below fails.
    WorkFn run = work.load(std::memory_order_acquire);
    void *argument = context.load(std::memory_order_acquire);
    if (index >= chunks.load(std::memory_order_acquire))
      break;
    int64_t begin = chunkBegin[size_t(index)].load(std::memory_order_acquire);
    int64_t end = chunkBegin[size_t(index) + 1].load(std::memory_order_acquire);
    if (!next.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    run(argument, begin, end, thread);
    chunksDone.fetch_add(1, std::memory_order_release);
    seen = next.load(std::memory_order_acquire);
  }
  // For those who have not woken up.
  for (int other = 0; other < size(); ++other)
    play(job, other, thread);
}

void ThreadPool::workerLoop(int thread) {
  uint32_t last = 0;
  while (true) {
    uint32_t current = generation.load(std::memory_order_acquire);
    for (int i = 0; current == last && i < spins; ++i) {
      relax();
      current = generation.load(std::memory_order_acquire);
    }
    if (current == last) {
      sleepers.fetch_add(1);
      generation.wait(last);
      sleepers.fetch_sub(1);
      continue;
    }
    last = current;
    if (stopping.load())
      return;
    drain(current, thread);
  }
}

int64_t ThreadPool::deal(uint32_t job, int64_t grains, int64_t total, int64_t grain) {
  double all = 0, before = 0;
  for (const Hand &hand : hands)
    all += hand.speed;
  int64_t runs = 0, done = 0;
  for (Hand &hand : hands) {
    before += hand.speed;
    bool isLast = &hand == &hands.back();
    int64_t end = isLast ? grains : std::min<int64_t>(grains, std::llround(double(grains) * before / all));
    hand.begin.store(done * grain, std::memory_order_relaxed);
    hand.end.store(std::min(total, end * grain), std::memory_order_relaxed);
    hand.itemsDone = 0;
    hand.seconds = 0;
    runs += end > done;
    if (end == done)
      hand.claimed.store(job, std::memory_order_relaxed);
    done = end;
  }
  return runs;
}

int64_t ThreadPool::cutWork(uint32_t job, int64_t total, int64_t grain, Cut cut) {
  int64_t grains = (total + grain - 1) / grain, done = 0, index = 0;
  if (cut == Cut::Runs)
    done = grains < kFewItems * size() ? grains : grains - grains / kTailShare;
  int64_t runs = deal(job, done, total, grain);
  int64_t even = std::max<int64_t>(1, (grains - done) / (kChunksPerThread * size()));
  auto most = int64_t(chunkBegin.size()) - 1;
  for (; done < grains; ++index) {
    chunkBegin[size_t(index)].store(done * grain, std::memory_order_release);
    // The last piece that fits the table takes what is left.
    done += index + 1 == most ? grains - done : std::min(even, grains - done);
  }
  chunkBegin[size_t(index)].store(total, std::memory_order_release);
  chunks.store(index, std::memory_order_release);
  return runs + index;
}

void ThreadPool::learnSpeeds() {
  double sum = 0;
  for (const Hand &hand : hands) {
    // Runs of others, or too short a time, say nothing.
    if (hand.itemsDone == 0 || hand.itemsDone != hand.end - hand.begin || hand.seconds < kLearnSeconds)
      return;
    sum += double(hand.itemsDone) / hand.seconds;
  }
  for (Hand &hand : hands) {
    double speed = double(hand.itemsDone) / hand.seconds * size() / sum;
    hand.speed = std::clamp(hand.speed + kLearnRate * (speed - hand.speed), 0.2, 5.0);
  }
}

void ThreadPool::parallelFor(int64_t total, int64_t grain, Cut cut, WorkFn run, void *argument) {
  if (total <= 0)
    return;
  grain = std::max<int64_t>(grain, 1);
  if (workers.empty() || total <= grain) {
    run(argument, 0, total, 0);
    return;
  }

  uint32_t job = generation.load(std::memory_order_relaxed) + 1;
  // Closing the counter first keeps late workers out while the job is written.
  next.store(uint64_t(job) << 32 | 0xffffffffu, std::memory_order_seq_cst);
  work.store(run, std::memory_order_release);
  context.store(argument, std::memory_order_release);
  int64_t numChunks = cutWork(job, total, grain, cut);
  chunksDone.store(0, std::memory_order_relaxed);
  next.store(uint64_t(job) << 32, std::memory_order_release);
  generation.store(job, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) > 0)
    generation.notify_all();

  drain(job, 0);
  for (int i = 0; chunksDone.load(std::memory_order_acquire) < numChunks; ++i) {
    relax();
    if (i >= kSpins)
      std::this_thread::yield();
  }
  if (cut == Cut::Runs)
    learnSpeeds();
}

} // namespace pg::rt
