//===- RunRecord.cpp - what a run folder holds, read back -------------------===//
#include "runtime/report/RunRecord.h"
#include "runtime/report/MetricsReader.h"
#include "runtime/support/File.h"

#include <algorithm>
#include <cmath>
#include <sys/stat.h>

namespace pg::rt {
namespace {

bool exists(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

StatusOr<Json> readObject(const std::string &path) {
  auto text = readFile(path, uint64_t(1) << 30);
  if (!text)
    return text.status();
  auto value = parseJson(*text);
  if (!value)
    return value.status().with("'" + path + "'");
  if (!value->is_object())
    return Status(Code::Corrupt, "'" + path + "': expected a JSON object");
  return value;
}

bool isStage(const Json &line, const std::string &stage) {
  auto found = line.find("stage");
  return found != line.end() && found->is_string() && found->get_ref<const std::string &>() == stage;
}

int64_t stepOf(const Json &line) {
  auto found = line.find("step");
  return found != line.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

} // namespace

std::vector<Point> RunRecord::curve(const std::string &stage, const std::string &key) const {
  std::vector<Point> points;
  for (const Json &line : lines) {
    auto found = line.find(key);
    double value = 0;
    if (!isStage(line, stage) || found == line.end() || !readNumber(*found, value))
      continue;
    // A resumed run that was not cut back repeats steps: the later line counts.
    double step = double(stepOf(line));
    while (!points.empty() && points.back().x >= step)
      points.pop_back();
    points.push_back({step, value});
  }
  return points;
}

std::optional<double> RunRecord::last(const std::string &stage, const std::string &key) const {
  std::vector<Point> points = curve(stage, key);
  for (size_t i = points.size(); i-- > 0;)
    if (std::isfinite(points[i].y))
      return points[i].y;
  return std::nullopt;
}

std::vector<const Json *> RunRecord::events() const {
  std::vector<const Json *> result;
  for (const Json &line : lines)
    if (auto event = line.find("event"); isStage(line, "event") && event != line.end() && event->is_string())
      result.push_back(&line);
  return result;
}

const Json *RunRecord::lastEventWith(const std::string &key) const {
  std::vector<const Json *> all = events();
  for (size_t i = all.size(); i-- > 0;)
    if (all[i]->contains(key))
      return all[i];
  return nullptr;
}

int64_t RunRecord::steps() const {
  int64_t most = 0;
  for (const Json &line : lines)
    most = std::max(most, stepOf(line));
  return most;
}

std::string RunRecord::outcome() const {
  std::vector<const Json *> all = events();
  std::string last = all.empty() ? "" : (*all.back())["event"].get<std::string>();
  if (last == "end")
    return "finished";
  if (last == "interrupted" || last == "failed")
    return last;
  return "unfinished";
}

StatusOr<RunRecord> readRun(const std::string &folder) {
  RunRecord run;
  run.folder = folder;
  std::string metrics = folder + "/metrics.jsonl";
  if (!exists(metrics))
    return Status(Code::Invalid, "'" + folder + "' is no run folder: it has no metrics.jsonl");
  auto text = readFile(metrics, uint64_t(1) << 32);
  if (!text)
    return text.status();
  auto lines = parseMetrics(*text);
  if (!lines)
    return lines.status().with("'" + metrics + "'");
  run.lines = std::move(*lines);
  for (auto [name, place] : {std::pair{"config.json", &run.config}, {"bytes.json", &run.bytes}, {"evaluation.json", &run.evaluation}}) {
    if (!exists(folder + "/" + name))
      continue;
    auto read = readObject(folder + "/" + name);
    if (!read)
      return read.status();
    *place = std::move(*read);
  }
  return run;
}

StatusOr<ReportData> readReport(const std::string &folder) {
  ReportData data;
  data.folder = folder;
  while (data.folder.size() > 1 && data.folder.back() == '/')
    data.folder.pop_back();
  std::string summary = data.folder + "/seeds.json";
  std::vector<std::string> folders;
  if (exists(summary)) {
    auto read = readObject(summary);
    if (!read)
      return read.status();
    data.seeds = std::move(*read);
    Status status = Status::ok();
    JsonFields fields(data.seeds, summary, status);
    const Json &runs = fields.array("runs");
    for (const Json &item : runs) {
      JsonFields run(item, summary + ": runs", status);
      std::string name = run.string("folder");
      if (status && (name.empty() || name.find('/') != std::string::npos || name[0] == '.'))
        status = Status(Code::Corrupt, "'" + summary + "': '" + name + "' is no folder beside it");
      if (!status)
        break;
      folders.push_back(data.folder + "/" + name);
    }
    if (!status)
      return status;
    if (folders.empty())
      return Status(Code::Corrupt, "'" + summary + "' names no run");
  } else {
    folders.push_back(data.folder);
  }
  for (const std::string &path : folders) {
    auto run = readRun(path);
    if (!run)
      return run.status();
    data.runs.push_back(std::move(*run));
  }
  return data;
}

} // namespace pg::rt
