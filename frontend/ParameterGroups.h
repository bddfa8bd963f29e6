//===- ParameterGroups.h - which optimizer group a parameter belongs to ------===//
#ifndef PG_FRONTEND_PARAMETERGROUPS_H
#define PG_FRONTEND_PARAMETERGROUPS_H

#include "frontend/Report.h"

#include "dialect/Pg.h"

#include <string>
#include <vector>

namespace pg::frontend {

/// Which parameters a group takes: those with one of the labels whose name
/// matches one of `names` (when there are any) and none of `except`.
struct GroupSelector {
  std::string group;
  SpecPos pos;
  std::vector<std::string> labels; ///< empty = any
  std::vector<std::string> names, except;

  /// `node` is the group's entry in the recipe.
  static GroupSelector of(const std::string &group, const SpecNode &node,
                          SpecPos pos);
  bool takes(llvm::StringRef label, llvm::StringRef name) const;
};

/// True when `pattern` is all of `text`: * is any text, ? one character.
bool matchesPattern(llvm::StringRef pattern, llvm::StringRef text);

/// Index of the selector of each parameter. Reports every parameter that no
/// group or more than one takes; the result is then of no use.
std::vector<size_t> assignGroups(const std::vector<GroupSelector> &selectors,
                                 llvm::ArrayRef<pg::ParameterOp> parameters,
                                 SpecPos groupsPos, Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_PARAMETERGROUPS_H
