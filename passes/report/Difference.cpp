//===- Difference.cpp - two compiled models, compared and priced ----------===//
//
// Parameters are matched by name, entries by name, kernels by their text: a
// kernel of one side is the same as one of the other when their bodies are
// equal; of those left over, pairs with equal ops and other sizes are counted
// as resized.
//
//===----------------------------------------------------------------------===//
#include "passes/report/Difference.h"

#include "passes/report/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <map>
#include <set>

using namespace mlir;

namespace pg::report {
namespace {

using Parameter = Difference::Parameter;
using Kernel = Difference::Kernel;

std::vector<Parameter> compareParameters(ModuleOp before, ModuleOp after) {
  std::map<StringRef, ParameterOp> old, fresh;
  for (auto op : before.getOps<ParameterOp>())
    old[op.getSymName()] = op;
  for (auto op : after.getOps<ParameterOp>())
    fresh[op.getSymName()] = op;
  auto values = [](ParameterOp op) {
    return cast<RankedTensorType>(op.getType()).getNumElements();
  };
  std::vector<Parameter> changed;
  for (auto op : before.getOps<ParameterOp>()) {
    auto it = fresh.find(op.getSymName());
    if (it != fresh.end() && it->second.getType() == op.getType())
      continue;
    Parameter row{op.getSymName().str(), shapeText(op.getType()), "",
                  values(op)};
    if (it != fresh.end()) {
      row.after = shapeText(it->second.getType());
      row.afterValues = values(it->second);
    }
    changed.push_back(std::move(row));
  }
  for (auto op : after.getOps<ParameterOp>())
    if (!old.count(op.getSymName()))
      changed.push_back(
          {op.getSymName().str(), "", shapeText(op.getType()), 0, values(op)});
  return changed;
}

std::vector<Difference::Entry> compareEntries(const Report &before,
                                              const Report &after) {
  auto find = [](const Report &report, StringRef name) {
    auto it = llvm::find_if(report.entries,
                            [&](auto &entry) { return entry.name == name; });
    return it == report.entries.end() ? nullptr : &*it;
  };
  std::vector<std::string> names;
  for (const Report *report : {&before, &after})
    for (const Report::Entry &entry : report->entries)
      if (!llvm::is_contained(names, entry.name))
        names.push_back(entry.name);
  std::vector<Difference::Entry> rows;
  for (const std::string &name : names) {
    const Report::Entry *old = find(before, name), *fresh = find(after, name);
    auto both = [&](StringRef label, auto value) {
      return Difference::Quantity{label.str(),
                                  old ? double(value(*old, before)) : 0,
                                  fresh ? double(value(*fresh, after)) : 0};
    };
    using E = const Report::Entry &;
    using R = const Report &;
    rows.push_back(
        {name,
         {both("flops_per_token",
               [](E e, R r) { return e.flops.at(r.maxTokens) / r.maxTokens; }),
          both("bytes_per_token",
               [](E e, R r) { return e.bytes.at(r.maxTokens) / r.maxTokens; }),
          both("activation_bytes", [](E e, R) { return e.arenaBytes; }),
          both("launches", [](E e, R) { return e.launches; })}});
  }
  return rows;
}

/// Text of a kernel without its name.
std::string bodyText(KernelDefOp def) {
  std::string text;
  llvm::raw_string_ostream os(text);
  def->print(os, OpPrintingFlags().useLocalScope());
  size_t at = text.find(def.getSymName());
  return text.substr(at + def.getSymName().size());
}

/// Its ops alone.
std::string formText(KernelDefOp def) {
  std::string text;
  for (Operation &op : def.getBody().front())
    text += op.getName().getStringRef().str() + " ";
  return text;
}

void compareKernels(ModuleOp before, ModuleOp after, const Report &oldReport,
                    const Report &newReport, Difference &difference) {
  std::set<std::string> oldBodies, newBodies;
  for (auto def : before.getOps<KernelDefOp>())
    oldBodies.insert(bodyText(def));
  for (auto def : after.getOps<KernelDefOp>())
    newBodies.insert(bodyText(def));

  auto rowOf = [](const Report &report, KernelDefOp def) {
    Kernel row{def.getSymName().str(), {}, {}};
    for (const Report::Kernel &kernel : report.kernels)
      if (kernel.name == row.name)
        row.ops = kernel.ops;
    for (const Place &place : placesOf(def.getLoc()))
      if (!llvm::is_contained(row.sources, place.text()))
        row.sources.push_back(place.text());
    return row;
  };
  std::multimap<std::string, KernelDefOp> leftOver; // gone, by form
  std::vector<KernelDefOp> gone;
  for (auto def : before.getOps<KernelDefOp>())
    if (!newBodies.count(bodyText(def)))
      leftOver.emplace(formText(def), def);
  for (auto def : after.getOps<KernelDefOp>()) {
    if (oldBodies.count(bodyText(def)))
      continue;
    if (auto it = leftOver.find(formText(def)); it != leftOver.end()) {
      leftOver.erase(it);
      ++difference.resized;
    } else {
      difference.added.push_back(rowOf(newReport, def));
    }
  }
  std::set<Operation *> remaining;
  for (auto &[form, def] : leftOver)
    remaining.insert(def);
  for (auto def : before.getOps<KernelDefOp>())
    if (remaining.count(def))
      difference.removed.push_back(rowOf(oldReport, def));
}

/// "blocks.3.attn.w" -> "blocks.*.attn.w"
std::string patternOf(StringRef name) {
  SmallVector<StringRef> parts;
  name.split(parts, '.');
  for (StringRef &part : parts)
    if (llvm::all_of(part, llvm::isDigit))
      part = "*";
  return llvm::join(parts, ".");
}

std::string signedText(double change) {
  return (change > 0 ? "+" : "") + grouped(std::llround(change));
}

void writeQuantity(const Difference::Quantity &row, llvm::raw_ostream &os) {
  std::string name = row.name;
  std::replace(name.begin(), name.end(), '_', ' ');
  os << llvm::format("  %-28s %15s", name.c_str(),
                     grouped(std::llround(row.before)).c_str());
  double change = row.after - row.before;
  if (std::llround(row.before) == std::llround(row.after)) {
    os << "  unchanged\n";
    return;
  }
  os << llvm::format(" -> %15s  %15s", grouped(std::llround(row.after)).c_str(),
                     signedText(change).c_str());
  if (row.before > 0)
    os << llvm::format("  %+.2f %%", 100 * change / row.before);
  os << "\n";
}

/// Lines of a body that differ, in order; others are left out.
void writeLines(StringRef before, StringRef after, llvm::raw_ostream &os) {
  SmallVector<StringRef> a, b;
  before.rtrim().split(a, '\n');
  after.rtrim().split(b, '\n');
  // common[i][j]: longest common subsequence of a[i..] and b[j..].
  std::vector<std::vector<int>> common(a.size() + 1,
                                       std::vector<int>(b.size() + 1));
  for (size_t i = a.size(); i-- > 0;)
    for (size_t j = b.size(); j-- > 0;)
      common[i][j] = a[i] == b[j]
                         ? common[i + 1][j + 1] + 1
                         : std::max(common[i + 1][j], common[i][j + 1]);
  size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      ++i, ++j;
    } else if (i < a.size() &&
               (j == b.size() || common[i + 1][j] >= common[i][j + 1])) {
      os << "      - " << a[i++] << "\n";
    } else {
      os << "      + " << b[j++] << "\n";
    }
  }
}

