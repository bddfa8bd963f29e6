//===- LoaderCase.cpp - recorded batches against the loader's --------------===//
//
// Tensors are called <packing>.world<W>.rank<R>.batch<B>.<part>; packing is
// `packed` (documents; parts inputs, cu_seqlens, last_target) or `stream`
// (parts inputs, targets). W ranks read one span each in every batch.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/Compare.h"

#include "runtime/data/BatchTables.h"
#include "runtime/data/Prefetcher.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <set>

using namespace pg;
using namespace pg::golden;

namespace {
class LoaderRun {
public:
  LoaderRun(const Case &golden, rt::SafetensorsFile file)
      : golden(golden), file(std::move(file)) {}
  rt::Status run(std::vector<Check> &checks);

private:
  rt::Status compare(const std::string &packing, int world,
                     std::vector<Check> &checks);
  void check(const std::string &name, const std::vector<double> &own,
             std::vector<Check> &checks) const;
  int64_t segmentCap() const;

  const Case &golden;
  rt::SafetensorsFile file;
};
} // namespace

/// The cap is a number of the case, of its description, or the longest
/// recorded segment.
int64_t LoaderRun::segmentCap() const {
  for (const char *key : {"max_segment", "max_seq_len", "max_doc_len",
                          "segment_cap", "train_seq_len"})
    for (const rt::Json *place :
         {static_cast<const rt::Json *>(&golden.spec),
          golden.spec.contains("hyperparameters")
              ? &golden.spec["hyperparameters"]
              : &golden.spec}) {
      auto found = place->find(key);
      if (found != place->end() && found->is_number_integer())
        return found->get<int64_t>();
    }
  std::smatch match;
  std::string description = golden.text("description");
  if (std::regex_search(description, match, std::regex("cut at (\\d+) tokens")))
    return std::stoll(match[1]);
  int64_t longest = 0;
  for (const auto &[name, view] : file.tensors())
    if (name.find(".cu_seqlens") != std::string::npos)
      if (auto offsets = rt::toIntegers(view, name))
        for (size_t i = 1; i < offsets->size(); ++i)
          longest = std::max(longest, (*offsets)[i] - (*offsets)[i - 1]);
  return longest;
}

void LoaderRun::check(const std::string &name, const std::vector<double> &own,
                      std::vector<Check> &checks) const {
  auto expected = tensorOf(file, name);
  checks.push_back(
      {name, expected ? maxAbsDifference(own, *expected) : INFINITY, 0});
}

rt::Status LoaderRun::compare(const std::string &packing, int world,
                              std::vector<Check> &checks) {
  std::string start = packing + ".world" + std::to_string(world) + ".rank";
  const rt::TensorView *first = file.find(start + "0.batch0.inputs");
  if (!first || first->shape.empty())
    return {rt::Code::Invalid, "no tensor " + start + "0.batch0.inputs"};
  bool isPacked = packing == "packed";
  int64_t span = first->count(), rowLength = first->shape.back();
  int32_t bos = golden.spec.value("bos_id", 1);
  int64_t cap = isPacked ? segmentCap() : 0;

  auto shards = rt::ShardSet::open(golden.directory, "*train_*.bin", {});
  if (!shards)
    return shards.status();
  auto loader =
      rt::Loader::open(std::move(*shards), {isPacked, bos, span, world});
  if (!loader)
    return loader.status();
  rt::Prefetcher ahead(std::move(*loader), span, world);
  for (int batch = 0;; ++batch) {
    auto name = [&](int rank, const char *part) {
      return start + std::to_string(rank) + ".batch" + std::to_string(batch) +
             "." + part;
    };
    if (!file.find(name(0, "inputs")))
      return rt::Status::ok();
    auto step = ahead.next();
    if (!step)
      return step.status();
    for (int rank = 0; rank < world; ++rank) {
      rt::BatchTables tables;
      const int32_t *tokens = (*step)->spans.data() + rank * (span + 1);
      for (int64_t at = 0; at < span; at += rowLength)
        tables.addSpan(tokens + at, rowLength, isPacked ? bos : -1, cap);
      check(name(rank, "inputs"), {tables.tokens.begin(), tables.tokens.end()},
            checks);
      if (!isPacked) {
        check(name(rank, "targets"),
              {tables.targets.begin(), tables.targets.end()}, checks);
        continue;
      }
      std::vector<double> offsets;
      rt::Batch view = tables.view();
      for (int64_t i = 0; i < span; i = view.segmentEnd[i])
        offsets.push_back(static_cast<double>(i));
      offsets.push_back(static_cast<double>(span));
      check(name(rank, "cu_seqlens"), offsets, checks);
      check(name(rank, "last_target"),
            {static_cast<double>(tables.targets.back())}, checks);
    }
  }
}

rt::Status LoaderRun::run(std::vector<Check> &checks) {
  std::set<std::pair<std::string, int>> groups;
  static const std::regex pattern(
      "(packed|stream)\\.world(\\d+)\\.rank\\d+\\.batch\\d+\\.(inputs|targets|"
      "cu_seqlens|last_target)");
  for (const auto &[name, view] : file.tensors()) {
    std::smatch match;
    if (!std::regex_match(name, match, pattern))
      return {rt::Code::Invalid, "tensor '" + name + "' is not understood"};
    groups.insert({match[1], std::stoi(match[2])});
  }
  for (const auto &[packing, world] : groups)
    if (rt::Status status = compare(packing, world, checks); !status)
      return status;
  // Every recorded tensor was compared, and with something.
  if (checks.size() != file.tensors().size() || checks.empty())
    return {rt::Code::Invalid, std::to_string(file.tensors().size()) +
                                   " tensors recorded, " +
                                   std::to_string(checks.size()) + " compared"};
  return rt::Status::ok();
}

Outcome golden::runLoaderCase(const Case &golden, const Environment &) {
  Outcome outcome;
  outcome.state = Outcome::State::Fail;
  auto file = rt::SafetensorsFile::read(golden.file("io.safetensors"));
  rt::Status status = file ? LoaderRun(golden, std::move(*file)).run(outcome.checks)
                           : file.status();
  return outcome.judged(status);
}
