//===- Sites.h - where adapters may attach in a body -----------------------===//
#ifndef PG_FRONTEND_SITES_H
#define PG_FRONTEND_SITES_H

#include "frontend/Interpreter.h"

#include <string>
#include <vector>

namespace pg::frontend {

/// The `sites:` of a block or model while its body runs. A site takes effect
/// where its `to` is assigned: from then on the name holds the value with
/// whatever attaches there.
class Sites {
public:
  /// Reads `node` (may be null). A `to` that no statement of `body` assigns is
  /// reported.
  Sites(const SpecNode *node, const Block &body, Reporter &reporter);

  /// Call after `name` was assigned in `scope`. A second assignment in one run
  /// is an error: it would not be clear which value is meant.
  void assigned(const std::string &name, Scope &scope, TensorBuilder &tensors);

private:
  struct Site {
    std::string adapter, from, to;
    SpecPos pos, fromPos, toPos;
    bool isDone = false;
  };
  void attach(Site &site, Scope &scope, TensorBuilder &tensors);

  std::vector<Site> sites;
};

} // namespace pg::frontend

#endif // PG_FRONTEND_SITES_H
