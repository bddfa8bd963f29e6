//===- Case.h - one reference case and what came of it
//---------------------===//
#ifndef PG_TOOLS_PGGOLDEN_CASE_H
#define PG_TOOLS_PGGOLDEN_CASE_H

#include "runtime/support/Json.h"
#include "runtime/support/Status.h"

#include <string>
#include <vector>

namespace pg::golden {

class CaseMap;

/// A folder with case.json.
struct Case {
  std::string id; ///< folder name
  std::string directory;
  rt::Json spec; ///< case.json

  /// Text under a top-level key, "" when there is none.
  std::string text(const char *key) const;
  std::string file(const char *name) const { return directory + "/" + name; }
  /// Number under `tolerance`; 0 when it is missing, which compares as exact,
  /// so that nothing passes unseen.
  double tolerance(const char *key) const;
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
  /// With the state that `status` and the checks give.
  Outcome judged(const rt::Status &status);
};

/// What every kind of case may use.
struct Environment {
  std::string tools;   ///< folder of pgc and pgrun
  std::string maps;    ///< folder of <stack>.map.yaml
  std::string scratch; ///< private folder of this case
  std::string precision = "f32"; ///< policy the packages are compiled with
  std::vector<std::string> compileFlags; ///< added to every pgc compile
  std::vector<std::string> runFlags;     ///< added to every pgrun
};

/// Runs `run` with the map of the case's stack; passes when all its checks do.
/// Unsupported when the stack has no map.
Outcome runWithMap(const Case &golden, const Environment &environment,
                   rt::Status (*run)(const Case &, const Environment &,
                                     const CaseMap &, std::vector<Check> &));

/// Runs a case of kind "model".
Outcome runModelCase(const Case &golden, const Environment &environment);
/// Runs a case of kind "optimizer". Unsupported when its optimizer has no map.
Outcome runOptimizerCase(const Case &golden, const Environment &environment);
/// Runs a case of kind "qat".
Outcome runQatCase(const Case &golden, const Environment &environment);
/// Runs a case of kind "quantisation": what is recorded of weights as codes.
Outcome runQuantisationCase(const Case &golden, const Environment &environment);
/// Runs a case of kind "calibration".
Outcome runCalibrationCase(const Case &golden, const Environment &environment);
/// Runs a case of kind "ttt-lora".
Outcome runAdaptCase(const Case &golden, const Environment &environment);
/// Kind "schedule": tables of multipliers and momenta.
Outcome runScheduleCase(const Case &golden, const Environment &environment);
/// Kind "loader": batches of every rank.
Outcome runLoaderCase(const Case &golden, const Environment &environment);
/// Kind "training": a short run, step by step. Unsupported when the map of its
/// stack has no `training`.
Outcome runTrainingCase(const Case &golden, const Environment &environment);

} // namespace pg::golden

#endif // PG_TOOLS_PGGOLDEN_CASE_H
