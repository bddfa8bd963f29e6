//===- Report.cpp - what a compiled model costs
//----------------------------===//

#include "passes/fuse/Report.h"

#include "passes/fuse/Passes.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <map>

using namespace mlir;

namespace pg {

namespace {

/// Entropy of the integers of a quantised Gaussian weight, by quantisation
/// label (stack-1693 §4.2: 6 bits for matrices, 7 for the embedding). Labels of
/// other models are taken as plain 6-bit matrices.
double bitsPerWeight(StringRef label) {
  if (label == "attn")
    return 3.301;
  if (label == "mlp")
    return 3.416;
  if (label == "embed")
    return 4.117;
  return 3.4;
}

/// Tensors up to this size are stored as 16-bit floats whatever their label
/// (stack-1693 §4.2).
constexpr int64_t kMaxPassThrough = 65536;

double artifactBytesOf(ParameterOp parameter) {
  auto type = cast<RankedTensorType>(parameter.getType());
  int64_t values = type.getNumElements();
  if (parameter.getQuant().empty() || type.getRank() < 2 ||
      values <= kMaxPassThrough)
    return 2.0 * values;
  if (type.getElementType().isInteger(8)) // its scales are a parameter beside it
    return values * bitsPerWeight(parameter.getQuant()) / 8;
  // One 16-bit scale for each row.
  return values * bitsPerWeight(parameter.getQuant()) / 8 +
         2.0 * (values / type.getShape().back());
}

void addTo(std::vector<Report::Group> &groups, StringRef name, int64_t values) {
  auto it =
      llvm::find_if(groups, [&](auto &group) { return group.name == name; });
  if (it == groups.end())
    it = groups.insert(groups.end(), {name.str(), 0, 0});
  ++it->tensors;
  it->values += values;
}

Report::Kernel describe(KernelDefOp def) {
  Report::Kernel kernel;
  kernel.name = def.getSymName().str();
  Block &body = def.getBody().front();
  for (Value argument : body.getArguments())
    kernel.bytes += bytesOf(argument.getType());
  for (Operation &op : body) {
    if (isa<YieldOp>(op)) {
      for (auto [mode, value] : llvm::zip(def.getModes(), op.getOperands())) {
        kernel.bytes += bytesOf(value.getType());
        if (mode == 2) // adding reads what is there
          kernel.bytes += bytesOf(value.getType());
      }
      continue;
    }
    kernel.flops += flopsOf(&op);
    if (!isIndexOp(&op))
      kernel.ops.push_back(shortName(&op).str());
  }
  for (std::string &line : sourceLines(def.getLoc()))
    kernel.sources.push_back(std::move(line));
  return kernel;
}

PerToken numbers(func::FuncOp entry, StringRef name) {
  auto perToken =
      entry->getAttrOfType<FloatAttr>(("pg." + name + "_per_token").str());
  auto fixed = entry->getAttrOfType<FloatAttr>(("pg." + name + "_fixed").str());
  return {perToken ? perToken.getValueAsDouble() : 0,
          fixed ? fixed.getValueAsDouble() : 0};
}

int64_t integer(Operation *op, StringRef name) {
  auto attr = op->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getInt() : 0;
}

/// 1234567 -> "1,234,567".
std::string grouped(int64_t value) {
  std::string digits = std::to_string(std::abs(value));
  for (int64_t at = int64_t(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(at, ",");
  return value < 0 ? "-" + digits : digits;
}

std::string groupName(const std::string &name) {
  return name.empty() ? "(none)" : name;
}

} // namespace

double Report::Entry::fusedRatio(int64_t maxTokens) const {
  double unfused = unfusedBytes.at(double(maxTokens));
  return unfused > 0 ? bytes.at(double(maxTokens)) / unfused : 1;
}

int64_t Report::peakBytes() const {
  int64_t arena = 0;
  for (const Entry &entry : entries)
    arena = std::max(arena, entry.arenaBytes);
  return parameterBytes + stateBytes + arena;
}

Report buildReport(ModuleOp module) {
  Report report;
  if (auto name = module->getAttrOfType<StringAttr>("pg.model"))
    report.model = name.getValue().str();
  if (auto precision = module->getAttrOfType<StringAttr>("pg.precision"))
    report.precision = precision.getValue().str();
  report.maxTokens = maxTokensOf(module);

  double artifact = 0;
  for (auto parameter : module.getOps<ParameterOp>()) {
    int64_t values =
        cast<RankedTensorType>(parameter.getType()).getNumElements();
    report.parameterValues += values;
    report.parameterBytes += bytesAt(parameter.getType(), 0);
    addTo(report.groups, parameter.getGroup(), values);
    addTo(report.quantGroups, parameter.getQuant(), values);
    artifact += artifactBytesOf(parameter);
  }
  report.artifactBytes = std::llround(artifact);
  for (auto state : module.getOps<StateOp>())
    report.stateBytes += bytesAt(state.getType(), 0);

  std::map<StringRef, size_t> index;
  for (auto def : module.getOps<KernelDefOp>()) {
    index[def.getSymName()] = report.kernels.size();
    report.kernels.push_back(describe(def));
  }
  for (func::FuncOp function : entriesOf(module)) {
    Report::Entry entry;
    entry.name = function.getSymName().str();
    entry.unfusedBytes = numbers(function, "unfused_bytes");
    entry.arenaBytes = integer(function, "pg.arena_bytes");
    entry.liveBytes = integer(function, "pg.live_bytes");
    if (auto logits = function->getAttrOfType<StringAttr>(kLogitsAttr))
      entry.logits = logits.getValue().str();
    for (auto launch : function.getBody().front().getOps<LaunchOp>()) {
      Report::Kernel &kernel = report.kernels[index.at(launch.getKernel())];
      ++kernel.launches;
      ++entry.launches;
      entry.flops += kernel.flops;
      entry.bytes += kernel.bytes;
    }
    report.entries.push_back(std::move(entry));
  }
  return report;
}

std::string Report::text() const {
  std::string out;
  llvm::raw_string_ostream os(out);
  os << "model " << model << ", " << precision << ", planned for "
     << grouped(maxTokens)
     << " tokens\n\nparameters: " << grouped(parameterValues) << "\n";
  for (const Group &group : groups)
    os << llvm::format("  %-24s %15s in %lld tensors\n",
                       groupName(group.name).c_str(),
                       grouped(group.values).c_str(), (long long)group.tensors);
  os << "by quantisation group\n";
  for (const Group &group : quantGroups)
    os << llvm::format("  %-24s %15s in %lld tensors\n",
                       groupName(group.name).c_str(),
                       grouped(group.values).c_str(), (long long)group.tensors);
  os << "estimated artifact: " << grouped(artifactBytes) << " bytes\n"
     << "peak memory: " << grouped(peakBytes()) << " bytes (parameters "
     << grouped(parameterBytes) << ", state " << grouped(stateBytes)
     << ", arena " << grouped(peakBytes() - parameterBytes - stateBytes)
     << ")\n\n"
     << "entry                         launches    flops/token    bytes/token  "
        "moved/unfused"
        "     arena bytes  arena/live\n";
  for (const Entry &entry : entries)
    os << llvm::format(
        "%-28s %9lld %14.0f %14.0f %14.3f %15s %11.3f\n", entry.name.c_str(),
        (long long)entry.launches, entry.flops.perToken, entry.bytes.perToken,
        entry.fusedRatio(maxTokens), grouped(entry.arenaBytes).c_str(),
        entry.liveBytes ? double(entry.arenaBytes) / entry.liveBytes : 1.0);
  os << "(attention counted with " << kCostContext << " keys; moved/unfused at "
     << grouped(maxTokens) << " tokens)\n";
  for (const Entry &entry : entries)
    if (!entry.logits.empty())
      os << "logits between loss and gradients of " << entry.name << ": "
         << entry.logits << "\n";
  os << "\ndistinct kernels: " << kernels.size() << "\n";
  for (const Kernel &kernel : kernels) {
    os << "  " << kernel.name << " x" << kernel.launches << ": "
       << llvm::join(kernel.ops, " ") << "\n";
    if (!kernel.sources.empty())
      os << "      " << llvm::join(ArrayRef(kernel.sources).take_front(6), " ")
         << (kernel.sources.size() > 6 ? " ..." : "") << "\n";
  }
  return out;
}

llvm::json::Value Report::json() const {
  using llvm::json::Array;
  using llvm::json::Object;
  auto groupArray = [](const std::vector<Group> &groups) {
    Array array;
    for (const Group &group : groups)
      array.push_back(Object{{"name", group.name},
                             {"tensors", group.tensors},
                             {"parameters", group.values}});
    return array;
  };
  Array entryArray, kernelArray;
  for (const Entry &entry : entries)
    entryArray.push_back(
        Object{{"name", entry.name},
               {"launches", entry.launches},
               {"flops_per_token", entry.flops.perToken},
               {"flops_fixed", entry.flops.fixed},
               {"bytes_per_token", entry.bytes.perToken},
               {"bytes_fixed", entry.bytes.fixed},
               {"unfused_bytes_per_token", entry.unfusedBytes.perToken},
               {"unfused_bytes_fixed", entry.unfusedBytes.fixed},
               {"moved_over_unfused", entry.fusedRatio(maxTokens)},
               {"arena_bytes", entry.arenaBytes},
               {"live_bytes", entry.liveBytes},
               {"logits", entry.logits}});
  for (const Kernel &kernel : kernels)
    kernelArray.push_back(Object{{"name", kernel.name},
                                 {"launches", kernel.launches},
                                 {"ops", Array(kernel.ops)},
                                 {"sources", Array(kernel.sources)},
                                 {"flops_per_token", kernel.flops.perToken},
                                 {"flops_fixed", kernel.flops.fixed},
                                 {"bytes_per_token", kernel.bytes.perToken},
                                 {"bytes_fixed", kernel.bytes.fixed}});
  return Object{{"model", model},
                {"precision", precision},
                {"max_tokens", maxTokens},
                {"parameters", parameterValues},
                {"parameter_bytes", parameterBytes},
                {"state_bytes", stateBytes},
                {"peak_bytes", peakBytes()},
                {"artifact_bytes", artifactBytes},
                {"groups", groupArray(groups)},
                {"quant_groups", groupArray(quantGroups)},
                {"entries", std::move(entryArray)},
                {"distinct_kernels", int64_t(kernels.size())},
                {"kernels", std::move(kernelArray)}};
}

} // namespace pg
