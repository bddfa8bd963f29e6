//===- GraphWriter.cpp - DOT, SVG and HTML --------------------------------===//
#include "passes/report/GraphStyle.h"

#include "passes/report/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <set>

namespace pg::report {

using Kind = GraphNode::Kind;
using Style = GraphStyle;

static std::string escaped(const std::string &text) {
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

//===----------------------------------------------------------------------===//
// DOT
//===----------------------------------------------------------------------===//

namespace {

class DotWriter {
public:
  explicit DotWriter(llvm::raw_ostream &os) : os(os) {}

  void write(const GraphNode &root) {
    os << "digraph \"" << quoted(root.title) << "\" {\n"
       << "  graph [compound=true, fontname=\"Helvetica\", rankdir=TB];\n"
       << "  node [shape=box, style=\"rounded,filled\", fillcolor=white, "
          "fontname=\"Courier\", fontsize=10];\n"
       << "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#667085\"];\n";
    writeChildren(root, "n", 1);
    os << "}\n";
  }

private:
  static std::string quoted(const std::string &text) {
    std::string out;
    for (char c : text) {
      if (c == '"' || c == '\\')
        out += '\\';
      out += c;
    }
    return out;
  }

  void writeChildren(const GraphNode &graph, const std::string &id, int level) {
    std::string indent(2 * level, ' ');
    for (auto [i, child] : llvm::enumerate(graph.children)) {
      std::string own = id + "_" + std::to_string(i);
      std::string label;
      for (const GraphLine &line : linesOf(child))
        label += (label.empty() ? "" : "\\n") + quoted(line.text);
      if (!child.isOpen) {
        bool isPill = child.kind == Kind::Input || child.kind == Kind::Output;
        os << indent << own << " [label=\"" << label << "\""
           << (isPill ? ", shape=oval, fillcolor=\"#eef1f5\""
               : child.kind == Kind::Statement ? ""
                                               : ", fillcolor=\"#dfeaf7\"")
           << "];\n";
        continue;
      }
      os << indent << "subgraph \"cluster_" << own << "\" {\n"
         << indent << "  label=\"" << label
         << "\"; style=\"rounded,filled\"; fillcolor=\"#f4f8fd\"; "
            "color=\"#7f9bbf\";\n";
      writeChildren(child, own, level + 1);
      os << indent << "}\n";
    }
    for (const GraphEdge &edge : graph.edges) {
      const GraphNode &from = graph.children[edge.from];
      const GraphNode &to = graph.children[edge.to];
      std::string fromId = id + "_" + std::to_string(edge.from);
      std::string toId = id + "_" + std::to_string(edge.to);
      os << indent << anchor(from, fromId, /*wantsLast=*/true) << " -> "
         << anchor(to, toId, /*wantsLast=*/false) << " [label=\""
         << (from.kind == Kind::Input ? "" : edge.label) << "\"";
      if (from.isOpen)
        os << ", ltail=\"cluster_" << fromId << "\"";
      if (to.isOpen)
        os << ", lhead=\"cluster_" << toId << "\"";
      os << "];\n";
    }
  }

  /// A node inside a cluster that an edge to the cluster can end in.
  static std::string anchor(const GraphNode &node, const std::string &id,
                            bool wantsLast) {
    if (!node.isOpen || node.children.empty())
      return id;
    size_t child = wantsLast ? node.children.size() - 1 : 0;
    return anchor(node.children[child], id + "_" + std::to_string(child),
                  wantsLast);
  }

  llvm::raw_ostream &os;
};

//===----------------------------------------------------------------------===//
// SVG
//===----------------------------------------------------------------------===//

constexpr llvm::StringLiteral kStyleSheet = R"(
text { font: 11px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1d2939; }
.name { font-weight: 700; fill: #10375c; }
.path, .reads { fill: #667085; }
.reads { font-style: italic; }
.count { fill: #9a5b00; }
.pill { fill: #475467; }
.mark { fill: #10375c; font-weight: 700; }
rect.statement { fill: #ffffff; stroke: #98a2b3; }
rect.weighted { fill: #fff8eb; stroke: #d9a441; }
rect.block, rect.run { fill: #dfeaf7; stroke: #5b7fa8; }
rect.shadow { fill: #eef4fb; stroke: #9db6d3; }
rect.pill { fill: #eef1f5; stroke: #c3cad5; }
.open > rect.block { fill: #f4f8fd; stroke: #7f9bbf; }
.open > rect.run { fill: #f7f6fd; stroke: #9a93c7; stroke-dasharray: 5 3; }
.open .open > rect.block { fill: #eaf1fa; }
.open .open .open > rect.block { fill: #f4f8fd; }
path.edge { fill: none; stroke: #667085; stroke-width: 1.2; }
text.shape { font-size: 9.5px; fill: #667085; paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
)";

class SvgWriter {
public:
  SvgWriter(llvm::raw_ostream &os, bool isPage) : os(os), isPage(isPage) {}

  void write(const GraphNode &root) {
    os << llvm::format(
              "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"graph\" "
              "width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">",
              root.width + 20, root.height + 20, root.width + 20,
              root.height + 20)
       << "\n<style>" << kStyleSheet << "</style>\n"
       << "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" "
          "refY=\"4\" "
          "markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 1 "
          "L8 4 L0 7 z\" fill=\"#667085\"/></marker></defs>\n"
       << "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
       << "<g transform=\"translate(10 10)\">\n";
    writeNode(root, "n");
    os << "</g>\n</svg>\n";
  }

private:
  static const char *boxClass(const GraphNode &node) {
    switch (node.kind) {
    case Kind::Input:
    case Kind::Output:
      return "pill";
    case Kind::Statement:
      return node.parameters.empty() ? "statement" : "weighted";
    case Kind::Block:
      return "block";
    case Kind::Run:
      return "run";
    }
    return "";
  }

  void writeBox(const GraphNode &node) {
    bool isPill = node.kind == Kind::Input || node.kind == Kind::Output;
    double radius = isPill ? node.height / 2 : 7;
    if (node.repeat > 1 && (isPage || !node.isOpen))
      for (int shift : {6, 3})
        os << llvm::format("<rect class=\"shadow%s\" x=\"%d\" y=\"%d\" "
                           "width=\"%.1f\" height=\"%.1f\" rx=\"7\"/>",
                           isPage ? " whenclosed" : "", shift, -shift,
                           node.closedWidth, node.closedHeight);
    os << llvm::format("<rect class=\"%s box\" width=\"%.1f\" height=\"%.1f\" "
                       "rx=\"%.1f\"/>",
                       boxClass(node), node.width, node.height, radius);
  }

  void writeLines(const GraphNode &node) {
    double y = Style::kPadding + 8;
    for (const GraphLine &line : linesOf(node)) {
      os << llvm::format("<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">",
                         line.kind.c_str(), Style::kPadding, y)
         << escaped(line.text) << "</text>";
      y += Style::kLine;
    }
  }

  /// An open block has its name and its figures in two lines at the top.
  void writeHead(const GraphNode &node) {
    std::string figures;
    std::vector<GraphLine> lines = linesOf(node);
    for (const GraphLine &line : llvm::drop_begin(lines))
      figures += (figures.empty() ? "" : "  ·  ") + line.text;
    os << "<text class=\"name\" x=\"9\" y=\"17\">"
       << escaped(lines.front().text) << "</text>"
       << "<text class=\"path\" x=\"9\" y=\"32\">" << escaped(figures)
       << "</text>";
  }

  void writeNode(const GraphNode &node, const std::string &id) {
    bool canOpen = !node.children.empty();
    os << llvm::format(
              "<g id=\"%s\" transform=\"translate(%.1f %.1f)\" class=\"",
              id.c_str(), node.x, node.y)
       << (node.isOpen ? "open" : "closed") << (canOpen ? " cluster" : "")
       << "\">";
    if (!node.place.empty())
      os << "<title>" << escaped(node.place)
         << (node.kind == Kind::Statement ? "&#10;" + escaped(node.detail) : "")
         << "</title>";
    writeBox(node);
    if (!isPage && !node.isOpen) {
      writeLines(node);
      os << "</g>\n";
      return;
    }
    if (!canOpen) {
      writeLines(node);
      os << "</g>\n";
      return;
    }
    if (isPage) {
      os << "<g class=\"whenclosed\">";
      writeLines(node);
      os << llvm::format("<text class=\"mark\" x=\"%.1f\" y=\"17\">+</text>",
                         node.closedWidth - 14)
         << "</g>";
    }
    os << "<g class=\"whenopen\">";
    writeHead(node);
    writeEdges(node, id);
    for (auto [i, child] : llvm::enumerate(node.children))
      writeNode(child, id + "_" + std::to_string(i));
    os << "</g></g>\n";
  }

  /// Place of edge end `e` along the border of a child: ends are spread in
  /// the order of the edges.
  static double portOf(const GraphNode &graph, size_t e, bool isSource) {
    const GraphEdge &edge = graph.edges[e];
    int child = isSource ? edge.from : edge.to;
    int place = 0, count = 0;
    for (auto [i, other] : llvm::enumerate(graph.edges))
      if ((isSource ? other.from : other.to) == child) {
        place += i < e;
        ++count;
      }
    const GraphNode &node = graph.children[child];
    double step = std::min(16.0, node.width / (count + 1));
    return node.x + node.width / 2 + step * (place - (count - 1) / 2.0);
  }

  /// Columns where the edge passes rows between its ends.
  static double passingColumn(const GraphNode &graph, size_t row, int pass) {
    // The neighbours in the row say where the gap is.
    const std::vector<int> &entries = graph.rows[row];
    size_t at = llvm::find(entries, pass) - entries.begin();
    double left = Style::kClusterPadding, right = graph.width - left;
    int before = 0, after = 0;
    bool hasLeft = false, hasRight = false;
    for (size_t i = at; i-- > 0 && !hasLeft; ++before)
      if (entries[i] >= 0) {
        const GraphNode &node = graph.children[entries[i]];
        left = node.x + node.width + Style::kColumnGap;
        hasLeft = true;
        --before;
      }
    for (size_t i = at + 1; i < entries.size() && !hasRight; ++i, ++after)
      if (entries[i] >= 0) {
        right = graph.children[entries[i]].x - Style::kColumnGap;
        hasRight = true;
        --after;
      }
    double step = Style::kPassing + Style::kColumnGap / 2;
    if (hasLeft)
      return left + Style::kPassing / 2 + before * step;
    if (hasRight)
      return right - Style::kPassing / 2 - after * step;
    return left + (right - left) * (before + 1) / (before + after + 2);
  }

  void writeEdges(const GraphNode &graph, const std::string &id) {
    std::set<std::pair<int, std::string>> labelled;
    for (auto [e, edge] : llvm::enumerate(graph.edges)) {
      const GraphNode &from = graph.children[edge.from];
      const GraphNode &to = graph.children[edge.to];
      std::string path;
      llvm::raw_string_ostream d(path);
      if (graph.isOpen) {
        double x = portOf(graph, e, true), y = from.y + from.height;
        d << llvm::format("M%.1f %.1f", x, y);
        auto curve = [&](double nextX, double nextY) {
          double middle = (y + nextY) / 2;
          d << llvm::format(" C%.1f %.1f %.1f %.1f %.1f %.1f", x, middle, nextX,
                            middle, nextX, nextY);
          x = nextX;
          y = nextY;
        };
        for (size_t row = 0; row < graph.rows.size(); ++row) {
          if (!llvm::is_contained(graph.rows[row], -1 - int(e)))
            continue;
          double column = passingColumn(graph, row, -1 - int(e));
          double top = 1e9, bottom = 0;
          for (int entry : graph.rows[row])
            if (entry >= 0) {
              top = std::min(top, graph.children[entry].y);
              bottom = std::max(bottom, graph.children[entry].y +
                                            graph.children[entry].height);
            }
          if (bottom == 0)
            continue;
          curve(column, top);
          d << llvm::format(" L%.1f %.1f", column, bottom);
          y = bottom;
        }
        curve(portOf(graph, e, false), to.y - 2);
      }
      std::string edgeId = id + "e" + std::to_string(e);
      os << "<path class=\"edge\" id=\"" << edgeId
         << "\" marker-end=\"url(#arrow)\" d=\"" << path << "\"/>";
      // One line per shape; a pill says its own.
      if (from.kind == Kind::Input ||
          !labelled.insert({edge.from, edge.label}).second)
        continue;
      int line = 0;
      for (auto &known : labelled)
        line += known.first == edge.from;
      double labelX = graph.isOpen ? portOf(graph, e, true) + 5 : 0;
      double labelY = from.y + from.height + 2 + 11 * line;
      os << llvm::format("<text class=\"shape\" id=\"%st\" data-line=\"%d\" "
                         "x=\"%.1f\" y=\"%.1f\">",
                         edgeId.c_str(), line, labelX, labelY)
         << escaped(edge.label) << "</text>";
    }
  }

  llvm::raw_ostream &os;
  bool isPage;
};

//===----------------------------------------------------------------------===//
// HTML
//===----------------------------------------------------------------------===//

void writeData(const GraphNode &node, llvm::raw_ostream &os) {
  os << llvm::format("{w:%.1f,h:%.1f", node.closedWidth, node.closedHeight);
  if (!node.children.empty()) {
    os << ",open:" << (node.isOpen ? 1 : 0) << ",rows:[";
    for (auto [r, row] : llvm::enumerate(node.rows)) {
      os << (r ? ",[" : "[");
      for (auto [i, entry] : llvm::enumerate(row))
        os << (i ? "," : "") << entry;
      os << "]";
    }
    os << "],edges:[";
    for (auto [e, edge] : llvm::enumerate(node.edges))
      os << (e ? "," : "") << "[" << edge.from << "," << edge.to << "]";
    os << "],children:[";
    for (auto [i, child] : llvm::enumerate(node.children)) {
      os << (i ? "," : "");
      writeData(child, os);
    }
    os << "]";
  }
  os << "}";
}

// Mirrors Places and writeEdges.
constexpr llvm::StringLiteral kScript = R"JS(
const S = {row: 38, column: 26, pad: 18, head: 44, pass: 10};
const $ = id => document.getElementById(id);
const width = (g, entry) => entry < 0 ? S.pass : g.children[entry].W;
function settle(g, c, r, down) {
  const o = r + (down ? -1 : 1), row = g.rows[r];
  const wish = c[r].map((own, i) => {
    let sum = 0, count = 0;
    g.edges.forEach(([from, to], e) => {
      if (row[i] !== -1 - e && (down ? to : from) !== row[i]) return;
      g.rows[o].forEach((next, j) => {
        if (next === -1 - e || next === (down ? from : to)) { sum += c[o][j]; count++; }
      });
    });
    return count ? sum / count : own;
  });
  const gap = i => (width(g, row[i - 1]) + width(g, row[i])) / 2 + S.column;
  const left = wish.slice(), right = wish.slice();
  for (let i = 1; i < wish.length; i++) left[i] = Math.max(wish[i], left[i - 1] + gap(i));
  for (let i = wish.length - 1; i > 0; i--) right[i - 1] = Math.min(wish[i - 1], right[i] - gap(i));
  c[r] = wish.map((_, i) => (left[i] + right[i]) / 2);
}
function place(g) {
  if (!g.children || !g.open) { g.W = g.w; g.H = g.h; return; }
  g.children.forEach(place);
  const c = g.rows.map(row => {
    let x = 0;
    const at = row.map(entry => { const m = x + width(g, entry) / 2; x += width(g, entry) + S.column; return m; });
    return at.map(m => m - (x - S.column) / 2);
  });
  const n = g.rows.length;
  for (let s = 0; s < 10; s++)
    for (let k = 1; k < n; k++) settle(g, c, s % 2 ? n - 1 - k : k, s % 2 === 0);
  let left = 0, right = 0;
  g.rows.forEach((row, r) => row.forEach((entry, i) => {
    left = Math.min(left, c[r][i] - width(g, entry) / 2);
    right = Math.max(right, c[r][i] + width(g, entry) / 2);
  }));
  const slack = Math.max(0, g.w - (right - left + 2 * S.pad));
  let y = S.head;
  g.columns = [];
  g.spans = [];
  g.rows.forEach((row, r) => {
    const high = Math.max(0, ...row.filter(e => e >= 0).map(e => g.children[e].H));
    row.forEach((entry, i) => {
      const x = c[r][i] - left + S.pad + slack / 2;
      if (entry < 0) { (g.columns[-1 - entry] ||= []).push([r, x]); return; }
      const child = g.children[entry];
      child.X = x - child.W / 2;
      child.Y = y + (high - child.H) / 2;
    });
    g.spans.push([y, y + high]);
    y += high + S.row;
  });
  g.W = Math.max(g.w, right - left + 2 * S.pad);
  g.H = y - S.row + S.pad;
}
function port(g, e, source) {
  const k = source ? 0 : 1, child = g.edges[e][k], node = g.children[child];
  let at = 0, count = 0;
  g.edges.forEach((other, i) => { if (other[k] === child) { at += i < e; count++; } });
  return node.X + node.W / 2 + Math.min(16, node.W / (count + 1)) * (at - (count - 1) / 2);
}
function draw(g, id) {
  const element = $(id), box = element.querySelector(':scope > rect.box');
  element.setAttribute('transform', `translate(${(g.X || 0).toFixed(1)} ${(g.Y || 0).toFixed(1)})`);
  box.setAttribute('width', g.W.toFixed(1));
  box.setAttribute('height', g.H.toFixed(1));
  if (!g.children) return;
  element.classList.toggle('open', !!g.open);
  element.classList.toggle('closed', !g.open);
  if (!g.open) return;
  g.children.forEach((child, i) => draw(child, id + '_' + i));
  g.edges.forEach(([from, to], e) => {
    let x = port(g, e, true), y = g.children[from].Y + g.children[from].H;
    const label = $(id + 'e' + e + 't');
    if (label) { label.setAttribute('x', x + 5); label.setAttribute('y', y + 2 + 11 * label.dataset.line); }
    let d = `M${x} ${y}`;
    const curve = (nx, ny) => { const m = (y + ny) / 2; d += ` C${x} ${m} ${nx} ${m} ${nx} ${ny}`; x = nx; y = ny; };
    for (const [r, column] of g.columns[e] || []) {
      curve(column, g.spans[r][0]);
      d += ` L${column} ${g.spans[r][1]}`;
      y = g.spans[r][1];
    }
    curve(port(g, e, false), g.children[to].Y - 2);
    $(id + 'e' + e).setAttribute('d', d);
  });
}
function refresh() {
  place(graph);
  graph.X = graph.Y = 0;
  draw(graph, 'n');
  const svg = $('graph');
  svg.setAttribute('width', graph.W + 20);
  svg.setAttribute('height', graph.H + 20);
  svg.setAttribute('viewBox', `0 0 ${graph.W + 20} ${graph.H + 20}`);
}
const find = id => id.split('_').slice(1).reduce((g, i) => g.children[i], graph);
function setAll(g, open) { if (g.children) { g.open = open; g.children.forEach(c => setAll(c, open)); } }
$('graph').addEventListener('click', event => {
  const cluster = event.target.closest('g.cluster');
  if (!cluster || cluster.id === 'n') return;
  const g = find(cluster.id);
  g.open = g.open ? 0 : 1;
  refresh();
});
$('open').addEventListener('click', () => { setAll(graph, 1); refresh(); });
$('close').addEventListener('click', () => { setAll(graph, 0); graph.open = 1; refresh(); });
refresh();
)JS";

} // namespace

std::string graphDot(const GraphNode &root) {
  std::string text;
  llvm::raw_string_ostream os(text);
  DotWriter(os).write(root);
  return text;
}

std::string graphSvg(const GraphNode &root) {
  std::string text;
  llvm::raw_string_ostream os(text);
  SvgWriter(os, /*isPage=*/false).write(root);
  return text;
}

std::string graphHtml(const GraphNode &root) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta "
        "charset=\"utf-8\">\n"
     << "<title>" << escaped(root.title) << "</title>\n<style>\n"
     << "body { margin: 0; font: 13px system-ui, sans-serif; color: #1d2939; "
        "}\n"
     << "header { padding: 10px 16px; border-bottom: 1px solid #dde3ea; "
        "position: sticky; top: 0; background: #fff; }\n"
     << "button { margin-left: 10px; font: inherit; padding: 2px 10px; }\n"
     << "i { display: inline-block; width: 11px; height: 11px; margin: 0 4px 0 "
        "14px; border: 1px solid; border-radius: 3px; vertical-align: -1px; }\n"
     << ".cluster { cursor: pointer; }\n"
     << ".open > .whenclosed, .closed > .whenopen { display: none; }\n"
     << "main { overflow-x: auto; text-align: center; }\n"
     << "</style>\n</head>\n<body>\n<header><b>" << escaped(root.title)
     << "</b> " << escaped(root.detail) << " · " << grouped(root.values)
     << " parameters <button id=\"open\">open all</button>"
        "<button id=\"close\">close all</button>"
        "<i style=\"background:#dfeaf7;border-color:#5b7fa8\"></i>block (click)"
        "<i style=\"background:#fff8eb;border-color:#d9a441\"></i>with "
        "parameters"
        "<i style=\"background:#fff;border-color:#98a2b3\"></i>without"
     << "</header>\n<main>\n";
  SvgWriter(os, /*isPage=*/true).write(root);
  os << "</main>\n<script>\nconst graph = ";
  writeData(root, os);
  os << ";" << kScript << "</script>\n</body>\n</html>\n";
  return text;
}

} // namespace pg::report
