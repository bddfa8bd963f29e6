//===- YamlReader.h - YAML text to located tree ----------------------------===//
#ifndef PG_FRONTEND_YAMLREADER_H
#define PG_FRONTEND_YAMLREADER_H

#include "frontend/Report.h"
#include "frontend/SpecNode.h"

#include <optional>

namespace pg::frontend {

/// Limits on what a specification may be; beyond them an attack or an
/// accident is more likely than a model.
inline constexpr size_t kMaxSpecBytes = 1 << 20;
inline constexpr int kMaxSpecDepth = 64;
inline constexpr int kMaxSpecNodes = 10000; ///< after expansion of aliases

/// Reads the one document of `file`. Refuses, with positions: invalid UTF-8,
/// byte order marks, NUL, oversized or too deep text, duplicate keys, keys that
/// are not strings, cyclic aliases, tags, merge keys, second documents. Nothing
/// is returned after an error; duplicate keys, tags and bad keys are all
/// reported, the rest ends the reading.
std::optional<SpecNode> readYaml(const SourceFile &file, Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_YAMLREADER_H
