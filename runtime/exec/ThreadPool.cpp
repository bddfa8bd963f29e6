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

} // namespace

int availableCpus() { return std::max<int>(1, int(allowedCpus().size())); }

ThreadPool::ThreadPool(int threads) : hands(size_t(threads)) {
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

bool ThreadPool::take(Hand &hand, bool atBack, Piece &piece) {
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

void ThreadPool::play(const Piece &piece, int thread) {
  auto start = std::chrono::steady_clock::now();
  work(context, piece.begin * grain, std::min(total, piece.end * grain), thread);
  std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  hands[size_t(thread)].done += piece.end - piece.begin;
  hands[size_t(thread)].seconds += taken.count();
  grainsLeft.fetch_sub(piece.end - piece.begin, std::memory_order_release);
}

void ThreadPool::drain(int thread) {
  Piece piece;
  while (take(hands[size_t(thread)], false, piece))
    play(piece, thread);
  while (true) {
    Hand *fullest = nullptr;
    int64_t most = 0;
    for (Hand &hand : hands) {
      uint64_t left = hand.left.load(std::memory_order_relaxed);
      int64_t count = int64_t(uint32_t(left)) - int64_t(left >> 32);
      if (count > most) {
        most = count;
        fullest = &hand;
      }
    }
    if (!fullest)
      return;
    if (take(*fullest, true, piece))
      play(piece, thread);
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
      drain(thread);
    inside.fetch_sub(1);
  }
}

void ThreadPool::deal(int64_t grains) {
  double all = 0, before = 0;
  for (const Hand &hand : hands)
    all += hand.speed;
  int64_t begin = 0;
  for (Hand &hand : hands) {
    before += hand.speed;
    bool isLast = &hand == &hands.back();
    int64_t end = isLast ? grains : std::min<int64_t>(grains, std::llround(double(grains) * before / all));
    hand.left.store(uint64_t(begin) << 32 | uint64_t(end), std::memory_order_relaxed);
    hand.done = 0;
    hand.seconds = 0;
    begin = end;
  }
}

void ThreadPool::learnSpeeds() {
  double sum = 0;
  for (const Hand &hand : hands) {
    // Nothing done, or in too short a time, says nothing.
    if (hand.done == 0 || hand.seconds < kLearnSeconds)
      return;
    sum += double(hand.done) / hand.seconds;
  }
  for (Hand &hand : hands) {
    double speed = double(hand.done) / hand.seconds * size() / sum;
    hand.speed = std::clamp(hand.speed + kLearnRate * (speed - hand.speed), 0.2, 5.0);
  }
}

void ThreadPool::parallelFor(int64_t count, int64_t step, Cut how, WorkFn run, void *argument) {
  if (count <= 0)
    return;
  step = std::max<int64_t>(step, 1);
  while (count / step >= kMostGrains)
    step *= 2;
  if (workers.empty() || count <= step) {
    run(argument, 0, count, 0);
    return;
  }

  work = run;
  context = argument;
  total = count;
  grain = step;
  cut = how;
  int64_t grains = (count + step - 1) / step;
  deal(grains);
  grainsLeft.store(grains, std::memory_order_relaxed);
  uint32_t job = generation.load(std::memory_order_relaxed) + 1;
  job += job == 0;
  open.store(job);
  generation.store(job);
  if (sleepers.load() > 0)
    generation.notify_all();

  drain(0);
  auto wait = [](auto isOver) {
    for (int i = 0; !isOver(); ++i) {
      relax();
      if (i >= kSpins)
        std::this_thread::yield();
    }
  };
  wait([&] { return grainsLeft.load(std::memory_order_acquire) == 0; });
  open.store(0);
  wait([&] { return inside.load() == 0; });
  if (cut == Cut::Runs)
    learnSpeeds();
}

} // namespace pg::rt
