//===- Nvrtc.cpp - NVIDIA's run-time compiler, loaded when needed -----------===//
#include "passes/nvrtc/Nvrtc.h"

#include "runtime/support/ToolkitLibraries.h"

#include <dlfcn.h>

namespace pg::nvrtc {
namespace {

constexpr int kOldestMajor = 12;

/// The program's memory in the library, given back in any case.
template <typename Destroy, typename Program> struct Owned {
  Destroy destroy;
  Program program = nullptr;
  ~Owned() {
    if (program)
      destroy(&program);
  }
};

} // namespace

rt::Status Library::open(const std::string &path) {
  void *handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *problem = ::dlerror();
    return {rt::Code::Environment, problem ? problem : "cannot open " + path};
  }
  bool complete = true;
  auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(handle, name));
    complete &= function != nullptr;
  };
  find(call.version, "nvrtcVersion");
  find(call.errorString, "nvrtcGetErrorString");
  find(call.create, "nvrtcCreateProgram");
  find(call.compile, "nvrtcCompileProgram");
  find(call.logSize, "nvrtcGetProgramLogSize");
  find(call.log, "nvrtcGetProgramLog");
  find(call.cubinSize, "nvrtcGetCUBINSize");
  find(call.cubin, "nvrtcGetCUBIN");
  find(call.ptxSize, "nvrtcGetPTXSize");
  find(call.ptx, "nvrtcGetPTX");
  find(call.destroy, "nvrtcDestroyProgram");
  if (!complete || call.version(&major, &minor) != 0 || major < kOldestMajor)
    return {rt::Code::Environment, path + ": not an NVRTC of CUDA " + std::to_string(kOldestMajor) + " or newer"};
  path_ = path;
  return rt::Status::ok();
}

rt::StatusOr<const Library *> Library::get() {
  static const rt::StatusOr<Library> found = []() -> rt::StatusOr<Library> {
    std::string last;
    for (const std::string &path : rt::nvrtcLibraries()) {
      Library library;
      rt::Status status = library.open(path);
      if (status)
        return library;
      last = status.message();
    }
    return rt::Status(rt::Code::Environment,
                      "CUDA code needs NVRTC, which this machine lacks (" + last +
                          "); install libnvrtc 12 or 13 (NVIDIA's CUDA toolkit, or its cuda-nvrtc package) and set "
                          "CUDA_HOME when it lies elsewhere than /usr/local/cuda. --target cpu works without");
  }();
  if (!found)
    return found.status();
  return &found.value();
}

std::string Library::version() const { return std::to_string(major) + "." + std::to_string(minor); }

rt::StatusOr<Output> Library::compile(const Source &source, const std::vector<std::string> &options) const {
  Owned<Result (*)(Program *), Program> owned{call.destroy};
  const char *headerText = source.headerText.c_str(), *headerName = source.headerName.c_str();
  int headers = source.headerName.empty() ? 0 : 1;
  Result result = call.create(&owned.program, source.text.c_str(), source.name.c_str(), headers, &headerText, &headerName);
  if (result != 0)
    return rt::Status(rt::Code::Internal, std::string("NVRTC: ") + call.errorString(result));
  std::vector<const char *> list;
  for (const std::string &option : options)
    list.push_back(option.c_str());
  result = call.compile(owned.program, int(list.size()), list.data());
  Output output;
  auto take = [&](std::string &text, Result (*size)(Program, size_t *), Result (*get)(Program, char *)) {
    size_t bytes = 0;
    if (size(owned.program, &bytes) != 0)
      return false;
    text.resize(bytes);
    return bytes == 0 || get(owned.program, text.data()) == 0;
  };
  bool hasLog = take(output.log, call.logSize, call.log);
  while (!output.log.empty() && output.log.back() == '\0')
    output.log.pop_back();
  if (result != 0 || !hasLog)
    return rt::Status(rt::Code::Invalid,
                      source.name + ": NVRTC: " + call.errorString(result) + "\n" + output.log);
  if (!take(output.cubin, call.cubinSize, call.cubin) || !take(output.ptx, call.ptxSize, call.ptx))
    return rt::Status(rt::Code::Internal, source.name + ": NVRTC gives no code");
  while (!output.ptx.empty() && output.ptx.back() == '\0')
    output.ptx.pop_back();
  return output;
}

} // namespace pg::nvrtc
