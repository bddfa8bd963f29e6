//===- File.cpp - POSIX files with every result checked ---------------------===//
#include "runtime/support/File.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

/// Closes on every way out; `release` hands the descriptor to a checked close.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
  int release() { return std::exchange(fd, -1); }
};

bool writeAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
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

Status writeFileAtomic(const std::string &path, const std::vector<std::string_view> &pieces) {
  // The process id keeps two writers of one path apart; it never reaches the content.
  std::string temporary = path + ".tmp" + std::to_string(::getpid());
  Descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
  if (file.fd < 0)
    return ioError("create", temporary);
  auto fail = [&](const char *what) {
    Status status = ioError(what, path);
    ::unlink(temporary.c_str());
    return status;
  };
  for (std::string_view piece : pieces)
    if (!writeAll(file.fd, piece))
      return fail("write");
  if (::fsync(file.fd) != 0)
    return fail("write");
  if (::close(file.release()) != 0)
    return fail("write");
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    return fail("rename the temporary to");
  Descriptor folder{::open(folderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  // Some file systems refuse to sync a folder (EINVAL); the data itself is safe.
  if (folder.fd >= 0 && ::fsync(folder.fd) != 0 && errno != EINVAL)
    return ioError("sync the folder of", path);
  return Status::ok();
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

} // namespace pg::rt
