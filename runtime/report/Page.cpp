//===- Page.cpp - a report page from its parts -------------------------------===//
#include "runtime/report/Page.h"
#include "runtime/report/ByteLedger.h"
#include "runtime/report/Statistics.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <cmath>

namespace pg::rt {
namespace {

std::string figure(const std::string &label, const std::string &value, const std::string &note) {
  return "<div><dt>" + escapeHtml(label) + "</dt><dd>" + escapeHtml(value) +
         (note.empty() ? "" : "<small>" + escapeHtml(note) + "</small>") + "</dd></div>\n";
}

double medianOf(const std::vector<Point> &points) {
  std::vector<double> values;
  for (const Point &point : points)
    if (std::isfinite(point.y))
      values.push_back(point.y);
  if (values.empty())
    return 0;
  std::nth_element(values.begin(), values.begin() + int64_t(values.size() / 2), values.end());
  return values[values.size() / 2];
}

/// What a reader wants first: the score, then what it cost.
std::string headline(const ReportData &data) {
  const RunRecord &run = data.runs.front();
  std::string text = "<dl class=\"headline\">\n";
  bool several = data.runs.size() > 1;
  auto scored = [&](const char *key, const char *label, const char *unit) {
    std::vector<double> values;
    for (const RunRecord &one : data.runs) {
      auto value = numberAt(one.evaluation, {key});
      if (!value)
        value = one.last("validate", key);
      if (value)
        values.push_back(*value);
    }
    if (values.empty())
      return;
    std::string note = unit;
    if (values.size() > 1)
      note = "mean, sd " + formatFixed(standardDeviation(values), 4);
    text += figure(label, formatFixed(mean(values), 4), note);
  };
  scored("bpb", "Bits per byte", "validation");
  scored("loss", "Validation loss", "nats per token");
  std::vector<Point> losses = run.curve("train", "loss");
  if (!losses.empty())
    text += figure("Training loss", formatFixed(smoothed(losses, smoothingWindow(losses.size())).back().y, 4),
                   several ? "first seed, last steps" : "mean of the last steps");
  if (double rate = medianOf(run.curve("train", "tokens_per_second")); rate > 0)
    text += figure("Speed", grouped(int64_t(rate)), "tokens/s, median");
  if (const Json *end = run.lastEventWith("seconds"))
    if (auto seconds = numberAt(*end, {"seconds", "train"}))
      text += figure("Training time", formatDuration(*seconds), "without validation");
  if (auto bytes = numberAt(run.bytes, {"artifact"}))
    text += figure("Predicted artifact", formatFixed(*bytes / 1e6, 2) + " MB",
                   formatFixed(100 * *bytes / double(kArtifactLimitBytes), 1) + "% of the limit");
  return text + "</dl>\n";
}

std::string lede(const ReportData &data) {
  const RunRecord &run = data.runs.front();
  std::string text = grouped(run.steps()) + " steps";
  if (auto tokens = run.last("train", "tokens"))
    text += ", " + grouped(int64_t(*tokens)) + " tokens";
  if (data.runs.size() > 1)
    text = std::to_string(data.runs.size()) + " seeds of " + text;
  std::string precision = textAt(run.config, {"precision"}), cpu = textAt(run.config, {"machine", "cpu"}),
              threads = textAt(run.config, {"threads"});
  if (!precision.empty())
    text += " in " + precision;
  if (!cpu.empty())
    text += " on " + cpu;
  if (!threads.empty())
    text += " (" + threads + (threads == "1" ? " thread)" : " threads)");
  return text + ".";
}

} // namespace

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value < 0 ? -value : value), text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0)
      text += ',';
    text += digits[i];
  }
  return value < 0 ? "-" + text : text;
}

