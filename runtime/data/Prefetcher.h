//===- Prefetcher.h - the next steps' tokens, read on a thread of their own ----===//
#ifndef PG_RUNTIME_DATA_PREFETCHER_H
#define PG_RUNTIME_DATA_PREFETCHER_H

#include "runtime/data/Loader.h"

#include <memory>

namespace pg::rt {

/// The tokens of one step, spans [take][rank] of S + 1 each.
struct StepTokens {
  std::vector<int32_t> spans;
  LoaderPosition before;   ///< where the loader stood: a step that is not taken is read again from here
  LoaderPosition after;
};

/// Keeps the next step's tokens ready: shards are opened, read and checked
/// while the step before runs. Its memory is taken when it is made.
class Prefetcher {
public:
  /// `spansPerStep` is a multiple of the loader's spans per take.
  Prefetcher(Loader loader, int64_t spanTokens, int64_t spansPerStep);
  ~Prefetcher();

  /// The next step; waits when it is not ready. Valid until the next call.
  /// After an error every call gives that error.
  StatusOr<const StepTokens *> next();
  /// Forgets what was read ahead and goes on from `position`.
  Status seek(const LoaderPosition &position);
  const ShardSet &shards() const;

private:
  struct Shared;
  std::unique_ptr<Shared> shared;
};

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_PREFETCHER_H
