//===- Dump.cpp - pgc dump ----------------------------------------------------===//
#include "tools/pgc/Tool.h"

#include "runtime/package/PackageJson.h"

#include "llvm/Support/raw_ostream.h"

namespace pg::tool {
namespace {

struct DumpOptions {
  std::string package;
  std::string section = "manifest";
};

int dump(const DumpOptions &options) {
  rt::StatusOr<rt::Package> package = rt::readPackage(options.package);
  if (!package) {
    llvm::errs() << "pgc: " << package.status().message() << "\n";
    return static_cast<int>(package.status().code());
  }
  if (options.section == "spec")
    llvm::outs() << package->spec;
  else if (options.section == "ir")
    llvm::outs() << package->ir;
  else if (options.section == "code")
    llvm::outs() << package->codeCpu;
  else
    llvm::outs() << rt::manifestToJson(*package).dump(1) << "\n";
  return kOk;
}

} // namespace

void addDump(CLI::App &app, int &exitCode) {
  CLI::App *verb = app.add_subcommand("dump", "print a section of a package");
  auto options = std::make_shared<DumpOptions>();
  verb->add_option("package", options->package, "package file (.pgx)")->required();
  verb->add_option("--section", options->section, "manifest, spec, ir or code (an ELF shared object)")
      ->check(CLI::IsMember({"manifest", "spec", "ir", "code"}));
  verb->footer("Example: pgc dump model.pgx --section code | objdump -d /dev/stdin");
  verb->callback([options, &exitCode] { exitCode = dump(*options); });
}

} // namespace pg::tool
