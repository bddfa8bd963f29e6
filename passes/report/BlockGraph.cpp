//===- BlockGraph.cpp - a model as nested blocks --------------------------===//
//
//   1. Walk the forward function; a call becomes a block with its own graph.
//   2. Consecutive ops of one line become one statement. Arithmetic on
//      parameters alone and ops that only move indices disappear into the
//      statements that read them.
//   3. Runs of children with equal structure are folded, shortest period first.
//   4. Values with many readers lose their edges: the readers name them.
//
//===----------------------------------------------------------------------===//
#include "passes/report/BlockGraph.h"

#include "passes/fuse/Tensors.h"
#include "passes/report/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <set>

using namespace mlir;

namespace pg::report {
namespace {

using Kind = GraphNode::Kind;

/// Readers from which on a value is named instead of drawn.
constexpr size_t kManyReaders = 4;
constexpr int kLongestPeriod = 4;

/// Where a value comes from: a child of the graph, or parameters only.
struct Origin {
  int child = -1;
  std::string name;
  Type type;
  std::set<std::string> parameters;
};

class Builder {
public:
  Builder(ModuleOp module, const GraphOptions &options)
      : module(module), options(options) {
    for (auto parameter : module.getOps<ParameterOp>())
      types[parameter.getSymName().str()] = parameter.getType();
  }

  void build(func::FuncOp function, const std::vector<Origin> &arguments,
             GraphNode &graph) {
    llvm::DenseMap<Value, Origin> origins;
    Block &body = function.getBody().front();
    for (auto [argument, given] : llvm::zip(body.getArguments(), arguments)) {
      Origin origin = given;
      if (origin.parameters.empty() && !argument.use_empty()) {
        origin.name = source.identifier(placeOf(argument.getLoc()));
        origin.child = addPill(graph, Kind::Input, origin.name,
                               tensorText(argument.getType()));
        origin.type = argument.getType();
      }
      origins[argument] = std::move(origin);
    }
    std::vector<Place> lines; // of each child
    lines.resize(graph.children.size());
    for (Operation &op : body) {
      addOp(op, graph, origins, lines);
      lines.resize(graph.children.size());
    }
    nameStatements(graph, lines);
    for (GraphNode &child : graph.children)
      for (auto &[name, shape] : child.parameters)
        graph.parameters[name] = shape;
    fold(graph);
    for (GraphNode &child : graph.children)
      finish(child);
    nameReaders(graph);
  }

  void finish(GraphNode &node) {
    node.values = 0;
    for (auto &[name, shape] : node.parameters)
      node.values += cast<RankedTensorType>(types.at(name)).getNumElements();
    if (node.kind == Kind::Block && node.detail.empty())
      node.detail = pathOf(node);
    for (GraphNode &child : node.children)
      finish(child);
  }

private:
  static std::string tensorText(Type type) {
    return shapeText(type, "×") + " " + elementText(type);
  }

  int addPill(GraphNode &graph, Kind kind, const std::string &title,
              const std::string &shape = "") {
    GraphNode node;
    node.kind = kind;
    node.title = title;
    node.detail = shape;
    graph.children.push_back(std::move(node));
    return int(graph.children.size()) - 1;
  }

  static void addEdge(GraphNode &graph, const Origin &origin, int to) {
    if (origin.child < 0 || origin.child == to)
      return;
    std::string label = tensorText(origin.type);
    for (const GraphEdge &edge : graph.edges)
      if (edge.from == origin.child && edge.to == to &&
          edge.value == origin.name && edge.label == label)
        return;
    graph.edges.push_back({origin.child, to, origin.name, label});
  }

  void use(GraphNode &graph, const Origin &origin, int child) {
    addEdge(graph, origin, child);
    for (const std::string &name : origin.parameters)
      graph.children[child].parameters[name] = tensorText(types.at(name));
  }

