//===- BlockGraph.h - a model as nested blocks ----------------------------===//
//
// The picture of a forward function: a node per statement of the
// specification, a cluster per block, runs of equal layers folded into one.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_REPORT_BLOCKGRAPH_H
#define PG_PASSES_REPORT_BLOCKGRAPH_H

#include "mlir/IR/BuiltinOps.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pg::report {

struct GraphEdge {
  int from = 0, to = 0; ///< children of the node that holds the edge
  std::string value;    ///< name of the value: "x0"
  std::string label;    ///< "T×512 f32"
};

struct GraphNode {
  enum class Kind { Input, Output, Statement, Block, Run };

  Kind kind = Kind::Statement;
  std::string title;  ///< statement, name of the block or of the value
  std::string detail; ///< path of the block's parameters, or ops
  std::string place;  ///< "models/blocks/mlp.yaml:7"
  std::map<std::string, std::string> parameters; ///< name -> "512×512 f32"
  int64_t values = 0;                            ///< in these parameters
  std::vector<std::string> reads; ///< values wanted by many, not drawn as edges
  int repeat = 1;
  std::vector<GraphNode> children; ///< in program order
  std::vector<GraphEdge> edges;

  // Placing (GraphLayout.cpp); sizes in pixels.
  bool isOpen = false;
  double width = 0, height = 0, x = 0, y = 0; ///< x, y inside the parent
  double closedWidth = 0, closedHeight = 0;
  /// Rows from the top; an entry is a child, or -1 - e for edge e passing.
  std::vector<std::vector<int>> rows;
};

struct GraphOptions {
  std::string phase;                       ///< "" = the first
  int64_t firstLayer = -1, lastLayer = -1; ///< drawn one by one
  int depth = 2;                           ///< levels of blocks drawn open
};

/// Reads the forward function of a phase from a module of phase "spec". False
/// with a message when the phase does not exist.
bool buildBlockGraph(mlir::ModuleOp spec, const GraphOptions &options,
                     GraphNode &root, std::string &message);

/// Chooses rows, order and places for `root` and everything open in it; also
/// rows for what is closed, so that a page can open it.
void layOut(GraphNode &root);

/// Text of the three formats. SVG and HTML need a laid out graph.
std::string graphDot(const GraphNode &root);
std::string graphSvg(const GraphNode &root);
std::string graphHtml(const GraphNode &root);

} // namespace pg::report

#endif // PG_PASSES_REPORT_BLOCKGRAPH_H
