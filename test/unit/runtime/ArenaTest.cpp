//===- ArenaTest.cpp --------------------------------------------------------===//
#include "runtime/exec/Arena.h"

#include <gtest/gtest.h>

using namespace pg::rt;

TEST(Arena, IsZeroAlignedAndReadableAVectorBeyondItsEnd) {
  for (uint64_t bytes : {uint64_t(1), uint64_t(4096), uint64_t(1) << 20, (uint64_t(6) << 20) - 64, (uint64_t(6) << 20) + 1}) {
    Arena arena;
    ASSERT_TRUE(arena.allocate(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.data()) % 64, 0u) << bytes;
    int sum = 0;
    for (uint64_t at = 0; at < bytes + 64; at += 64)
      sum += arena.data()[at];
    EXPECT_EQ(sum, 0) << bytes;
    arena.data()[bytes - 1] = 1;
  }
}

TEST(Arena, LiesOnWholeLargePagesWhereItIsLarge) {
  // Several, so that one does not lie there by chance.
  Arena arenas[4];
  for (Arena &arena : arenas) {
    ASSERT_TRUE(arena.allocate(uint64_t(3) << 20));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.data()) % (uint64_t(2) << 20), 0u);
  }
}

TEST(Arena, RefusesWhatNoMachineHas) {
  Arena arena;
  EXPECT_FALSE(arena.allocate(uint64_t(1) << 60));
  EXPECT_EQ(arena.data(), nullptr);
}
