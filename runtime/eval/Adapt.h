//===- Adapt.h - documents scored by adapters trained on their past ----------===//
//
// The order of events: documents are sorted by length and cut into groups of as
// many as there are slots; groups run longest first. In a group every document
// has its own adapters, fresh at the start, and is read in chunks of targets.
// For chunk c all documents that have it are scored with the adapters as they
// are; then, if any of them has a later chunk, the adapters take one step on
// the mean loss of that chunk, from the same forward pass. So no target is
// scored by adapters that have seen it, and each is scored once.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_EVAL_ADAPT_H
#define PG_RUNTIME_EVAL_ADAPT_H

#include "runtime/exec/Executor.h"
#include "runtime/train/Recipe.h"

#include <functional>
#include <span>

namespace pg::rt {

/// Tokens [begin, end) of a stream: inputs are all but the last, targets all
/// but the first.
struct Document {
  size_t begin = 0, end = 0;
  size_t targets() const { return end - begin - 1; }
};

/// From each BOS up to and including the next one (the last to the end of the
/// stream); tokens before the first BOS belong to no document. A document
/// without a target is left out.
std::vector<Document> splitDocuments(std::span<const int32_t> stream, int32_t bosId);

struct AdaptOptions {
  std::string phase;           ///< "" = the last
  int64_t chunk = 48;          ///< targets between two updates
  int64_t window = 2048;       ///< most inputs of a row, those of the chunk included
  bool keepA = false;          ///< a group of equal size starts from the A it finds
  uint64_t seed = 1337;
  /// Every scalar of the programs but `step` and `loss_scale`, by name.
  std::function<StatusOr<double>(const std::string &)> scalar;
  /// Called with the number of a group and its documents when its adapters are
  /// set and when it is done; may be empty. The first may change the adapters.
  using Event = std::function<Status(int64_t group, const std::vector<size_t> &documents)>;
  Event onStart, onEnd;
};

/// The settings of the recipe's section `adapt`.
AdaptOptions adaptOptions(const Recipe &recipe);

/// Nll of every target, by document. Usage when the package has no adapters or
/// plans for fewer tokens than one window needs; Numerical when a score is not
/// finite.
StatusOr<std::vector<std::vector<double>>> adaptDocuments(Executor &executor, std::span<const int32_t> stream,
                                                          const std::vector<Document> &documents,
                                                          const AdaptOptions &options);

} // namespace pg::rt

#endif // PG_RUNTIME_EVAL_ADAPT_H
