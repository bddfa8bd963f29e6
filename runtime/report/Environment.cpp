//===- Environment.cpp - where a run ran and what it read -------------------===//
#include "runtime/report/Environment.h"
#include "runtime/support/File.h"
#include "runtime/support/Sha256.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <thread>
#include <unistd.h>

namespace pg::rt {
namespace {

constexpr int64_t kEndBytes = 65536, kShardHeaderBytes = 1024;

std::string processorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos)
      return line.substr(colon + 2);
  }
  return "";
}

std::string fileName(const std::string &path) { return path.substr(path.rfind('/') + 1); }

Status cannotRead(const std::string &path) {
  return {Code::Io, "cannot read '" + path + "': " + std::strerror(errno)};
}

} // namespace

Json describeMachine() {
  Json machine = Json::object();
  if (std::string name = processorName(); !name.empty())
    machine["cpu"] = name;
  machine["logical_cpus"] = std::max(1u, std::thread::hardware_concurrency());
  long pages = ::sysconf(_SC_PHYS_PAGES), pageBytes = ::sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && pageBytes > 0)
    machine["memory_bytes"] = int64_t(pages) * int64_t(pageBytes);
  utsname system;
  if (::uname(&system) == 0)
    machine["system"] = std::string(system.sysname) + " " + system.release + " " + system.machine;
  return machine;
}

StatusOr<Json> describeFile(const std::string &path) {
  auto bytes = readFile(path);
  if (!bytes)
    return bytes.status();
  return Json{{"path", path}, {"bytes", bytes->size()}, {"sha256", sha256Hex(*bytes)}};
}

StatusOr<Json> describeShards(const std::vector<std::string> &paths) {
  std::string digested;
  int64_t total = 0, tokens = 0;
  for (const std::string &path : paths) {
    struct stat info;
    std::ifstream file(path, std::ios::binary);
    if (::stat(path.c_str(), &info) != 0 || !file)
      return cannotRead(path);
    int64_t size = info.st_size, part = std::min(size, kEndBytes);
    std::string first(size_t(part), 0), last(size_t(part), 0);
    file.read(first.data(), part);
    file.seekg(size - part);
    file.read(last.data(), part);
    if (!file)
      return cannotRead(path);
    digested += fileName(path) + '\0' + std::to_string(size) + '\0' + first + last;
    total += size;
    tokens += std::max<int64_t>(0, size - kShardHeaderBytes) / 2;
  }
  Json shards = {{"files", paths.size()}, {"bytes", total}, {"tokens", tokens}, {"digest", sha256Hex(digested)}};
  if (!paths.empty()) {
    shards["first"] = fileName(paths.front());
    shards["last"] = fileName(paths.back());
  }
  return shards;
}

} // namespace pg::rt
