//===- EmulatorAbi.h - what emulated kernel code asks of the emulator -------===//
//
// Generated kernels are compiled by the host compiler against the host half of
// the prelude (include/pg_prelude.cuh) and loaded. They reach the emulator only
// through this table, so they need no symbol of the program that runs them.
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_EMULATOR_EMULATORABI_H
#define PG_TEST_EMULATOR_EMULATORABI_H

namespace pg::emulator {

struct Abi {
  // The running thread; rewritten at every switch.
  int thread = 0;
  long long block = 0;
  unsigned char *shared = nullptr;

  /// Waits for `count` threads at barrier `id` (count 0: every live thread).
  void (*barrier)(int id, int count) = nullptr;
  /// A collective of the 32 lanes of a warp: each hands in its operands, the
  /// last to come runs `compute` on all of them, then all go on. `tag` names
  /// the operation: two lanes with different ones have diverged.
  void (*warp)(const char *tag, void *mine,
               void (*compute)(void *const *lanes)) = nullptr;
  /// cp.async of `bytes` bytes, of which `valid` are copied and the rest zero.
  void (*asyncCopy)(void *to, const void *from, int bytes, int valid) = nullptr;
  void (*asyncCommit)() = nullptr;
  /// Waits until at most `pending` of the thread's latest groups are open.
  void (*asyncWait)(int pending) = nullptr;
  /// Ends the run with a message. Does not return.
  void (*fault)(const char *message) = nullptr;
};

} // namespace pg::emulator

#endif // PG_TEST_EMULATOR_EMULATORABI_H
