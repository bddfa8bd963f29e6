//===- Sections.cpp - curves, ledgers, configuration, environment ------------===//
#include "runtime/report/ByteLedger.h"
#include "runtime/report/Page.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace pg::rt {
namespace {

constexpr size_t kColours = 6;

std::string heading(const std::string &text) { return "<h2>" + escapeHtml(text) + "</h2>\n"; }

/// The phases of the model that began after the first step.
std::vector<ChartMark> phaseMarks(const RunRecord &run) {
  std::vector<ChartMark> marks;
  for (const Json *event : run.events())
    if (textAt(*event, {"event"}) == "phase" && numberAt(*event, {"step"}).value_or(0) > 0)
      marks.push_back({*numberAt(*event, {"step"}), textAt(*event, {"phase"})});
  return marks;
}

/// Where the linear scale may end so that the fast fall of the first steps does
/// not flatten the rest: the mean loss after a twelfth of the run, and a bit.
double cutOf(const std::vector<Point> &points) {
  std::vector<Point> means = smoothed(points, smoothingWindow(points.size()));
  if (means.size() < 24)
    return INFINITY;
  double low = INFINITY, early = means[means.size() / 12].y;
  for (const Point &point : points)
    low = std::min(low, point.y);
  return early + 0.15 * (early - low);
}

std::string seedName(const RunRecord &run) {
  std::string seed = textAt(run.config, {"recipe", "seed", "value"});
  return seed.empty() ? run.folder.substr(run.folder.rfind('/') + 1) : "seed " + seed;
}

Chart smallChart(const std::string &title, const std::vector<RunRecord> &runs, const char *key, Curve::Kind kind) {
  Chart chart;
  chart.title = title;
  chart.width = 292;
  chart.height = 200;
  chart.fromZero = true;
  for (size_t i = 0; i < runs.size() && i < kColours; ++i)
    chart.curves.push_back({kind, seedName(runs[i]), runs[i].curve("train", key), int(i)});
  return chart;
}

std::string duration(double seconds) {
  return seconds < 60 ? formatFixed(seconds, 2) + " s" : formatFixed(seconds, 1) + " s";
}

/// "0.0214", "3.1e-05".
std::string probability(double p) {
  if (p >= 1e-3 || !(p > 0))
    return formatFixed(p, 4);
  int exponent = int(std::floor(std::log10(p)));
  return formatFixed(p / std::pow(10, exponent), 1) + "e" + std::to_string(exponent);
}

std::string percent(double share) { return formatFixed(100 * share, share < 0.0995 ? 2 : 1) + "%"; }

} // namespace

std::string chartsSection(const std::vector<RunRecord> &runs) {
  bool several = runs.size() > 1;
  Chart loss;
  loss.title = "Loss, nats per token";
  for (size_t i = 0; i < runs.size() && i < kColours; ++i) {
    std::vector<Point> train = runs[i].curve("train", "loss"), validation = runs[i].curve("validate", "loss");
    size_t window = smoothingWindow(train.size());
    int colour = int(several ? i : 0);
    loss.cutAbove = i == 0 ? cutOf(train) : std::max(loss.cutAbove, cutOf(train));
    loss.curves.push_back({Curve::Kind::Measured, several ? seedName(runs[i]) : "training", std::move(train), colour});
    if (!several) {
      if (!validation.empty())
        loss.curves.push_back({Curve::Kind::Sparse, "validation", std::move(validation), 1});
      loss.note = "Thin: every logged step. Thick: mean of " + std::to_string(window) + " neighbouring ones.";
      if (!phaseMarks(runs[i]).empty())
        loss.note += " Dotted: the model's next phase begins.";
    }
  }
  if (std::isfinite(loss.cutAbove))
    loss.note += std::string(loss.note.empty() ? "" : " ") + "The first steps lie above the frame; the log scale shows them.";
  loss.marks = phaseMarks(runs.front());
  std::string first = chartFigure(loss, "scale-loss");
  if (first.empty())
    return "";
  first.replace(first.find("class=\"chart\""), 13, "class=\"chart wide\"");
  std::string text = heading("Curves") + "<div class=\"charts\">\n" + first;
  if (several) {
    Chart validation;
    validation.title = "Validation loss, nats per token";
    for (size_t i = 0; i < runs.size() && i < kColours; ++i)
      validation.curves.push_back({Curve::Kind::Sparse, seedName(runs[i]), runs[i].curve("validate", "loss"), int(i)});
    if (runs.front().curve("validate", "loss").size() > 1) {
      std::string figure = chartFigure(validation, "scale-validation");
      figure.replace(figure.find("class=\"chart\""), 13, "class=\"chart wide\"");
      text += figure;
    }
  }
  Chart rate = smallChart("Learning rate multiplier", runs, "lr_multiplier", Curve::Kind::Exact);
  Chart norm = smallChart("Gradient norm", runs, "grad_norm", Curve::Kind::Measured);
  Chart speed = smallChart("Tokens per second", runs, "tokens_per_second", Curve::Kind::Measured);
  rate.curves.resize(std::min<size_t>(rate.curves.size(), 1)); // the same for every seed
  norm.startsLog = true;
  for (Chart *chart : {&rate, &norm, &speed}) {
    if (several)
      for (Curve &curve : chart->curves)
        curve.kind = curve.kind == Curve::Kind::Measured ? Curve::Kind::Mean : curve.kind;
    chart->labelsEnds = !several;
    chart->marks = phaseMarks(runs.front());
    for (ChartMark &mark : chart->marks)
      mark.label.clear();
  }
  // The colours are explained once, under the loss.
  auto unlabelled = [](const Chart &chart, const char *id) {
    std::string figure = chartFigure(chart, id);
    size_t begin = figure.find("<ul class=\"legend\">"), end = figure.find("</ul>");
    return begin == std::string::npos ? figure : figure.erase(begin, end + 5 - begin);
  };
  return text + unlabelled(rate, "scale-rate") + unlabelled(norm, "scale-norm") + unlabelled(speed, "scale-speed") +
         "</div>\n";
}

