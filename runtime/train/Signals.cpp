//===- Signals.cpp - SIGINT and SIGTERM during a run ------------------------===//
#include "runtime/train/Signals.h"

#include <unistd.h>

namespace pg::rt {
namespace {

std::atomic<int> pendingSignal{0};
std::atomic<bool> isPending{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void onSignal(int signal) {
  int none = 0;
  if (!pendingSignal.compare_exchange_strong(none, signal))
    ::_exit(128 + signal);
  isPending = true;
}

} // namespace

SignalGuard::SignalGuard() {
  pendingSignal = 0;
  isPending = false;
  struct sigaction action {};
  action.sa_handler = onSignal;
  ::sigaction(SIGINT, &action, &oldInterrupt);
  ::sigaction(SIGTERM, &action, &oldTerminate);
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &action, &oldFileSize);
}

SignalGuard::~SignalGuard() {
  ::sigaction(SIGINT, &oldInterrupt, nullptr);
  ::sigaction(SIGTERM, &oldTerminate, nullptr);
  ::sigaction(SIGXFSZ, &oldFileSize, nullptr);
}

int SignalGuard::pending() { return pendingSignal; }
const std::atomic<bool> &SignalGuard::flag() { return isPending; }

} // namespace pg::rt
