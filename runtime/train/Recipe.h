//===- Recipe.h - the numbers of a run, typed --------------------------------===//
#ifndef PG_RUNTIME_TRAIN_RECIPE_H
#define PG_RUNTIME_TRAIN_RECIPE_H

#include "runtime/package/Package.h"
#include "runtime/support/Json.h"
#include "runtime/train/Schedule.h"

namespace pg::rt {

/// The package's recipe with defaults filled in and overrides applied. Every
/// value keeps its origin. The keys are those of the recipe schema.
class Recipe {
public:
  explicit Recipe(const Package &package);

  /// One `--set path=value`: the value is read as the type of the key. Usage
  /// for an unknown path (with the nearest one) or a value of another type.
  Status set(const std::string &assignment, const std::string &origin);

  int64_t integer(const std::string &path) const;
  double number(const std::string &path) const;
  const std::string &text(const std::string &path) const;
  bool has(const std::string &path) const { return values.count(path) != 0; }

  /// Value of a run-time scalar: "<group>.lr", "<group>.<arg>" of an optimizer
  /// group, "qat.<group>.<arg>" of a quantiser, else the recipe's own path;
  /// constant, or a ramp given as {from, to, over_steps}.
  StatusOr<Ramp> scalar(const std::string &name) const;

  /// All values with their origins, for the run folder.
  Json toJson() const;
  /// Takes the values of an earlier run (the output of toJson) with their
  /// origins; keys that are unknown now are left out. Returns one text for
  /// each value that differs: "schedule.steps: 100 (package: 200)". Corrupt for
  /// another shape of data.
  StatusOr<std::vector<std::string>> adopt(const Json &values);

private:
  std::map<std::string, RecipeValue> values;
};

/// The candidate with the smallest edit distance (at most 2, or a third of the
/// word), "" when none is near.
std::string nearestName(const std::string &word, const std::vector<std::string> &candidates);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_RECIPE_H
