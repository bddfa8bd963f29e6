//===- Case.h - one reference case and what came of it
//---------------------===//
#ifndef PG_TOOLS_PGGOLDEN_CASE_H
#define PG_TOOLS_PGGOLDEN_CASE_H

#include "runtime/support/Json.h"
#include "runtime/support/Status.h"

#include <string>
#include <vector>

namespace pg::golden {

/// A folder with case.json.
struct Case {
  std::string id; ///< folder name
  std::string directory;
  rt::Json spec; ///< case.json

  /// Text under a top-level key, "" when there is none.
  std::string text(const char *key) const;
  std::string file(const char *name) const { return directory + "/" + name; }
};

/// One number that was compared.
struct Check {
  std::string what;     ///< "nll", "logits", "loss", "gradient <name>", ...
  double error = 0;     ///< NaN when the program gave NaN
  double tolerance = 0; ///< 0 = must be exact

  bool isPass() const { return error <= tolerance; }
  /// Error in units of the tolerance, for picking the worst.
  double severity() const;
};

struct Outcome {
  enum class State { Pass, Fail, Unsupported };
  State state = State::Unsupported;
  std::string message; ///< why it failed or is unsupported
  std::vector<Check> checks;
  double seconds = 0;

  const Check *worst() const;
};

/// What every kind of case may use.
struct Environment {
  std::string tools;   ///< folder of pgc and pgrun
  std::string maps;    ///< folder of <stack>.map.yaml
  std::string scratch; ///< private folder of this case
};

/// Runs a case of kind "model". Unsupported when its stack has no map.
Outcome runModelCase(const Case &golden, const Environment &environment);

} // namespace pg::golden

#endif // PG_TOOLS_PGGOLDEN_CASE_H
