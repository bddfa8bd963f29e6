//===- Adapt.cpp - documents scored by adapters trained on their past --------===//
#include "runtime/eval/Adapt.h"
#include "runtime/data/BatchTables.h"
#include "runtime/eval/Score.h"
#include "runtime/train/Initialise.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

namespace pg::rt {
namespace {

constexpr const char *kAdapter = "adapter";
constexpr const char *kGradient = "adapter_gradient";
constexpr const char *kOptimizer = "adapter_optimizer";

/// The part of a document that one chunk reads.
struct Window {
  size_t document = 0;
  int32_t slot = 0;
  int64_t begin = 0, end = 0; ///< inputs
  int64_t firstTarget = 0;    ///< scored are targets firstTarget .. end - 1
  bool isTrained = false;
};

class Adapter {
public:
  Adapter(Executor &executor, std::span<const int32_t> stream, const std::vector<Document> &documents,
          const AdaptOptions &options)
      : executor(executor), stream(stream), documents(documents), options(options) {}

  StatusOr<std::vector<std::vector<double>>> run() {
    if (Status status = prepare(); !status)
      return status;
    std::vector<size_t> order(documents.size());
    std::iota(order.begin(), order.end(), size_t(0));
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return documents[a].targets() < documents[b].targets(); });
    for (const Document &document : documents)
      nll.emplace_back(document.targets());
    size_t groups = (order.size() + size_t(slots) - 1) / size_t(slots);
    for (size_t g = 0; g < groups; ++g) {
      size_t first = (groups - 1 - g) * size_t(slots);
      std::vector<size_t> group(order.begin() + int64_t(first),
                                order.begin() + int64_t(std::min(order.size(), first + size_t(slots))));
      if (Status status = runGroup(int64_t(g), group); !status)
        return status;
    }
    return std::move(nll);
  }

private:
  Status prepare() {
    for (auto [role, entry] : {std::pair("adapt", &adaptEntry), std::pair("adapt_score", &scoreEntry)}) {
      auto found = findRole(executor, role, options.phase);
      if (!found)
        return found.status().with("adapters");
      *entry = *found;
    }
    applyEntry = executor.findEntry("adapt_apply");
    if (applyEntry < 0)
      return {Code::Usage, "the package has no program 'adapt_apply'; compile it with a recipe that has a section 'adapt'"};
    for (const State &state : executor.package().states)
      if (state.role == kAdapter)
        slots = state.shape.empty() ? 0 : state.shape[0];
    if (slots < 1)
      return {Code::Corrupt, "the package has no adapters with slots; recompile it"};
    int64_t limit = executor.package().entries[size_t(adaptEntry)].maxTokens;
    if (options.window > limit || options.chunk > options.window)
      return {Code::Usage, "a window of " + std::to_string(options.window) + " tokens with chunks of " +
                               std::to_string(options.chunk) + " does not fit: the chunk is at most the window, the window "
                               "at most the " + std::to_string(limit) + " tokens the package was compiled for (--max-tokens)"};
    for (int entry : {adaptEntry, scoreEntry, applyEntry})
      for (const std::string &name : executor.package().entries[size_t(entry)].scalars) {
        if (name == "step")
          continue;
        double value = 1;
        if (name != "loss_scale") {
          auto given = options.scalar(name);
          if (!given)
            return given.status();
          value = *given;
        }
        executor.setScalar(entry, name, value);
      }
    return Status::ok();
  }

  /// Fresh adapters; A may stay when the slots hold those of an equal group.
  Status reset(int64_t group, size_t size) {
    if (Status status = executor.resetStates(kOptimizer); !status)
      return status;
    bool keep = options.keepA && size == lastSize;
    lastSize = size;
    const auto &states = executor.package().states;
    for (size_t i = 0; i < states.size(); ++i) {
      if (states[i].role != kAdapter || (keep && !states[i].draw.kind.empty()))
        continue;
      if (Status status = drawState(executor, i, options.seed, "group " + std::to_string(group)); !status)
        return status;
    }
    return Status::ok();
  }

  Status runGroup(int64_t number, const std::vector<size_t> &group) {
    if (Status status = reset(number, group.size()); !status)
      return status;
    if (options.onStart)
      if (Status status = options.onStart(number, group); !status)
        return status;
    size_t longest = 0;
    for (size_t document : group)
      longest = std::max(longest, nll[document].size());
    for (int64_t chunk = 0; chunk * options.chunk < int64_t(longest); ++chunk)
      if (Status status = runChunk(chunk, group); !status)
        return status;
    return options.onEnd ? options.onEnd(number, group) : Status::ok();
  }

