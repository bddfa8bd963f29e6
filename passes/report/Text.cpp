//===- Text.cpp - numbers, shapes and source lines as people read them
//-----===//
#include "passes/report/Text.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TypeUtilities.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <charconv>

using namespace mlir;

namespace pg::report {

std::string grouped(int64_t value) {
  std::string digits = std::to_string(std::abs(value));
  for (int64_t at = int64_t(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(at, ",");
  return value < 0 ? "-" + digits : digits;
}

std::string shapeText(Type type, StringRef times) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getRank() == 0)
    return "scalar";
  std::string text;
  for (int64_t size : tensor.getShape()) {
    if (!text.empty())
      text += times;
    text += ShapedType::isDynamic(size) ? "T" : std::to_string(size);
  }
  return text;
}

std::string elementText(Type type) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << getElementTypeOrSelf(type);
  return text;
}

std::string numberText(double value) {
  char buffer[32];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, end.ptr);
}

std::string displayPath(StringRef path) {
  if (!llvm::sys::path::is_absolute(path))
    return path.str();
  size_t at = path.rfind("/models/");
  return at == StringRef::npos ? llvm::sys::path::filename(path).str()
                               : path.substr(at + 1).str();
}

std::string Place::text() const {
  return displayPath(path) + ":" + std::to_string(line);
}

static void collect(Location loc, std::vector<Place> &places) {
  if (auto file = dyn_cast<FileLineColLoc>(loc)) {
    Place place{file.getFilename().str(), file.getLine(), file.getColumn()};
    if (llvm::none_of(places, [&](const Place &known) {
          return known.sameLine(place) && known.column == place.column;
        }))
      places.push_back(std::move(place));
  } else if (auto call = dyn_cast<CallSiteLoc>(loc)) {
    collect(call.getCallee(), places);
    collect(call.getCaller(), places);
  } else if (auto fused = dyn_cast<FusedLoc>(loc)) {
    for (Location part : fused.getLocations())
      collect(part, places);
  } else if (auto named = dyn_cast<NameLoc>(loc)) {
    collect(named.getChildLoc(), places);
  }
}

std::vector<Place> placesOf(Location loc) {
  std::vector<Place> places;
  collect(loc, places);
  return places;
}

Place placeOf(Location loc) {
  std::vector<Place> places = placesOf(loc);
  return places.empty() ? Place{} : places.front();
}

std::string SourceText::raw(const Place &place) {
  auto [it, isNew] = files.try_emplace(place.path);
  if (isNew)
    if (auto buffer = llvm::MemoryBuffer::getFile(place.path)) {
      SmallVector<StringRef> lines;
      (*buffer)->getBuffer().split(lines, '\n');
      for (StringRef line : lines)
        it->second.push_back(line.rtrim().str());
    }
  const std::vector<std::string> &lines = it->second;
  return place.line >= 1 && place.line <= lines.size() ? lines[place.line - 1]
                                                       : "";
}

std::string SourceText::line(const Place &place) {
  std::string text = raw(place);
  StringRef line = StringRef(text).trim();
  if (size_t comment = line.find(" #"); comment != StringRef::npos)
    line = line.take_front(comment).rtrim();
  return line.str();
}

std::vector<std::string> SourceText::assigned(const Place &place) {
  std::string text = line(place);
  size_t equals = StringRef(text).find(" = ");
  if (equals == StringRef::npos)
    return {};
  std::vector<std::string> names;
  for (StringRef part : llvm::split(StringRef(text).take_front(equals), ",")) {
    part = part.trim();
    if (part.empty() || !llvm::all_of(part, [](char c) {
          return llvm::isAlnum(c) || c == '_';
        }))
      return {};
    names.push_back(part.str());
  }
  return names;
}

std::string SourceText::identifier(const Place &place) {
  std::string text = raw(place);
  if (place.column == 0 || place.column > text.size())
    return "";
  return StringRef(text)
      .drop_front(place.column - 1)
      .take_while([](char c) { return llvm::isAlnum(c) || c == '_'; })
      .str();
}

} // namespace pg::report
