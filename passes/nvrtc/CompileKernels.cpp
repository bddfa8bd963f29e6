//===- CompileKernels.cpp - many kernels for many architectures, in parallel ===//
#include "passes/nvrtc/CompileKernels.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>
#include <thread>

namespace pg::nvrtc {
namespace {

/// No fast-math switch: approximate functions are named where they are wanted.
std::vector<std::string> optionsFor(const std::string &arch) {
  return {"--gpu-architecture=" + arch, "--std=c++20", "-default-device", "--ptxas-options=-v"};
}

std::optional<Output> cached(const Cache &cache, const std::string &key) {
  std::optional<std::vector<std::string>> known = cache.find(key);
  if (!known || known->size() != 3)
    return std::nullopt;
  return Output{std::move((*known)[0]), std::move((*known)[1]), std::move((*known)[2])};
}

} // namespace

std::string cacheKeyOf(const Source &source, const std::vector<std::string> &options,
                       const std::string &compilerVersion) {
  std::vector<std::string> inputs = {"nvrtc", compilerVersion, source.headerName, source.headerText, source.text};
  inputs.insert(inputs.end(), options.begin(), options.end());
  return Cache::keyOf(inputs);
}

bool isArchName(const std::string &text) {
  if (text.size() < 5 || text.size() > 7 || text.compare(0, 3, "sm_") != 0)
    return false;
  std::string rest = text.substr(3);
  if (rest.back() == 'a' || rest.back() == 'f')
    rest.pop_back();
  return rest.size() >= 2 && std::all_of(rest.begin(), rest.end(), [](char c) { return c >= '0' && c <= '9'; });
}

rt::StatusOr<std::vector<std::vector<CompiledKernel>>> compileKernels(const Library &library,
                                                                      const std::vector<Source> &sources,
                                                                      const CompileOptions &options) {
  std::vector<std::vector<CompiledKernel>> compiled(options.archs.size(), std::vector<CompiledKernel>(sources.size()));
  size_t total = options.archs.size() * sources.size();
  std::vector<rt::Status> problems(total);

  auto compileOne = [&](size_t job) {
    size_t arch = job / sources.size(), index = job % sources.size();
    const Source &source = sources[index];
    std::vector<std::string> list = optionsFor(options.archs[arch]);
    std::string key = cacheKeyOf(source, list, library.version());
    CompiledKernel &result = compiled[arch][index];
    if (std::optional<Output> known = cached(options.cache, key)) {
      result.output = std::move(*known);
      result.fromCache = true;
    } else {
      auto output = library.compile(source, list);
      if (!output) {
        problems[job] = rt::Status(rt::Code::Internal, options.archs[arch] + ": " + output.status().message());
        return;
      }
      result.output = std::move(*output);
      options.cache.put(key, {result.output.cubin, result.output.ptx, result.output.log});
    }
    result.resources = resourcesOf(result.output.log);
    bool mayUseLocal = !options.spillsAreErrors || source.text.find(kLocalMemoryMark) != std::string::npos;
    std::string text;
    for (const std::string &problem : problemsOf(result.output.log, mayUseLocal))
      text += "\n  " + problem;
    if (!text.empty())
      problems[job] = rt::Status(rt::Code::Internal, source.name + " for " + options.archs[arch] +
                                                         " compiles to code that must not be used:" + text);
  };

  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t job = next++; job < total; job = next++)
      compileOne(job);
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < std::min<int>(options.jobs, int(total)); ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &thread : threads)
    thread.join();

  std::string text;
  for (const rt::Status &problem : problems)
    if (!problem)
      text += (text.empty() ? "" : "\n") + problem.message();
  if (!text.empty())
    return rt::Status(rt::Code::Internal, text);
  return compiled;
}

std::string resourceTable(const std::vector<std::string> &archs,
                          const std::vector<std::vector<CompiledKernel>> &compiled) {
  std::string text = "  registers   shared   stack  spills     bytes  arch     kernel\n";
  char line[256];
  for (size_t a = 0; a < archs.size(); ++a)
    for (const CompiledKernel &kernel : compiled[a])
      for (const Resources &entry : kernel.resources) {
        std::snprintf(line, sizeof line, "  %9lld %8lld %7lld %7lld %9zu  %-7s  %s%s\n", (long long)entry.registers,
                      (long long)entry.sharedBytes, (long long)entry.stackBytes,
                      (long long)(entry.spillStores + entry.spillLoads), kernel.output.cubin.size(), archs[a].c_str(),
                      entry.kernel.c_str(), kernel.fromCache ? " (cached)" : "");
        text += line;
      }
  return text;
}

} // namespace pg::nvrtc
