//===- Resolve.h - files, inheritance, overrides, libraries ----------------===//
#ifndef PG_FRONTEND_RESOLVE_H
#define PG_FRONTEND_RESOLVE_H

#include "frontend/Report.h"
#include "frontend/Schema.h"
#include "frontend/SpecNode.h"

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pg::frontend {

/// A file merged over the files it extends, with the files it was made of
/// (this one first): libraries are looked up beside each of them.
struct MergedFile {
  SpecNode root;
  std::vector<const SourceFile *> chain;
};

/// Owns every text that was read. Paths in positions are as given on the
/// command line, or relative to such a path.
class Project {
public:
  explicit Project(Reporter &reporter) : reporter(reporter) {}

  /// Reads `path` and merges it over its `extends` chain. Files outside the
  /// project directory (the nearest folder above that holds `models/`, else
  /// the file's own) cannot be extended.
  std::optional<MergedFile> load(const std::string &path);

  /// Finds `<kind>/<name>.yaml` beside one of the files, in a folder above it,
  /// or in `models/` of a folder above it; reads and validates it. Null after
  /// an error at `pos`, or silently when `pos` is not valid.
  const SpecNode *findLibrary(const std::string &kind, const std::string &name,
                              const MergedFile &user, const Schema &schema,
                              SpecPos pos);

  /// A text that is no file, such as the overrides of the command line.
  const SourceFile *addText(std::string path, std::string text);

private:
  const SourceFile *read(const std::string &path, SpecPos wantedAt);
  bool loadInto(const std::string &path, SpecPos wantedAt, MergedFile &result,
                std::vector<std::string> &open);

  Reporter &reporter;
  std::deque<SourceFile> files;
  std::map<std::string, std::optional<SpecNode>> libraries; ///< by path
};

/// Applies `--set path=value` texts to the model and the recipe (null when
/// there is none). The path follows the keys of the schemas; values are YAML.
void applySets(const std::vector<std::string> &sets, Project &project,
               SpecNode *model, SpecNode *recipe, Reporter &reporter);

/// Canonical YAML of a tree: block style, positions forgotten.
std::string toYaml(const SpecNode &node, int indent = 0);

} // namespace pg::frontend

#endif // PG_FRONTEND_RESOLVE_H
