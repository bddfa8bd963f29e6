//===- File.cpp - POSIX files with every result checked ---------------------===//
#include "runtime/support/File.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace pg::rt {
namespace {

Status ioError(const std::string &what, const std::string &path) {
  return {Code::Io, "cannot " + what + " '" + path + "': " + std::strerror(errno)};
}

std::string folderOf(const std::string &path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos)
    return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// Closes on every way out.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
};

std::atomic<int64_t> callCount{0}, faultyCall{0};
std::atomic<int> faultError{0};
std::atomic<bool> faultKills{false};

/// True when this call is the one a test wants to go wrong; errno is set.
bool isFaulty() {
  int64_t call = callCount.fetch_add(1, std::memory_order_relaxed) + 1;
  if (call != faultyCall.load(std::memory_order_relaxed))
    return false;
  errno = faultError.load(std::memory_order_relaxed);
  return true;
}
void dieIfAsked() {
  if (faultKills.load(std::memory_order_relaxed))
    ::raise(SIGKILL);
}

// The system calls of the writers, each with its place for a fault.
int openFile(const char *path, int flags) {
  if (isFaulty()) {
    dieIfAsked();
    return -1;
  }
  return ::open(path, flags | O_CLOEXEC, 0666);
}
ssize_t writePiece(int fd, const char *bytes, size_t count) {
  if (isFaulty()) {
    int error = errno;
    (void)!::write(fd, bytes, count / 2);
    dieIfAsked();
    errno = error;
    return -1;
  }
  return ::write(fd, bytes, count);
}
int syncFile(int fd) {
  if (isFaulty()) {
    dieIfAsked();
    return -1;
  }
  return ::fsync(fd);
}
int closeFile(int fd) {
  if (isFaulty()) {
    dieIfAsked();
    int error = errno;
    ::close(fd);
    errno = error;
    return -1;
  }
  return ::close(fd);
}
int renameFile(const char *from, const char *to) {
  if (isFaulty()) {
    dieIfAsked();
    return -1;
  }
  return ::rename(from, to);
}
int unlinkFile(const char *path) {
  if (isFaulty()) {
    dieIfAsked();
    return -1;
  }
  return ::unlink(path);
}

/// Large writes are cut so that a full disk is noticed early.
constexpr size_t kWriteBytes = size_t(8) << 20;

bool writeAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = writePiece(fd, bytes.data(), std::min(bytes.size(), kWriteBytes));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    bytes.remove_prefix(size_t(n));
  }
  return true;
}

} // namespace

