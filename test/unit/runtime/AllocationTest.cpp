//===- AllocationTest.cpp - a training step takes no memory ------------------------===//
#include "FakePackage.h"
#include "runtime/data/TokenShards.h"
#include "runtime/support/Log.h"
#include "runtime/train/ProgressDisplay.h"
#include "runtime/train/Trainer.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<int64_t> allocations{0};
void *take(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void *memory = std::malloc(bytes ? bytes : 1))
    return memory;
  throw std::bad_alloc();
}
} // namespace

// Every new of this test program, whatever its thread.
void *operator new(size_t bytes) { return take(bytes); }
void *operator new[](size_t bytes) { return take(bytes); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
void operator delete[](void *memory, size_t) noexcept { std::free(memory); }

namespace pg::rt {
namespace {

/// Counts from the end of one step to the end of the next.
class Counter : public TrainObserver {
public:
  Status onStep(const StepReport &step) override {
    int64_t now = allocations.load();
    // The step that begins a phase announces it; all others are alike.
    if (step.step > 4 && !step.isLast && step.phase == phase)
      between.push_back(now - before);
    phase = step.phase;
    before = allocations.load();
    return Status::ok();
  }
  Counter() { between.reserve(4096); }
  std::vector<int64_t> between;
  int64_t before = 0;
  std::string_view phase;
};

TEST(Allocation, NothingIsAllocatedBetweenTwoSteps) {
  std::string folder = testFolder();
  // Steps run across shard ends, so shards are opened and read on the way.
  for (int shard = 0; shard < 3; ++shard)
    spill(folder + "/fineweb_train_" + std::to_string(shard) + ".bin", serialiseShard(patternTokens(300 + 40 * size_t(shard))));
  auto executor = fakeExecutor(2);
  for (const char *packing : {"batch.packing=stream", "batch.packing=documents"}) {
    Recipe recipe(executor->package());
    for (const char *setting : {"schedule.steps=200", "log.every=1", "batch.logical_ranks=2", "clip.norm=0.5",
                                "clip.mode=per_logical_rank", "schedule.max_seconds=1000", packing})
      ASSERT_TRUE(recipe.set(setting, "test").isOk());
    Counter counter;
    ProgressDisplay display;
    setQuiet(true);
    TrainOptions options;
    options.dataFolder = folder;
    options.runFolder = folder + "/" + packing;
    options.observers = {&display, &counter};
    auto result = train(*executor, recipe, options);
    setQuiet(false);
    ASSERT_TRUE(result.isOk()) << result.status().message();
    ASSERT_GT(counter.between.size(), 100u);
    for (size_t i = 0; i < counter.between.size(); ++i)
      ASSERT_EQ(counter.between[i], 0) << "between steps " << i + 4 << " and " << i + 5;
  }
}

} // namespace
} // namespace pg::rt
