//===- Explain.cpp - from a line of the specification to its kernels ------===//
//
// Locations do the work: every op carries its line to the end.
//   1. the question becomes a set of lines, from the ops of the inlined module;
//   2. ops of these lines in the forward function, and in the derivative part
//      of the derived one, are counted by text;
//   3. launches whose location names one of the lines lead to their kernels;
//      launches of one kernel share an answer.
//
//===----------------------------------------------------------------------===//
#include "passes/report/Explain.h"

#include "passes/fuse/Tensors.h"
#include "passes/report/Expression.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace pg::report {
namespace {

/// Lines that are explained one by one; more are only listed.
constexpr size_t kMaxLines = 8;

class Explainer {
public:
  Explainer(const Stages &stages, const Question &question, std::string &out)
      : stages(stages), question(question), text(out), os(out) {}

  bool run() {
    if (!choosePhase() || !findLines())
      return false;
    if (lines.size() > kMaxLines) {
      os << "'" << question.name << "' stands in " << lines.size()
         << " lines; explain one of them with --line\n";
      for (const Place &line : lines)
        writeLine(line);
      return true;
    }
    for (const Place &line : lines) {
      writeLine(line);
      writeOps(function(stages.inlined, "forward@" + phase), line, false);
      writeOps(function(stages.derived, "accumulate@" + phase), line, true);
    }
    writeKernels();
    return true;
  }

private:
  static func::FuncOp function(ModuleOp module, const std::string &name) {
    return module.lookupSymbol<func::FuncOp>(name);
  }

  bool fail(const std::string &message) {
    text = message;
    return false;
  }

  bool choosePhase() {
    std::vector<std::string> names;
    for (func::FuncOp entry : entriesOf(stages.inlined))
      if (entry.getSymName().starts_with("forward@"))
        names.push_back(entry.getSymName().drop_front(8).str());
    phase = question.phase.empty() && !names.empty() ? names.front()
                                                     : question.phase;
    if (llvm::is_contained(names, phase))
      return true;
    return fail("the model has no phase '" + phase + "': expected one of " +
                llvm::join(names, ", "));
  }

  void addLine(const Place &place) {
    if (place.line && llvm::none_of(lines, [&](const Place &known) {
          return known.sameLine(place);
        }))
      lines.push_back(place);
  }

  bool isFile(StringRef path) {
    StringRef wanted = question.file;
    return path == wanted || displayPath(path) == wanted ||
           path.ends_with(("/" + wanted).str());
  }

  bool findLines() {
    return question.name.empty() ? findByLine() : findByName();
  }

  bool findByLine() {
    std::vector<unsigned> known;
    std::vector<Place> outer;
    func::FuncOp entry = function(stages.inlined, "forward@" + phase);
    for (Operation &op : entry.getBody().front()) {
      std::vector<Place> places = placesOf(op.getLoc());
      for (auto [depth, place] : llvm::enumerate(places)) {
        if (!isFile(place.path))
          continue;
        if (!llvm::is_contained(known, place.line))
          known.push_back(place.line);
        if (place.line == question.line && depth == 0)
          addLine(place);
        else if (place.line == question.line)
          outer.push_back(places.front());
      }
    }
    // A line that only calls a block stands for the block's lines.
    if (lines.empty())
      for (const Place &place : outer)
        addLine(place);
    if (!lines.empty())
      return true;
    if (known.empty())
      return fail("no op of phase '" + phase + "' comes from '" +
                  displayPath(question.file) + "'");
    llvm::sort(known);
    std::vector<std::string> numbers;
    for (unsigned line : known)
      numbers.push_back(std::to_string(line));
    return fail("no op of phase '" + phase + "' comes from line " +
                std::to_string(question.line) + " of '" +
                displayPath(question.file) + "'; ops come from lines " +
                llvm::join(numbers, ", "));
  }

  bool matchesName(Operation &op, const Place &place) {
    if (shortName(&op) == question.name ||
        llvm::sys::path::stem(place.path) == question.name ||
        source.identifier(place) == question.name)
      return true;
    return llvm::any_of(op.getOperands(), [&](Value operand) {
      auto param = operand.getDefiningOp<ParamOp>();
      return param && param.getName() == question.name;
    });
  }

