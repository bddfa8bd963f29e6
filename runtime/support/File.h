//===- File.h - whole files in and out --------------------------------------===//
//
// Readers take the whole file: every format here is checked against its real
// size before anything else is believed. Writers are atomic: a reader sees the
// old bytes or all the new ones, also after a crash.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_SUPPORT_FILE_H
#define PG_RUNTIME_SUPPORT_FILE_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pg::rt {

/// All bytes of a regular file of at most `maxBytes`; Io names path and cause,
/// Corrupt a file that is larger.
StatusOr<std::string> readFile(const std::string &path, uint64_t maxBytes = uint64_t(1) << 40);

/// Writes the pieces one after the other: temporary beside `path`, fsync,
/// checked close, rename, fsync of the folder. On failure the temporary is gone
/// and `path` is as it was.
Status writeFileAtomic(const std::string &path, const std::vector<std::string_view> &pieces);
Status writeFileAtomic(const std::string &path, std::string_view bytes);

/// File names (not paths) in a folder, sorted.
StatusOr<std::vector<std::string>> listFolder(const std::string &path);

/// Creates a folder and its parents; ok when it exists.
Status makeFolder(const std::string &path);

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_FILE_H
