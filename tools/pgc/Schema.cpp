//===- Schema.cpp - pgc schema -------------------------------------------------===//
#include "tools/pgc/Tool.h"

#include "llvm/Support/raw_ostream.h"

namespace pg::tool {

void addSchema(CLI::App &app, int &exitCode) {
  CLI::App *verb = app.add_subcommand(
      "schema", "print the JSON Schema of a kind of file, or the language's reference");
  auto which = std::make_shared<std::string>("model");
  verb->add_option("kind", *which,
                   "model, block, recipe, optimizer or quantiser: JSON Schema; functions: the table of the "
                   "language's functions; reference: docs/language.md")
      ->check(CLI::IsMember(
          {"model", "block", "recipe", "optimizer", "quantiser", "functions", "reference"}));
  verb->footer("Example: pgc schema model > model.schema.json");
  verb->callback([which, &exitCode] {
    if (*which == "reference")
      llvm::outs() << frontend::languageReference();
    else
      llvm::outs() << frontend::schemaJson(*which) << "\n";
    exitCode = kOk;
  });
}

} // namespace pg::tool