  bool findByName() {
    std::vector<std::string> candidates;
    func::FuncOp entry = function(stages.inlined, "forward@" + phase);
    for (Operation &op : entry.getBody().front()) {
      if (isReadOp(&op))
        continue;
      Place place = placeOf(op.getLoc());
      if (matchesName(op, place))
        addLine(place);
      candidates.push_back(shortName(&op).str());
      candidates.push_back(llvm::sys::path::stem(place.path).str());
      candidates.push_back(source.identifier(place));
    }
    if (auto def = stages.planned.lookupSymbol<KernelDefOp>(question.name)) {
      kernel = question.name;
      for (const Place &place : placesOf(def.getLoc()))
        addLine(place);
    }
    for (auto parameter : stages.planned.getOps<ParameterOp>())
      candidates.push_back(parameter.getSymName().str());
    for (auto def : stages.planned.getOps<KernelDefOp>())
      candidates.push_back(def.getSymName().str());
    if (!lines.empty())
      return true;
    std::string best;
    unsigned distance = 4;
    for (const std::string &candidate : candidates) {
      unsigned d =
          StringRef(candidate).edit_distance(question.name, true, distance);
      if (d < distance) {
        distance = d;
        best = candidate;
      }
    }
    return fail("no op, block, parameter or kernel of phase '" + phase +
                "' is named '" + question.name + "'" +
                (best.empty() ? "" : "; did you mean '" + best + "'?"));
  }

  bool isOfLine(Operation *op, const Place &line) {
    return llvm::any_of(placesOf(op->getLoc()), [&](const Place &place) {
      return place.sameLine(line);
    });
  }

  void writeLine(const Place &line) {
    os << line.text() << "\n    " << source.line(line) << "\n";
  }

  /// Ops of a line, equal ones counted together.
  void writeOps(func::FuncOp entry, const Place &line, bool isDerivative) {
    if (!entry)
      return;
    std::vector<std::pair<std::string, int>> rows;
    size_t numOps = 0;
    for (Operation &op : entry.getBody().front()) {
      if (isReadOp(&op) || op.hasAttr(kBackwardAttr) != isDerivative ||
          !placeOf(op.getLoc()).sameLine(line))
        continue;
      ++numOps;
      std::string row = shortName(&op).str();
      row.resize(std::max<size_t>(row.size(), 14), ' ');
      for (auto [i, type] : llvm::enumerate(op.getOperandTypes()))
        row += (i ? ", " : " ") + shapeText(type);
      if (op.getNumResults()) {
        row += " -> ";
        for (auto [i, type] : llvm::enumerate(op.getResultTypes()))
          row += (i ? ", " : "") + shapeText(type);
      } else if (auto store = dyn_cast<StoreOp>(op)) {
        row += " -> gradient of " + StringRef(patternOf(store.getName())).str();
      }
      auto it = llvm::find_if(rows, [&](auto &r) { return r.first == row; });
      if (it == rows.end())
        rows.emplace_back(row, 1);
      else
        ++it->second;
    }
    if (rows.empty())
      return;
    os << (isDerivative ? "  derived in accumulate@" : "  ops of forward@")
       << phase << ", " << numOps << "\n";
    for (auto &[row, count] : rows)
      os << llvm::format("    %4d x ", count) << row << "\n";
  }

  static std::string patternOf(StringRef symbol) {
    symbol.consume_front("grad.");
    SmallVector<StringRef> parts;
    symbol.split(parts, '.');
    for (StringRef &part : parts)
      if (llvm::all_of(part, llvm::isDigit))
        part = "*";
    return llvm::join(parts, ".");
  }

  /// "512 bytes a token + 192 bytes"
  static std::string costText(const PerToken &cost, const char *unit) {
    std::string out;
    if (cost.perToken)
      out = grouped(std::llround(cost.perToken)) + " " + unit + " a token";
    if (cost.fixed || out.empty())
      out += (out.empty() ? "" : " + ") + grouped(std::llround(cost.fixed)) +
             " " + unit;
    return out;
  }

