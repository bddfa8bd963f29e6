//===- Signals.h - SIGINT and SIGTERM during a run ---------------------------===//
#ifndef PG_RUNTIME_TRAIN_SIGNALS_H
#define PG_RUNTIME_TRAIN_SIGNALS_H

#include <atomic>
#include <csignal>

namespace pg::rt {

/// For the time of a run: the first SIGINT or SIGTERM only sets a flag, so that
/// the run can save; the second one ends the process at once with 128 + n. A
/// write beyond the file size limit is an error instead of the end (SIGXFSZ).
/// One at a time in a process.
class SignalGuard {
public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard &) = delete;
  SignalGuard &operator=(const SignalGuard &) = delete;

  /// The signal that arrived, 0 = none.
  static int pending();
  /// True once a signal arrived.
  static const std::atomic<bool> &flag();

private:
  struct sigaction oldInterrupt, oldTerminate, oldFileSize;
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_SIGNALS_H
