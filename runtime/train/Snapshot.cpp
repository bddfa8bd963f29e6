//===- Snapshot.cpp - parameters and states, put aside ----------------------===//
#include "runtime/train/Snapshot.h"

#include <fnmatch.h>

namespace pg::rt {
namespace {

bool matchesAny(const std::string &patterns, const std::string &name) {
  for (size_t at = 0; at < patterns.size();) {
    size_t end = std::min(patterns.find(',', at), patterns.size());
    std::string pattern = patterns.substr(at, end - at);
    size_t first = pattern.find_first_not_of(' '), last = pattern.find_last_not_of(' ');
    if (first != std::string::npos &&
        ::fnmatch(pattern.substr(first, last - first + 1).c_str(), name.c_str(), 0) == 0)
      return true;
    at = end + 1;
  }
  return false;
}

} // namespace

Snapshot::Snapshot(const Executor &executor) {
  // A device remembers its first error; who uses the snapshot asks (synchronize).
  const Package &package = executor.package();
  for (size_t i = 0; i < package.parameters.size(); ++i) {
    parameters.emplace_back(executor.parameterBytes(i));
    (void)executor.readParameter(i, parameters.back().data());
  }
  for (size_t i = 0; i < package.states.size(); ++i) {
    states.emplace_back(package.states[i].role == "gradient" ? 0 : executor.stateBytes(i));
    if (!states.back().empty())
      (void)executor.readState(i, states.back().data());
  }
}

int64_t Snapshot::restore(Executor &executor, const std::string &keepStates) const {
  int64_t kept = 0;
  for (size_t i = 0; i < parameters.size(); ++i)
    (void)executor.writeParameter(i, parameters[i].data());
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i].empty())
      continue;
    if (matchesAny(keepStates, executor.package().states[i].name))
      ++kept;
    else
      (void)executor.writeState(i, states[i].data());
  }
  return kept;
}

} // namespace pg::rt
