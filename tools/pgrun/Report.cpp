//===- Report.cpp - pgrun report ------------------------------------------------===//
#include "runtime/report/RunRecord.h"
#include "runtime/support/File.h"
#include "tools/pgrun/Verbs.h"

namespace pg::rt {
namespace {

struct Options {
  std::string folder, output;
};

Status run(const Options &options) {
  auto data = readReport(options.folder);
  if (!data)
    return data.status();
  std::string page = reportPage(*data);
  if (options.output == "-")
    return print(page);
  std::string path = options.output.empty() ? data->folder + "/report.html" : options.output;
  if (Status status = writeFileAtomic(path, page); !status)
    return status;
  return print(path);
}

} // namespace

VerbFn addReport(CLI::App &app) {
  auto options = std::make_shared<Options>();
  app.add_option("run", options->folder, "run folder of pgrun train, of one run or of several seeds")->required();
  app.add_option("-o,--output", options->output, "the page, - for standard output; default RUN/report.html");
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
