//===- ProgressText.cpp - the line a person watches ---------------------------===//
#include "runtime/report/ProgressText.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <cmath>

namespace pg::rt {
namespace {

/// Data sheet, dense, without sparsity; f32 outside the tensor cores.
struct Peak {
  const char *device;
  double bf16, f32, f64;  ///< TFLOP/s
};
constexpr Peak kPeaks[] = {
    {"H200", 989, 67, 34},       {"H100 PCIe", 756, 51, 26}, {"H100 NVL", 835, 60, 30}, {"H100", 989, 67, 34},
    {"A100", 312, 19.5, 9.7},    {"L40S", 362, 91.6, 1.4},   {"L4", 121, 30.3, 0.5},    {"A10G", 70, 31.2, 0.5},
};

std::string rateText(double perSecond) {
  if (perSecond >= 1e7)
    return formatFixed(perSecond / 1e6, 1) + "M";
  if (perSecond >= 1e6)
    return formatFixed(perSecond / 1e6, 2) + "M";
  if (perSecond >= 1e4)
    return formatFixed(perSecond / 1e3, 0) + "k";
  if (perSecond >= 1e3)
    return formatFixed(perSecond / 1e3, 1) + "k";
  return formatFixed(perSecond, 0);
}

} // namespace

void StepTimes::add(double seconds) { kept[count++ % kKept] = seconds; }

double StepTimes::median() const {
  size_t held = std::min(count, kKept);
  if (held == 0)
    return 0;
  double sorted[kKept];
  std::copy(kept, kept + held, sorted);
  std::sort(sorted, sorted + held);
  return held % 2 ? sorted[held / 2] : 0.5 * (sorted[held / 2 - 1] + sorted[held / 2]);
}

double remainingSeconds(const StepTimes &times, int64_t stepsLeft, double secondsLeft) {
  double bySteps = stepsLeft >= 0 ? times.median() * double(stepsLeft) : kNoBudget;
  return std::max(0.0, std::min(bySteps, secondsLeft));
}

std::string progressText(const ProgressState &state) {
  std::string text = state.stage;
  if (!state.phase.empty())
    text += " " + state.phase;
  text += " " + std::to_string(state.step);
  if (state.steps > 0)
    text += "/" + std::to_string(state.steps);
  text += "  loss " + formatFixed(state.loss, 4) + "  " + rateText(state.tokensPerSecond) + " tokens/s";
  if (state.utilisation >= 0)
    text += "  MFU " + formatFixed(100 * state.utilisation, state.utilisation < 0.1 ? 1 : 0) + "%";
  if (state.memoryBytes > 0)
    text += "  " + std::to_string(state.memoryBytes >> 20) + " MiB";
  if (state.artifactBytes >= 0)
    text += "  artifact ~" + formatFixed(double(state.artifactBytes) / 1e6, 2) + " MB";
  if (std::isfinite(state.remaining))
    text += "  ETA " + formatDuration(state.remaining);
  if (std::isfinite(state.budgetLeft))
    text += "  budget " + formatDuration(std::max(0.0, state.budgetLeft));
  return text;
}

double flopsPerToken(const Package &package, const Entry &entry) {
  double flops = 0;
  for (const Launch &launch : entry.launches) {
    const Kernel &kernel = package.kernels[launch.kernel];
    flops += kernel.typicalFlops(1) - kernel.flopsFixed;
  }
  return flops;
}

double knownPeakFlops(const std::string &device, const std::string &precision) {
  for (const Peak &peak : kPeaks)
    if (device.find(peak.device) != std::string::npos)
      return 1e12 * (precision == "bf16" ? peak.bf16 : precision == "f64" ? peak.f64 : peak.f32);
  return 0;
}

} // namespace pg::rt
