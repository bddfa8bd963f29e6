//===- CpuTarget.cpp - levels of x86-64 and what they need ------------------===//
#include "passes/cpu/CpuBackend.h"

#include "runtime/package/KernelAbi.h"

#include "llvm/TargetParser/Host.h"

using namespace mlir;

namespace pg::cpu {
namespace {

/// An instruction set by LLVM's name and by /proc/cpuinfo's.
struct Feature {
  const char *llvm;
  const char *flag;
};

constexpr Feature kLevel2[] = {{"cx16", "cx16"},     {"sahf", "lahf_lm"},
                               {"popcnt", "popcnt"}, {"sse3", "pni"},
                               {"ssse3", "ssse3"},   {"sse4.1", "sse4_1"},
                               {"sse4.2", "sse4_2"}};
constexpr Feature kLevel3[] = {
    {"avx", "avx"},   {"avx2", "avx2"},   {"bmi", "bmi1"},
    {"bmi2", "bmi2"}, {"f16c", "f16c"},   {"fma", "fma"},
    {"lzcnt", "abm"}, {"movbe", "movbe"}, {"xsave", "xsave"}};
constexpr Feature kLevel4[] = {{"avx512f", "avx512f"},
                               {"avx512bw", "avx512bw"},
                               {"avx512cd", "avx512cd"},
                               {"avx512dq", "avx512dq"},
                               {"avx512vl", "avx512vl"}};
/// Worth having where present; only "native" code uses them.
constexpr Feature kExtensions[] = {
    {kPairDotFeature, rt::kVersionFlag}, {"avx512vnni", "avx512_vnni"},
    {"avx512vbmi", "avx512vbmi"},  {"avx512vbmi2", "avx512_vbmi2"},
    {"avx512fp16", "avx512_fp16"}, {"avxvnni", "avx_vnni"}};

constexpr Feature kBf16Dot[] = {{kPairDotFeature, rt::kVersionFlag}};
constexpr const char *kLevel4Bf16 = "x86-64-v4-bf16";

void addLevel(Target &target, llvm::ArrayRef<Feature> features) {
  for (const Feature &feature : features)
    target.features.push_back(feature.flag);
}

Target makeLevel(int level) {
  Target target;
  target.level = target.cpu = "x86-64-v" + std::to_string(level);
  target.vectorBytes = level >= 4 ? 64 : level == 3 ? 32 : 16;
  addLevel(target, kLevel2);
  if (level >= 3)
    addLevel(target, kLevel3);
  if (level >= 4)
    addLevel(target, kLevel4);
  return target;
}

/// Level 4 with second versions of what multiplies bf16 numbers.
Target makeLevel4Bf16() {
  Target target = makeLevel(4);
  target.level = kLevel4Bf16;
  target.pairDot = PairDot::Instruction;
  target.pairDotIsVersion = true;
  return target;
}

bool hostHas(llvm::ArrayRef<Feature> features) {
  static const llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  return llvm::all_of(features, [](const Feature &feature) {
    auto found = host.find(feature.llvm);
    return found != host.end() && found->second;
  });
}

} // namespace

Target hostTarget() {
  if (!hostHas(kLevel2) || !hostHas(kLevel3))
    return makeLevel(2);
  if (!hostHas(kLevel4))
    return makeLevel(3);
  return hostHas(kBf16Dot) ? makeLevel4Bf16() : makeLevel(4);
}

FailureOr<Target> namedTarget(llvm::StringRef level) {
  if (level == "x86-64-v2")
    return makeLevel(2);
  if (level == "x86-64-v3")
    return makeLevel(3);
  if (level == "x86-64-v4")
    return makeLevel(4);
  if (level == kLevel4Bf16)
    return makeLevel4Bf16();
  if (level != "native")
    return failure();
  // Code for this machine alone needs no second version.
  Target target = hostTarget();
  target.level = "native";
  target.pairDotIsVersion = false;
  for (const Feature &extension : kExtensions) {
    if (!hostHas(extension))
      continue;
    target.features.push_back(extension.flag);
    if (!target.llvmFeatures.empty())
      target.llvmFeatures += ",";
    target.llvmFeatures += std::string("+") + extension.llvm;
  }
  return target;
}

} // namespace pg::cpu
