//===- Generate.cpp - continues a prompt ------------------------------------===//
#include "runtime/eval/Generate.h"
#include "runtime/eval/Score.h"
#include "runtime/support/Random.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pg::rt {

int32_t sampleToken(const double *logits, int64_t vocabulary, double temperature, int64_t topK, double draw) {
  std::vector<int32_t> order(static_cast<size_t>(vocabulary));
  std::iota(order.begin(), order.end(), 0);
  // Ties by id, so that the order is one order.
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  if (temperature <= 0)
    return order[0];
  if (topK > 0 && topK < vocabulary)
    order.resize(size_t(topK));
  std::vector<double> weights;
  double total = 0;
  for (int32_t id : order) {
    weights.push_back(std::exp((logits[id] - logits[order[0]]) / temperature));
    total += weights.back();
  }
  double left = draw * total;
  for (size_t i = 0; i < order.size(); ++i) {
    left -= weights[i];
    if (left < 0)
      return order[i];
  }
  return order.back();
}

Status generate(Executor &executor, std::vector<int32_t> &context, const GenerateOptions &options,
                const std::function<void(int32_t)> &emit) {
  auto entry = findRole(executor, "logits", options.phase);
  if (!entry)
    return entry.status();
  if (context.empty())
    return {Code::Usage, "the prompt is empty and the tokenizer has no BOS to begin with"};
  auto maxTokens = size_t(executor.package().entries[size_t(*entry)].maxTokens);
  Random random(options.seed, "generate");
  for (int64_t i = 0; i < options.tokens; ++i) {
    TokenRow row;
    size_t first = context.size() > maxTokens ? context.size() - maxTokens : 0;
    row.tokens.assign(context.begin() + int64_t(first), context.end());
    row.targets.assign(row.tokens.size(), 0);
    auto logits = logitsAt(executor, *entry, {row}, {row.size() - 1});
    if (!logits)
      return logits.status();
    for (double value : *logits)
      if (!std::isfinite(value))
        return {Code::Numerical, "the logits are not finite after " + std::to_string(i) + " tokens"};
    int32_t token = sampleToken(logits->data(), int64_t(logits->size()), options.temperature, options.topK,
                                random.uniform(uint64_t(i)));
    if (token == options.stopId)
      break;
    context.push_back(token);
    emit(token);
  }
  return Status::ok();
}

} // namespace pg::rt
