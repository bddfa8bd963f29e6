//===- main.cpp - packages compared launch by launch ------------------------===//
//
//   pg-bench-launches ENTRY ROUNDS THREADS TOKENS A.pgx B.pgx ...
//
// Runs every launch of an entry once in each package before the next one, so that
// what else happens on the machine meets all of them alike, and prints per kernel
// how much faster than in A it was. The packages must have the same launches: one
// model, compiled by two versions of the compiler or with two sets of flags.
//
//===----------------------------------------------------------------------===//
#include "runtime/data/BatchTables.h"
#include "runtime/eval/Score.h"
#include "runtime/exec/Executor.h"
#include "runtime/support/Log.h"
#include "runtime/support/Random.h"
#include "runtime/train/Initialise.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

using namespace pg::rt;

namespace {

constexpr int64_t kRow = 1024;

int fail(const std::string &message) {
  std::fprintf(stderr, "pg-bench-launches: %s\n", message.c_str());
  return 2;
}

BatchTables randomBatch(int64_t tokens, int64_t vocabulary) {
  Random random(1, "bench");
  BatchTables batch;
  for (int64_t begin = 0; begin < tokens; begin += kRow) {
    TokenRow row;
    for (int64_t i = begin; i < std::min(tokens, begin + kRow); ++i) {
      row.tokens.push_back(int32_t(random.uniform(uint64_t(2 * i)) * double(vocabulary)));
      row.targets.push_back(int32_t(random.uniform(uint64_t(2 * i + 1)) * double(vocabulary)));
    }
    batch.add(row);
  }
  return batch;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Side {
  std::string path;
  std::unique_ptr<Executor> executor;
  int entry = -1;
  std::vector<std::vector<double>> seconds; ///< per launch, per round
};

Status open(Side &side, const std::string &entry, int threads) {
  auto package = readPackage(side.path);
  if (!package)
    return package.status();
  ExecutorOptions options;
  options.threads = threads;
  options.device = *parseDeviceChoice("cpu");
  auto executor = Executor::create(std::move(*package), options);
  if (!executor)
    return executor.status();
  side.executor = std::move(*executor);
  side.entry = side.executor->findEntry(entry);
  if (side.entry < 0)
    return {Code::Usage, "'" + side.path + "' has no entry '" + entry + "'"};
  side.seconds.resize(side.executor->package().entries[size_t(side.entry)].launches.size());
  if (Status status = initialise(*side.executor, 1); !status)
    return status;
  const auto &scalars = side.executor->package().entries[size_t(side.entry)].scalars;
  for (size_t i = 0; i < scalars.size(); ++i)
    side.executor->setScalar(side.entry, i, scalars[i] == "step" ? 1 : 1e-4);
  return Status::ok();
}

void report(const std::vector<Side> &sides) {
  const Package &package = sides[0].executor->package();
  const Entry &entry = package.entries[size_t(sides[0].entry)];
  std::map<std::string, std::vector<double>> sums; ///< per kernel and category, of the launches' medians
  for (size_t i = 0; i < entry.launches.size(); ++i) {
    const Kernel &kernel = package.kernels[entry.launches[i].kernel];
    for (const std::string &name : {std::string(" all"), " " + kernel.category, kernel.symbol}) {
      std::vector<double> &sum = sums[name];
      sum.resize(sides.size());
      for (size_t s = 0; s < sides.size(); ++s)
        sum[s] += median(sides[s].seconds[i]);
    }
  }
  std::vector<std::pair<std::string, std::vector<double>>> rows(sums.begin(), sums.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto &a, const auto &b) {
    bool isSumA = a.first[0] == ' ', isSumB = b.first[0] == ' ';
    return isSumA != isSumB ? isSumA : a.second[0] > b.second[0];
  });
  for (const auto &[name, sum] : rows) {
    std::printf("%-48s %9.3f ms", name.c_str(), 1e3 * sum[0]);
    for (size_t s = 1; s < sides.size(); ++s)
      std::printf("  %6.3f", sum[0] / sum[s]);
    std::printf("\n");
  }
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 7)
    return fail("usage: pg-bench-launches ENTRY ROUNDS THREADS TOKENS A.pgx B.pgx ...");
  for (int i = 2; i < 5; ++i)
    if (std::atoi(argv[i]) < 1)
      return fail(std::string("ROUNDS, THREADS and TOKENS are numbers from 1 on, not '") + argv[i] + "'");
  int64_t rounds = std::atoll(argv[2]), tokens = std::atoll(argv[4]);
  std::vector<Side> sides;
  for (int i = 5; i < argc; ++i) {
    Side &side = sides.emplace_back();
    side.path = argv[i];
    if (Status status = open(side, argv[1], std::atoi(argv[3])); !status)
      return fail(status.message());
    if (side.seconds.size() != sides[0].seconds.size())
      return fail("'" + side.path + "' has other launches than '" + sides[0].path + "'");
  }
  const Package &package = sides[0].executor->package();
  bool isPerToken = package.entries[size_t(sides[0].entry)].maxTokens > 0;
  BatchTables tables = randomBatch(isPerToken ? tokens : kRow, std::max<int64_t>(1, package.vocabulary));
  Batch view = tables.view();
  const Batch *batch = isPerToken ? &view : nullptr;
  for (Side &side : sides) {
    Status status = isPerToken ? runBatch(*side.executor, side.entry, tables) : side.executor->run(side.entry, nullptr);
    if (!status)
      return fail(status.message());
  }
  for (int64_t round = 0; round < rounds; ++round) {
    for (Side &side : sides)
      if (Status status = side.executor->begin(side.entry, batch); !status)
        return fail(status.message());
    for (size_t i = 0; i < sides[0].seconds.size(); ++i)
      for (size_t turn = 0; turn < sides.size(); ++turn) {
        Side &side = sides[(turn + size_t(round)) % sides.size()];
        double start = monotonicSeconds();
        if (Status status = side.executor->runLaunch(side.entry, i, batch); !status)
          return fail(status.message());
        side.seconds[i].push_back(monotonicSeconds() - start);
      }
  }
  report(sides);
  return 0;
}
