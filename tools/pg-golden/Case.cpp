//===- Case.cpp - one reference case and what came of it -------------------===//
#include "tools/pg-golden/Case.h"

#include <algorithm>
#include <cmath>

using namespace pg;
using namespace pg::golden;

std::string Case::text(const char *key) const {
  auto found = spec.find(key);
  return found != spec.end() && found->is_string() ? found->get<std::string>()
                                                   : "";
}

double Check::severity() const {
  if (std::isnan(error))
    return INFINITY;
  if (tolerance > 0)
    return error / tolerance;
  return error == 0 ? 0 : INFINITY;
}

const Check *Outcome::worst() const {
  auto found = std::max_element(checks.begin(), checks.end(),
                                [](const Check &a, const Check &b) {
                                  return a.severity() < b.severity();
                                });
  return found == checks.end() ? nullptr : &*found;
}
