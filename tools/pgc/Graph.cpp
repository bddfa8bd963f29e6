//===- Graph.cpp - pgc graph --------------------------------------------------===//
#include "tools/pgc/Tool.h"

#include "passes/report/BlockGraph.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

namespace pg::tool {
namespace {

struct GraphVerbOptions : BuildOptions {
  report::GraphOptions graph;
  std::string output;
  std::string layers; ///< a..b
};

int fail(int code, const std::string &message) {
  llvm::errs() << "pgc: " << message << "\n";
  return code;
}

int graph(GraphVerbOptions options) {
  llvm::StringRef output = options.output;
  std::string (*write)(const report::GraphNode &) = output.ends_with(".svg")    ? report::graphSvg
                                                    : output.ends_with(".html") ? report::graphHtml
                                                    : output.ends_with(".dot")  ? report::graphDot
                                                                                : nullptr;
  if (!write)
    return fail(kUsage, "graph writes .svg, .html or .dot, not '" + options.output + "'");
  if (!options.layers.empty()) {
    auto [first, last] = llvm::StringRef(options.layers).split("..");
    if (last.empty())
      last = first;
    if (first.getAsInteger(10, options.graph.firstLayer) ||
        last.getAsInteger(10, options.graph.lastLayer) ||
        options.graph.lastLayer < options.graph.firstLayer)
      return fail(kUsage, "--layers expects a..b, got '" + options.layers + "'");
  }
  options.stopAfter = "spec";
  Session session;
  Build build;
  if (int code = buildProgram(session, options, build))
    return code;
  report::GraphNode root;
  std::string message;
  if (!report::buildBlockGraph(*build.module, options.graph, root, message))
    return fail(kInvalid, message);
  report::layOut(root);
  std::error_code error;
  llvm::raw_fd_ostream stream(options.output, error);
  if (!error) {
    stream << write(root);
    stream.close();
    error = stream.error();
    stream.clear_error();
  }
  if (error)
    return fail(kIo, "cannot write '" + options.output + "': " + error.message());
  return kOk;
}

} // namespace

void addGraph(CLI::App &app, int &exitCode) {
  CLI::App *verb = app.add_subcommand("graph", "draw a model as nested blocks");
  auto options = std::make_shared<GraphVerbOptions>();
  addBuildFlags(*verb, *options);
  verb->add_option("-o,--output", options->output,
                   "file to write: .svg, .html (blocks open and close) or .dot (Graphviz)")
      ->required();
  verb->add_option("--phase", options->graph.phase,
                   "phase of training (default: the model's first)");
  verb->add_option("--layers", options->layers,
                   "a..b: draw these layers one by one; other runs of equal layers are folded");
  verb->add_option("--depth", options->graph.depth, "levels of blocks drawn open")
      ->check(CLI::Range(0, 16))
      ->capture_default_str();
  verb->footer("Example: pgc graph models/pr1693.model.yaml --phase looped -o pr1693.html");
  verb->callback([options, &exitCode] { exitCode = graph(*options); });
}

} // namespace pg::tool
