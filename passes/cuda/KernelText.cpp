//===- KernelText.cpp - parameters, names and frame of one kernel's text ------===//
#include "passes/cuda/KernelText.h"

#include "passes/fuse/Tensors.h"
#include "passes/report/Expression.h"

#include <cmath>
#include <numeric>

using namespace mlir;

namespace pg::cuda {

std::string registerType(Type element) {
  if (element.isF64())
    return "double";
  if (isa<FloatType>(element))
    return "float";
  return element.isInteger(1) ? "bool" : "int";
}

std::string memoryType(Type element) {
  if (element.isBF16())
    return "bf16";
  if (element.isInteger(8))
    return "signed char";
  return element.isInteger(1) ? "unsigned char" : registerType(element);
}

std::string literal(Type element, double value) {
  if (element.isInteger(1))
    return value != 0 ? "true" : "false";
  if (!isa<FloatType>(element)) {
    auto integer = static_cast<int64_t>(value);
    // -2147483648 is no literal of type int.
    return integer == std::numeric_limits<int32_t>::min()
               ? "(-2147483647 - 1)"
               : std::to_string(integer);
  }
  bool wide = element.isF64();
  if (std::isnan(value))
    return wide ? "(double)pg_float(0x7fc00000u)" : "pg_float(0x7fc00000u)";
  if (std::isinf(value)) {
    std::string bits = value > 0 ? "0x7f800000u" : "0xff800000u";
    return (wide ? "(double)pg_float(" : "pg_float(") + bits + ")";
  }
  if (!wide)
    value = static_cast<float>(value);
  std::string text;
  for (int digits = 1; digits <= 17; ++digits) {
    char buffer[40];
    snprintf(buffer, sizeof buffer, "%.*g", digits, value);
    text = buffer;
    double read = strtod(buffer, nullptr);
    if (wide ? read == value : static_cast<float>(read) == value)
      break;
  }
  if (text.find_first_of(".e") == std::string::npos)
    text += ".0";
  return text + (wide ? "" : "f");
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

KernelText::KernelText(KernelDefOp def) : kernel(def) {
  argumentAlignment.assign(def.getBody().front().getNumArguments(), 16);
  yieldAlignments.assign(yields().size(), 16);
  for (int64_t mode : def.getModes())
    writesSymbols |= mode != 0;
  readLaunches();
}

/// Views of stacked parameters begin at a row, which need not be a multiple of
/// 16 bytes; every other buffer is allocated at one.
void KernelText::readLaunches() {
  auto module = kernel->getParentOfType<ModuleOp>();
  module.walk([&](LaunchOp launch) {
    if (launch.getKernel() != kernel.getSymName())
      return;
    for (auto [index, input] : llvm::enumerate(launch.getInputs()))
      if (auto part = input.getDefiningOp<SliceOp>()) {
        auto type = cast<RankedTensorType>(part.getType());
        int64_t row = elementBytes(type.getElementType());
        for (int64_t d = 1; d < type.getRank(); ++d)
          row *= type.getDimSize(d);
        int64_t &alignment = argumentAlignment[index];
        alignment = std::gcd(alignment, row * int64_t(part.getStart()));
      }
    auto starts = launch->getAttrOfType<DenseI64ArrayAttr>(kTargetOffsetsAttr);
    if (!starts)
      return;
    size_t target = 0;
    for (auto [index, mode] : llvm::enumerate(kernel.getModes())) {
      if (mode == 0)
        continue;
      auto type = cast<RankedTensorType>(yields()[index].getType());
      yieldAlignments[index] =
          std::gcd(yieldAlignments[index],
                   starts[target++] * elementBytes(type.getElementType()));
    }
  });
}

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

ValueRange KernelText::yields() const {
  return cast<YieldOp>(kernel.getBody().front().getTerminator()).getValues();
}

std::string KernelText::argument(BlockArgument argument) const {
  return "arg" + std::to_string(argument.getArgNumber());
}
std::string KernelText::yield(unsigned index) const {
  return "out" + std::to_string(index);
}
int64_t KernelText::alignment(BlockArgument argument) const {
  return argumentAlignment[argument.getArgNumber()];
}
int64_t KernelText::yieldAlignment(unsigned index) const {
  return yieldAlignments[index];
}

std::string KernelText::table(DenseElementsAttr values) {
  std::string &name = tableNames[values];
  if (!name.empty())
    return name;
  name = (kernel.getSymName() + "_table_" + Twine(tableNames.size() - 1)).str();
  Type element = values.getElementType();
  tables += "__device__ const " + memoryType(element) + " " + name + "[" +
            std::to_string(values.getNumElements()) + "] = {";
  std::string line;
  auto add = [&](const std::string &text) {
    if (line.size() + text.size() > 100) {
      tables += line + "\n    ";
      line.clear();
    }
    line += (line.empty() && tables.back() == '{' ? "" : ", ") + text;
  };
  if (element.isBF16())
    for (APFloat value : values.getValues<APFloat>())
      add("{" + std::to_string(value.bitcastToAPInt().getZExtValue()) + "}");
  else if (isa<FloatType>(element))
    for (APFloat value : values.getValues<APFloat>())
      add(literal(element, value.convertToDouble()));
  else
    for (APInt value : values.getValues<APInt>())
      add(element.isInteger(1)
              ? std::string(value.isZero() ? "0" : "1")
              : literal(element, static_cast<double>(value.getSExtValue())));
  tables += line + "};\n";
  return name;
}

std::string KernelText::signature(const Stage &stage) const {
  // Only a kernel that writes symbols may be given one buffer twice.
  const char *alone = writesSymbols ? "" : "__restrict__ ";
  std::vector<std::string> parameters;
  for (BlockArgument argument : kernel.getBody().front().getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    parameters.push_back(type ? "const " + memoryType(type.getElementType()) +
                                    " *" + alone + this->argument(argument)
                              : "double " + this->argument(argument));
  }
  // Scalars come after every buffer (KernelDefOp C5), yields before them.
  size_t buffers = llvm::count_if(
      kernel.getBody().front().getArguments(), [](BlockArgument argument) {
        return isa<RankedTensorType>(argument.getType());
      });
  std::vector<std::string> outputs;
  for (auto [index, value] : llvm::enumerate(yields()))
    outputs.push_back(
        memoryType(cast<RankedTensorType>(value.getType()).getElementType()) +
        " *" + alone + yield(index));
  parameters.insert(parameters.begin() + buffers, outputs.begin(),
                    outputs.end());
  parameters.push_back("pg_batch batch");
  parameters.push_back("unsigned char *workspace");

  std::string text = "extern \"C\" __global__ void __launch_bounds__(" +
                     std::to_string(stage.threads) +
                     (stage.blocksPerSm > 0
                          ? ", " + std::to_string(stage.blocksPerSm)
                          : std::string()) +
                     ") " + stage.symbol + "(\n    ";
  size_t column = 4;
  for (auto [k, parameter] : llvm::enumerate(parameters)) {
    bool last = k + 1 == parameters.size();
    if (column + parameter.size() > 112) {
      text += "\n    ";
      column = 4;
    } else if (k > 0) {
      text += " ";
    }
    text += parameter + (last ? ")" : ",");
    column += parameter.size() + 2;
  }
  return text;
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

void KernelText::addStage(const Stage &stage, const SourceWriter &body) {
  stages.push_back(stage);
  bodies += "\n" + signature(stage) + " {\n";
  SmallVector<StringRef> lines;
  std::string text = body.text();
  StringRef(text).split(lines, '\n');
  for (StringRef line : lines)
    if (!line.empty())
      bodies += "    " + line.str() + "\n";
  bodies += "}\n";
}

/// The kernel in infix form, as its first launch sees it, with the lines of the
/// specification it comes from.
std::string KernelText::comment() const {
  std::string text = "// " + kernel.getSymName().str() + "\n";
  auto module = kernel->getParentOfType<ModuleOp>();
  for (auto entry : module.getOps<func::FuncOp>()) {
    for (auto launch : entry.getOps<LaunchOp>()) {
      if (launch.getKernel() != kernel.getSymName())
        continue;
      report::SourceText source;
      report::EntryNames names(entry, source);
      for (report::Statement &statement :
           report::fusedExpression(kernel, launch, names)) {
        text += "//   " + statement.text;
        if (statement.place.line)
          text += "   [" + report::displayPath(statement.place.path) + ":" +
                  std::to_string(statement.place.line) + "]";
        text += "\n";
      }
      return text;
    }
  }
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    text += "//   " + op.getName().getStringRef().drop_front(3).str();
    report::Place place = report::placeOf(op.getLoc());
    if (place.line)
      text += "   [" + report::displayPath(place.path) + ":" +
              std::to_string(place.line) + "]";
    text += "\n";
  }
  return text;
}

EmittedKernel KernelText::finish(StringRef category, int64_t workspaceFixed,
                                 int64_t workspacePerToken) const {
  EmittedKernel result;
  result.symbol = kernel.getSymName().str();
  result.stages = stages;
  result.workspaceFixed = workspaceFixed;
  result.workspacePerToken = workspacePerToken;
  result.category = category.str();
  result.source = comment() + tables + bodies;
  return result;
}

} // namespace pg::cuda
