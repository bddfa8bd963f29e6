//===- Score.h - rows through score, logits and accumulate --------------------===//
#ifndef PG_RUNTIME_EVAL_SCORE_H
#define PG_RUNTIME_EVAL_SCORE_H

#include "runtime/data/BatchTables.h"
#include "runtime/exec/Executor.h"

#include <functional>

namespace pg::rt {

/// Index of the entry with a role in a phase; phase "" = the last one. Usage
/// names the phases there are.
StatusOr<int> findRole(const Executor &executor, const std::string &role, const std::string &phase);

/// Puts one batch into the entry's inputs; it must be within maxTokens.
void setTokens(Executor &executor, int entry, const BatchTables &batch);

/// Puts one batch into the entry's inputs and runs it.
Status runBatch(Executor &executor, int entry, const BatchTables &batch);

/// Waits for the run; values of a float output as doubles (exact for f32),
/// `count` elements.
Status readOutput(const Executor &executor, int entry, const std::string &name, int64_t count, double *values);

/// Runs rows through an entry in as few runs as fit, cut at rows only. `done`
/// is called after every run with the number of the first row, the number of
/// rows and the number of the first token of the run.
Status runRows(Executor &executor, int entry, const std::vector<TokenRow> &rows, int64_t batchTokens,
               const std::function<Status(size_t firstRow, size_t numRows, int64_t firstToken, int64_t numTokens)> &done);

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
