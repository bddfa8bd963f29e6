//===- Nvrtc.h - NVIDIA's run-time compiler, loaded when needed -------------===//
//
// CUDA C++ to cubin and PTX with no GPU and no driver (reference: NVRTC's
// documented interface; the declarations are our own, so building needs no
// toolkit). The library is found at run time: $CUDA_HOME, $CUDA_PATH, the default
// prefix, then the loader's own search.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_NVRTC_NVRTC_H
#define PG_PASSES_NVRTC_NVRTC_H

#include "runtime/support/Status.h"

#include <string>
#include <vector>

namespace pg::nvrtc {

/// One translation unit.
struct Source {
  std::string name;        ///< for messages
  std::string text;
  std::string headerName;  ///< what the text includes
  std::string headerText;
};

struct Output {
  std::string cubin, ptx, log;
};

class Library {
public:
  /// Environment with what to install when there is none.
  static rt::StatusOr<const Library *> get();

  /// "13.0".
  std::string version() const;
  /// "/usr/local/cuda/lib64/libnvrtc.so.13".
  const std::string &path() const { return path_; }

  /// Compiles for one architecture ("sm_90a"); thread-safe. Invalid carries the
  /// compiler's log.
  rt::StatusOr<Output> compile(const Source &source, const std::vector<std::string> &options) const;

private:
  rt::Status open(const std::string &path);

  using Program = struct ProgramObject *;
  using Result = int;
  struct {
    Result (*version)(int *major, int *minor) = nullptr;
    const char *(*errorString)(Result result) = nullptr;
    Result (*create)(Program *program, const char *source, const char *name, int headers,
                     const char *const *headerTexts, const char *const *headerNames) = nullptr;
    Result (*compile)(Program program, int options, const char *const *list) = nullptr;
    Result (*logSize)(Program program, size_t *bytes) = nullptr;
    Result (*log)(Program program, char *text) = nullptr;
    Result (*cubinSize)(Program program, size_t *bytes) = nullptr;
    Result (*cubin)(Program program, char *bytes) = nullptr;
    Result (*ptxSize)(Program program, size_t *bytes) = nullptr;
    Result (*ptx)(Program program, char *text) = nullptr;
    Result (*destroy)(Program *program) = nullptr;
  } call;
  int major = 0, minor = 0;
  std::string path_;
};

} // namespace pg::nvrtc

#endif // PG_PASSES_NVRTC_NVRTC_H
