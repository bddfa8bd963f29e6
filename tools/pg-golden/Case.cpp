//===- Case.cpp - one reference case and what came of it -------------------===//
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/CaseMap.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

using namespace pg;
using namespace pg::golden;

std::string Case::text(const char *key) const {
  auto found = spec.find(key);
  return found != spec.end() && found->is_string() ? found->get<std::string>()
                                                   : "";
}

double Case::tolerance(const char *key) const {
  auto all = spec.find("tolerance");
  if (all == spec.end() || !all->is_object())
    return 0;
  auto found = all->find(key);
  return found != all->end() && found->is_number() ? found->get<double>() : 0;
}

Outcome golden::runWithMap(const Case &golden, const Environment &environment,
                           rt::Status (*run)(const Case &, const Environment &,
                                             const CaseMap &,
                                             std::vector<Check> &)) {
  Outcome outcome;
  std::string path =
      environment.maps + "/" + golden.text("stack") + ".map.yaml";
  if (!std::filesystem::exists(path)) {
    outcome.message = "stack '" + golden.text("stack") + "' not supported yet";
    return outcome;
  }
  rt::StatusOr<CaseMap> map = CaseMap::read(path);
  return outcome.judged(map ? run(golden, environment, *map, outcome.checks)
                            : map.status());
}

double Check::severity() const {
  if (std::isnan(error))
    return INFINITY;
  if (tolerance > 0)
    return error / tolerance;
  return error == 0 ? 0 : INFINITY;
}

Outcome Outcome::judged(const rt::Status &status) {
  state = State::Fail;
  if (!status)
    message = status.message();
  else if (checks.empty())
    message = "nothing was compared";
  else if (std::all_of(checks.begin(), checks.end(),
                       [](const Check &check) { return check.isPass(); }))
    state = State::Pass;
  return *this;
}

const Check *Outcome::worst() const {
  auto found = std::max_element(checks.begin(), checks.end(),
                                [](const Check &a, const Check &b) {
                                  return a.severity() < b.severity();
                                });
  return found == checks.end() ? nullptr : &*found;
}
