//===- Info.cpp - pgrun info --------------------------------------------------------===//
#include "runtime/package/PackageJson.h"
#include "runtime/support/Log.h"
#include "tools/pgrun/Verbs.h"

namespace pg::rt {
namespace {

struct Totals {
  int64_t parameters = 0;
  uint64_t parameterBytes = 0, stateBytes = 0, arenaBytes = 0;
  std::map<std::string, int64_t> byGroup;

  explicit Totals(const Package &package) {
    for (const Parameter &parameter : package.parameters) {
      int64_t count = elementCount(parameter.shape);
      parameters += count;
      byGroup[parameter.group] += count;
      parameterBytes += uint64_t(count * dtypeBytes(parameter.dtype));
    }
    for (const State &state : package.states)
      stateBytes += uint64_t(elementCount(state.shape) * dtypeBytes(state.dtype));
    for (const Entry &entry : package.entries)
      arenaBytes = std::max(arenaBytes, entry.arenaBytes);
  }
};

/// Sum over launches at the entry's largest size.
double flopsAtMax(const Package &package, const Entry &entry) {
  double flops = 0;
  for (const Launch &launch : entry.launches)
    flops += package.kernels[launch.kernel].typicalFlops(double(entry.maxTokens));
  return flops;
}

Json toJson(const Package &package) {
  Totals totals(package);
  Json entries = Json::array(), phases = Json::array(), targets = Json::array();
  for (const Entry &entry : package.entries)
    entries.push_back({{"name", entry.name}, {"role", entry.role}, {"phase", entry.phase},
                       {"max_tokens", entry.maxTokens}, {"arena_bytes", entry.arenaBytes},
                       {"launches", entry.launches.size()}, {"flops_at_max", numberToJson(flopsAtMax(package, entry))},
                       {"scalars", entry.scalars}});
  for (const Phase &phase : package.phases)
    phases.push_back({{"name", phase.name}, {"start", numberToJson(phase.startFraction)}});
  for (const CodeTarget &target : package.targets)
    targets.push_back({{"target", target.target}, {"cpu", target.cpu}, {"level", target.level}});
  return {{"model", package.model}, {"compiler", package.compiler}, {"program", package.programHash},
          {"precision", package.precision}, {"vocabulary", package.vocabulary},
          {"parameters", totals.parameters}, {"parameters_by_group", totals.byGroup},
          {"parameter_bytes", totals.parameterBytes}, {"state_bytes", totals.stateBytes},
          {"arena_bytes", totals.arenaBytes}, {"kernels", package.kernels.size()},
          {"code_bytes", package.codeCpu.size()}, {"entries", entries}, {"phases", phases},
          {"targets", targets}, {"recipe", Recipe(package).toJson()}};
}

std::string mib(uint64_t bytes) { return formatFixed(double(bytes) / (1 << 20), 1) + " MiB"; }

std::string toText(const Package &package) {
  Totals totals(package);
  std::string text = "model       " + package.model + "\ncompiler    " + package.compiler + "\nprogram     " +
                     package.programHash + "\nprecision   " + package.precision + "\nvocabulary  " +
                     std::to_string(package.vocabulary) + "\nparameters  " + std::to_string(totals.parameters) + " (" +
                     mib(totals.parameterBytes) + ")";
  for (const auto &[group, count] : totals.byGroup)
    text += "\n  " + group + "  " + std::to_string(count);
  text += "\nstates      " + mib(totals.stateBytes) + "\narena       " + mib(totals.arenaBytes) + "\nkernels     " +
          std::to_string(package.kernels.size()) + ", code " + mib(package.codeCpu.size());
  for (const CodeTarget &target : package.targets)
    text += "\ntarget      " + target.target + " " + target.cpu + " " + target.level;
  for (const Phase &phase : package.phases)
    text += "\nphase       " + phase.name + " from " + formatDouble(phase.startFraction);
  for (const Entry &entry : package.entries)
    text += "\nentry       " + entry.name + "  " + std::to_string(entry.launches.size()) + " launches, at most " +
            std::to_string(entry.maxTokens) + " tokens, arena " + mib(entry.arenaBytes);
  return text;
}

} // namespace

VerbFn addInfo(CLI::App &app) {
  struct Options {
    std::string package;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("package", options->package, "the compiled model, X.pgx")->required();
  app.add_flag("--json", options->json, "as JSON");
  return [options](int &) -> Status {
    auto package = readPackage(options->package);
    if (!package)
      return package.status();
    return print(options->json ? toJson(*package).dump(2, ' ', false, Json::error_handler_t::replace)
                               : toText(*package));
  };
}

} // namespace pg::rt