  Status runChunk(int64_t chunk, const std::vector<size_t> &group) {
    std::vector<Window> windows;
    bool isTrained = false;
    for (size_t slot = 0; slot < group.size(); ++slot) {
      auto targets = int64_t(nll[group[slot]].size());
      Window window;
      window.document = group[slot];
      window.slot = int32_t(slot);
      window.firstTarget = chunk * options.chunk;
      if (window.firstTarget >= targets)
        continue;
      window.end = std::min(window.firstTarget + options.chunk, targets);
      window.begin = std::max<int64_t>(0, window.end - options.window);
      window.isTrained = window.firstTarget + options.chunk < targets;
      isTrained |= window.isTrained;
      windows.push_back(window);
    }
    int entry = isTrained ? adaptEntry : scoreEntry;
    if (isTrained)
      if (Status status = executor.resetStates(kGradient); !status)
        return status;
    int64_t limit = executor.package().entries[size_t(entry)].maxTokens;
    for (size_t first = 0; first < windows.size();) {
      batch.clear();
      size_t end = first;
      while (end < windows.size() &&
             (end == first || batch.numTokens() + windows[end].end - windows[end].begin <= limit))
        add(windows[end++]);
      if (Status status = runWindows(entry, {windows.data() + first, end - first}); !status)
        return status;
      first = end;
    }
    if (!isTrained)
      return Status::ok();
    executor.setScalar(applyEntry, "step", double(chunk + 1));
    return executor.run(applyEntry, nullptr);
  }

  void add(const Window &window) {
    auto tokens = stream.subspan(documents[window.document].begin);
    TokenRow row;
    row.tokens.assign(tokens.begin() + window.begin, tokens.begin() + window.end);
    row.targets.assign(tokens.begin() + window.begin + 1, tokens.begin() + window.end + 1);
    row.slot = window.slot;
    batch.add(row);
  }

  Status runWindows(int entry, std::span<const Window> windows) {
    std::vector<double> weights(size_t(batch.numTokens()), 0.0), scores(weights.size());
    int64_t row = 0;
    for (const Window &window : windows) {
      if (window.isTrained)
        std::fill_n(weights.begin() + row + window.firstTarget - window.begin, window.end - window.firstTarget,
                    1.0 / double(options.chunk));
      row += window.end - window.begin;
    }
    if (entry == adaptEntry)
      if (Status status = executor.setInput(entry, "loss_weight", weights); !status)
        return status;
    if (Status status = runBatch(executor, entry, batch); !status)
      return status;
    if (Status status = readOutput(executor, entry, "nll", batch.numTokens(), scores.data()); !status)
      return status;
    row = 0;
    for (const Window &window : windows) {
      for (int64_t target = window.firstTarget; target < window.end; ++target) {
        double score = scores[size_t(row + target - window.begin)];
        if (!std::isfinite(score))
          return {Code::Numerical, "the score of target " + std::to_string(target) + " of document " +
                                       std::to_string(window.document) + " is not finite"};
        nll[window.document][size_t(target)] = score;
      }
      row += window.end - window.begin;
    }
    return Status::ok();
  }

  Executor &executor;
  std::span<const int32_t> stream;
  const std::vector<Document> &documents;
  const AdaptOptions &options;
  int adaptEntry = -1, scoreEntry = -1, applyEntry = -1;
  int64_t slots = 0;
  size_t lastSize = 0;
  BatchTables batch;
  std::vector<std::vector<double>> nll;
};

} // namespace

std::vector<Document> splitDocuments(std::span<const int32_t> stream, int32_t bosId) {
  std::vector<Document> documents;
  auto begin = std::find(stream.begin(), stream.end(), bosId);
  while (begin != stream.end()) {
    auto next = std::find(begin + 1, stream.end(), bosId);
    auto end = next == stream.end() ? next : next + 1;
    if (end - begin > 1)
      documents.push_back({size_t(begin - stream.begin()), size_t(end - stream.begin())});
    begin = next;
  }
  return documents;
}

AdaptOptions adaptOptions(const Recipe &recipe) {
  AdaptOptions options;
  options.chunk = std::max<int64_t>(1, recipe.integer("adapt.chunk"));
  options.window = recipe.integer("adapt.window");
  options.keepA = recipe.number("adapt.keep_a") != 0;
  options.seed = uint64_t(recipe.integer("seed"));
  // A copy, so that the options outlive the recipe.
  options.scalar = [recipe = std::make_shared<Recipe>(recipe)](const std::string &name) -> StatusOr<double> {
    std::string last = name.substr(name.rfind('.') + 1);
    std::vector<std::string> paths;
    if (name == "adapter_scale")
      paths = {"adapt.scale"};
    else if (name == "adapt." + last)
      paths = {"adapt.optimizer." + last, "adapt.optimizer.args." + last};
    for (const std::string &path : paths)
      if (recipe->has(path))
        return recipe->number(path);
    return Status(Code::Invalid, "the adapters need the scalar '" + name +
                                     "' but the recipe of the package gives no value for it");
  };
  return options;
}

StatusOr<std::vector<std::vector<double>>> adaptDocuments(Executor &executor, std::span<const int32_t> stream,
                                                          const std::vector<Document> &documents,
                                                          const AdaptOptions &options) {
  return Adapter(executor, stream, documents, options).run();
}

} // namespace pg::rt