std::string timeSection(const RunRecord &run) {
  const Json *event = run.lastEventWith("seconds");
  if (!event || !(*event)["seconds"].is_object())
    return "";
  std::vector<std::pair<std::string, double>> stages;
  double sum = 0;
  for (const auto &[stage, value] : (*event)["seconds"].items()) {
    double seconds = 0;
    if (!readNumber(value, seconds) || !(seconds >= 0) || stage == "wall")
      continue;
    stages.push_back({stage, seconds});
    sum += seconds;
  }
  if (!(sum > 0))
    return "";
  std::sort(stages.begin(), stages.end(), [](const auto &a, const auto &b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  std::vector<double> shares;
  std::string rows;
  for (const auto &[stage, seconds] : stages) {
    if (seconds == 0)
      continue;
    rows += row({"<td><i class=\"key b" + std::to_string(shares.size() % kColours) + "\"></i>" + escapeHtml(stage) + "</td>",
                 numberCell(duration(seconds)), numberCell(percent(seconds / sum))});
    shares.push_back(seconds / sum);
  }
  rows += row({cell("sum"), numberCell(duration(sum)), numberCell("")}, "sum");
  auto wall = numberAt(*event, {"seconds", "wall"});
  if (!wall)
    wall = numberAt(*event, {"wall"});
  if (!wall)
    wall = numberAt(*event, {"t"});
  if (wall)
    rows += row({cell("wall clock"), numberCell(duration(*wall)), numberCell("")}, "second");
  return heading("Time") + bar(shares) + table({"stage", ">time", ">share"}, rows);
}

std::string bytesSection(const RunRecord &run) {
  auto artifact = numberAt(run.bytes, {"artifact"});
  const auto tensors = run.bytes.is_object() ? run.bytes.find("tensors") : run.bytes.end();
  if (!artifact || tensors == run.bytes.end() || !tensors->is_array())
    return "";
  struct Group {
    int64_t tensors = 0;
    double values = 0, raw = 0, quantised = 0, coded = 0;
  };
  std::map<std::string, Group> groups;
  std::string perTensor;
  for (const Json &tensor : *tensors) {
    if (!tensor.is_object())
      continue;
    std::string label = textAt(tensor, {"quant"}), shape = textAt(tensor, {"shape"});
    double values = 1;
    if (tensor.contains("shape") && tensor["shape"].is_array())
      for (const Json &size : tensor["shape"])
        values *= size.is_number() ? size.get<double>() : 1;
    double raw = numberAt(tensor, {"raw"}).value_or(0), quantised = numberAt(tensor, {"quantised"}).value_or(0),
           coded = numberAt(tensor, {"coded"}).value_or(0);
    Group &group = groups[label.empty() ? "16-bit floats" : label + ", " + textAt(tensor, {"bits"}) + " bits"];
    ++group.tensors;
    group.values += values;
    group.raw += raw;
    group.quantised += quantised;
    group.coded += coded;
    perTensor += row({"<td class=\"mono\">" + escapeHtml(textAt(tensor, {"name"})) + "</td>", cell(shape),
                      cell(label.empty() ? "" : label), numberCell(grouped(int64_t(raw))), numberCell(grouped(int64_t(quantised))),
                      numberCell(grouped(int64_t(coded))), numberCell(values > 0 ? formatFixed(8 * coded / values, 2) : "")});
  }
  std::string rows;
  std::vector<double> shares;
  for (const auto &[name, group] : groups) {
    rows += row({"<td><i class=\"key b" + std::to_string(shares.size() % kColours) + "\"></i>" + escapeHtml(name) + "</td>",
                 numberCell(grouped(int64_t(group.raw))), numberCell(grouped(int64_t(group.quantised))),
                 numberCell(grouped(int64_t(group.coded))), numberCell(formatFixed(8 * group.coded / group.values, 2))});
    shares.push_back(group.coded / double(kArtifactLimitBytes));
  }
  double spec = numberAt(run.bytes, {"spec"}).value_or(0);
  rows += row({"<td><i class=\"key b" + std::to_string(shares.size() % kColours) + "\"></i>source text</td>",
               numberCell(grouped(int64_t(spec))), numberCell(""), numberCell(grouped(int64_t(spec))), numberCell("")});
  shares.push_back(spec / double(kArtifactLimitBytes));
  rows += row({cell("artifact"), numberCell(""), numberCell(""), numberCell(grouped(int64_t(*artifact))), numberCell("")},
              "sum");
  double left = double(kArtifactLimitBytes) - *artifact;
  rows += row({cell(left >= 0 ? "left of 16,000,000" : "over 16,000,000 by"), numberCell(""), numberCell(""),
               numberCell(grouped(int64_t(std::fabs(left)))), numberCell("")},
              "second");
  std::string text = heading("Bytes") + bar(shares) + table({"weights", ">held", ">quantised", ">coded", ">bits each"}, rows);
  text += "<p class=\"note\">An estimate: the entropy of the codes that rounding the last weights would give. ";
  if (auto bytes = numberAt(run.config, {"package", "bytes"}))
    text += "Code is counted as the model's and recipe's text; the compiled package has " + grouped(int64_t(*bytes)) + " bytes.";
  text += "</p>\n<details><summary>Every tensor</summary>\n" +
          table({"tensor", "shape", "label", ">held", ">quantised", ">coded", ">bits each"}, perTensor) + "</details>\n";
  return text;
}

std::string configSection(const RunRecord &run) {
  auto recipe = run.config.find("recipe");
  if (recipe == run.config.end() || !recipe->is_object() || recipe->empty())
    return "";
  std::string rows, group;
  int changed = 0;
  for (const auto &[path, item] : recipe->items()) {
    if (!item.is_object())
      continue;
    std::string top = path.substr(0, path.find('.')), origin = textAt(item, {"origin"});
    if (top != group && path.find('.') != std::string::npos)
      rows += "<tr class=\"group\"><th colspan=\"3\">" + escapeHtml(top) + "</th></tr>\n";
    group = top;
    bool isFlag = origin.rfind("--", 0) == 0;
    changed += isFlag;
    rows += row({"<td class=\"mono\">" + escapeHtml(path) + "</td>", "<td class=\"mono\">" + escapeHtml(textAt(item, {"value"})) + "</td>",
                 cell(origin.empty() ? "default" : origin, "origin")},
                isFlag ? "changed" : nullptr);
  }
  std::string text = heading("Configuration");
  if (changed > 0)
    text += "<p class=\"note\">Marked: " + std::to_string(changed) + (changed == 1 ? " value" : " values") +
            " given on the command line.</p>\n";
  return text + table({"setting", "value", "comes from"}, rows);
}

std::string environmentSection(const RunRecord &run) {
  std::string facts;
  auto add = [&](const char *name, const std::string &value, bool isCode = false) {
    if (!value.empty())
      facts += std::string("<dt>") + name + "</dt><dd>" + (isCode ? "<code>" : "") + escapeHtml(value) +
               (isCode ? "</code>" : "") + "</dd>\n";
  };
  auto at = [&](std::vector<const char *> path) { return textAt(run.config, path); };
  add("Processor", at({"machine", "cpu"}));
  std::string cpus = at({"machine", "logical_cpus"}), threads = at({"threads"});
  if (!threads.empty())
    add("Threads", threads + (cpus.empty() ? "" : " of " + cpus));
  if (auto memory = numberAt(run.config, {"machine", "memory_bytes"}))
    add("Memory", formatFixed(*memory / double(1 << 30), 1) + " GiB");
  add("System", at({"machine", "system"}));
  add("Target", at({"target"}));
  add("Precision", at({"precision"}));
  if (auto parameters = numberAt(run.config, {"parameters"}))
    add("Parameters", grouped(int64_t(*parameters)));
  add("Compiler", at({"compiler"}));
  add("Runtime", at({"runtime"}));
  add("Program", at({"program"}), true);
  add("Package", at({"package", "path"}));
  add("Package, SHA-256", at({"package", "sha256"}), true);
  add("Data", at({"data"}));
  for (const char *split : {"train", "validation"}) {
    std::string files = at({"shards", split, "files"});
    if (files.empty())
      continue;
    std::string first = at({"shards", split, "first"}), last = at({"shards", split, "last"});
    std::string label = std::string(split) == "train" ? "Training shards" : "Validation shards";
    add(label.c_str(), files + (files == "1" ? " file, " : " files, ") +
                           grouped(int64_t(numberAt(run.config, {"shards", split, "tokens"}).value_or(0))) + " tokens: " + first +
                           (first == last ? "" : " to " + last));
    add((label + ", digest").c_str(), at({"shards", split, "digest"}), true);
  }
  add("Tokenizer", at({"tokenizer", "path"}));
  add("Tokenizer, SHA-256", at({"tokenizer", "sha256"}), true);
  add("Initial weights", at({"initial_weights"}));
  return facts.empty() ? "" : heading("Environment") + "<dl class=\"facts\">\n" + facts + "</dl>\n";
}

std::string eventsSection(const RunRecord &run) {
  std::string rows;
  size_t count = 0;
  for (const Json *event : run.events()) {
    std::string details;
    for (const auto &[key, value] : event->items())
      if (key != "run" && key != "t" && key != "step" && key != "stage" && key != "event")
        details += (details.empty() ? "" : ", ") + key + " " + plainText(value);
    rows += row({numberCell(textAt(*event, {"step"})), numberCell(textAt(*event, {"t"}) + " s"), cell(textAt(*event, {"event"})),
                 cell(details)});
    ++count;
  }
  if (count == 0)
    return "";
  return "<details><summary>" + std::to_string(count) + (count == 1 ? " event" : " events") + "</summary>\n" +
         table({">step", ">after", "event", ""}, rows) + "</details>\n";
}

std::string seedsSection(const Json &seeds) {
  if (!seeds.is_object() || !seeds.contains("runs"))
    return "";
  std::string metric = textAt(seeds, {"metric"}), unit = textAt(seeds, {"unit"}), rows;
  for (const Json &run : seeds["runs"]) {
    auto fixed = [&](const char *key, int decimals) {
      auto value = numberAt(run, {key});
      return numberCell(value ? formatFixed(*value, decimals) : "");
    };
    auto whole = [&](const char *key) {
      auto value = numberAt(run, {key});
      return numberCell(value ? grouped(int64_t(*value)) : "");
    };
    rows += row({cell(textAt(run, {"seed"})), fixed("value", 5), fixed("val_loss", 5), fixed("train_loss", 5), whole("steps"),
                 whole("artifact_bytes"), fixed("seconds", 1), cell(textAt(run, {"folder"}))});
  }
  auto summary = [&](const char *name, const char *key, const char *kind) {
    if (auto value = numberAt(seeds, {key}))
      rows += row({cell(name), numberCell(formatFixed(*value, 5)), "<td colspan=\"6\"></td>"}, kind);
  };
  summary("mean", "mean", "sum");
  summary("standard deviation", "standard_deviation", "second");
  std::string text = heading("Seeds") + table({"seed", ">" + metric, ">val_loss", ">train_loss", ">steps", ">artifact bytes",
                                               ">seconds", "folder"}, rows);
  if (auto p = numberAt(seeds, {"welch", "p"})) {
    auto number = [&](std::vector<const char *> path, int decimals) {
      return formatFixed(numberAt(seeds, path).value_or(0), decimals);
    };
    std::string margin = number({"welch", "margin"}, 4);
    bool hasMargin = numberAt(seeds, {"welch", "margin"}).value_or(0) != 0;
    text += "<p class=\"verdict\">Against the baseline " + escapeHtml(textAt(seeds, {"baseline", "from"})) + " (mean " +
            number({"baseline", "mean"}, 5) + ", sd " + number({"baseline", "standard_deviation"}, 5) + ", n " +
            escapeHtml(textAt(seeds, {"baseline", "count"})) + ") the mean differs by " + number({"welch", "mean_difference"}, 5) +
            " " + escapeHtml(unit) + ". One-sided Welch test that it is lower" +
            (hasMargin ? " by more than " + margin : "") + ": t = " + number({"welch", "t"}, 3) + ", " +
            number({"welch", "degrees"}, 2) + " degrees of freedom, <strong>p = " +
            probability(*p) +
            "</strong>.</p>\n";
  }
  return text;
}

} // namespace pg::rt
