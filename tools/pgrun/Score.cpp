//===- Score.cpp - pgrun score and pgrun grad ----------------------------------===//
#include "runtime/data/TokenFile.h"
#include "runtime/eval/Score.h"
#include "runtime/support/Log.h"
#include "runtime/weights/Weights.h"
#include "tools/pgrun/Verbs.h"

#include <charconv>
#include <cmath>

namespace pg::rt {
namespace {

struct TokenOptions {
  CommonOptions common;
  std::string weights, tokens, output, phase, logitRows;
  int64_t rowLength = 0, maxSegment = 0;
  int32_t bosId = -1;

  void add(CLI::App &app) {
    common.add(app);
    app.add_option("--weights", weights, "parameters, safetensors")->required();
    app.add_option("--tokens", tokens,
                   ".bin shard, or safetensors with 'tokens' [T+1] or [B, T+1] and optional 'cu_seqlens' [k]")
        ->required();
    app.add_option("-o,--output", output, "safetensors file to write")->required();
    app.add_option("--phase", phase, "phase of the model; default the last");
    app.add_option("--row-length", rowLength, "row length of a .bin shard; default eval.row_length of the recipe")
        ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
    app.add_option("--bos-id", bosId, "begin an attention segment at this token")->check(CLI::Range(0, 65535));
    app.add_option("--max-segment", maxSegment, "longest attention segment")
        ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  }

  StatusOr<TokenFile> read(const Package &package) const {
    TokenFileOptions options;
    options.vocabulary = package.vocabulary;
    options.rowLength = rowLength > 0 ? rowLength : Recipe(package).integer("eval.row_length");
    options.bosId = bosId;
    options.maxSegment = maxSegment;
    return readTokenFile(tokens, options);
  }
};

/// "0,12" counts targets over all rows; "1:7" is row 1, token 7.
StatusOr<std::vector<int64_t>> parseRows(const std::string &text, const TokenFile &file) {
  std::vector<int64_t> rows;
  auto bad = [&](const std::string &item) {
    return Status(Code::Usage, "--logits-rows: '" + item + "' is no target, expected ROW:TOKEN or a number below " +
                                   std::to_string(file.numTargets()));
  };
  for (size_t at = 0; at <= text.size();) {
    size_t comma = std::min(text.find(',', at), text.size());
    std::string item = text.substr(at, comma - at);
    at = comma + 1;
    int64_t values[2] = {0, 0};
    const char *begin = item.data(), *end = item.data() + item.size();
    auto first = std::from_chars(begin, end, values[0]);
    bool isPair = first.ec == std::errc() && first.ptr != end && *first.ptr == ':';
    auto last = isPair ? std::from_chars(first.ptr + 1, end, values[1]) : first;
    if (last.ec != std::errc() || last.ptr != end || values[0] < 0 || values[1] < 0)
      return bad(item);
    int64_t index = values[0];
    if (isPair) {
      if (values[0] >= int64_t(file.rows.size()) || values[1] >= file.rows[size_t(values[0])].size())
        return bad(item);
      index = values[1];
      for (int64_t r = 0; r < values[0]; ++r)
        index += file.rows[size_t(r)].size();
    }
    if (index >= file.numTargets())
      return bad(item);
    rows.push_back(index);
  }
  return rows;
}

/// Doubles as bytes of the package's float type.
std::string encode(const std::vector<double> &values, bool isDouble) {
  if (isDouble)
    return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(double));
  std::vector<float> narrow(values.begin(), values.end());
  return std::string(reinterpret_cast<const char *>(narrow.data()), narrow.size() * sizeof(float));
}

Status runScore(const TokenOptions &options) {
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  if (Status status = loadWeights(executor, options.weights); !status)
    return status;
  auto file = options.read(executor.package());
  if (!file)
    return file.status();
  auto entry = findRole(executor, "score", options.phase);
  if (!entry)
    return entry.status();
  auto nll = scoreRows(executor, *entry, file->rows);
  if (!nll)
    return nll.status();

  bool isDouble = executor.package().precision == "f64";
  const char *dtype = isDouble ? "F64" : "F32";
  std::string nllBytes = encode(*nll, isDouble), logitBytes;
  std::vector<TensorToWrite> tensors = {{"nll", dtype, file->targetShape, nllBytes}};
  if (!options.logitRows.empty()) {
    auto wanted = parseRows(options.logitRows, *file);
    if (!wanted)
      return wanted.status();
    auto logitsEntry = findRole(executor, "logits", options.phase);
    if (!logitsEntry)
      return logitsEntry.status();
    auto logits = logitsAt(executor, *logitsEntry, file->rows, *wanted);
    if (!logits)
      return logits.status();
    logitBytes = encode(*logits, isDouble);
    auto count = int64_t(wanted->size());
    tensors.push_back({"logits", dtype, {count, int64_t(logits->size()) / count}, logitBytes});
  }
  if (Status status = writeSafetensors(options.output, std::move(tensors)); !status)
    return status;
  double sum = 0;
  for (double value : *nll)
    sum += value;
  double mean = sum / double(nll->size());
  showProfile(executor, options.common.profile);
  if (!std::isfinite(mean))
    warn("some scores are not finite");
  return print("loss " + formatDouble(mean) + "  targets " + std::to_string(nll->size()));
}

Status runGrad(const TokenOptions &options) {
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  if (Status status = loadWeights(executor, options.weights); !status)
    return status;
  auto file = options.read(executor.package());
  if (!file)
    return file.status();
  auto entry = findRole(executor, "accumulate", options.phase);
  if (!entry)
    return entry.status();
  auto loss = accumulateMean(executor, *entry, file->rows);
  if (!loss)
    return loss.status();
  if (Status status = saveGradients(executor, options.output); !status)
    return status;
  showProfile(executor, options.common.profile);
  return print("loss " + formatDouble(*loss) + "  targets " + std::to_string(file->numTargets()));
}

} // namespace

VerbFn addScore(CLI::App &app) {
  auto options = std::make_shared<TokenOptions>();
  options->add(app);
  app.add_option("--logits-rows", options->logitRows,
                 "also write 'logits' [R, V] of these targets: 0,12 or ROW:TOKEN pairs 0:3,1:7");
  return [options](int &) { return runScore(*options); };
}

VerbFn addGrad(CLI::App &app) {
  auto options = std::make_shared<TokenOptions>();
  options->add(app);
  return [options](int &) { return runGrad(*options); };
}

} // namespace pg::rt
