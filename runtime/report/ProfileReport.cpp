//===- ProfileReport.cpp - a profile as a table, as JSON, as a trace --------===//
#include "runtime/report/ProfileReport.h"
#include "runtime/support/Log.h"

#include <algorithm>

namespace pg::rt {
namespace {

using Row = Profile::Row;

std::string padded(std::string text, size_t width) {
  if (text.size() < width)
    text.insert(0, width - text.size(), ' ');
  return text;
}

std::string percent(double share) { return formatFixed(100 * share, 1) + " %"; }

/// Parts of a run that are no kernel.
struct Rest {
  double kernels = 0;   ///< seconds of all launches
  double host = 0;      ///< of the named parts
  double between = 0;   ///< wall time less both; launching, tables, waiting
  double total = 0;     ///< wall time, or the sum where it is not known
  double idle = -1;     ///< share of the threads' time in launches that is no processor time of a kernel; -1 = not known
};

Rest restOf(const Profile &profile, const ProfileContext &context) {
  Rest rest;
  auto runs = double(context.runs);
  rest.kernels = profile.totalSeconds() / runs;
  for (const Row &part : profile.byHostPart())
    rest.host += part.seconds / runs;
  rest.total = context.wallSeconds > 0 ? context.wallSeconds : rest.kernels + rest.host;
  rest.between = std::max(0.0, rest.total - rest.kernels - rest.host);
  double busy = 0;
  for (const Row &row : profile.byKernel())
    busy += row.threadSeconds / runs;
  if (profile.threads() > 0 && rest.kernels > 0)
    rest.idle = std::max(0.0, 1 - busy / (rest.kernels * profile.threads()));
  return rest;
}

std::string rate(double amount, double seconds) { return seconds > 0 ? formatFixed(amount / seconds * 1e-9, 1) : "-"; }

std::string head(const char *what) {
  return padded("ms", 10) + padded("share", 9) + padded("launches", 10) + padded("GFLOP/s", 9) + padded("of peak", 9) +
         padded("GB/s", 8) + padded("of peak", 9) + "  limit   " + padded("of it", 8) + padded("at work", 9) + padded("threads", 9) + "  " + what + "\n";
}

std::string line(const Row &row, const ProfileContext &context, double total, int threads, bool isOneKernel) {
  auto runs = double(context.runs);
  const Peaks &peaks = context.peaks;
  auto share = [&](double secondsAtPeak, bool isKnown) {
    return isKnown && row.seconds > 0 ? percent(secondsAtPeak / row.seconds) : "-";
  };
  double atPeak = peaks.secondsOf(row.flops, row.pairFlops);
  KernelLimit limit = limitOf(row, peaks, threads);
  bool hasLimit = *limit.name;
  std::string kind = hasLimit ? limit.name : "-";
  return padded(formatFixed(row.seconds / runs * 1e3, 3), 10) + padded(percent(total > 0 ? row.seconds / runs / total : 0), 9) +
         padded(std::to_string(row.launches / context.runs), 10) + padded(rate(row.flops, row.seconds), 9) +
         padded(share(atPeak, peaks.flopsPerSecond > 0), 9) + padded(rate(row.bytes, row.seconds), 8) +
         padded(share(row.bytes / peaks.bytesPerSecond, peaks.bytesPerSecond > 0), 9) + "  " + kind + std::string(8 - kind.size(), ' ') +
         padded(hasLimit ? percent(limit.share) : "-", 8) + padded(limit.shareAtWork > 0 ? percent(limit.shareAtWork) : "-", 9) +
         padded(row.threadSeconds > 0 ? formatFixed(row.threadSeconds / row.seconds, 2) : "-", 9) + "  " + row.name +
         (isOneKernel ? "  " + row.program : "") + (row.summary.empty() ? "" : "  [" + row.summary + "]") + "\n";
}

std::string plainLine(double seconds, double total, const std::string &what) {
  return padded(formatFixed(seconds * 1e3, 3), 10) + padded(percent(total > 0 ? seconds / total : 0), 9) +
         std::string(81, ' ') + "  " + what + "\n";
}

Json toJson(const Row &row, const ProfileContext &context, double total, int threads) {
  auto runs = double(context.runs);
  KernelLimit limit = limitOf(row, context.peaks, threads);
  Json json = {{"name", row.name},
               {"seconds", row.seconds / runs},
               {"share", total > 0 ? row.seconds / runs / total : 0},
               {"launches", double(row.launches) / runs},
               {"flops", numberToJson(row.flops / runs)},
               {"pair_flops", numberToJson(row.pairFlops / runs)},
               {"bytes", numberToJson(row.bytes / runs)},
               {"gflops_per_second", row.seconds > 0 ? numberToJson(row.flops / row.seconds * 1e-9) : Json()},
               {"gbytes_per_second", row.seconds > 0 ? numberToJson(row.bytes / row.seconds * 1e-9) : Json()},
               {"threads_busy", row.threadSeconds > 0 ? Json(row.threadSeconds / row.seconds) : Json()}};
  const Peaks &peaks = context.peaks;
  json["share_of_peak_flops"] =
      peaks.flopsPerSecond > 0 && row.seconds > 0 ? Json(peaks.secondsOf(row.flops, row.pairFlops) / row.seconds) : Json();
  json["share_of_peak_bytes"] =
      peaks.bytesPerSecond > 0 && row.seconds > 0 ? Json(row.bytes / row.seconds / peaks.bytesPerSecond) : Json();
  json["limit"] = *limit.name ? Json(limit.name) : Json();
  json["share_of_limit"] = *limit.name ? Json(limit.share) : Json();
  json["share_of_limit_at_work"] = limit.shareAtWork > 0 ? Json(limit.shareAtWork) : Json();
  return json;
}

Json listToJson(const std::vector<Row> &rows, const ProfileContext &context, double total, int threads) {
  Json list = Json::array();
  for (const Row &row : rows)
    list.push_back(toJson(row, context, total, threads));
  return list;
}

} // namespace

KernelLimit limitOf(const Row &row, const Peaks &peaks, int threads) {
  if (peaks.flopsPerSecond <= 0 || peaks.bytesPerSecond <= 0 || row.seconds <= 0)
    return {};
  double compute = peaks.secondsOf(row.flops, row.pairFlops), memory = row.bytes / peaks.bytesPerSecond;
  double bound = std::max(compute, memory);
  if (bound <= 0)
    return {};
  return {compute > memory ? "compute" : "memory", bound / row.seconds,
          row.threadSeconds > 0 ? bound * threads / row.threadSeconds : 0};
}

std::string profileText(const Profile &profile, const ProfileContext &context, size_t kernels) {
  Rest rest = restOf(profile, context);
  const Peaks &peaks = context.peaks;
  std::string text = context.device.empty() ? "" : context.device;
  if (peaks.flopsPerSecond > 0)
    text += ": measured peaks " + formatFixed(peaks.flopsPerSecond * 1e-9, 1) + " GFLOP/s (" + peaks.arithmetic +
            ", from registers), " +
            (peaks.pairFlopsPerSecond > 0 ? formatFixed(peaks.pairFlopsPerSecond * 1e-9, 1) + " GFLOP/s for products of bf16 pairs, " : "") +
            formatFixed(peaks.bytesPerSecond * 1e-9, 1) + " GB/s (copy between arrays in memory)";
  else if (!text.empty())
    text += ": peaks are not known for this device";
  text += text.empty() ? "" : "\n";
  text += head("program");
  for (const Row &row : profile.byProgram())
    text += line(row, context, rest.total, profile.threads(), false);
  text += head("category");
  for (const Row &row : profile.byCategory())
    text += line(row, context, rest.total, profile.threads(), false);
  for (const Row &part : profile.byHostPart())
    text += plainLine(part.seconds / double(context.runs), rest.total, part.name);
  if (context.wallSeconds > 0) {
    text += plainLine(rest.between, rest.total, "between the kernels: launching, tables, copies");
    text += plainLine(rest.total, rest.total, "one run");
  }
  if (rest.idle >= 0)
    text += "threads without work, or without a processor, inside launches: " + percent(rest.idle) + " of their time\n";
  std::vector<Row> slowest = profile.byKernel();
  if (kernels > 0)
    text += head("slowest kernels");
  for (size_t i = 0; i < std::min(kernels, slowest.size()); ++i)
    text += line(slowest[i], context, rest.total, profile.threads(), true);
  return text;
}

Json profileJson(const Profile &profile, const ProfileContext &context) {
  Rest rest = restOf(profile, context);
  const Peaks &peaks = context.peaks;
  Json kernels = Json::array(), host = Json::array();
  for (const Row &row : profile.byKernel()) {
    Json one = toJson(row, context, rest.total, profile.threads());
    one["program"] = row.program;
    one["category"] = row.category;
    one["summary"] = row.summary;
    kernels.push_back(std::move(one));
  }
  for (const Row &part : profile.byHostPart())
    host.push_back({{"name", part.name}, {"seconds", part.seconds / double(context.runs)}});
  Json measured;
  if (peaks.flopsPerSecond > 0)
    measured = {{"flops_per_second", peaks.flopsPerSecond},
                {"pair_flops_per_second", peaks.pairFlopsPerSecond > 0 ? Json(peaks.pairFlopsPerSecond) : Json()},
                {"bytes_per_second", peaks.bytesPerSecond},
                {"arithmetic", peaks.arithmetic}};
  return {{"runs", context.runs},
          {"device", context.device},
          {"threads", profile.threads()},
          {"wall_seconds", rest.total},
          {"kernel_seconds", rest.kernels},
          {"host_seconds", rest.host},
          {"between_seconds", rest.between},
          {"idle_share", rest.idle >= 0 ? Json(rest.idle) : Json()},
          {"peaks", measured},
          {"programs", listToJson(profile.byProgram(), context, rest.total, profile.threads())},
          {"categories", listToJson(profile.byCategory(), context, rest.total, profile.threads())},
          {"kernels", kernels},
          {"host", host}};
}

Json traceJson(const Profile &profile, const ProfileContext &context) {
  Json events = Json::array();
  auto name = [&](int thread, const std::string &text) {
    events.push_back({{"ph", "M"}, {"name", "thread_name"}, {"pid", 0}, {"tid", thread}, {"args", {{"name", text}}}});
  };
  events.push_back({{"ph", "M"}, {"name", "process_name"}, {"pid", 0}, {"args", {{"name", context.device}}}});
  name(0, "launches");
  for (int t = 0; t < profile.threads(); ++t)
    name(t + 1, "thread " + std::to_string(t));
  double start = profile.events().empty() ? 0 : profile.events().front().begin;
  for (const Profile::Event &event : profile.events())
    start = std::min(start, event.begin);
  for (const Profile::Event &event : profile.events()) {
    Row row = profile.rowAt(event.row);
    bool isHost = row.program.empty();
    Json args = isHost ? Json::object()
                       : Json{{"program", row.program}, {"flops", numberToJson(event.flops)},
                              {"bytes", numberToJson(event.bytes)}};
    events.push_back({{"ph", "X"},
                      {"name", row.summary.empty() ? row.name : row.name + " [" + row.summary + "]"},
                      {"cat", isHost ? "host" : row.category},
                      {"pid", 0},
                      {"tid", event.thread + 1},
                      {"ts", (event.begin - start) * 1e6},
                      {"dur", (event.end - event.begin) * 1e6},
                      {"args", std::move(args)}});
  }
  return {{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}};
}

} // namespace pg::rt
