//===- Explain.cpp - pgc explain ----------------------------------------------===//
#include "tools/pgc/Tool.h"

#include "passes/report/Explain.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"

namespace pg::tool {
namespace {

struct ExplainOptions : BuildOptions {
  report::Question question;
  std::string place; ///< FILE:LINE
};

int explain(ExplainOptions options) {
  if (options.question.name.empty() == options.place.empty()) {
    llvm::errs() << "pgc: explain needs one of --op NAME and --line FILE:LINE\n";
    return kUsage;
  }
  if (!options.place.empty()) {
    auto [file, line] = llvm::StringRef(options.place).rsplit(':');
    if (file.empty() || line.getAsInteger(10, options.question.line)) {
      llvm::errs() << "pgc: --line expects FILE:LINE, got '" << options.place << "'\n";
      return kUsage;
    }
    options.question.file = file.str();
  }
  Session session;
  Build inlined, derived, planned;
  for (auto [build, phase] : {std::pair{&inlined, "inlined"}, std::pair{&derived, "derived"},
                              std::pair{&planned, "planned"}}) {
    options.stopAfter = phase;
    if (int code = buildProgram(session, options, *build))
      return code;
  }
  std::string text;
  if (!report::explain({*inlined.module, *derived.module, *planned.module}, options.question,
                       text)) {
    llvm::errs() << "pgc: " << text << "\n";
    return kInvalid;
  }
  llvm::outs() << text;
  return kOk;
}

} // namespace

void addExplain(CLI::App &app, int &exitCode) {
  CLI::App *verb = app.add_subcommand(
      "explain", "from a line of YAML to its ops, their derivative and the fused kernels");
  auto options = std::make_shared<ExplainOptions>();
  addBuildFlags(*verb, *options);
  verb->add_option("--op", options->question.name,
                   "an op (rms_norm), function (linear), block (attn_out_gate), parameter or kernel");
  verb->add_option("--line", options->place,
                   "FILE:LINE; the last components of the path are enough");
  verb->add_option("--phase", options->question.phase,
                   "phase of training (default: the model's first)");
  verb->footer("Examples: pgc explain models/pr1693.model.yaml --line attn_out_gate.yaml:8\n"
               "          pgc explain models/pr1693.model.yaml --op softcap --phase looped");
  verb->callback([options, &exitCode] { exitCode = explain(*options); });
}

} // namespace pg::tool
