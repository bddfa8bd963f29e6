//===- RunFolder.cpp - where a training run leaves its files ----------------===//
#include "runtime/train/RunFolder.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace pg::rt {
namespace {

bool exists(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

/// "process 1234 on host": read from the lock of somebody else.
std::string holderOf(const std::string &lockPath) {
  auto text = readFile(lockPath, 4096);
  size_t space = text ? text->find(' ') : std::string::npos;
  if (space == std::string::npos)
    return "another process";
  std::string host = text->substr(space + 1);
  while (!host.empty() && host.back() == '\n')
    host.pop_back();
  return "process " + text->substr(0, space) + " on " + host;
}

/// A killed process leaves its temporaries behind.
void removeTemporaries(const std::string &folder) {
  auto names = listFolder(folder);
  if (!names)
    return;
  for (const std::string &name : *names)
    if (name.find(".tmp") != std::string::npos)
      ::unlink((folder + "/" + name).c_str());
}

} // namespace

RunFolder::RunFolder(RunFolder &&other) noexcept
    : metrics(std::move(other.metrics)), clock(std::move(other.clock)), path_(std::move(other.path_)),
      lock(std::exchange(other.lock, -1)), hasRun(other.hasRun) {}

RunFolder &RunFolder::operator=(RunFolder &&other) noexcept {
  std::swap(metrics, other.metrics);
  std::swap(clock, other.clock);
  std::swap(path_, other.path_);
  std::swap(lock, other.lock);
  std::swap(hasRun, other.hasRun);
  return *this;
}

RunFolder::~RunFolder() {
  if (lock >= 0)
    ::close(lock);
}

StatusOr<RunFolder> RunFolder::open(const std::string &path, bool resume) {
  if (Status status = makeFolder(path); !status)
    return status;
  RunFolder folder;
  folder.path_ = path;
  std::string lockPath = folder.file("lock");
  folder.lock = ::open(lockPath.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (folder.lock < 0)
    return Status(Code::Io, "cannot create '" + lockPath + "': " + std::strerror(errno));
  if (::flock(folder.lock, LOCK_EX | LOCK_NB) != 0)
    return Status(Code::Io, "run folder '" + path + "' is in use by another process (" + holderOf(lockPath) + ")");
  char host[256] = "unknown";
  (void)::gethostname(host, sizeof host - 1);
  std::string holder = std::to_string(::getpid()) + " " + host + "\n";
  // Only a help for people: the lock itself is what counts.
  if (::ftruncate(folder.lock, 0) == 0)
    (void)!::pwrite(folder.lock, holder.data(), holder.size(), 0);

  folder.hasRun = exists(folder.file("config.json"));
  if (folder.hasRun && !resume)
    return Status(Code::Usage, "'" + path + "' holds a run already: give --resume to continue it, or another folder");
  if (Status status = makeFolder(folder.checkpointsPath()); !status)
    return status;
  removeTemporaries(path);
  removeTemporaries(folder.checkpointsPath());
  return folder;
}

Status RunFolder::writeConfig(const Json &config) {
  return writeFileAtomic(file("config.json"), config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

StatusOr<Json> RunFolder::readConfig() const {
  auto text = readFile(file("config.json"), uint64_t(1) << 26);
  if (!text)
    return text.status();
  auto config = parseJson(*text);
  if (!config)
    return config.status().with("'" + file("config.json") + "'");
  if (!config->is_object())
    return Status(Code::Corrupt, "'" + file("config.json") + "' is not a JSON object");
  return config;
}

std::string keepLines(const std::string &text, int64_t lastStep) {
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos)
      break;
    std::string line = text.substr(at, end - at);
    at = end + 1;
    auto object = parseJson(line);
    if (!object || !object->is_object())
      continue;
    auto step = object->find("step");
    if (step != object->end() && step->is_number_integer() && step->get<int64_t>() <= lastStep)
      kept += line + "\n";
  }
  return kept;
}

Status RunFolder::openLogs(int64_t steps) {
  struct Log {
    AppendFile *file;
    const char *name;
    int64_t lastStep;
  };
  // A metrics line counts steps done, a clock line names the step it precedes.
  for (const Log &log : {Log{&metrics, "metrics.jsonl", steps}, Log{&clock, "clock.jsonl", steps - 1}}) {
    std::string path = file(log.name);
    if (steps >= 0 && exists(path)) {
      auto text = readFile(path);
      if (!text)
        return text.status();
      std::string kept = keepLines(*text, log.lastStep);
      if (kept.size() != text->size())
        if (Status status = writeFileAtomic(path, kept); !status)
          return status;
    }
    auto opened = AppendFile::open(path, steps < 0);
    if (!opened)
      return opened.status();
    *log.file = std::move(*opened);
  }
  return Status::ok();
}

} // namespace pg::rt
