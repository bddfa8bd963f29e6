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
/// A piece is this part of what is left of a hand, or a grain.
constexpr int64_t kPieceShare = 4;
/// Grains of a job, so that two numbers of them fit into one word.
constexpr int64_t kMostGrains = int64_t(1) << 31;
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

/// Spins, and after a while lets others have the processor.
template <typename F> void waitUntil(F &&isOver) {
  for (int i = 0; !isOver(); ++i) {
    relax();
    if (i >= kSpins)
      std::this_thread::yield();
  }
}

} // namespace

int availableCpus() { return std::max<int>(1, int(allowedCpus().size())); }

ThreadPool::ThreadPool(int threads) : speeds(size_t(threads)) {
  for (auto &speed : speeds)
    speed = 1;
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

void ThreadPool::deal(size_t job) {
  State &state = states[job];
  uint64_t ready = 2 * runNumber + 1, seen = state.dealt.load(std::memory_order_acquire);
  if (seen == ready)
    return;
  if (seen == ready - 1 || !state.dealt.compare_exchange_strong(seen, ready - 1, std::memory_order_relaxed)) {
    waitUntil([&] { return state.dealt.load(std::memory_order_acquire) == ready; });
    return;
  }
  int64_t count = std::max<int64_t>(0, jobs[job].count);
  state.grain = std::max<int64_t>(1, jobs[job].grain);
  while (count / state.grain >= kMostGrains)
    state.grain *= 2;
  int64_t grains = (count + state.grain - 1) / state.grain, begin = 0;
  double all = 0, before = 0;
  for (const auto &speed : speeds)
    all += speed.load(std::memory_order_relaxed);
  for (int thread = 0; thread < size(); ++thread) {
    Hand &hand = handsOf(job)[size_t(thread)];
    before += speeds[size_t(thread)].load(std::memory_order_relaxed);
    int64_t end = std::clamp<int64_t>(std::llround(double(grains) * before / all), begin, grains);
    if (thread + 1 == size())
      end = grains;
    hand.left.store(uint64_t(begin) << 32 | uint64_t(end), std::memory_order_relaxed);
    hand.done = 0;
    hand.seconds = 0;
    begin = end;
  }
  state.grainsLeft.store(grains, std::memory_order_relaxed);
  state.dealt.store(ready, std::memory_order_release);
}

bool ThreadPool::take(Hand &hand, bool atBack, Cut cut, Piece &piece) {
  uint64_t seen = hand.left.load(std::memory_order_relaxed);
  while (true) {
    auto begin = int64_t(seen >> 32), end = int64_t(uint32_t(seen)), count = end - begin;
    if (count <= 0)
      return false;
    if (cut == Cut::Pieces)
      count = std::max<int64_t>(1, count / kPieceShare);
    piece = atBack ? Piece{end - count, end} : Piece{begin, begin + count};
    (atBack ? end : begin) += atBack ? -count : count;
    if (hand.left.compare_exchange_weak(seen, uint64_t(begin) << 32 | uint64_t(end), std::memory_order_relaxed))
      return true;
  }
}

void ThreadPool::play(size_t job, const Piece &piece, int thread) {
  const Job &one = jobs[job];
  State &state = states[job];
  auto start = std::chrono::steady_clock::now();
  one.work(one.context, piece.begin * state.grain, std::min(one.count, piece.end * state.grain), thread);
  std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  int64_t grains = piece.end - piece.begin;
  Hand &hand = handsOf(job)[size_t(thread)];
  hand.done += grains;
  hand.seconds += taken.count();
  bool isLast = state.grainsLeft.fetch_sub(grains, std::memory_order_acq_rel) == grains;
  if (isLast && one.cut == Cut::Runs)
    learnSpeeds(handsOf(job));
}

void ThreadPool::drain(size_t job, int thread) {
  std::span<Hand> all = handsOf(job);
  Cut cut = jobs[job].cut;
  Piece piece;
  while (take(all[size_t(thread)], false, cut, piece))
    play(job, piece, thread);
  while (true) {
    Hand *fullest = nullptr;
    int64_t most = 0;
    for (Hand &hand : all) {
      uint64_t left = hand.left.load(std::memory_order_relaxed);
      int64_t count = int64_t(uint32_t(left)) - int64_t(left >> 32);
      if (count > most) {
        most = count;
        fullest = &hand;
      }
    }
    if (!fullest)
      return;
    if (take(*fullest, true, cut, piece))
      play(job, piece, thread);
  }
}

void ThreadPool::work(int thread) {
  for (size_t job = 0; job < jobs.size(); ++job) {
    for (uint32_t before : jobs[job].after)
      waitUntil([&] { return states[before].grainsLeft.load(std::memory_order_acquire) == 0; });
    deal(job);
    drain(job, thread);
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
    inside.fetch_add(1);
    if (open.load() == current)
      work(thread);
    inside.fetch_sub(1);
  }
}

void ThreadPool::learnSpeeds(std::span<const Hand> all) {
  double sum = 0;
  for (const Hand &hand : all) {
    // Nothing done, or in too short a time, says nothing.
    if (hand.done == 0 || hand.seconds < kLearnSeconds)
      return;
    sum += double(hand.done) / hand.seconds;
  }
  for (size_t i = 0; i < all.size(); ++i) {
    double speed = double(all[i].done) / all[i].seconds * size() / sum, old = speeds[i].load(std::memory_order_relaxed);
    speeds[i].store(std::clamp(old + kLearnRate * (speed - old), 0.2, 5.0), std::memory_order_relaxed);
  }
}

void ThreadPool::run(std::span<const Job> list) {
  if (workers.empty()) {
    for (const Job &job : list)
      if (job.count > 0)
        job.work(job.context, 0, job.count, 0);
    return;
  }
  if (list.size() > capacity) {
    capacity = list.size();
    states.reset(new State[capacity]);
    hands.reset(new Hand[capacity * size_t(size())]);
  }
  jobs = list;
  ++runNumber;
  uint32_t run = generation.load(std::memory_order_relaxed) + 1;
  run += run == 0;
  open.store(run);
  generation.store(run);
  if (sleepers.load() > 0)
    generation.notify_all();
  work(0);
  for (size_t job = 0; job < jobs.size(); ++job)
    waitUntil([&] { return states[job].grainsLeft.load(std::memory_order_acquire) == 0; });
  open.store(0);
  waitUntil([&] { return inside.load() == 0; });
}

void ThreadPool::parallelFor(int64_t count, int64_t grain, Cut cut, WorkFn function, void *context) {
  if (count <= 0)
    return;
  Job job{count, std::max<int64_t>(grain, 1), cut, function, context, {}};
  if (count <= job.grain)
    function(context, 0, count, 0);
  else
    run({&job, 1});
}

} // namespace pg::rt