  void writeBuffer(StringRef role, const std::string &name, Type type) {
    os << llvm::format("    %-8s", role.str().c_str()) << name << "  "
       << shapeText(type) << " " << elementText(type) << ", "
       << costText(bytesOf(type), "bytes") << "\n";
  }

  /// Uses of a kernel by the lines asked for.
  struct Use {
    KernelDefOp def;
    LaunchOp first;
    func::FuncOp entry;
    std::vector<std::pair<std::string, int>> entries;
  };

  void writeKernels() {
    std::vector<Use> uses;
    for (func::FuncOp entry : entriesOf(stages.planned)) {
      if (!entry.getSymName().ends_with("@" + phase))
        continue;
      for (auto launch : entry.getBody().front().getOps<LaunchOp>()) {
        if (!kernel.empty() ? launch.getKernel() != kernel
                            : llvm::none_of(lines, [&](const Place &line) {
                                return isOfLine(launch, line);
                              }))
          continue;
        auto it = llvm::find_if(uses, [&](Use &use) {
          return use.def.getSymName() == launch.getKernel();
        });
        if (it == uses.end()) {
          auto def =
              stages.planned.lookupSymbol<KernelDefOp>(launch.getKernel());
          it = uses.insert(uses.end(), {def, launch, entry, {}});
        }
        std::string name = entry.getSymName().str();
        if (it->entries.empty() || it->entries.back().first != name)
          it->entries.emplace_back(name, 0);
        ++it->entries.back().second;
      }
    }
    os << "\nkernels: " << uses.size() << "\n";
    llvm::DenseMap<Operation *, std::unique_ptr<EntryNames>> namesOf;
    for (Use &use : uses) {
      auto &names = namesOf[use.entry];
      if (!names)
        names = std::make_unique<EntryNames>(use.entry, source);
      writeKernel(use, *names);
    }
  }

  void writeKernel(Use &use, EntryNames &names) {
    os << "\n  " << use.def.getSymName() << " (";
    for (auto [i, entry] : llvm::enumerate(use.entries))
      os << (i ? ", " : "") << entry.first << " x" << entry.second;
    os << ")\n";
    for (const Statement &statement :
         fusedExpression(use.def, use.first, names)) {
      bool isOfQuestion = llvm::any_of(lines, [&](const Place &line) {
        return line.sameLine(statement.place);
      });
      os << (isOfQuestion ? "    > " : "      ") << statement.text;
      if (statement.place.line)
        os << "    # " << llvm::sys::path::filename(statement.place.path) << ":"
           << statement.place.line;
      os << "\n";
    }
    PerToken flops, bytes;
    Block &body = use.def.getBody().front();
    for (auto [operand, argument] :
         llvm::zip(use.first.getInputs(), body.getArguments())) {
      writeBuffer("reads", names.nameOf(operand), argument.getType());
      bytes += bytesOf(argument.getType());
    }
    size_t fresh = 0, target = 0;
    for (auto [mode, value] :
         llvm::zip(use.def.getModes(), body.getTerminator()->getOperands())) {
      bytes += bytesOf(value.getType());
      if (mode == 0) {
        writeBuffer("writes", names.nameOf(use.first.getResults()[fresh++]),
                    value.getType());
        continue;
      }
      auto attr = cast<TargetAttr>((*use.first.getTargets())[target++]);
      if (mode == 2)
        bytes += bytesOf(value.getType());
      writeBuffer(mode == 2 ? "adds to" : "writes",
                  attr.getSymbol().getValue().str(), value.getType());
    }
    for (Operation &op : body)
      flops += flopsOf(&op);
    os << "    costs   " << costText(flops, "FLOPs") << "; moves "
       << costText(bytes, "bytes") << "\n";
    size_t launches = 0;
    for (auto &entry : use.entries)
      launches += entry.second;
    if (launches > 1)
      os << "    (names are those of the first of " << launches
         << " launches)\n";
  }

  Stages stages;
  const Question &question;
  std::string &text;
  llvm::raw_string_ostream os;
  SourceText source;
  std::string phase, kernel;
  std::vector<Place> lines;
};

} // namespace

bool explain(const Stages &stages, const Question &question,
             std::string &text) {
  return Explainer(stages, question, text).run();
}

} // namespace pg::report
