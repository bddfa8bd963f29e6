//===- MapFile.h - a map of the golden runner as it was read ----------------===//
#ifndef PG_TOOLS_PGGOLDEN_MAPFILE_H
#define PG_TOOLS_PGGOLDEN_MAPFILE_H

#include "frontend/SpecNode.h"
#include "runtime/support/Json.h"
#include "runtime/support/Status.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pg::golden {

/// One line of a map.
struct MapRule {
  std::string from;                          ///< dotted path in case.json
  std::string also;                          ///< where other kinds of case have it; "" = nowhere
  std::string to;                            ///< "" = ignored
  std::string match;                         ///< regular expression of a text
  std::map<std::string, std::string> values; ///< translation; empty = as it is
  std::optional<std::string> fallback;       ///< when the case has no such key
  std::string only;                          ///< the trace it is for; "" = all
  bool perStep = false;                      ///< a list with one item a step
  std::string over; ///< path of a number that divides the value; "" = none
};

/// A YAML file whose nodes point into its own text.
class MapFile {
public:
  /// Errors carry file:line:column.
  static rt::StatusOr<MapFile> read(const std::string &path);

  const frontend::SpecNode &root() const { return *node; }
  /// The text under `key` of a node, "" when there is none.
  static std::string text(const frontend::SpecNode &node, const char *key);
  /// A path of the file relative to where it lies.
  std::string beside(const std::string &relative) const;
  /// The rules under `key`; Invalid for one without `from`, or with neither or
  /// both of `to` and `ignore`.
  rt::StatusOr<std::vector<MapRule>> rules(const char *key) const;

private:
  std::shared_ptr<const frontend::SourceFile> file;
  std::shared_ptr<const frontend::SpecNode> node;
};

/// One rule; a rule without `to` takes `target`.
rt::StatusOr<MapRule> readRule(const frontend::SpecNode &node,
                               const std::string &target = "");

/// The value at a dotted path of case.json (an index in a list), or null.
const rt::Json *lookUp(const rt::Json &spec, const std::string &path);

/// What a rule makes of a value: its text, translated; of a text with `match`
/// the value of its first group, or what `values` has for all of it. Nothing, and
/// a sentence added to `problems`, when there is no translation.
std::optional<std::string> translate(const MapRule &rule, const rt::Json *value,
                                     std::string &problems);

} // namespace pg::golden

#endif // PG_TOOLS_PGGOLDEN_MAPFILE_H