  void addOp(Operation &op, GraphNode &graph,
             llvm::DenseMap<Value, Origin> &origins,
             std::vector<Place> &lines) {
    Place place = placeOf(op.getLoc());
    if (auto param = dyn_cast<ParamOp>(op)) {
      origins[param.getResult()] = {
          -1, "", param.getType(), {param.getName().str()}};
      return;
    }
    if (auto input = dyn_cast<InputOp>(op)) {
      int child = addPill(graph, Kind::Input, input.getName().str(),
                          tensorText(input.getType()));
      origins[input.getResult()] = {
          child, input.getName().str(), input.getType(), {}};
      return;
    }
    if (auto output = dyn_cast<OutputOp>(op)) {
      int child = addPill(graph, Kind::Output, output.getName().str());
      addEdge(graph, origins[output.getValue()], child);
      return;
    }
    if (isa<func::ReturnOp>(op)) {
      for (auto [i, value] : llvm::enumerate(op.getOperands())) {
        std::string name = op.getNumOperands() == 1
                               ? "result"
                               : "result " + std::to_string(i + 1);
        addEdge(graph, origins[value], addPill(graph, Kind::Output, name));
      }
      return;
    }
    if (auto call = dyn_cast<func::CallOp>(op)) {
      addCall(call, place, graph, origins, lines);
      return;
    }
    // Views and arithmetic on parameters pass their origin on.
    Origin passed;
    int numTensors = 0;
    for (Value operand : op.getOperands()) {
      const Origin &origin = origins[operand];
      passed.parameters.insert(origin.parameters.begin(),
                               origin.parameters.end());
      if (origin.child >= 0) {
        ++numTensors;
        passed.child = origin.child;
        passed.name = origin.name;
        passed.type =
            isa<BroadcastOp>(op) ? origin.type : op.getResult(0).getType();
      }
    }
    if (numTensors == 0 || (numTensors == 1 && isIndexOp(&op))) {
      for (Value result : op.getResults())
        origins[result] = passed;
      return;
    }
    bool continues = !graph.children.empty() &&
                     graph.children.back().kind == Kind::Statement &&
                     lines[graph.children.size() - 1].sameLine(place);
    if (!continues) {
      GraphNode node;
      node.place = place.line ? place.text() : "";
      node.title = place.line ? source.line(place) : "";
      graph.children.push_back(std::move(node));
      lines.push_back(place);
    }
    int child = int(graph.children.size()) - 1;
    GraphNode &node = graph.children[child];
    node.detail += (node.detail.empty() ? "" : " ") + shortName(&op).str();
    for (Value operand : op.getOperands())
      use(graph, origins[operand], child);
    std::vector<std::string> names = source.assigned(place);
    for (auto [i, result] : llvm::enumerate(op.getResults()))
      origins[result] = {
          child, names.size() == 1 ? names[0] : "", result.getType(), {}};
  }

  void addCall(func::CallOp call, const Place &place, GraphNode &graph,
               llvm::DenseMap<Value, Origin> &origins,
               std::vector<Place> &lines) {
    GraphNode node;
    node.kind = Kind::Block;
    node.title = StringRef(call.getCallee())
                     .drop_while([](char c) { return c != '.'; })
                     .drop_front()
                     .rsplit('.')
                     .first.str();
    node.place = place.line ? place.text() : "";
    int child = int(graph.children.size());
    graph.children.push_back({});
    lines.push_back(place);
    std::vector<Origin> arguments;
    for (Value operand : call.getOperands()) {
      const Origin &origin = origins[operand];
      use(graph, origin, child);
      arguments.push_back({-1, "", operand.getType(), origin.parameters});
    }
    // Parameters that the use already collected belong to the block.
    node.parameters = graph.children[child].parameters;
    build(module.lookupSymbol<func::FuncOp>(call.getCallee()), arguments, node);
    graph.children[child] = std::move(node);
    std::vector<std::string> names = source.assigned(place);
    for (auto [i, result] : llvm::enumerate(call.getResults()))
      origins[result] = {child,
                         names.size() == call.getNumResults() ? names[i] : "",
                         result.getType(),
                         {}};
  }

  /// A statement that shares its line with a block shows its ops instead.
  static void nameStatements(GraphNode &graph,
                             const std::vector<Place> &lines) {
    for (size_t i = 0; i < graph.children.size(); ++i) {
      GraphNode &node = graph.children[i];
      if (node.kind != Kind::Statement)
        continue;
      bool isShared = (i > 0 && lines[i].sameLine(lines[i - 1])) ||
                      (i + 1 < lines.size() && lines[i].sameLine(lines[i + 1]));
      if (isShared || node.title.empty())
        node.title = node.detail;
    }
  }

  /// Longest dotted prefix of a block's own parameters; what is handed to
  /// several blocks (an embedding) does not count.
  static std::string pathOf(const GraphNode &node) {
    std::string path;
    bool isFirst = true;
    for (auto &[name, shape] : node.parameters) {
      if (isFirst)
        path = StringRef(name).rsplit('.').first.str();
      isFirst = false;
      while (!path.empty() && !StringRef(name).starts_with(path + "."))
        path = StringRef(path).contains('.')
                   ? StringRef(path).rsplit('.').first.str()
                   : "";
    }
    return path;
  }

