//===- ApplyProgram.h - given tensors under given optimizer modules ----------===//
#ifndef PG_TOOLS_PGGOLDEN_APPLYPROGRAM_H
#define PG_TOOLS_PGGOLDEN_APPLYPROGRAM_H

#include "tools/pg-golden/Case.h"

#include "runtime/exec/Executor.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pg::golden {

/// Makes the modules of `models` (optim/, quant/) those of files in `folder`.
rt::Status linkModules(const std::string &models, const std::string &folder);

/// A tensor to be updated.
struct ApplyTensor {
  std::string name;
  std::vector<int64_t> shape;
};

/// An optimizer group: module, arguments as recipe text, tensors.
struct ApplyGroup {
  std::string name, module;
  std::map<std::string, std::string> args;
  std::vector<ApplyTensor> tensors;
};

/// A loaded package whose `apply` updates the tensors.
class ApplyProgram {
public:
  /// Writes a model and a recipe into the scratch folder and compiles them.
  /// `models` is the folder with optim/; with `hasAverage` the recipe has an
  /// EMA.
  static rt::StatusOr<ApplyProgram> compile(const std::vector<ApplyGroup> &groups,
                                            bool hasAverage,
                                            const std::string &models,
                                            const Environment &environment);

  /// States to their initial values, copies of parameters included.
  void reset() { loaded->resetStates(); }
  /// Constant arguments of the modules to what the recipe says.
  void setArguments();
  void setParameter(const std::string &name, const std::vector<double> &values);
  void setGradient(const std::string &name, const std::vector<double> &values);
  /// Without effect when the program has no such scalar.
  void setScalar(const std::string &name, double value);
  rt::Status apply();
  std::vector<double> parameter(const std::string &name) const;
  std::vector<double> gradient(const std::string &name) const {
    return state("grad." + name);
  }
  /// Empty when there is no such state.
  std::vector<double> state(const std::string &name) const;
  rt::Executor &executor() { return *loaded; }

private:
  std::unique_ptr<rt::Executor> loaded;
  int entry = -1;
};

} // namespace pg::golden

#endif // PG_TOOLS_PGGOLDEN_APPLYPROGRAM_H
