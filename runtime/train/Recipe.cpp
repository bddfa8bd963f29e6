//===- Recipe.cpp - the numbers of a run, typed -----------------------------===//
#include "runtime/train/Recipe.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace pg::rt {
namespace {

using Kind = RecipeValue::Kind;

struct KnownKey {
  const char *path;
  Kind kind;
  const char *fallback;
};

/// What the runtime reads, for packages compiled without a recipe.
constexpr KnownKey kKnownKeys[] = {
    {"seed", Kind::Int, "1337"},
    {"data.train", Kind::String, "fineweb_train_*.bin"},
    {"data.validation", Kind::String, "fineweb_val_*.bin"},
    {"data.bos_id", Kind::Int, "1"},
    {"data.check", Kind::String, "tokens"},
    {"data.allow_gaps", Kind::Bool, "false"},
    {"batch.step_tokens", Kind::Int, "0"},
    {"batch.micro_tokens", Kind::Int, "4096"},
    {"batch.rank_tokens", Kind::Int, "0"},
    {"batch.logical_ranks", Kind::Int, "1"},
    {"batch.row_length", Kind::Int, "1024"},
    {"batch.packing", Kind::String, "documents"},
    {"batch.max_segment", Kind::Int, "0"},
    {"schedule.steps", Kind::Int, "1000"},
    {"schedule.warmup_steps", Kind::Int, "0"},
    {"schedule.warmdown_fraction", Kind::Float, "0"},
    {"schedule.warmdown_steps", Kind::Int, "0"},
    {"schedule.warmdown_shape", Kind::String, "linear"},
    {"schedule.min_lr", Kind::Float, "0"},
    {"schedule.max_seconds", Kind::Float, "0"},
    {"schedule.max_tokens", Kind::Int, "0"},
    {"schedule.measure", Kind::String, "widest"},
    {"schedule.restored_warmup.steps", Kind::Int, "0"},
    {"schedule.restored_warmup.keep_states", Kind::String, ""},
    {"clip.norm", Kind::Float, "0"},
    {"clip.mode", Kind::String, "joint"},
    {"eval.row_length", Kind::Int, "1024"},
    {"eval.batch_tokens", Kind::Int, "0"},
    {"eval.every", Kind::Int, "0"},
    {"eval.stride", Kind::Int, "0"},
    {"log.every", Kind::Int, "10"},
    {"checkpoint.every", Kind::Int, "0"},
    {"checkpoint.every_seconds", Kind::Float, "600"},
    {"checkpoint.keep", Kind::Int, "2"},
    {"checkpoint.keep_best", Kind::Bool, "true"},
    {"ema.decay", Kind::Float, "0"},
};

template <typename T> bool parseWhole(const std::string &text, T &value) {
  auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

/// Reads `text` as `kind` into `value`; false when it is something else.
bool parseAs(Kind kind, const std::string &text, RecipeValue &value) {
  value.kind = kind;
  switch (kind) {
  case Kind::Int: return parseWhole(text, value.i);
  case Kind::Float: return parseWhole(text, value.f) && std::isfinite(value.f);
  case Kind::Bool:
    value.b = text == "true";
    return text == "true" || text == "false";
  case Kind::String: value.s = text; return true;
  }
  return false;
}

const char *kindText(Kind kind) {
  switch (kind) {
  case Kind::Int: return "an integer";
  case Kind::Float: return "a number";
  case Kind::Bool: return "true or false";
  case Kind::String: return "text";
  }
  return "";
}

std::string valueText(const RecipeValue &value) {
  switch (value.kind) {
  case Kind::Int: return std::to_string(value.i);
  case Kind::Float: return formatDouble(value.f);
  case Kind::Bool: return value.b ? "true" : "false";
  case Kind::String: return value.s;
  }
  return "";
}

size_t editDistance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

} // namespace

std::string nearestName(const std::string &word, const std::vector<std::string> &candidates) {
  std::string best;
  size_t bestDistance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string &candidate : candidates)
    if (size_t distance = editDistance(word, candidate); distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  return best;
}

Recipe::Recipe(const Package &package) {
  for (const KnownKey &key : kKnownKeys) {
    RecipeValue &value = values[key.path];
    (void)parseAs(key.kind, key.fallback, value);
    value.location = "default";
  }
  for (const auto &[path, value] : package.recipe) {
    auto known = values.find(path);
    // A whole number in YAML may stand for a float; the key's type wins.
    if (known != values.end() && known->second.kind == Kind::Float && value.kind == Kind::Int) {
      known->second.f = double(value.i);
      known->second.location = value.location;
    } else if (known == values.end() || known->second.kind == value.kind) {
      values[path] = value;
    }
  }
}

Status Recipe::set(const std::string &assignment, const std::string &origin) {
  size_t equals = assignment.find('=');
  if (equals == std::string::npos)
    return {Code::Usage, "--set " + assignment + ": expected path=value"};
  std::string path = assignment.substr(0, equals), text = assignment.substr(equals + 1);
  auto found = values.find(path);
  if (found == values.end()) {
    std::vector<std::string> paths;
    for (const auto &[known, value] : values)
      paths.push_back(known);
    std::string nearest = nearestName(path, paths);
    return {Code::Usage, "--set: the recipe has no value '" + path + "'" +
                             (nearest.empty() ? "" : "; did you mean '" + nearest + "'?")};
  }
  RecipeValue value;
  if (!parseAs(found->second.kind, text, value))
    return {Code::Usage, "--set " + path + ": expected " + kindText(found->second.kind) + ", got '" + text + "'"};
  value.location = origin;
  found->second = value;
  return Status::ok();
}

int64_t Recipe::integer(const std::string &path) const {
  auto found = values.find(path);
  return found == values.end() ? 0 : found->second.i;
}

double Recipe::number(const std::string &path) const {
  auto found = values.find(path);
  if (found == values.end())
    return 0;
  switch (found->second.kind) {
  case Kind::Int: return double(found->second.i);
  case Kind::Bool: return found->second.b ? 1 : 0;
  default: return found->second.f;
  }
}

const std::string &Recipe::text(const std::string &path) const {
  static const std::string kEmpty;
  auto found = values.find(path);
  return found == values.end() ? kEmpty : found->second.s;
}

StatusOr<Ramp> Recipe::scalar(const std::string &name) const {
  size_t dot = name.rfind('.');
  std::vector<std::string> paths;
  if (dot != std::string::npos) {
    std::string group = name.substr(0, dot), last = name.substr(dot + 1);
    if (group.rfind("qat.", 0) == 0)
      paths.push_back("qat.groups." + group.substr(4) + ".args." + last);
    else
      paths.push_back("optimizer.groups." + group + (last == "lr" ? ".lr" : ".args." + last));
  }
  paths.push_back(name);
  for (const std::string &path : paths) {
    if (has(path + ".from") && has(path + ".to"))
      return Ramp{number(path + ".from"), number(path + ".to"), integer(path + ".over_steps")};
    if (has(path))
      return Ramp{number(path), number(path), 0};
  }
  return Status(Code::Invalid, "the program needs the scalar '" + name +
                                   "' but the recipe of the package gives no value for it");
}

StatusOr<std::vector<std::string>> Recipe::adopt(const Json &stored) {
  auto corrupt = [](const std::string &path) {
    return Status(Code::Corrupt, "the stored recipe value '" + path + "' cannot be read");
  };
  if (!stored.is_object())
    return corrupt("");
  std::vector<std::string> differences;
  for (const auto &[path, item] : stored.items()) {
    auto own = values.find(path);
    if (own == values.end())
      continue;
    if (!item.is_object() || !item.contains("value") || !item.contains("origin") || !item["origin"].is_string())
      return corrupt(path);
    const Json &value = item["value"];
    RecipeValue taken;
    if (!parseAs(own->second.kind, value.is_string() ? value.get<std::string>() : value.dump(), taken))
      return corrupt(path);
    taken.location = item["origin"].get<std::string>();
    if (std::string was = valueText(own->second), is = valueText(taken); was != is)
      differences.push_back(path + ": " + is + " (package: " + was + ")");
    own->second = taken;
  }
  return differences;
}

Json Recipe::toJson() const {
  Json result = Json::object();
  for (const auto &[path, value] : values) {
    Json &item = result[path];
    item["origin"] = value.location;
    switch (value.kind) {
    case Kind::Int: item["value"] = value.i; break;
    case Kind::Float: item["value"] = numberToJson(value.f); break;
    case Kind::Bool: item["value"] = value.b; break;
    case Kind::String: item["value"] = value.s; break;
    }
  }
  return result;
}

} // namespace pg::rt
