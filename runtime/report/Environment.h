//===- Environment.h - where a run ran and what it read -----------------------===//
#ifndef PG_RUNTIME_REPORT_ENVIRONMENT_H
#define PG_RUNTIME_REPORT_ENVIRONMENT_H

#include "runtime/support/Json.h"

#include <string>
#include <vector>

namespace pg::rt {

/// {"cpu", "logical_cpus", "memory_bytes", "system"}: the processor's name and
/// size, and the kernel. What cannot be found out is left out.
Json describeMachine();

/// Where bytes came from: {"path", "bytes", "sha256"} of a whole file. Io when
/// it cannot be read.
StatusOr<Json> describeFile(const std::string &path);

/// Provenance of token shards, cheap whatever their size: {"files", "tokens",
/// "bytes", "first", "last", "digest"}. The digest is the SHA-256 of every
/// file's name, size, first and last 64 KiB, in order.
StatusOr<Json> describeShards(const std::vector<std::string> &paths);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_ENVIRONMENT_H
