//===- Targets.cpp - what --target asks for ------------------------------------===//
#include "tools/pgc/Targets.h"

#include "passes/nvrtc/CompileKernels.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

namespace pg::tool {
namespace {

rt::Status usage(const llvm::Twine &message) { return {rt::Code::Usage, message.str()}; }

constexpr const char *kExpected = "expected a comma list of cpu, cpu:<level> (x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4-bf16, native), "
                                  "cuda, cuda:<arch>,<arch> (sm_80, sm_90a, ...) and cuda:source";

} // namespace

rt::StatusOr<Targets> parseTargets(const std::string &text) {
  Targets targets;
  bool inCuda = false, isSourceOnly = false;
  llvm::SmallVector<llvm::StringRef> items;
  llvm::StringRef(text).split(items, ',');
  auto addArch = [&](llvm::StringRef arch) -> rt::Status {
    if (arch == "source") {
      isSourceOnly = true;
      return rt::Status::ok();
    }
    if (!nvrtc::isArchName(arch.str()))
      return usage("unknown CUDA architecture '" + arch + "': expected sm_80, sm_90a, ... or source");
    if (!llvm::is_contained(targets.cudaArchs, arch))
      targets.cudaArchs.push_back(arch.str());
    return rt::Status::ok();
  };
  for (llvm::StringRef item : items) {
    auto [kind, detail] = item.split(':');
    if (inCuda && detail.empty() && (kind.starts_with("sm_") || kind == "source")) {
      if (rt::Status status = addArch(kind); !status)
        return status;
      continue;
    }
    inCuda = kind == "cuda";
    if (kind == "cuda") {
      if (targets.cuda)
        return usage("target cuda is given twice");
      targets.cuda = true;
      if (!detail.empty())
        if (rt::Status status = addArch(detail); !status)
          return status;
    } else if (kind == "cpu") {
      if (targets.cpu)
        return usage("target cpu is given twice");
      targets.cpu = cpu::hostTarget();
      if (!detail.empty()) {
        mlir::FailureOr<cpu::Target> named = cpu::namedTarget(detail);
        if (mlir::failed(named))
          return usage("unknown CPU level '" + detail + "': expected " + cpu::kLevels);
        targets.cpu = *named;
      }
    } else {
      return usage("unknown target '" + item + "': " + kExpected);
    }
  }
  if (isSourceOnly && !targets.cudaArchs.empty())
    return usage("cuda:source asks for no machine code; leave out the architectures");
  if (targets.cuda && !isSourceOnly && targets.cudaArchs.empty())
    targets.cudaArchs = {"sm_80", "sm_90a"};
  return targets;
}

} // namespace pg::tool
