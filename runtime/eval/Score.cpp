//===- Score.cpp - rows through score, logits and accumulate ----------------===//
#include "runtime/eval/Score.h"

#include <algorithm>
#include <cstring>

namespace pg::rt {
namespace {

constexpr const char *kNll = "nll";

Status checkOutput(const Executor &executor, int entry, const char *name, bool perToken) {
  const Port *port = executor.outputPort(entry, name);
  const std::string &entryName = executor.package().entries[size_t(entry)].name;
  if (!port)
    return {Code::Corrupt, "entry '" + entryName + "' has no output '" + name + "'; recompile the package"};
  if (port->perToken != perToken || (port->dtype != DType::F32 && port->dtype != DType::F64))
    return {Code::Corrupt, "output '" + std::string(name) + "' of entry '" + entryName + "' has an unexpected type"};
  return Status::ok();
}

Status checkBatchInputs(const Executor &executor, int entry) {
  const Entry &info = executor.package().entries[size_t(entry)];
  for (const Port &port : info.inputs) {
    bool isToken = port.name == "tokens" || port.name == "targets" || port.name == "position";
    bool isRows = port.name == "rows";
    bool isWeight = port.name == "loss_weight" && (port.dtype == DType::F32 || port.dtype == DType::F64);
    if (isWeight && port.perToken && port.shape.empty())
      continue;
    if (port.dtype != DType::I32 || !(isToken || isRows) || port.perToken != isToken ||
        port.shape.size() != size_t(isRows))
      return {Code::Corrupt, "entry '" + info.name + "' wants an input '" + port.name +
                                 "' this runtime does not know; use the pgrun that belongs to the compiler"};
  }
  return Status::ok();
}

} // namespace

StatusOr<int> findRole(const Executor &executor, const std::string &role, const std::string &phase) {
  const Package &package = executor.package();
  std::string wanted = phase.empty() && !package.phases.empty() ? package.phases.back().name : phase;
  std::string known;
  for (size_t i = 0; i < package.entries.size(); ++i) {
    const Entry &entry = package.entries[i];
    if (entry.role != role)
      continue;
    if (entry.phase == wanted || (entry.phase.empty() && phase.empty())) {
      if (Status status = checkBatchInputs(executor, int(i)); !status)
        return status;
      return int(i);
    }
    known += (known.empty() ? "" : ", ") + entry.phase;
  }
  if (known.empty())
    return Status(Code::Usage, "the package has no program '" + role + "'" +
                                   (role == "apply" ? "; compile it with --recipe"
                                    : role == "calibrate" ? "; compile it with --programs calibrate"
                                    : role == "adapt" ? "; compile it with a recipe that has a section 'adapt'"
                                                      : ""));
  return Status(Code::Usage, "the package has no phase '" + wanted + "' for '" + role + "', it has: " + known);
}

void setTokens(Executor &executor, int entry, const BatchTables &batch) {
  auto put = [&](const char *name, const std::vector<int32_t> &values) {
    if (int32_t *memory = executor.input(entry, name))
      std::memcpy(memory, values.data(), values.size() * sizeof(int32_t));
  };
  put("tokens", batch.tokens);
  put("targets", batch.targets);
  put("position", batch.position);
}

Status prepareBatch(Executor &executor, int entry, const BatchTables &batch) {
  Batch view = batch.view();
  if (view.numTokens <= executor.package().entries[size_t(entry)].maxTokens)
    setTokens(executor, entry, batch);
  return executor.prepare(entry, &view);
}

Status runBatch(Executor &executor, int entry, const BatchTables &batch) {
  Batch view = batch.view();
  // A batch that is too large is for run to refuse: it says how to recompile.
  if (view.numTokens <= executor.package().entries[size_t(entry)].maxTokens)
    setTokens(executor, entry, batch);
  return executor.run(entry, &view);
}

namespace {

/// Floats at the front of the doubles' own memory, widened from the back.
void widen(double *values, int64_t count) {
  auto *bytes = reinterpret_cast<const char *>(values);
  for (int64_t i = count; i-- > 0;) {
    float narrow;
    std::memcpy(&narrow, bytes + i * int64_t(sizeof narrow), sizeof narrow);
    values[i] = narrow;
  }
}

bool isDoubleOutput(const Executor &executor, int entry, const std::string &name) {
  const Port *port = executor.outputPort(entry, name);
  return port && port->dtype == DType::F64;
}

/// Calls `run` for batches of as many whole rows as fit.
Status cutRows(Executor &executor, int entry, const std::vector<TokenRow> &rows, int64_t batchTokens,
               const std::function<Status(const BatchTables &)> &run) {
  int64_t limit = executor.package().entries[size_t(entry)].maxTokens;
  if (batchTokens > 0)
    limit = std::min(limit, batchTokens);
  BatchTables batch;
  batch.reserve(limit);
  for (size_t next = 0; next < rows.size();) {
    batch.clear();
    size_t first = next;
    while (next < rows.size() && (next == first || batch.numTokens() + rows[next].size() <= limit))
      batch.add(rows[next++]);
    if (Status status = run(batch); !status)
      return status;
  }
  return Status::ok();
}

} // namespace

Status readOutput(const Executor &executor, int entry, const std::string &name, int64_t count, double *values) {
  bool isDouble = isDoubleOutput(executor, entry, name);
  Status status = executor.readOutput(entry, name, values, uint64_t(count) * (isDouble ? sizeof(double) : sizeof(float)));
  if (status && !isDouble)
    widen(values, count);
  return status;
}

Status OutputRead::queue(const Executor &executor, int entry, const std::string &name, int64_t count) {
  isDouble = isDoubleOutput(executor, entry, name);
  elements = count;
  auto queued = executor.queueOutput(entry, name, uint64_t(count) * (isDouble ? sizeof(double) : sizeof(float)));
  if (queued)
    ticket = *queued;
  return queued.status();
}

Status OutputRead::take(const Executor &executor, double *values) const {
  Status status =
      executor.takeOutput(ticket, values, uint64_t(elements) * (isDouble ? sizeof(double) : sizeof(float)));
  if (status && !isDouble)
    widen(values, elements);
  return status;
}

Status runRows(Executor &executor, int entry, const std::vector<TokenRow> &rows, int64_t batchTokens,
               const std::function<Status(int64_t, std::span<const double>)> &done) {
  // One run is queued ahead of the one whose values are taken.
  OutputRead pending;
  std::vector<double> nll;
  int64_t taken = 0;
  auto take = [&]() -> Status {
    nll.resize(size_t(pending.count()));
    Status status = pending.take(executor, nll.data());
    if (status)
      status = done(taken, nll);
    taken += pending.count();
    return status;
  };
  Status status = cutRows(executor, entry, rows, batchTokens, [&](const BatchTables &batch) -> Status {
    OutputRead queued;
    if (Status status = runBatch(executor, entry, batch); !status)
      return status;
    if (Status status = queued.queue(executor, entry, kNll, batch.numTokens()); !status)
      return status;
    if (pending.count() > 0)
      if (Status status = take(); !status)
        return status;
    pending = queued;
    return Status::ok();
  });
  return status && pending.count() > 0 ? take() : status;
}

StatusOr<int64_t> runRows(Executor &executor, int entry, const std::vector<TokenRow> &rows, int64_t batchTokens) {
  int64_t runs = 0;
  Status status = cutRows(executor, entry, rows, batchTokens, [&](const BatchTables &batch) {
    ++runs;
    return runBatch(executor, entry, batch);
  });
  if (!status)
    return status;
  return runs;
}

StatusOr<std::vector<double>> scoreRows(Executor &executor, int entry, const std::vector<TokenRow> &rows,
                                        int64_t batchTokens) {
  if (Status status = checkOutput(executor, entry, kNll, true); !status)
    return status;
  int64_t total = 0;
  for (const TokenRow &row : rows)
    total += row.size();
  std::vector<double> nll(static_cast<size_t>(total));
  Status status = runRows(executor, entry, rows, batchTokens, [&](int64_t firstToken, std::span<const double> values) {
    std::copy(values.begin(), values.end(), nll.begin() + firstToken);
    return Status::ok();
  });
  if (!status)
    return status;
  return nll;
}

StatusOr<std::vector<double>> logitsAt(Executor &executor, int entry, const std::vector<TokenRow> &rows,
                                       const std::vector<int64_t> &wanted) {
  if (Status status = checkOutput(executor, entry, "logits", false); !status)
    return status;
  const Entry &info = executor.package().entries[size_t(entry)];
  const Port *logits = executor.outputPort(entry, "logits");
  int32_t *picked = executor.input(entry, "rows");
  auto rowsPort = std::find_if(info.inputs.begin(), info.inputs.end(), [](const Port &p) { return p.name == "rows"; });
  if (!picked || logits->shape.size() != 2 || logits->shape[0] != rowsPort->shape[0])
    return Status(Code::Corrupt, "entry '" + info.name + "' does not take 'rows' and give 'logits'; recompile the package");
  int64_t slots = logits->shape[0], vocabulary = logits->shape[1];

  std::vector<double> values(wanted.size() * size_t(vocabulary));
  std::vector<double> slab(size_t(slots * vocabulary));
  BatchTables batch;
  int64_t firstToken = 0;
  for (const TokenRow &row : rows) {
    std::vector<size_t> here;
    for (size_t i = 0; i < wanted.size(); ++i)
      if (wanted[i] >= firstToken && wanted[i] < firstToken + row.size())
        here.push_back(i);
    for (size_t at = 0; at < here.size(); at += size_t(slots)) {
      size_t count = std::min(size_t(slots), here.size() - at);
      // Unused slots repeat the first row: every slot must hold a valid index.
      for (size_t s = 0; s < size_t(slots); ++s)
        picked[s] = int32_t(wanted[here[at + (s < count ? s : 0)]] - firstToken);
      batch.clear();
      batch.add(row);
      if (Status status = runBatch(executor, entry, batch); !status)
        return status;
      if (Status status = readOutput(executor, entry, "logits", slots * vocabulary, slab.data()); !status)
        return status;
      for (size_t s = 0; s < count; ++s)
        std::copy_n(slab.begin() + int64_t(s) * vocabulary, vocabulary,
                    values.begin() + int64_t(here[at + s]) * vocabulary);
    }
    firstToken += row.size();
  }
  return values;
}

StatusOr<double> accumulateMean(Executor &executor, int entry, const std::vector<TokenRow> &rows) {
  if (Status status = checkOutput(executor, entry, kNll, true); !status)
    return status;
  int64_t total = 0;
  for (const TokenRow &row : rows)
    total += row.size();
  executor.zeroGradients();
  executor.setScalar(entry, "loss_scale", 1.0 / double(total));
  double sum = 0;
  Status status = runRows(executor, entry, rows, 0, [&](int64_t, std::span<const double> nll) {
    for (double value : nll)
      sum += value;
    return Status::ok();
  });
  if (!status)
    return status;
  return sum / double(total);
}

} // namespace pg::rt
