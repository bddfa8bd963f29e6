//===- GraphLayout.cpp - rows, order and places ---------------------------===//
//
// A layered layout in four steps, cluster by cluster from the inside out:
//   1. rows: a child stands below everything it reads; names of arguments just
//      above their first reader; an edge over several rows passes each of them;
//   2. order in a row: barycentres of the neighbours, sweeping down and up;
//   3. columns: every entry wants to stand below the middle of its neighbours;
//      the wishes are met as far as gaps allow, from the left and from the
//      right, and the average taken;
//   4. rows are as high as their highest entry.
// The page's script repeats 3 and 4 when a block is opened or closed.
//
//===----------------------------------------------------------------------===//
#include "passes/report/GraphStyle.h"

#include "passes/report/Text.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <tuple>

namespace pg::report {

using Kind = GraphNode::Kind;
using Style = GraphStyle;

size_t lettersOf(const std::string &text) {
  return llvm::count_if(text, [](char c) { return (c & 0xc0) != 0x80; });
}

static std::string clipped(const std::string &text, size_t most) {
  if (lettersOf(text) <= most)
    return text;
  std::string out;
  size_t letters = 0;
  for (char c : text) {
    if ((c & 0xc0) != 0x80 && ++letters >= most)
      break;
    out += c;
  }
  return out + "…";
}

std::vector<GraphLine> linesOf(const GraphNode &node) {
  std::vector<GraphLine> lines;
  if (node.kind == Kind::Input || node.kind == Kind::Output)
    return {
        {node.title + (node.detail.empty() ? "" : "  " + node.detail), "pill"}};
  bool isBlock = node.kind != Kind::Statement;
  std::string title = clipped(node.title, isBlock ? 44 : 64);
  if (node.repeat > 1)
    title += " ×" + std::to_string(node.repeat);
  lines.push_back({title, isBlock ? "name" : "code"});
  if (isBlock && node.detail != " " && !node.detail.empty())
    lines.push_back({clipped(node.detail, 44), "path"});
  if (isBlock && node.values)
    lines.push_back({grouped(node.values) + " parameters", "count"});
  if (!isBlock) {
    size_t shown = 0;
    for (auto &[name, shape] : node.parameters) {
      if (++shown > 3) {
        lines.push_back(
            {"… " + std::to_string(node.parameters.size() - 3) + " more",
             "count"});
        break;
      }
      std::string last = name;
      if (lettersOf(last) > 34)
        last = "…" + last.substr(last.size() - 33);
      lines.push_back({last + "  " + shape, "count"});
    }
  }
  if (!node.reads.empty()) {
    std::string reads = "reads";
    for (const std::string &name : node.reads)
      reads += " " + name;
    lines.push_back({clipped(reads, 44), "reads"});
  }
  return lines;
}

namespace {

struct Rows {
  explicit Rows(GraphNode &graph) : graph(graph) {}

  void choose() {
    size_t n = graph.children.size();
    std::vector<int> row(n, 0);
    // Edges lead forward in program order.
    for (size_t child = 0; child < n; ++child)
      for (const GraphEdge &edge : graph.edges)
        if (edge.to == int(child))
          row[child] = std::max(row[child], row[edge.from] + 1);
    for (size_t child = 0; child < n; ++child) {
      if (graph.children[child].kind != Kind::Input)
        continue;
      int first = -1;
      for (const GraphEdge &edge : graph.edges)
        if (edge.from == int(child) && (first < 0 || row[edge.to] < first))
          first = row[edge.to];
      row[child] = std::max(0, first - 1);
    }
    int last = n ? *std::max_element(row.begin(), row.end()) : 0;
    for (size_t child = 0; child < n; ++child)
      if (graph.children[child].kind == Kind::Output)
        row[child] = std::max(row[child], last);
    graph.rows.assign(n ? last + 1 : 0, {});
    for (size_t child = 0; child < n; ++child)
      graph.rows[row[child]].push_back(int(child));
    for (auto [e, edge] : llvm::enumerate(graph.edges))
      for (int r = row[edge.from] + 1; r < row[edge.to]; ++r)
        graph.rows[r].push_back(-1 - int(e));
    order();
  }

private:
  /// Neighbours of an entry in the row above (or below).
  std::vector<int> neighbours(int entry, int row, bool isAbove) {
    std::vector<int> found;
    for (auto [e, edge] : llvm::enumerate(graph.edges)) {
      bool passesHere = entry < 0 && -1 - entry == int(e);
      if (!passesHere && (isAbove ? edge.to : edge.from) != entry)
        continue;
      const auto &next = graph.rows[row + (isAbove ? -1 : 1)];
      int end = isAbove ? edge.from : edge.to;
      found.push_back(llvm::is_contained(next, -1 - int(e)) ? -1 - int(e)
                                                            : end);
    }
    return found;
  }

