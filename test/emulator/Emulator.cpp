//===- Emulator.cpp - fibers, waiting, schedules ------------------------------===//
#include "Emulator.h"

#include "EmulatorAbi.h"

#include <algorithm>
#include <bit>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__)
#error "the fiber switch is written for x86-64"
#endif

// Saves the callee-saved registers on the running stack, its pointer in *save,
// and continues on the stack `to`.
asm(R"(
.text
.type pg_fiber_switch, @function
pg_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size pg_fiber_switch, .-pg_fiber_switch
)");
extern "C" void pg_fiber_switch(void **save, void *to);

// Present when the program is linked with ThreadSanitizer (RaceCheck.h).
extern "C" {
__attribute__((weak)) void *__tsan_get_current_fiber();
__attribute__((weak)) void *__tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_switch_to_fiber(void *fiber, unsigned flags);
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);
}

namespace pg::emulator {
namespace {

constexpr int64_t kStackBytes = 128 * 1024; // frames that nobody has optimised
constexpr int kMaxThreads = 1024;
constexpr int kBarriers = 16;

enum class State { Ready, AtBarrier, InWarp, Done };

struct AsyncCopy {
  void *to;
  const void *from;
  int bytes, valid;
};

struct Fiber {
  void *stack = nullptr; ///< saved stack pointer
  void *checked = nullptr; ///< ThreadSanitizer's view of it
  int turns = 0;           ///< barriers or collectives passed
  State state = State::Done;
  int barrier = 0;           ///< AtBarrier
  int barrierCount = 0;      ///< threads it asked for, 0 = all
  const char *tag = nullptr; ///< InWarp
  void *operands = nullptr;
  /// Groups of copies not landed yet, oldest first; the last is still open.
  std::vector<std::vector<AsyncCopy>> groups;
};

/// Threads that can go on, a bit each: choosing one is most of what a scheduler does.
class ReadySet {
public:
  void set(int k, bool isReady) {
    uint64_t bit = uint64_t(1) << (k % 64);
    words[k / 64] = isReady ? words[k / 64] | bit : words[k / 64] & ~bit;
  }
  /// The first of k, k + 1, ... n - 1, 0, ... k - 1; -1 when none is ready.
  int upFrom(int k, int n) const {
    int found = lowest(k, n);
    return found >= 0 ? found : lowest(0, k);
  }
  /// The first of k, k - 1, ... 0, n - 1, ... k + 1.
  int downFrom(int k, int n) const {
    int found = highest(0, k + 1);
    return found >= 0 ? found : highest(k + 1, n);
  }
  int lowest(int begin, int end) const {
    for (int at = begin; at < end; at = (at / 64 + 1) * 64)
      if (uint64_t left = words[at / 64] >> (at % 64)) {
        int found = at + std::countr_zero(left);
        return found < end ? found : -1;
      }
    return -1;
  }
  int highest(int begin, int end) const {
    for (int at = end - 1; at >= begin; at = at / 64 * 64 - 1)
      if (uint64_t left = words[at / 64] << (63 - at % 64)) {
        int found = at - std::countl_zero(left);
        return found >= begin ? found : -1;
      }
    return -1;
  }

private:
  uint64_t words[kMaxThreads / 64] = {};
};

/// The run in progress.
struct Run {
  void (*kernel)(void **params) = nullptr;
  Launch launch;
  Schedule schedule;
  std::vector<Fiber> fibers;
  ReadySet ready; ///< the fibers whose state is Ready
  char *stacks = nullptr;
  void *scheduler = nullptr; ///< saved stack pointer of run()
  int current = -1;
  int live = 0;
  uint64_t random = 1;
  std::string error;
  Abi abi;
  sigjmp_buf escape;
};
Run *active = nullptr;

void setState(Fiber &fiber, State state) {
  fiber.state = state;
  active->ready.set(int(&fiber - active->fibers.data()), state == State::Ready);
}

std::string where() {
  return "block " + std::to_string(active->abi.block) + " thread " +
         std::to_string(active->current);
}

//===--- ThreadSanitizer -----------------------------------------------------===//

/// Switching orders nothing (flag 1): only what kernels wait for does.
void checkAs(void *fiber) {
  if (__tsan_switch_to_fiber && fiber)
    __tsan_switch_to_fiber(fiber, 1);
}

/// One meeting place per barrier and warp, and another for every second
/// meeting: who is late must not see what the early do next.
char meetings[kBarriers + kMaxThreads / 32][2];
void meet(int place, int turn) {
  if (__tsan_release)
    __tsan_release(&meetings[place][turn & 1]);
}
void met(int place, int turn) {
  if (__tsan_acquire)
    __tsan_acquire(&meetings[place][turn & 1]);
}
char started, ended;
void *schedulerChecked = nullptr;

void toScheduler() {
  checkAs(schedulerChecked);
  pg_fiber_switch(&active->fibers[active->current].stack, active->scheduler);
}

[[noreturn]] void fail(const std::string &message) {
  if (active->error.empty())
    active->error = message;
  // The fibers are abandoned where they stand; they own nothing.
  void *nowhere;
  pg_fiber_switch(&nowhere, active->scheduler);
  std::abort();
}

void fault(const char *message) { fail(where() + ": " + message); }

//===--- waiting -------------------------------------------------------------===//

void barrier(int id, int count) {
  Fiber &self = active->fibers[active->current];
  if (id < 0 || id >= kBarriers)
    fault("a barrier that does not exist");
  setState(self, State::AtBarrier);
  self.barrier = id;
  self.barrierCount = count;
  int turn = self.turns++;
  meet(id, turn);
  toScheduler();
  met(id, turn);
}

/// Releases barriers whose threads are all there; false when none was.
bool releaseBarriers() {
  bool released = false;
  for (int id = 0; id < kBarriers; ++id) {
    int waiting = 0, wanted = -1;
    for (const Fiber &fiber : active->fibers)
      if (fiber.state == State::AtBarrier && fiber.barrier == id) {
        ++waiting;
        int count = fiber.barrierCount ? fiber.barrierCount : active->live;
        if (wanted >= 0 && wanted != count)
          return false; // reported as a deadlock
        wanted = count;
      }
    if (waiting == 0 || waiting != wanted)
      continue;
    for (Fiber &fiber : active->fibers)
      if (fiber.state == State::AtBarrier && fiber.barrier == id)
        setState(fiber, State::Ready);
    released = true;
  }
  return released;
}

void warp(const char *tag, void *mine, void (*compute)(void *const *)) {
  Fiber &self = active->fibers[active->current];
  int first = active->current / 32 * 32;
  setState(self, State::InWarp);
  self.tag = tag;
  self.operands = mine;
  int place = kBarriers + first / 32, turn = self.turns++;
  meet(place, turn);
  void *lanes[32];
  for (int k = 0; k < 32; ++k) {
    const Fiber &other = active->fibers[first + k];
    if (other.state != State::InWarp) {
      toScheduler();
      met(place, turn);
      return;
    }
    if (std::strcmp(other.tag, tag) != 0)
      fail(where() + ": diverged, it is in '" + tag + "' while thread " +
           std::to_string(first + k) + " is in '" + other.tag + "'");
    lanes[k] = other.operands;
  }
  met(place, turn); // the last one reads what all have handed in
  compute(lanes);
  meet(place, turn);
  for (int k = 0; k < 32; ++k)
    setState(active->fibers[first + k], State::Ready);
  toScheduler();
  met(place, turn);
}

//===--- asynchronous copies -------------------------------------------------===//

void land(const AsyncCopy &copy) {
  std::memcpy(copy.to, copy.from, copy.valid);
  std::memset(static_cast<char *>(copy.to) + copy.valid, 0,
              copy.bytes - copy.valid);
}

void asyncCopy(void *to, const void *from, int bytes, int valid) {
  if ((bytes != 4 && bytes != 8 && bytes != 16) || valid < 0 || valid > bytes)
    fault("an asynchronous copy of a size that does not exist");
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 ||
      (valid > 0 && reinterpret_cast<uintptr_t>(from) % bytes != 0))
    fault("a misaligned asynchronous copy");
  AsyncCopy copy{to, from, bytes, valid};
  if (!active->schedule.lateCopies) {
    land(copy);
    return;
  }
  std::memset(to, 0xFF, bytes);
  Fiber &self = active->fibers[active->current];
  if (self.groups.empty())
    self.groups.emplace_back();
  self.groups.back().push_back(copy);
}

void asyncCommit() {
  Fiber &self = active->fibers[active->current];
  if (self.groups.empty())
    self.groups.emplace_back();
  self.groups.emplace_back();
}

void asyncWait(int pending) {
  Fiber &self = active->fibers[active->current];
  // The open group is not waited for.
  while (static_cast<int>(self.groups.size()) > pending + 1) {
    for (const AsyncCopy &copy : self.groups.front())
      land(copy);
    self.groups.erase(self.groups.begin());
  }
}

//===--- the scheduler --------------------------------------------------------===//

uint64_t nextRandom() {
  uint64_t &x = active->random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

/// The thread that goes on next; -1 when none can.
int pick() {
  const ReadySet &ready = active->ready;
  int n = static_cast<int>(active->fibers.size()), last = active->current;
  switch (active->schedule.order) {
  case Order::Forward:
    return ready.upFrom((last + 1) % n, n);
  case Order::Reverse:
    return ready.downFrom((last - 1 + 2 * n) % n, n);
  case Order::Random:
    return ready.upFrom(static_cast<int>(nextRandom() % n), n);
  case Order::GreedyLow:
  case Order::GreedyHigh: {
    bool low = active->schedule.order == Order::GreedyLow;
    int warp = last / 32 * 32, found = -1;
    if (last >= 0)
      found = low ? ready.lowest(warp, warp + 32) : ready.highest(warp, warp + 32);
    if (found >= 0)
      return found;
    return low ? ready.lowest(0, n) : ready.highest(0, n);
  }
  }
  return -1;
}

std::string deadlock() {
  std::string text = "block " + std::to_string(active->abi.block) + ": deadlock";
  int shown = 0;
  for (size_t k = 0; k < active->fibers.size(); ++k) {
    const Fiber &fiber = active->fibers[k];
    std::string what =
        fiber.state == State::AtBarrier
            ? "waits at barrier " + std::to_string(fiber.barrier)
        : fiber.state == State::InWarp
            ? "waits for its warp in '" + std::string(fiber.tag) + "'"
            : "has ended";
    // One line per change along the threads.
    bool repeats = k > 0 && active->fibers[k - 1].state == fiber.state &&
                   active->fibers[k - 1].barrier == fiber.barrier;
    if (!repeats && ++shown <= 8)
      text += "; thread " + std::to_string(k) + " " + what;
  }
  return text;
}

void fiberMain() {
  if (__tsan_acquire)
    __tsan_acquire(&started);
  active->kernel(active->launch.params);
  if (__tsan_release)
    __tsan_release(&ended);
  setState(active->fibers[active->current], State::Done);
  --active->live;
  toScheduler();
  std::abort();
}

void runBlock() {
  int n = active->launch.threads;
  for (int k = 0; k < n; ++k) {
    Fiber &fiber = active->fibers[k];
    setState(fiber, State::Ready);
    fiber.groups.clear();
    // As if fiberMain had been called: the stack is 8 off 16 at its entry.
    auto *top = reinterpret_cast<void **>(active->stacks + (k + 1) * kStackBytes);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(&fiberMain);
    for (int r = 0; r < 6; ++r)
      *--top = nullptr;
    fiber.stack = top;
  }
  if (__tsan_create_fiber) {
    schedulerChecked = __tsan_get_current_fiber();
    for (Fiber &fiber : active->fibers)
      if (!fiber.checked)
        fiber.checked = __tsan_create_fiber(0);
    __tsan_release(&started);
  }
  active->live = n;
  active->current = -1;
  while (active->live > 0) {
    int next = pick();
    if (next < 0) {
      if (releaseBarriers())
        continue;
      active->error = deadlock();
      return;
    }
    active->current = next;
    active->abi.thread = next;
    checkAs(active->fibers[next].checked);
    pg_fiber_switch(&active->scheduler, active->fibers[next].stack);
    if (!active->error.empty())
      return;
  }
  for (int k = 0; k < n; ++k)
    for (const auto &group : active->fibers[k].groups)
      for (const AsyncCopy &copy : group)
        land(copy);
}

/// Guard pages and wild addresses: back to run() with a message.
void onSegmentationFault(int signal, siginfo_t *info, void *) {
  if (!active) {
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    return;
  }
  char text[160];
  snprintf(text, sizeof text,
           "block %lld thread %d: an access outside its memory, at %p",
           active->abi.block, active->current, info->si_addr);
  active->error = text;
  siglongjmp(active->escape, 1);
}

} // namespace

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

GuardedMemory::GuardedMemory(int64_t bytes) : length(bytes) {
  int64_t page = sysconf(_SC_PAGESIZE);
  int64_t pages = (std::max<int64_t>(bytes, 1) + page - 1) / page;
  mapped = (pages + 2) * page;
  mapping = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED)
    std::abort();
  char *middle = static_cast<char *>(mapping) + page;
  mprotect(middle, pages * page, PROT_READ | PROT_WRITE);
  std::memset(middle, 0xFF, pages * page);
  int64_t aligned = (bytes + 15) / 16 * 16;
  begin = middle + pages * page - aligned;
}