  /// Index of the layer whose parameters a block holds, or -1.
  static int64_t layerOf(const GraphNode &node) {
    SmallVector<StringRef> parts;
    std::string path = pathOf(node);
    StringRef(path).split(parts, '.');
    int64_t index = -1;
    if (parts.size() >= 2 && !parts[1].getAsInteger(10, index))
      return index;
    return -1;
  }

  static std::string structureOf(const GraphNode &node) {
    std::string text = std::to_string(int(node.kind)) + node.title + "(";
    for (auto &[name, shape] : node.parameters)
      text += shape + ",";
    for (const GraphNode &child : node.children)
      text += structureOf(child) + ";";
    return text + ")";
  }

  bool isWanted(const GraphNode &node) const {
    int64_t layer = node.kind == Kind::Block ? layerOf(node) : -1;
    return options.firstLayer >= 0 && layer >= options.firstLayer &&
           layer <= options.lastLayer;
  }

  /// Times that the `period` children from `at` on occur in a row.
  int repeatsAt(const GraphNode &graph, const std::vector<std::string> &forms,
                size_t at, int period) const {
    auto isPlain = [&](size_t i) {
      Kind kind = graph.children[i].kind;
      return kind != Kind::Input && kind != Kind::Output &&
             !isWanted(graph.children[i]);
    };
    bool hasBlock = false;
    for (size_t i = at; i < at + period; ++i) {
      if (i >= forms.size() || !isPlain(i))
        return 1;
      hasBlock |= graph.children[i].kind == Kind::Block;
    }
    if (!hasBlock)
      return 1;
    int count = 1;
    for (size_t next = at + period; next + period <= forms.size();
         next += period, ++count)
      for (int i = 0; i < period; ++i)
        if (forms[next + i] != forms[at + i] || !isPlain(next + i))
          return count;
    return count;
  }

  static std::string layersText(const std::vector<int64_t> &layers) {
    if (layers.empty() || layers.front() < 0)
      return "";
    bool isRange = true;
    std::vector<std::string> parts;
    for (size_t i = 0; i < layers.size(); ++i) {
      isRange &= layers[i] == layers[0] + int64_t(i);
      parts.push_back(std::to_string(layers[i]));
    }
    return "layers " + (isRange ? parts.front() + "–" + parts.back()
                                : llvm::join(parts, ", "));
  }

  void fold(GraphNode &graph) {
    std::vector<std::string> forms;
    for (const GraphNode &child : graph.children)
      forms.push_back(structureOf(child));
    std::vector<GraphNode> folded;
    std::vector<int> target(graph.children.size());
    std::vector<GraphEdge> edges = std::move(graph.edges);
    for (size_t at = 0; at < graph.children.size();) {
      int period = 1, count = 1;
      for (int p = 1; p <= kLongestPeriod; ++p)
        if (int n = repeatsAt(graph, forms, at, p); n > 1) {
          period = p;
          count = n;
          break;
        }
      int index = int(folded.size());
      for (int i = 0; i < period * count; ++i)
        target[at + i] = index;
      if (count == 1)
        folded.push_back(std::move(graph.children[at]));
      else
        folded.push_back(makeRun(graph, edges, at, period, count));
      at += size_t(period) * count;
    }
    graph.children = std::move(folded);
    graph.edges.clear();
    for (GraphEdge edge : edges) {
      edge.from = target[edge.from];
      edge.to = target[edge.to];
      bool isKnown = llvm::any_of(graph.edges, [&](const GraphEdge &known) {
        return known.from == edge.from && known.to == edge.to &&
               known.label == edge.label;
      });
      if (edge.from != edge.to && !isKnown)
        graph.edges.push_back(std::move(edge));
    }
  }

  GraphNode makeRun(GraphNode &graph, const std::vector<GraphEdge> &edges,
                    size_t at, int period, int count) {
    std::map<std::string, std::string> parameters;
    std::vector<int64_t> layers;
    for (size_t i = at; i < at + size_t(period) * count; ++i) {
      parameters.insert(graph.children[i].parameters.begin(),
                        graph.children[i].parameters.end());
      if (int64_t layer = layerOf(graph.children[i]);
          layer >= 0 && graph.children[i].kind == Kind::Block)
        layers.push_back(layer);
    }
    GraphNode run;
    if (period == 1) {
      run = std::move(graph.children[at]);
    } else {
      run.kind = Kind::Run;
      std::vector<std::string> titles;
      for (int i = 0; i < period; ++i)
        if (graph.children[at + i].kind == Kind::Block)
          titles.push_back(graph.children[at + i].title);
      run.title = llvm::join(titles, " + ");
      fillRun(run, graph, edges, int(at), period, count);
    }
    run.parameters = std::move(parameters);
    run.detail = layersText(layers);
    if (run.detail.empty())
      run.detail = " ";
    run.repeat = count;
    return run;
  }