  void order() {
    int numRows = int(graph.rows.size());
    for (int sweep = 0; sweep < 8; ++sweep) {
      bool isDown = sweep % 2 == 0;
      for (int step = 1; step < numRows; ++step) {
        int r = isDown ? step : numRows - 1 - step;
        const auto &next = graph.rows[r + (isDown ? -1 : 1)];
        // Ties keep their order.
        std::vector<std::tuple<double, size_t, int>> keys;
        for (auto [place, entry] : llvm::enumerate(graph.rows[r])) {
          double sum = 0, count = 0;
          for (int other : neighbours(entry, r, isDown))
            if (auto it = llvm::find(next, other); it != next.end()) {
              sum += double(it - next.begin() + 0.5) / double(next.size());
              ++count;
            }
          double own = (double(place) + 0.5) / double(graph.rows[r].size());
          keys.emplace_back(count ? sum / count : own, place, entry);
        }
        llvm::sort(keys);
        for (auto [place, key] : llvm::enumerate(keys))
          graph.rows[r][place] = std::get<2>(key);
      }
    }
  }

  GraphNode &graph;
};

/// Steps 3 and 4 for one open graph whose children have their sizes.
class Places {
public:
  explicit Places(GraphNode &graph) : graph(graph) {
    centers.resize(graph.rows.size());
    for (size_t r = 0; r < graph.rows.size(); ++r) {
      double x = 0;
      for (int entry : graph.rows[r]) {
        centers[r].push_back(x + widthOf(entry) / 2);
        x += widthOf(entry) + Style::kColumnGap;
      }
      for (double &center : centers[r])
        center -= (x - Style::kColumnGap) / 2;
    }
  }

  void run() {
    int numRows = int(graph.rows.size());
    for (int sweep = 0; sweep < 10; ++sweep)
      for (int step = 1; step < numRows; ++step)
        settle(sweep % 2 == 0 ? step : numRows - 1 - step, sweep % 2 == 0);
    double left = 0, right = 0;
    for (int r = 0; r < numRows; ++r)
      for (size_t i = 0; i < graph.rows[r].size(); ++i) {
        double half = widthOf(graph.rows[r][i]) / 2;
        left = std::min(left, centers[r][i] - half);
        right = std::max(right, centers[r][i] + half);
      }
    double least = graph.closedWidth;
    double slack =
        std::max(0.0, least - (right - left + 2 * Style::kClusterPadding));
    double y = Style::kClusterHead;
    for (int r = 0; r < numRows; ++r) {
      double height = 0;
      for (int entry : graph.rows[r])
        if (entry >= 0)
          height = std::max(height, graph.children[entry].height);
      for (size_t i = 0; i < graph.rows[r].size(); ++i)
        if (int entry = graph.rows[r][i]; entry >= 0) {
          GraphNode &child = graph.children[entry];
          child.x = centers[r][i] - child.width / 2 - left +
                    Style::kClusterPadding + slack / 2;
          child.y = y + (height - child.height) / 2;
        }
      y += height + Style::kRowGap;
    }
    graph.width = std::max(least, right - left + 2 * Style::kClusterPadding);
    graph.height = y - Style::kRowGap + Style::kClusterPadding;
  }

private:
  double widthOf(int entry) const {
    return entry < 0 ? Style::kPassing : graph.children[entry].width;
  }

  void settle(int r, bool isDown) {
    int other = r + (isDown ? -1 : 1);
    std::vector<double> wish = centers[r];
    for (size_t i = 0; i < wish.size(); ++i) {
      int entry = graph.rows[r][i];
      double sum = 0, count = 0;
      for (auto [e, edge] : llvm::enumerate(graph.edges)) {
        int pass = -1 - int(e);
        if (entry != pass && (isDown ? edge.to : edge.from) != entry)
          continue;
        int end = isDown ? edge.from : edge.to;
        for (auto [j, next] : llvm::enumerate(graph.rows[other]))
          if (next == pass || next == end) {
            sum += centers[other][j];
            ++count;
          }
      }
      if (count)
        wish[i] = sum / count;
    }
    std::vector<double> fromLeft = wish, fromRight = wish;
    auto distance = [&](size_t i) { // between entries i - 1 and i
      return (widthOf(graph.rows[r][i - 1]) + widthOf(graph.rows[r][i])) / 2 +
             Style::kColumnGap;
    };
    for (size_t i = 1; i < wish.size(); ++i)
      fromLeft[i] = std::max(wish[i], fromLeft[i - 1] + distance(i));
    for (size_t i = wish.size(); i-- > 1;)
      fromRight[i - 1] = std::min(wish[i - 1], fromRight[i] - distance(i));
    for (size_t i = 0; i < wish.size(); ++i)
      centers[r][i] = (fromLeft[i] + fromRight[i]) / 2;
  }

  GraphNode &graph;
  std::vector<std::vector<double>> centers;
};

} // namespace

void layOut(GraphNode &node) {
  size_t longest = 0;
  std::vector<GraphLine> lines = linesOf(node);
  for (const GraphLine &line : lines)
    longest = std::max(longest, lettersOf(line.text));
  node.closedWidth = Style::kGlyph * longest + 2 * Style::kPadding;
  node.closedHeight = Style::kLine * lines.size() + 2 * Style::kPadding - 4;
  if (node.children.size())
    node.closedWidth += 14; // the mark that opens it
  node.width = node.closedWidth;
  node.height = node.closedHeight;
  for (GraphNode &child : node.children)
    layOut(child);
  if (!node.children.empty())
    Rows(node).choose();
  if (node.isOpen)
    Places(node).run();
}

} // namespace pg::report