GuardedMemory::~GuardedMemory() { munmap(mapping, mapped); }

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

std::vector<Schedule> everySchedule() {
  std::vector<Schedule> all;
  for (bool late : {false, true})
    for (Order order : {Order::Forward, Order::Reverse, Order::Random,
                        Order::GreedyLow, Order::GreedyHigh})
      all.push_back({order, late, 12345});
  return all;
}

std::string scheduleName(const Schedule &schedule) {
  const char *names[] = {"forward", "reverse", "random", "greedy low",
                         "greedy high"};
  return std::string(names[static_cast<int>(schedule.order)]) +
         (schedule.lateCopies ? ", late copies" : ", early copies");
}

static std::string runFrom(void *handle, const std::string &symbol,
                           const Launch &launch, const Schedule &schedule);

std::string Kernels::run(const std::string &symbol, const Launch &launch,
                         const Schedule &schedule) const {
  return runFrom(handle, symbol, launch, schedule);
}

std::string runLinked(const std::string &symbol, const Launch &launch,
                      const Schedule &schedule) {
  return runFrom(RTLD_DEFAULT, symbol, launch, schedule);
}

static std::string runFrom(void *handle, const std::string &symbol,
                           const Launch &launch, const Schedule &schedule) {
  auto call = reinterpret_cast<void (*)(void **)>(
      dlsym(handle, ("pg_call_" + symbol).c_str()));
  auto table = static_cast<Abi **>(dlsym(handle, "pg_emulator"));
  if (!call || !table)
    return "there is no kernel '" + symbol + "'";
  if (launch.threads <= 0 || launch.threads > kMaxThreads ||
      launch.threads % 32 != 0)
    return "a block has a multiple of 32 and at most 1024 threads";

  Run run;
  run.kernel = call;
  run.launch = launch;
  run.schedule = schedule;
  run.random = schedule.seed * 0x9E3779B97F4A7C15ull + 1;
  run.fibers.resize(launch.threads);
  // Fiber stacks need no NaNs and are kept: touching their pages anew for every
  // launch would take longer than most launches.
  static char *const stacks = static_cast<char *>(
      mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (stacks == MAP_FAILED)
    return "no memory for the stacks of " + std::to_string(kMaxThreads) +
           " threads";
  run.stacks = stacks;
  // Room to place the arena at a multiple of 1024 that ends near the guard.
  int64_t arena = (launch.sharedBytes + 1023) / 1024 * 1024;
  auto shared = std::make_unique<GuardedMemory>(arena + 4096);
  uintptr_t end = 0;
  unsigned char *start = nullptr;
  auto place = [&] {
    end = reinterpret_cast<uintptr_t>(shared->data()) + shared->size();
    start = reinterpret_cast<unsigned char *>((end - launch.sharedBytes) /
                                              1024 * 1024);
    run.abi.shared = start;
  };
  place();
  run.abi.barrier = barrier;
  run.abi.warp = warp;
  run.abi.asyncCopy = asyncCopy;
  run.abi.asyncCommit = asyncCommit;
  run.abi.asyncWait = asyncWait;
  run.abi.fault = fault;

  // The handler needs a stack of its own: a fiber's may be what overflowed.
  static char handlerStack[64 * 1024];
  stack_t own = {}, before = {};
  own.ss_sp = handlerStack;
  own.ss_size = sizeof handlerStack;
  sigaltstack(&own, &before);
  struct sigaction action = {}, previous = {};
  action.sa_sigaction = onSegmentationFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous);

  active = &run;
  *table = &run.abi;
  if (sigsetjmp(run.escape, 1) == 0)
    for (int64_t block = 0; block < launch.blocks && run.error.empty();
         ++block) {
      run.abi.block = block;
      // Blocks share no shared memory: the checker must not think so.
      if (__tsan_create_fiber && block > 0) {
        shared = std::make_unique<GuardedMemory>(arena + 4096);
        place();
      }
      std::memset(shared->data(), 0xFF, shared->size());
      runBlock();
      // The arena's last page may hold a little more than the arena.
      for (auto *p = start + launch.sharedBytes;
           run.error.empty() && reinterpret_cast<uintptr_t>(p) < end; ++p)
        if (*p != 0xFF)
          run.error = "block " + std::to_string(block) +
                      ": a write behind the end of shared memory";
    }
  if (__tsan_acquire)
    __tsan_acquire(&ended);
  active = nullptr;
  *table = nullptr;
  sigaction(SIGSEGV, &previous, nullptr);
  sigaltstack(&before, nullptr);
  return run.error;
}

} // namespace pg::emulator
