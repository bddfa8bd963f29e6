//===- Roofline.cpp - the least time a GPU can take for an entry -------------===//
#include "passes/report/Roofline.h"

#include "dialect/Pg.h"
#include "passes/fuse/Report.h"
#include "passes/fuse/Tensors.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace mlir;

namespace pg {
namespace {

// Data sheets of NVIDIA A100 SXM 80 GB, H100 SXM5, H200. The shares are measured
// on an H200: 4.3 TB/s copied, 790 TFLOP/s in an 8192^3 bf16 product on random data.
constexpr GpuModel kGpus[] = {{"A100", 2.04e12, 312e12, 19.5e12, 0.9, 0.8},
                              {"H100", 3.35e12, 989e12, 66.9e12, 0.9, 0.8},
                              {"H200", 4.80e12, 989e12, 66.9e12, 0.9, 0.8}};

/// Whether a kernel's arithmetic is mostly a product of bf16 operands.
bool usesTensorCores(KernelDefOp def) {
  for (Operation &op : def.getBody().front())
    if (isStructured(&op) && op.getNumOperands() > 0)
      if (auto type = dyn_cast<ShapedType>(op.getOperand(0).getType()))
        return type.getElementType().isBF16();
  return false;
}

/// 1234567 -> "1.23 M".
std::string scaled(double value) {
  const char *units[] = {"", " k", " M", " G", " T", " P"};
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(units)) {
    value /= 1000;
    ++unit;
  }
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.3g", value) << units[unit];
  return text;
}

} // namespace

ArrayRef<GpuModel> gpuModels() { return kGpus; }

std::vector<RooflineEntry> roofline(ModuleOp module, llvm::function_ref<int64_t(StringRef)> stagesOf) {
  Report report = buildReport(module);
  std::map<StringRef, size_t> kernels;
  for (auto [i, kernel] : llvm::enumerate(report.kernels))
    kernels[kernel.name] = i;
  std::map<StringRef, bool> onTensorCores;
  for (auto def : module.getOps<KernelDefOp>())
    onTensorCores[def.getSymName()] = usesTensorCores(def);

  std::vector<RooflineEntry> entries;
  for (func::FuncOp function : entriesOf(module)) {
    RooflineEntry entry;
    entry.entry = function.getSymName().str();
    entry.seconds.assign(std::size(kGpus), 0);
    bool hasTokens = false;
    for (Operation &op : function.getBody().front())
      for (Type type : op.getResultTypes())
        hasTokens |= isTokenTensor(type);
    entry.tokens = hasTokens ? report.maxTokens : 0;
    for (auto launch : function.getBody().front().getOps<LaunchOp>()) {
      const Report::Kernel &kernel = report.kernels[kernels.at(launch.getKernel())];
      double flops = kernel.flops.at(double(entry.tokens)), bytes = kernel.bytes.at(double(entry.tokens));
      ++entry.launches;
      entry.stages += stagesOf(launch.getKernel());
      entry.flops += flops;
      entry.bytes += bytes;
      for (auto [gpu, seconds] : llvm::zip(kGpus, entry.seconds)) {
        double rate = onTensorCores.at(launch.getKernel()) ? gpu.tensorFlops * gpu.tensorShare : gpu.vectorFlops;
        seconds += std::max(flops / rate, bytes / (gpu.bytesPerSecond * gpu.bandwidthShare));
      }
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

void addSteps(std::vector<RooflineEntry> &entries, int64_t stepTokens) {
  const std::vector<RooflineEntry> known = entries;
  const RooflineEntry *apply = nullptr;
  for (const RooflineEntry &entry : known)
    if (entry.entry == "apply")
      apply = &entry;
  for (const RooflineEntry &call : known) {
    StringRef name = call.entry;
    if (!name.consume_front("accumulate") || call.tokens == 0 || !apply || stepTokens <= 0)
      continue;
    int64_t calls = llvm::divideCeil(stepTokens, call.tokens);
    auto together = [&](auto part, auto last) { return part * static_cast<decltype(part)>(calls) + last; };
    RooflineEntry step;
    step.entry = "step" + name.str();
    step.launches = together(call.launches, apply->launches);
    step.stages = together(call.stages, apply->stages);
    step.tokens = together(call.tokens, int64_t(0));
    step.flops = together(call.flops, apply->flops);
    step.bytes = together(call.bytes, apply->bytes);
    for (auto [part, last] : llvm::zip(call.seconds, apply->seconds))
      step.seconds.push_back(together(part, last));
    entries.push_back(std::move(step));
  }
}

std::string rooflineText(ArrayRef<RooflineEntry> entries) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "\nCUDA: the least time of an entry (attainable rates: 90 % of the bandwidth, 80 % of the tensor cores)\n"
     << llvm::format("%-28s %8s %8s %10s %10s %11s", "entry", "launches", "kernels", "flops", "bytes", "bytes/token");
  for (const GpuModel &gpu : kGpus)
    os << llvm::format("  %20s", gpu.name);
  os << "\n";
  for (const RooflineEntry &entry : entries) {
    std::string perToken = entry.tokens ? scaled(entry.bytes / double(entry.tokens)) : "";
    os << llvm::format("%-28s %8lld %8lld %10s %10s %11s", entry.entry.c_str(), (long long)entry.launches,
                       (long long)entry.stages, scaled(entry.flops).c_str(), scaled(entry.bytes).c_str(),
                       perToken.c_str());
    for (double seconds : entry.seconds) {
      std::string cell;
      llvm::raw_string_ostream out(cell);
      out << llvm::format("%.2f ms", seconds * 1e3);
      if (entry.tokens && seconds > 0)
        out << " " << scaled(double(entry.tokens) / seconds) << " tok/s";
      os << llvm::format("  %20s", cell.c_str());
    }
    os << "\n";
  }
  return text;
}

llvm::json::Array rooflineJson(ArrayRef<RooflineEntry> entries) {
  llvm::json::Array list;
  for (const RooflineEntry &entry : entries) {
    llvm::json::Object seconds;
    for (auto [gpu, value] : llvm::zip(kGpus, entry.seconds))
      seconds[gpu.name] = value;
    list.push_back(llvm::json::Object{{"entry", entry.entry},
                                      {"launches", entry.launches},
                                      {"kernels", entry.stages},
                                      {"tokens", entry.tokens},
                                      {"flops", entry.flops},
                                      {"bytes", entry.bytes},
                                      {"bytes_per_token", entry.tokens ? entry.bytes / double(entry.tokens) : 0},
                                      {"seconds", std::move(seconds)}});
  }
  return list;
}

} // namespace pg
