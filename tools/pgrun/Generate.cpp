//===- Generate.cpp - pgrun generate ----------------------------------------------===//
#include "runtime/eval/Generate.h"
#include "runtime/data/Tokenizer.h"
#include "runtime/support/Log.h"
#include "runtime/weights/Weights.h"
#include "tools/pgrun/Verbs.h"

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  std::string weights, tokenizer, prompt;
  GenerateOptions generate;
};

Status run(const Options &options) {
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  auto tokenizer = Tokenizer::open(options.tokenizer, executor.package().vocabulary);
  if (!tokenizer)
    return tokenizer.status();
  if (Status status = loadWeights(executor, options.weights); !status)
    return status;
  auto prompt = tokenizer->encode(options.prompt);
  if (!prompt)
    return prompt.status();
  std::vector<int32_t> context = *prompt;
  GenerateOptions generate = options.generate;
  int32_t bos = tokenizer->bosId();
  if (bos >= 0)
    context.insert(context.begin(), bos);
  generate.stopId = bos; // the next document begins
  size_t start = bos >= 0 ? 1 : 0;
  Progress progress;
  double began = monotonicSeconds();
  int64_t made = 0;
  Status status = pg::rt::generate(executor, context, generate, [&](int32_t) {
    ++made;
    if (progress.isDue())
      progress.show("generate " + std::to_string(made) + "/" + std::to_string(generate.tokens) + "  " +
                    formatFixed(double(made) / (monotonicSeconds() - began), 1) + " tokens/s");
  });
  progress.finish();
  if (!status)
    return status;
  auto text = tokenizer->decode({context.begin() + int64_t(start), context.end()});
  if (!text)
    return text.status();
  showProfile(executor, options.common.profile);
  return print(*text);
}

} // namespace

VerbFn addGenerate(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  GenerateOptions &generate = options->generate;
  app.add_option("--weights", options->weights, "parameters, safetensors")->required();
  app.add_option("--tokenizer", options->tokenizer, "SentencePiece model")->required();
  app.add_option("--prompt", options->prompt, "text to continue")->required();
  app.add_option("--tokens", generate.tokens, "tokens to add (default 64)")->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  app.add_option("--temperature", generate.temperature, "0 = always the most probable token (default 1)")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--top-k", generate.topK, "draw from the k most probable tokens (default all)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  app.add_option("--seed", generate.seed, "seed of the draws (default 0)");
  app.add_option("--phase", generate.phase, "phase of the model; default the last");
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
