//===- Report.cpp - the front end's one channel for errors -----------------===//
#include "frontend/Report.h"

#include "mlir/IR/Diagnostics.h"

#include <algorithm>

using namespace pg::frontend;

mlir::Location Reporter::location(SpecPos pos) const {
  if (!pos.isValid())
    return mlir::UnknownLoc::get(context);
  return mlir::FileLineColLoc::get(context, pos.file->path, pos.line,
                                   pos.column);
}

bool Reporter::admit(SpecPos pos, const std::string &message) {
  if (!given.insert(toString(pos) + ": " + message).second)
    return false;
  ++count;
  if (count == kMaxErrors + 1)
    mlir::emitError(location(pos), "too many errors; the rest is not shown");
  return count <= kMaxErrors;
}

void Reporter::error(SpecPos pos, const llvm::Twine &message) {
  if (admit(pos, message.str()))
    mlir::emitError(location(pos), message);
}

void Reporter::error(SpecPos pos, const llvm::Twine &message, SpecPos notePos,
                     const llvm::Twine &note) {
  if (admit(pos, message.str()))
    mlir::emitError(location(pos), message).attachNote(location(notePos))
        << note;
}

std::string
pg::frontend::suggest(llvm::StringRef name,
                      const std::vector<std::string> &candidates) {
  // Two exchanged letters are two edits.
  unsigned limit = std::max<unsigned>(2, static_cast<unsigned>(name.size()) / 3);
  std::string best;
  for (const std::string &candidate : candidates) {
    unsigned distance = name.edit_distance(candidate, true, limit);
    // Short names are near to everything: ask for a common letter.
    if (distance > limit || distance >= name.size() ||
        distance >= candidate.size())
      continue;
    if (best.empty() || distance < name.edit_distance(best, true, limit))
      best = candidate;
  }
  return best.empty() ? "" : "; did you mean '" + best + "'?";
}

std::string pg::frontend::toString(SpecPos pos) {
  if (!pos.isValid())
    return "";
  return pos.file->path + ":" + std::to_string(pos.line) + ":" +
         std::to_string(pos.column);
}
