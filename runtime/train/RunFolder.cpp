//===- RunFolder.cpp - where a training run leaves its files ----------------===//
#include "runtime/train/RunFolder.h"
#include "runtime/support/File.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

namespace pg::rt {

RunFolder::RunFolder(RunFolder &&other) noexcept
    : path(std::move(other.path)), lock(std::exchange(other.lock, -1)), metrics(std::exchange(other.metrics, -1)) {}

RunFolder &RunFolder::operator=(RunFolder &&other) noexcept {
  std::swap(path, other.path);
  std::swap(lock, other.lock);
  std::swap(metrics, other.metrics);
  return *this;
}

RunFolder::~RunFolder() {
  if (metrics >= 0)
    ::close(metrics);
  if (lock >= 0)
    ::close(lock);
}

StatusOr<RunFolder> RunFolder::open(const std::string &path) {
  if (Status status = makeFolder(path); !status)
    return status;
  RunFolder folder;
  folder.path = path;
  folder.lock = ::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (folder.lock < 0)
    return Status(Code::Io, "cannot create '" + path + "/lock': " + std::strerror(errno));
  if (::flock(folder.lock, LOCK_EX | LOCK_NB) != 0)
    return Status(Code::Io, "run folder '" + path + "' is in use by another process");
  folder.metrics =
      ::open((path + "/metrics.jsonl").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  if (folder.metrics < 0)
    return Status(Code::Io, "cannot create '" + path + "/metrics.jsonl': " + std::strerror(errno));
  return folder;
}

Status RunFolder::writeConfig(const Json &config) {
  return writeFileAtomic(path + "/config.json", config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status RunFolder::addMetrics(const std::string &line) {
  // One write per line: a killed run leaves at most one torn line at the end.
  std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    ssize_t n = ::write(metrics, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return {Code::Io, "cannot write '" + path + "/metrics.jsonl': " + std::strerror(errno)};
    done += size_t(n);
  }
  return Status::ok();
}

} // namespace pg::rt