StatusOr<std::string> readFile(const std::string &path, uint64_t maxBytes) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0)
    return ioError("open", path);
  struct stat info;
  if (::fstat(file.fd, &info) != 0)
    return ioError("read", path);
  if (!S_ISREG(info.st_mode))
    return Status(Code::Io, "cannot read '" + path + "': not a regular file");
  if (uint64_t(info.st_size) > maxBytes)
    return Status(Code::Corrupt, "'" + path + "' has " + std::to_string(info.st_size) +
                                     " bytes, at most " + std::to_string(maxBytes) + " are allowed");
  std::string bytes(size_t(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = ::read(file.fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return ioError("read", path);
    if (n == 0)
      return Status(Code::Io, "cannot read '" + path + "': it became shorter while being read");
    done += size_t(n);
  }
  return bytes;
}

namespace file_faults {
void arm(int64_t call, Action action, int error) {
  callCount = 0;
  faultError = error;
  faultKills = action == Action::Die;
  faultyCall = call;
}
void disarm() { faultyCall = 0; }
int64_t calls() { return callCount; }
} // namespace file_faults

AtomicFile::AtomicFile(std::string path, std::string temporary, int fd)
    : path(std::move(path)), temporary(std::move(temporary)), fd(fd) {}
AtomicFile::AtomicFile(AtomicFile &&other) noexcept
    : path(std::move(other.path)), temporary(std::exchange(other.temporary, "")), fd(std::exchange(other.fd, -1)) {}
AtomicFile::~AtomicFile() {
  if (fd >= 0)
    ::close(fd);
  if (!temporary.empty())
    ::unlink(temporary.c_str());
}

StatusOr<AtomicFile> AtomicFile::create(const std::string &path) {
  // The process id keeps two writers of one path apart; it never reaches the content.
  std::string temporary = path + ".tmp" + std::to_string(::getpid());
  int fd = openFile(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC);
  if (fd < 0)
    return ioError("create", temporary);
  return AtomicFile(path, std::move(temporary), fd);
}

Status AtomicFile::fail(const char *what) { return ioError(what, path); }

Status AtomicFile::append(std::string_view bytes) { return writeAll(fd, bytes) ? Status::ok() : fail("write"); }

Status AtomicFile::commit() {
  if (syncFile(fd) != 0)
    return fail("write");
  if (closeFile(std::exchange(fd, -1)) != 0)
    return fail("write");
  if (renameFile(temporary.c_str(), path.c_str()) != 0)
    return fail("rename the temporary to");
  temporary.clear();
  Descriptor folder{openFile(folderOf(path).c_str(), O_RDONLY | O_DIRECTORY)};
  // Some file systems refuse to sync a folder (EINVAL); the data itself is safe.
  if (folder.fd >= 0 && syncFile(folder.fd) != 0 && errno != EINVAL)
    return ioError("sync the folder of", path);
  return Status::ok();
}

StatusOr<AppendFile> AppendFile::open(const std::string &path, bool truncate) {
  AppendFile file;
  file.path = path;
  file.fd = openFile(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | (truncate ? O_TRUNC : 0));
  if (file.fd < 0)
    return ioError("create", path);
  return file;
}
AppendFile::AppendFile(AppendFile &&other) noexcept
    : path(std::move(other.path)), fd(std::exchange(other.fd, -1)) {}
AppendFile &AppendFile::operator=(AppendFile &&other) noexcept {
  std::swap(path, other.path);
  std::swap(fd, other.fd);
  return *this;
}
AppendFile::~AppendFile() {
  if (fd >= 0)
    ::close(fd);
}
Status AppendFile::append(std::string_view bytes) {
  return writeAll(fd, bytes) ? Status::ok() : ioError("write", path);
}
Status AppendFile::sync() { return syncFile(fd) == 0 || errno == EINVAL ? Status::ok() : ioError("write", path); }

Status writeFileAtomic(const std::string &path, const std::vector<std::string_view> &pieces) {
  auto file = AtomicFile::create(path);
  if (!file)
    return file.status();
  for (std::string_view piece : pieces)
    if (Status status = file->append(piece); !status)
      return status;
  return file->commit();
}

Status writeFileAtomic(const std::string &path, std::string_view bytes) {
  return writeFileAtomic(path, std::vector<std::string_view>{bytes});
}

StatusOr<std::vector<std::string>> listFolder(const std::string &path) {
  DIR *folder = ::opendir(path.c_str());
  if (!folder)
    return ioError("open folder", path);
  std::vector<std::string> names;
  while (dirent *item = ::readdir(folder)) {
    std::string name = item->d_name;
    if (name != "." && name != "..")
      names.push_back(name);
  }
  ::closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

Status makeFolder(const std::string &path) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    std::string part = path.substr(0, at);
    if (!part.empty() && ::mkdir(part.c_str(), 0777) != 0 && errno != EEXIST)
      return ioError("create folder", part);
    if (at == std::string::npos)
      break;
  }
  struct stat info;
  if (::stat(path.c_str(), &info) != 0)
    return ioError("create folder", path);
  if (!S_ISDIR(info.st_mode))
    return {Code::Io, "cannot create folder '" + path + "': a file is in the way"};
  return Status::ok();
}

Status removeFile(const std::string &path) {
  return unlinkFile(path.c_str()) == 0 || errno == ENOENT ? Status::ok() : ioError("remove", path);
}

} // namespace pg::rt
