//===- main.cpp - pgrun: runs compiled packages --------------------------------===//
#include "runtime/support/Log.h"
#include "tools/pgrun/Verbs.h"

#include <cstdio>
#include <iostream>
#include <new>

using namespace pg::rt;

namespace {

struct Verb {
  const char *name, *summary, *example;
  VerbFn (*add)(CLI::App &app);
};

constexpr Verb kVerbs[] = {
    {"data", "text documents to token shards",
     "pgrun data train.jsonl val.jsonl --tokenizer text.model --out datasets/text", addData},
    {"train", "train a model",
     "pgrun train model.pgx --data datasets/text --run runs/first --steps 500", addTrain},
    {"eval", "validation loss and bits per byte",
     "pgrun eval model.pgx --weights runs/first/weights.safetensors --data datasets/text --tokenizer text.model", addEval},
    {"generate", "continue a prompt",
     "pgrun generate model.pgx --weights w.safetensors --tokenizer text.model --prompt 'The ship' --tokens 50", addGenerate},
    {"score", "negative log-likelihood of every target",
     "pgrun score model.pgx --weights w.safetensors --tokens val.bin -o nll.safetensors", addScore},
    {"grad", "gradient of the mean loss for every parameter",
     "pgrun grad model.pgx --weights w.safetensors --tokens rows.safetensors -o grads.safetensors", addGrad},
    {"calibrate", "second moments of the inputs of quantised products",
     "pgrun calibrate model.pgx --weights w.safetensors --data datasets/text -o moments.safetensors", addCalibrate},
    {"adapt", "score documents, adapters learning from each document's past",
     "pgrun adapt model.pgx --weights w.safetensors --data datasets/text --tokenizer text.model -o nll.safetensors", addAdapt},
    {"report", "one HTML page about a training run", "pgrun report runs/first -o first.html", addReport},
    {"init", "the initial weights of a seed", "pgrun init model.pgx --seed 1337 -o initial.safetensors", addInit},
    {"info", "what a package holds", "pgrun info model.pgx --json", addInfo},
    {"bench", "speed and memory of one program or a whole step, kernels against measured peaks", "pgrun bench model.pgx --profile --trace trace.json", addBench},
    {"doctor", "what this machine has, what is missing and what to do", "pgrun doctor model.pgx --device cuda", addDoctor},
};

int exitCodeOf(const Status &status) { return int(status.code()); }

int fail(const Status &status) {
  std::fprintf(stderr, "pgrun: error: %s\n", status.message().c_str());
  return exitCodeOf(status);
}

/// "--stpes" -> "; did you mean '--steps'?"
std::string suggestFlag(const std::string &word, const CLI::App &app) {
  std::vector<std::string> names;
  for (const CLI::Option *option : app.get_options())
    for (const std::string &name : option->get_lnames())
      names.push_back("--" + name);
  std::string nearest = nearestName(word.substr(0, word.find('=')), names);
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("pgrun runs packages made by pgc", "pgrun");
  app.set_version_flag("--version", std::string("pgrun ") + kRunVersion + ", package version " +
                                        std::to_string(kPackageVersion));
  app.require_subcommand(1);
  std::vector<std::pair<CLI::App *, VerbFn>> verbs;
  std::vector<std::string> names;
  for (const Verb &verb : kVerbs) {
    CLI::App *sub = app.add_subcommand(verb.name, verb.summary);
    sub->footer(std::string("Example:\n  ") + verb.example);
    verbs.push_back({sub, verb.add(*sub)});
    names.push_back(verb.name);
  }
  app.footer("Exit codes: 0 success, 1 invalid input, 2 wrong usage, 3 the machine lacks something, 4 input/output,\n"
             "5 file corrupt or of another version, 6 numerical failure, 128+n ended by signal n");

  if (argc < 2) {
    std::cerr << app.help();
    return int(Code::Usage);
  }
  std::string first = argv[1];
  if (first[0] != '-' && std::find(names.begin(), names.end(), first) == names.end()) {
    std::string nearest = nearestName(first, names);
    return fail({Code::Usage, "unknown verb '" + first + "'" +
                                  (nearest.empty() ? "" : "; did you mean '" + nearest + "'?")});
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &error) {
    return app.exit(error);
  } catch (const CLI::CallForVersion &error) {
    return app.exit(error);
  } catch (const CLI::ParseError &error) {
    CLI::App *verb = nullptr;
    for (auto &[sub, run] : verbs)
      if (first == sub->get_name())
        verb = sub;
    // A misspelt flag also makes required ones look missing: name it first.
    for (int i = 2; verb && i < argc; ++i) {
      std::string word = argv[i];
      std::string name = word.substr(0, word.find('='));
      if (word.rfind("--", 0) == 0 && word.size() > 2 && !verb->get_option_no_throw(name))
        return fail({Code::Usage, "unknown flag '" + name + "'" + suggestFlag(name, *verb)});
    }
    return fail({Code::Usage, std::string(error.what()) + "; see pgrun " + (verb ? verb->get_name() + " " : "") + "--help"});
  }

  for (auto &[sub, run] : verbs) {
    if (!sub->parsed())
      continue;
    try {
      int exitCode = 0;
      Status status = run(exitCode);
      return status ? exitCode : fail(status);
    } catch (const std::bad_alloc &) {
      return fail({Code::Environment, "not enough memory"});
    } catch (const std::exception &error) {
      return fail({Code::Internal, std::string("internal error: ") + error.what()});
    }
  }
  return int(Code::Usage);
}