void writeSetting(const Difference::Setting &row, llvm::raw_ostream &os) {
  bool isText = StringRef(row.before).contains('\n') ||
                StringRef(row.after).contains('\n');
  if (row.before.empty())
    os << "  + " << row.path << (isText ? "\n" : ": " + row.after + "\n");
  else if (row.after.empty())
    os << "  - " << row.path << (isText ? "\n" : ": " + row.before + "\n");
  else if (!isText)
    os << "  ~ " << row.path << ": " << row.before << " -> " << row.after
       << "\n";
  else
    os << "  ~ " << row.path << "\n";
  if (isText && !row.before.empty() && !row.after.empty())
    writeLines(row.before, row.after, os);
}

/// Equal changes of numbered layers share a line.
void writeParameters(const std::vector<Parameter> &parameters,
                     llvm::raw_ostream &os) {
  struct Row {
    std::string text, onlyName;
    int64_t tensors = 0, change = 0;
  };
  std::vector<Row> rows;
  for (const Parameter &parameter : parameters) {
    std::string pattern = patternOf(parameter.name);
    auto textFor = [&](const std::string &name) {
      if (parameter.before.empty())
        return "  + " + name + " " + parameter.after;
      if (parameter.after.empty())
        return "  - " + name + " " + parameter.before;
      return "  ~ " + name + " " + parameter.before + " -> " + parameter.after;
    };
    std::string text = textFor(pattern);
    auto it = llvm::find_if(rows, [&](Row &row) { return row.text == text; });
    if (it == rows.end())
      it = rows.insert(rows.end(), {text, textFor(parameter.name)});
    ++it->tensors;
    it->change += parameter.afterValues - parameter.beforeValues;
  }
  for (const Row &row : rows) {
    os << (row.tensors == 1 ? row.onlyName : row.text);
    if (row.tensors > 1)
      os << " in " << row.tensors << " tensors";
    os << "  " << signedText(row.change) << "\n";
  }
}

