//===- ThreadPool.cpp - spin briefly, then sleep ----------------------------===//
#include "runtime/exec/ThreadPool.h"

#include <algorithm>
#include <pthread.h>
#include <sched.h>

namespace pg::rt {
namespace {

/// About 20 to 50 microseconds: longer than the gap between two launches,
/// shorter than a scheduling slice.
constexpr int kSpins = 2000;
/// Equal chunks per thread, up to twice as many: enough that an uneven one does not leave others idle.
constexpr int64_t kChunksPerThread = 8;

/// Items per thread below which runs do not shrink.
constexpr int64_t kFewItems = 16;

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

ThreadPool::ThreadPool(int threads) : chunkBegin(size_t(2 * kChunksPerThread * threads + 1)) {
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

void ThreadPool::drain(uint32_t job, int thread) {
  uint64_t seen = next.load(std::memory_order_acquire);
  while (uint32_t(seen >> 32) == job) {
    auto index = int64_t(uint32_t(seen));
    // These may belong to a later job; then that job's closing of `next` has
    // happened before and the exchange below fails.
    WorkFn run = work.load(std::memory_order_acquire);
    void *argument = context.load(std::memory_order_acquire);
    if (index >= chunks.load(std::memory_order_acquire))
      return;
    int64_t begin = chunkBegin[size_t(index)].load(std::memory_order_acquire);
    int64_t end = chunkBegin[size_t(index) + 1].load(std::memory_order_acquire);
    if (!next.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    run(argument, begin, end, thread);
    chunksDone.fetch_add(1, std::memory_order_release);
    seen = next.load(std::memory_order_acquire);
  }
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

int64_t ThreadPool::cutWork(int64_t total, int64_t grain, Cut cut) {
  int64_t grains = (total + grain - 1) / grain, done = 0, index = 0;
  int64_t even = std::max<int64_t>(1, grains / (kChunksPerThread * size()));
  auto most = int64_t(chunkBegin.size()) - 1;
  // Few items are dealt out at once: one left over would cost too much alone.
  if (cut == Cut::Runs && grains < kFewItems * size())
    cut = Cut::Even, even = (grains + size() - 1) / size();
  for (; done < grains; ++index) {
    chunkBegin[size_t(index)].store(done * grain, std::memory_order_release);
    // The last piece that fits the table takes what is left.
    int64_t share = cut == Cut::Even ? even : (grains - done + size() - 1) / size();
    done += index + 1 == most ? grains - done : std::min(share, grains - done);
  }
  chunkBegin[size_t(index)].store(total, std::memory_order_release);
  chunks.store(index, std::memory_order_release);
  return index;
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
  int64_t numChunks = cutWork(total, grain, cut);
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
}

} // namespace pg::rt
