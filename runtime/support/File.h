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

/// A file that appears whole or not at all: written to a temporary beside `path` and renamed by commit. One that is
/// not committed leaves nothing behind.
class AtomicFile {
public:
  static StatusOr<AtomicFile> create(const std::string &path);
  AtomicFile(AtomicFile &&other) noexcept;
  AtomicFile &operator=(AtomicFile &&) = delete;
  ~AtomicFile();

  Status append(std::string_view bytes);
  /// fsync, checked close, rename, fsync of the folder. On failure `path` is as it was.
  Status commit();

private:
  AtomicFile(std::string path, std::string temporary, int fd);
  Status fail(const char *what);
  std::string path, temporary;
  int fd = -1;
};

/// A file that grows by whole lines; nothing it does allocates.
class AppendFile {
public:
  AppendFile() = default;
  /// Opens for appending; `truncate` starts it empty.
  static StatusOr<AppendFile> open(const std::string &path, bool truncate);
  AppendFile(AppendFile &&other) noexcept;
  AppendFile &operator=(AppendFile &&other) noexcept;
  ~AppendFile();
  bool isOpen() const { return fd >= 0; }
  /// One write call: a killed process leaves at most one torn line, at the end.
  Status append(std::string_view bytes);
  Status sync();

private:
  std::string path;
  int fd = -1;
};

/// Writes the pieces one after the other: temporary beside `path`, fsync,
/// checked close, rename, fsync of the folder. On failure the temporary is gone
/// and `path` is as it was.
Status writeFileAtomic(const std::string &path, const std::vector<std::string_view> &pieces);
Status writeFileAtomic(const std::string &path, std::string_view bytes);

/// File names (not paths) in a folder, sorted.
StatusOr<std::vector<std::string>> listFolder(const std::string &path);

/// Creates a folder and its parents; ok when it exists.
Status makeFolder(const std::string &path);

/// Removes a file; ok when there is none.
Status removeFile(const std::string &path);

/// For tests: makes one call of the writers above go wrong. Calls (open, write, fsync, close, rename, unlink) are
/// counted from 1 after arm.
namespace file_faults {
enum class Action {
  Fail, ///< the call fails with `error`; a write has by then written half of its bytes
  Die,  ///< the process is killed in its place; a write has written half
};
void arm(int64_t call, Action action, int error);
void disarm();
/// Calls since arm.
int64_t calls();
} // namespace file_faults

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_FILE_H