void writeKernels(StringRef mark, const std::vector<Kernel> &kernels,
                  llvm::raw_ostream &os) {
  for (const Kernel &kernel : kernels) {
    os << "  " << mark << " " << kernel.name << ": "
       << llvm::join(kernel.ops, " ") << "\n";
    if (!kernel.sources.empty())
      os << "      " << llvm::join(ArrayRef(kernel.sources).take_front(4), " ")
         << (kernel.sources.size() > 4 ? " ..." : "") << "\n";
  }
}

} // namespace

bool Difference::isEmpty() const {
  return settings.empty() && parameters.empty() && added.empty() &&
         removed.empty() && resized == 0 &&
         llvm::all_of(totals, [](const Quantity &row) {
           return row.before == row.after;
         });
}

Difference compare(ModuleOp before, ModuleOp after,
                   std::vector<Difference::Setting> settings) {
  Report old = buildReport(before), fresh = buildReport(after);
  Difference difference;
  difference.before = old.model;
  difference.after = fresh.model;
  difference.maxTokens = fresh.maxTokens;
  difference.settings = std::move(settings);
  difference.parameters = compareParameters(before, after);
  auto total = [&](StringRef name, int64_t a, int64_t b) {
    difference.totals.push_back({name.str(), double(a), double(b)});
  };
  total("parameters", old.parameterValues, fresh.parameterValues);
  total("estimated_artifact_bytes", old.artifactBytes, fresh.artifactBytes);
  total("peak_memory_bytes", old.peakBytes(), fresh.peakBytes());
  total("distinct_kernels", old.kernels.size(), fresh.kernels.size());
  difference.entries = compareEntries(old, fresh);
  compareKernels(before, after, old, fresh, difference);
  return difference;
}

std::string Difference::text() const {
  std::string out;
  llvm::raw_string_ostream os(out);
  os << before << " -> " << after << "\n";
  if (isEmpty()) {
    os << "no difference\n";
    return out;
  }
  os << "\nspecification" << (settings.empty() ? ": equal" : "") << "\n";
  for (const Setting &row : settings)
    writeSetting(row, os);
  os << "\nparameters" << (parameters.empty() ? ": equal names and shapes" : "")
     << "\n";
  writeParameters(parameters, os);
  os << "\ntotals\n";
  for (const Quantity &row : totals)
    writeQuantity(row, os);
  for (const Entry &entry : entries) {
    os << "\n" << entry.name << "\n";
    for (const Quantity &row : entry.quantities)
      writeQuantity(row, os);
  }
  os << "(per token of a full run of " << grouped(maxTokens)
     << " tokens; attention counted with " << kCostContext << " keys)\n\n"
     << "distinct kernels: " << added.size() << " added, " << removed.size()
     << " removed, " << resized << " of other sizes\n";
  writeKernels("+", added, os);
  writeKernels("-", removed, os);
  return out;
}

llvm::json::Value Difference::json() const {
  using llvm::json::Array;
  using llvm::json::Object;
  auto quantities = [](const std::vector<Quantity> &rows) {
    Object object;
    for (const Quantity &row : rows)
      object[row.name] = Object{{"before", row.before},
                                {"after", row.after},
                                {"change", row.after - row.before}};
    return object;
  };
  auto kernels = [](const std::vector<Kernel> &rows) {
    Array array;
    for (const Kernel &row : rows)
      array.push_back(Object{{"name", row.name},
                             {"ops", Array(row.ops)},
                             {"sources", Array(row.sources)}});
    return array;
  };
  auto side = [](const std::string &text) {
    return text.empty() ? llvm::json::Value(nullptr) : llvm::json::Value(text);
  };
  Array settingArray, parameterArray;
  for (const Setting &row : settings)
    settingArray.push_back(Object{{"path", row.path},
                                  {"before", side(row.before)},
                                  {"after", side(row.after)}});
  for (const Parameter &row : parameters)
    parameterArray.push_back(
        Object{{"name", row.name},
               {"before", side(row.before)},
               {"after", side(row.after)},
               {"change", row.afterValues - row.beforeValues}});
  Object entryObject;
  for (const Entry &entry : entries)
    entryObject[entry.name] = quantities(entry.quantities);
  return Object{{"before", before},
                {"after", after},
                {"max_tokens", maxTokens},
                {"specification", std::move(settingArray)},
                {"parameters", std::move(parameterArray)},
                {"totals", quantities(totals)},
                {"entries", std::move(entryObject)},
                {"kernels_added", kernels(added)},
                {"kernels_removed", kernels(removed)},
                {"kernels_resized", resized}};
}

} // namespace pg::report
