//===- main.cpp - pgc: YAML to package -----------------------------------------===//
#include "tools/pgc/Tool.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/raw_ostream.h"

#include <clocale>

namespace {

/// The verb or flag nearest to a mistyped one, or "" when none is within two
/// edits.
std::string nearest(const CLI::App &app, llvm::StringRef word) {
  std::string best;
  unsigned distance = 3;
  auto consider = [&](const std::string &candidate) {
    unsigned d = word.edit_distance(candidate, true, distance);
    if (d < distance) {
      distance = d;
      best = candidate;
    }
  };
  for (const CLI::App *verb : app.get_subcommands(nullptr))
    consider(verb->get_name());
  for (const CLI::Option *option : app.get_options())
    for (const std::string &name : option->get_lnames())
      consider("--" + name);
  return best;
}

} // namespace

int main(int argc, char **argv) {
  std::setlocale(LC_ALL, "C");
  llvm::InitLLVM init(argc, argv);
  CLI::App app{"pgc compiles YAML models and recipes into packages that pgrun executes"};
  app.set_version_flag("--version", pg::tool::versionText());
  app.require_subcommand(0, 1);
  int exitCode = pg::tool::kOk;
  pg::tool::addCompile(app, exitCode);
  pg::tool::addCheck(app, exitCode);
  pg::tool::addDiff(app, exitCode);
  pg::tool::addDump(app, exitCode);
  pg::tool::addExplain(app, exitCode);
  pg::tool::addGraph(app, exitCode);
  pg::tool::addSchema(app, exitCode);

  if (argc == 1) {
    llvm::errs() << app.help();
    return pg::tool::kUsage;
  }
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty())
      throw CLI::RequiredError("a verb");
  } catch (const CLI::Success &success) { // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError &error) {
    llvm::errs() << "pgc: " << error.what() << "\n";
    const CLI::App *scope =
        app.get_subcommands().empty() ? &app : app.get_subcommands().front();
    for (int i = 1; i < argc; ++i) {
      std::string guess = nearest(*scope, argv[i]);
      if (!guess.empty() && guess != argv[i]) {
        llvm::errs() << "pgc: did you mean '" << guess << "'?\n";
        break;
      }
    }
    llvm::errs() << "pgc: see pgc " << (scope == &app ? "" : scope->get_name() + " ")
                 << "--help\n";
    return pg::tool::kUsage;
  }
  llvm::outs().flush();
  if (llvm::outs().has_error()) {
    llvm::errs() << "pgc: cannot write to standard output: " << llvm::outs().error().message() << "\n";
    llvm::outs().clear_error();
    return pg::tool::kIo;
  }
  return exitCode;
}