  /// The first of the repeated groups, with pills for what crosses its border.
  void fillRun(GraphNode &run, GraphNode &graph,
               const std::vector<GraphEdge> &edges, int at, int period,
               int count) {
    std::map<std::pair<int, std::string>, int> pills;
    for (const GraphEdge &edge : edges) {
      bool toFirst = edge.to >= at && edge.to < at + period;
      bool fromFirst = edge.from >= at && edge.from < at + period;
      if (!toFirst || fromFirst)
        continue;
      auto [it, isNew] =
          pills.try_emplace({edge.from, edge.label}, int(run.children.size()));
      if (isNew)
        addPill(run, Kind::Input, edge.value, edge.label);
      run.edges.push_back({it->second, edge.to - at, edge.value, edge.label});
    }
    int offset = int(run.children.size());
    for (GraphEdge &edge : run.edges)
      edge.to += offset;
    for (int i = 0; i < period; ++i)
      run.children.push_back(std::move(graph.children[at + i]));
    std::map<int, int> outputs;
    for (const GraphEdge &edge : edges) {
      bool fromRun = edge.from >= at && edge.from < at + period * count;
      if (!fromRun)
        continue;
      int from = (edge.from - at) % period;
      bool isInside = edge.to < at + period * count &&
                      (edge.to - at) / period == (edge.from - at) / period;
      if (isInside) {
        if (edge.from < at + period)
          run.edges.push_back(
              {from + offset, edge.to - at + offset, edge.value, edge.label});
      } else if (auto [it, isNew] =
                     outputs.try_emplace(from, int(run.children.size()));
                 isNew) {
        addPill(run, Kind::Output, edge.value.empty() ? "result" : edge.value);
        run.edges.push_back(
            {from + offset, it->second, edge.value, edge.label});
      }
    }
    nameReaders(run);
  }

  static void nameReaders(GraphNode &graph) {
    std::map<std::pair<int, std::string>, std::vector<size_t>> readers;
    for (auto [i, edge] : llvm::enumerate(graph.edges))
      if (!edge.value.empty())
        readers[{edge.from, edge.value}].push_back(i);
    std::set<size_t> dropped;
    for (auto &[key, edges] : readers)
      if (edges.size() >= kManyReaders)
        for (size_t i : ArrayRef(edges).drop_front())
          dropped.insert(i);
    std::vector<GraphEdge> kept;
    for (auto [i, edge] : llvm::enumerate(graph.edges)) {
      if (!dropped.count(i)) {
        kept.push_back(edge);
        continue;
      }
      auto &reads = graph.children[edge.to].reads;
      if (!llvm::is_contained(reads, edge.value))
        reads.push_back(edge.value);
    }
    graph.edges = std::move(kept);
  }

  ModuleOp module;
  const GraphOptions &options;
  std::map<std::string, Type> types;
  SourceText source;
};

/// Opens the first block of every structure, down to `depth` levels.
void openBlocks(GraphNode &node, int depth, std::set<std::string> &seen) {
  for (GraphNode &child : node.children) {
    if (child.children.empty() || depth == 0)
      continue;
    std::string key =
        child.kind == Kind::Run ? "run " + child.title : child.title;
    if (!seen.insert(key).second)
      continue;
    child.isOpen = true;
    openBlocks(child, depth - 1, seen);
  }
}

} // namespace

bool buildBlockGraph(ModuleOp spec, const GraphOptions &options,
                     GraphNode &root, std::string &message) {
  std::vector<std::string> phases;
  for (auto function : spec.getOps<func::FuncOp>())
    if (function.getSymName().starts_with("forward@"))
      phases.push_back(function.getSymName().drop_front(8).str());
  std::string phase =
      options.phase.empty() && !phases.empty() ? phases.front() : options.phase;
  if (!llvm::is_contained(phases, phase)) {
    message = "the model has no phase '" + phase + "': expected one of " +
              llvm::join(phases, ", ");
    return false;
  }
  Builder builder(spec, options);
  root.kind = Kind::Block;
  builder.build(spec.lookupSymbol<func::FuncOp>("forward@" + phase), {}, root);
  auto name = spec->getAttrOfType<StringAttr>("pg.model");
  root.title = name ? name.getValue().str() : "model";
  root.detail = phases.size() > 1 ? "phase " + phase : " ";
  builder.finish(root);
  root.isOpen = true;
  std::set<std::string> seen;
  openBlocks(root, options.depth, seen);
  return true;
}

} // namespace pg::report
