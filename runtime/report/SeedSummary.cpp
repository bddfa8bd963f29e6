//===- SeedSummary.cpp - several seeds of one recipe --------------------------===//
#include "runtime/report/SeedSummary.h"
#include "runtime/support/File.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

namespace pg::rt {
namespace {

constexpr size_t kMaxSeeds = 64;

/// Parts between commas, spaces at their ends left out.
std::vector<std::string> split(const std::string &text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    std::string part = text.substr(begin, end - begin);
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    parts.push_back(part);
    begin = end + 1;
  }
  return parts;
}

template <typename T> bool parseWhole(const std::string &text, T &value) {
  auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

std::string padded(const std::string &text, size_t width) {
  return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

const char *unitOf(const std::string &metric) { return metric == "bpb" ? "bits per byte" : "nats per token"; }

Json optionalNumber(const std::optional<double> &value) { return value ? numberToJson(*value) : Json(); }

std::string pText(double p) {
  if (p >= 1e-3 || !(p > 0))
    return formatFixed(p, 4);
  int exponent = int(std::floor(std::log10(p)));
  return formatFixed(p / std::pow(10, exponent), 1) + "e" + std::to_string(exponent);
}

StatusOr<Baseline> baselineOfFolder(const std::string &folder, Baseline baseline) {
  std::string path = folder + "/seeds.json";
  auto text = readFile(path, uint64_t(1) << 26);
  if (!text)
    return text.status().with("--baseline needs values or the folder of several seeds");
  auto summary = parseJson(*text);
  if (!summary)
    return summary.status().with("'" + path + "'");
  Status status = Status::ok();
  JsonFields fields(*summary, "'" + path + "'", status);
  baseline.metric = fields.string("metric");
  for (const Json &run : fields.array("runs")) {
    JsonFields item(run, "'" + path + "': runs", status);
    baseline.values.push_back(item.number("value"));
  }
  if (!status)
    return status;
  return baseline;
}

} // namespace

StatusOr<Baseline> readBaseline(const std::string &text) {
  Baseline baseline;
  baseline.from = text;
  for (const std::string &part : split(text)) {
    double value = 0;
    if (!parseWhole(part, value) || !std::isfinite(value)) {
      baseline.values.clear();
      return baselineOfFolder(text, baseline);
    }
    baseline.values.push_back(value);
  }
  if (baseline.values.size() < 2)
    return Status(Code::Usage, "--baseline " + text + ": a test needs at least two values, separated by commas");
  return baseline;
}

StatusOr<std::vector<int64_t>> parseSeeds(const std::string &text, int64_t first) {
  std::vector<int64_t> seeds;
  Status wrong(Code::Usage, "--seeds " + text + ": expected how many (1 to " + std::to_string(kMaxSeeds) +
                                ") or different seeds separated by commas");
  for (const std::string &part : split(text)) {
    int64_t seed = 0;
    if (!parseWhole(part, seed) || seed < 0 || std::find(seeds.begin(), seeds.end(), seed) != seeds.end())
      return wrong;
    seeds.push_back(seed);
  }
  if (seeds.size() == 1 && text.find(',') == std::string::npos) {
    int64_t count = seeds[0];
    seeds.clear();
    for (int64_t i = 0; i < std::min<int64_t>(count, kMaxSeeds + 1); ++i)
      seeds.push_back(first + i);
  }
  if (seeds.empty() || seeds.size() > kMaxSeeds)
    return wrong;
  return seeds;
}

double SeedSummary::valueOf(const SeedResult &run) const {
  return metric == "bpb" ? *run.bpb : metric == "val_loss" ? *run.valLoss : run.trainLoss;
}

StatusOr<SeedSummary> summarise(std::vector<SeedResult> runs, std::optional<Baseline> baseline, double margin) {
  SeedSummary summary;
  auto all = [&](auto has) { return std::all_of(runs.begin(), runs.end(), has); };
  summary.metric = all([](const SeedResult &run) { return run.bpb.has_value(); })       ? "bpb"
                   : all([](const SeedResult &run) { return run.valLoss.has_value(); }) ? "val_loss"
                                                                                        : "train_loss";
  summary.runs = std::move(runs);
  std::vector<double> values;
  for (const SeedResult &run : summary.runs)
    values.push_back(summary.valueOf(run));
  summary.mean = mean(values);
  summary.deviation = standardDeviation(values);
  if (!baseline)
    return summary;
  if (baseline->metric.empty())
    baseline->metric = summary.metric;
  if (baseline->metric != summary.metric)
    return Status(Code::Invalid, "the baseline '" + baseline->from + "' was measured by " + baseline->metric +
                                     ", these seeds by " + summary.metric);
  auto test = welchTest(values, baseline->values, margin);
  summary.baseline = std::move(baseline);
  if (!test)
    return test.status();
  summary.welch = *test;
  return summary;
}

Json SeedSummary::toJson() const {
  Json list = Json::array();
  for (const SeedResult &run : runs)
    list.push_back({{"seed", run.seed}, {"folder", run.folder}, {"value", numberToJson(valueOf(run))}, {"steps", run.steps},
                    {"seconds", run.seconds}, {"train_loss", numberToJson(run.trainLoss)},
                    {"val_loss", optionalNumber(run.valLoss)}, {"bpb", optionalNumber(run.bpb)},
                    {"artifact_bytes", run.artifactBytes}});
  Json json = {{"metric", metric}, {"unit", unitOf(metric)}, {"runs", list}, {"mean", numberToJson(mean)},
               {"standard_deviation", numberToJson(deviation)}};
  if (baseline)
    json["baseline"] = {{"from", baseline->from}, {"values", baseline->values}, {"count", baseline->values.size()},
                        {"mean", pg::rt::mean(baseline->values)},
                        {"standard_deviation", standardDeviation(baseline->values)}};
  if (welch)
    json["welch"] = {{"mean_difference", welch->meanDifference}, {"margin", welch->margin}, {"t", welch->t},
                     {"degrees", welch->degrees}, {"p", welch->p}};
  return json;
}

std::string SeedSummary::toText() const {
  std::string text = padded("seed", 12) + padded(metric, 12) + padded("val_loss", 12) + padded("train_loss", 12) +
                     padded("steps", 10) + padded("artifact", 12) + padded("seconds", 10);
  for (const SeedResult &run : runs)
    text += "\n" + padded(std::to_string(run.seed), 12) + padded(formatFixed(valueOf(run), 6), 12) +
            padded(run.valLoss ? formatFixed(*run.valLoss, 6) : "-", 12) + padded(formatFixed(run.trainLoss, 6), 12) +
            padded(std::to_string(run.steps), 10) + padded(std::to_string(run.artifactBytes), 12) +
            padded(formatFixed(run.seconds, 1), 10);
  text += "\n" + padded("mean", 12) + padded(formatFixed(mean, 6), 12);
  if (std::isfinite(deviation))
    text += "\n" + padded("sd", 12) + padded(formatFixed(deviation, 6), 12);
  if (welch)
    text += "\nbaseline " + baseline->from + ": mean " + formatFixed(pg::rt::mean(baseline->values), 6) + ", sd " +
            formatFixed(standardDeviation(baseline->values), 6) + ", n " + std::to_string(baseline->values.size()) +
            "\none-sided Welch test that the mean is lower" +
            (welch->margin > 0 ? " by more than " + formatDouble(welch->margin) : "") + ": t " + formatFixed(welch->t, 3) + ", " +
            formatFixed(welch->degrees, 2) + " degrees of freedom, p " + pText(welch->p);
  return text;
}

} // namespace pg::rt
