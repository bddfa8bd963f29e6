//===- CompileLog.cpp - what the assembler says about a kernel --------------===//
#include "passes/nvrtc/CompileLog.h"

#include <cctype>
#include <sstream>

namespace pg::nvrtc {
namespace {

/// The number that stands before `unit`, or 0.
int64_t numberBefore(const std::string &line, const std::string &unit) {
  size_t at = line.find(unit);
  if (at == std::string::npos)
    return 0;
  size_t end = at;
  while (end > 0 && line[end - 1] == ' ')
    --end;
  size_t begin = end;
  while (begin > 0 && std::isdigit(static_cast<unsigned char>(line[begin - 1])))
    --begin;
  return begin == end ? 0 : std::stoll(line.substr(begin, end - begin));
}

std::string quoted(const std::string &line) {
  size_t begin = line.find('\''), end = line.find('\'', begin + 1);
  return begin == std::string::npos || end == std::string::npos ? "" : line.substr(begin + 1, end - begin - 1);
}

/// Codes and phrases seen in logs of code that ran far below its speed.
constexpr const char *kForbidden[] = {"C7504", "C7508", "C7511", "C7519", "instructions are serialized",
                                      "uses too much shared data", "setmaxnreg ignored"};

} // namespace

std::vector<Resources> resourcesOf(const std::string &log) {
  std::vector<Resources> list;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("Compiling entry function") != std::string::npos) {
      list.push_back({quoted(line)});
      continue;
    }
    if (list.empty())
      continue;
    Resources &last = list.back();
    if (line.find("bytes stack frame") != std::string::npos) {
      last.stackBytes = numberBefore(line, " bytes stack frame");
      last.spillStores = numberBefore(line, " bytes spill stores");
      last.spillLoads = numberBefore(line, " bytes spill loads");
    }
    // "Used" begins one report; the log may cut it into two lines.
    if (int64_t registers = numberBefore(line, " registers"))
      last.registers = registers;
    if (int64_t barriers = numberBefore(line, " barriers"))
      last.barriers = barriers;
    if (int64_t shared = numberBefore(line, " bytes smem"))
      last.sharedBytes = shared;
  }
  return list;
}

std::vector<std::string> problemsOf(const std::string &log, bool mayUseLocal) {
  std::vector<std::string> problems;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);)
    for (const char *phrase : kForbidden)
      if (line.find(phrase) != std::string::npos) {
        problems.push_back(line);
        break;
      }
  if (mayUseLocal)
    return problems;
  for (const Resources &kernel : resourcesOf(log))
    if (kernel.stackBytes || kernel.spillStores || kernel.spillLoads)
      problems.push_back(kernel.kernel + ": " + std::to_string(kernel.stackBytes) + " bytes stack frame, " +
                         std::to_string(kernel.spillStores) + " bytes spill stores, " +
                         std::to_string(kernel.spillLoads) + " bytes spill loads");
  return problems;
}

} // namespace pg::nvrtc
