//===- Score.h - rows through score, logits and accumulate --------------------===//
#ifndef PG_RUNTIME_EVAL_SCORE_H
#define PG_RUNTIME_EVAL_SCORE_H

#include "runtime/data/BatchTables.h"
#include "runtime/exec/Executor.h"

#include <functional>
#include <span>

namespace pg::rt {

/// Index of the entry with a role in a phase; phase "" = the last one. Usage
/// names the phases there are.
StatusOr<int> findRole(const Executor &executor, const std::string &role, const std::string &phase);

/// Puts one batch into the entry's inputs; it must be within maxTokens.
void setTokens(Executor &executor, int entry, const BatchTables &batch);

/// Puts the batch of the next run into the entry's inputs and sends it, while
/// earlier work may still run; then Executor::runPrepared.
Status prepareBatch(Executor &executor, int entry, const BatchTables &batch);

/// Puts one batch into the entry's inputs and runs it.
Status runBatch(Executor &executor, int entry, const BatchTables &batch);

/// Waits for the run; values of a float output as doubles (exact for f32),
/// `count` elements.
Status readOutput(const Executor &executor, int entry, const std::string &name, int64_t count, double *values);

/// Values of an output on their way: the next batch may be queued before they
/// are taken, so that the device has work while the host looks at them.
class OutputRead {
public:
  /// Queues reading `count` elements of a float output as the run before leaves
  /// it. Device::kResults may be under way.
  Status queue(const Executor &executor, int entry, const std::string &name, int64_t count);
  int64_t count() const { return elements; }
  /// Waits for that run, not for later ones; count() values as doubles.
  Status take(const Executor &executor, double *values) const;

private:
  uint64_t ticket = 0;
  int64_t elements = 0;
  bool isDouble = false;
};

/// Runs rows through an entry in as few runs as fit, cut at rows only. `done`
/// is called for every run in order with the number of the first token of the
/// run and its NLL values, while the next run may be under way already.
Status runRows(Executor &executor, int entry, const std::vector<TokenRow> &rows, int64_t batchTokens,
               const std::function<Status(int64_t firstToken, std::span<const double> nll)> &done);
/// The same for an entry without outputs; the number of runs.
StatusOr<int64_t> runRows(Executor &executor, int entry, const std::vector<TokenRow> &rows, int64_t batchTokens);

/// NLL of every target, rows one after the other. `batchTokens` limits a run
/// (0 = the entry's maximum).
StatusOr<std::vector<double>> scoreRows(Executor &executor, int entry, const std::vector<TokenRow> &rows,
                                        int64_t batchTokens = 0);

/// Logits [wanted.size(), V] of the tokens at `wanted` (index over all rows),
/// through the entry of role "logits".
StatusOr<std::vector<double>> logitsAt(Executor &executor, int entry, const std::vector<TokenRow> &rows,
                                       const std::vector<int64_t> &wanted);

/// Zeroes the gradients and adds the gradient of the mean NLL over all rows;
/// returns that mean.
StatusOr<double> accumulateMean(Executor &executor, int entry, const std::vector<TokenRow> &rows);

} // namespace pg::rt

#endif // PG_RUNTIME_EVAL_SCORE_H