std::string plainText(const Json &value) {
  if (value.is_string())
    return value.get<std::string>();
  if (value.is_number_float())
    return formatDouble(value.get<double>());
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

namespace {
const Json *findAt(const Json &object, const std::vector<const char *> &path) {
  const Json *at = &object;
  for (const char *key : path) {
    if (!at->is_object())
      return nullptr;
    auto found = at->find(key);
    if (found == at->end())
      return nullptr;
    at = &*found;
  }
  return at;
}
} // namespace

std::string textAt(const Json &object, const std::vector<const char *> &path) {
  const Json *found = findAt(object, path);
  return found && !found->is_null() ? plainText(*found) : "";
}

std::optional<double> numberAt(const Json &object, const std::vector<const char *> &path) {
  const Json *found = findAt(object, path);
  double value = 0;
  if (found && readNumber(*found, value) && std::isfinite(value))
    return value;
  return std::nullopt;
}

std::string cell(const std::string &text, const char *kind) {
  return std::string("<td") + (kind ? " class=\"" + std::string(kind) + "\"" : "") + ">" + escapeHtml(text) + "</td>";
}
std::string numberCell(const std::string &text) { return cell(text, "n"); }

std::string row(const std::vector<std::string> &cells, const char *kind) {
  std::string text = std::string("<tr") + (kind ? " class=\"" + std::string(kind) + "\"" : "") + ">";
  for (const std::string &each : cells)
    text += each;
  return text + "</tr>\n";
}

std::string table(const std::vector<std::string> &headings, const std::string &rows) {
  std::string text = "<div class=\"scroll\"><table><thead><tr>";
  for (const std::string &heading : headings) {
    bool ofNumbers = !heading.empty() && heading[0] == '>';
    text += std::string("<th") + (ofNumbers ? " class=\"n\"" : "") + ">" +
            escapeHtml(ofNumbers ? heading.substr(1) : heading) + "</th>";
  }
  return text + "</tr></thead><tbody>\n" + rows + "</tbody></table></div>\n";
}

std::string bar(const std::vector<double> &shares) {
  std::string text = "<div class=\"bar\">";
  for (size_t i = 0; i < shares.size(); ++i)
    if (shares[i] > 0)
      text += "<i class=\"b" + std::to_string(i % 6) + "\" style=\"width:" + formatFixed(100 * shares[i], 2) + "%\"></i>";
  return text + "</div>\n";
}

std::string reportPage(const ReportData &data) {
  const RunRecord &run = data.runs.front();
  std::string model = textAt(run.config, {"model"});
  std::string name = model.empty() ? data.folder : model;
  std::string page = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
                     escapeHtml(name) + ": training report</title>\n<style>" + kReportStyle + "</style>\n</head>\n<body>\n";
  page += "<header>\n<p class=\"kind\">Training report</p>\n<h1>" + escapeHtml(name) + "</h1>\n<p class=\"lede\">" +
          escapeHtml(lede(data)) + "</p>\n";
  for (const RunRecord &one : data.runs)
    if (one.outcome() != "finished")
      page += "<p class=\"outcome\">" + escapeHtml(data.runs.size() > 1 ? one.folder + ": the run is " : "The run is ") +
              escapeHtml(one.outcome()) + ": its last line is of step " + grouped(one.steps()) + ".</p>\n";
  page += headline(data) + "</header>\n<main>\n";
  page += seedsSection(data.seeds) + chartsSection(data.runs);
  std::string time = timeSection(run), bytes = bytesSection(run);
  page += !time.empty() && !bytes.empty() ? "<div class=\"pair\">\n<div>" + time + "</div>\n<div>" + bytes + "</div>\n</div>\n"
                                          : time + bytes;
  page += configSection(run) + environmentSection(run) + eventsSection(run);
  page += "</main>\n<footer>Run folder <code>" + escapeHtml(data.folder) + "</code>" +
          (data.runs.size() > 1 ? ". Ledgers, configuration and environment are those of " +
                                      ("<code>" + escapeHtml(run.folder) + "</code>")
                                : "") +
          ".</footer>\n</body>\n</html>\n";
  return page;
}

} // namespace pg::rt
