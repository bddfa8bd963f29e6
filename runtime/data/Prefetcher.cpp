//===- Prefetcher.cpp - the next steps' tokens, on a thread of their own ----===//
#include "runtime/data/Prefetcher.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace pg::rt {

/// Two slots: one lent to the training thread, one being filled.
struct Prefetcher::Shared {
  Shared(Loader loader, int64_t spanTokens, int64_t spansPerStep)
      : loader(std::move(loader)), spanTokens(spanTokens), spansPerStep(spansPerStep) {
    for (StepTokens &slot : slots)
      slot.spans.resize(size_t(spansPerStep * (spanTokens + 1)));
    thread = std::thread([this] { work(); });
  }
  ~Shared() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    thread.join();
  }

  Status fill(StepTokens &slot) {
    slot.before = loader.position();
    for (int64_t i = 0; i < spansPerStep; ++i)
      if (Status status = loader.next(slot.spans.data() + i * (spanTokens + 1)); !status)
        return status;
    slot.after = loader.position();
    return Status::ok();
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return stopping || (!isReady && !isPaused && error.isOk()); });
      if (stopping)
        return;
      isFilling = true;
      StepTokens &slot = slots[1 - lent];
      lock.unlock();
      Status status;
      try {
        status = fill(slot);
      } catch (const std::bad_alloc &) {
        status = {Code::Environment, "not enough memory to read the training shards"};
      }
      lock.lock();
      isFilling = false;
      isReady = bool(status);
      error = status;
      changed.notify_all();
    }
  }

  Loader loader;
  const int64_t spanTokens, spansPerStep;
  StepTokens slots[2];
  std::mutex mutex;
  std::condition_variable changed;
  int lent = 0;            ///< slot in the hands of the training thread
  bool isReady = false;    ///< the other slot is full
  bool isFilling = false, isPaused = false, stopping = false;
  Status error;
  std::thread thread;      ///< last: starts when all else is made
};

Prefetcher::Prefetcher(Loader loader, int64_t spanTokens, int64_t spansPerStep)
    : shared(std::make_unique<Shared>(std::move(loader), spanTokens, spansPerStep)) {}
Prefetcher::~Prefetcher() = default;

StatusOr<const StepTokens *> Prefetcher::next() {
  std::unique_lock lock(shared->mutex);
  shared->changed.wait(lock, [&] { return shared->isReady || !shared->error; });
  if (!shared->error)
    return shared->error;
  shared->lent = 1 - shared->lent;
  shared->isReady = false;
  const StepTokens *step = &shared->slots[shared->lent];
  lock.unlock();
  shared->changed.notify_all();
  return step;
}

Status Prefetcher::seek(const LoaderPosition &position) {
  std::unique_lock lock(shared->mutex);
  shared->isPaused = true;
  shared->changed.wait(lock, [&] { return !shared->isFilling; });
  shared->error = shared->loader.seek(position);
  shared->isReady = false;
  shared->isPaused = false;
  Status status = shared->error;
  lock.unlock();
  shared->changed.notify_all();
  return status;
}

const ShardSet &Prefetcher::shards() const { return shared->loader.shards(); }

} // namespace pg::rt
