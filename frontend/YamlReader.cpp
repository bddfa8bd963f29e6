//===- YamlReader.cpp - YAML text to located tree --------------------------===//
//
// The only user of yaml-cpp. Its event interface is used instead of its node
// interface because the latter drops duplicate keys, second documents and the
// difference between quoted and plain scalars. Exceptions end here.
//
//===----------------------------------------------------------------------===//
#include "frontend/YamlReader.h"

#include "frontend/Scalar.h"

#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/CrashRecoveryContext.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

using namespace pg::frontend;

namespace {

/// Thrown by the handlers when reading cannot go on; the error is reported.
struct Stop {};

/// Builds the tree from events.
class TreeBuilder : public YAML::EventHandler {
public:
  TreeBuilder(const SourceFile &file, Reporter &reporter)
      : file(file), reporter(reporter) {}

  SpecNode take() { return std::move(root); }
  bool isSound() const { return sound; }

  void OnDocumentStart(const YAML::Mark &) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark &mark, YAML::anchor_t anchor) override {
    SpecNode node;
    node.pos = position(mark);
    finish(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark &mark, YAML::anchor_t anchor) override {
    SpecPos pos = position(mark);
    auto found = anchors.find(anchor);
    if (found == anchors.end())
      fatal(pos, "the alias refers to a value that contains it");
    count(found->second, pos);
    finish(found->second, 0, /*counted=*/true);
  }

  void OnScalar(const YAML::Mark &mark, const std::string &tag,
                YAML::anchor_t anchor, const std::string &value) override {
    SpecNode node;
    node.kind = SpecNode::Kind::Scalar;
    node.pos = position(mark);
    node.text = value;
    node.isQuoted = tag == "!";
    checkTag(node.pos, tag);
    finish(std::move(node), anchor);
  }

  void OnSequenceStart(const YAML::Mark &mark, const std::string &tag,
                       YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(SpecNode::Kind::List, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark &mark, const std::string &tag,
                  YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(SpecNode::Kind::Map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

private:
  struct Level {
    SpecNode node;
    YAML::anchor_t anchor;
    bool hasKey = false;
    SpecEntry pending; ///< key read, value to come
  };

  SpecPos position(const YAML::Mark &mark) const {
    return {&file, mark.line + 1, mark.column + 1};
  }

  [[noreturn]] void fatal(SpecPos pos, const llvm::Twine &message) {
    reporter.error(pos, message);
    throw Stop();
  }

  void unsound(SpecPos pos, const llvm::Twine &message) {
    reporter.error(pos, message);
    sound = false;
  }

  void checkTag(SpecPos pos, const std::string &tag) {
    if (!tag.empty() && tag != "?" && tag != "!")
      unsound(pos, "tags are not allowed, got '" + tag + "'");
  }

  void countOne(SpecPos pos) {
    if (++nodes > kMaxSpecNodes)
      fatal(pos, "more than " + std::to_string(kMaxSpecNodes) +
                     " values after expansion of aliases");
  }

  void count(const SpecNode &node, SpecPos pos) {
    countOne(pos);
    for (const SpecEntry &entry : node.entries)
      count(entry.value, pos);
    for (const SpecNode &item : node.items)
      count(item, pos);
  }

  void open(SpecNode::Kind kind, const YAML::Mark &mark, const std::string &tag,
            YAML::anchor_t anchor) {
    SpecPos pos = position(mark);
    checkTag(pos, tag);
    if (levels.size() >= static_cast<size_t>(kMaxSpecDepth))
      fatal(pos, "values nest deeper than " + std::to_string(kMaxSpecDepth) +
                     " levels");
    Level level;
    level.node.kind = kind;
    level.node.pos = pos;
    level.anchor = anchor;
    levels.push_back(std::move(level));
  }

  void close() {
    Level level = std::move(levels.back());
    levels.pop_back();
    finish(std::move(level.node), level.anchor);
  }

  /// Puts a complete value where it belongs: as key, map value, item or root.
  void finish(SpecNode node, YAML::anchor_t anchor, bool counted = false) {
    if (!counted)
      countOne(node.pos);
    if (anchor)
      anchors[anchor] = node;
    if (levels.empty()) {
      root = std::move(node);
      return;
    }
    Level &top = levels.back();
    if (top.node.isList()) {
      top.node.items.push_back(std::move(node));
      return;
    }
    if (top.hasKey) {
      top.pending.value = std::move(node);
      top.node.entries.push_back(std::move(top.pending));
      top.pending = {};
      top.hasKey = false;
      return;
    }
    checkKey(top.node, node);
    top.pending.key = node.text;
    top.pending.keyPos = node.pos;
    top.hasKey = true;
  }

  void checkKey(const SpecNode &map, const SpecNode &key) {
    if (!key.isScalar())
      return unsound(key.pos, "a key must be a string, got " + key.describe());
    if (!key.isQuoted && !isPlainString(key.text))
      return unsound(key.pos, "a key must be a string, got '" + key.text +
                                  "'; quote it if it is meant as text");
    if (key.text == "<<" && !key.isQuoted)
      return unsound(key.pos,
                     "merge keys are not supported; use 'extends' instead");
    for (const SpecEntry &entry : map.entries)
      if (entry.key == key.text) {
        sound = false;
        reporter.error(key.pos, "duplicate key '" + key.text + "'",
                       entry.keyPos, "first given here");
        return;
      }
  }

  const SourceFile &file;
  Reporter &reporter;
  SpecNode root;
  std::vector<Level> levels;
  std::map<YAML::anchor_t, SpecNode> anchors;
  int nodes = 0;
  bool sound = true;
};

/// Finds out where a second document begins.
class SecondDocument : public YAML::EventHandler {
public:
  SecondDocument(const SourceFile &file, Reporter &reporter)
      : file(file), reporter(reporter) {}
  void OnDocumentStart(const YAML::Mark &mark) override {
    reporter.error({&file, mark.line + 1, mark.column + 1},
                   "a file holds one document; text after it is not allowed");
    throw Stop();
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark &, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark &, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark &, const std::string &, YAML::anchor_t,
                const std::string &) override {}
  void OnSequenceStart(const YAML::Mark &, const std::string &, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark &, const std::string &, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

private:
  const SourceFile &file;
  Reporter &reporter;
};

} // namespace

static SpecPos positionOfByte(const SourceFile &file, size_t offset) {
  llvm::StringRef before = llvm::StringRef(file.text).take_front(offset);
  size_t lineBreak = before.rfind('\n');
  size_t lineStart = lineBreak == llvm::StringRef::npos ? 0 : lineBreak + 1;
  return {&file, static_cast<int>(before.count('\n')) + 1,
          static_cast<int>(offset - lineStart) + 1};
}

/// Checks what yaml-cpp accepts or mistreats silently.
static bool checkBytes(const SourceFile &file, Reporter &reporter) {
  const std::string &text = file.text;
  SpecPos begin{&file, 1, 1};
  if (text.size() > kMaxSpecBytes) {
    reporter.error(begin, "the file has " + std::to_string(text.size()) +
                              " bytes, at most " +
                              std::to_string(kMaxSpecBytes) + " are allowed");
    return false;
  }
  if (llvm::StringRef(text).starts_with("\xEF\xBB\xBF")) {
    reporter.error(begin, "the file begins with a byte order mark; save it as "
                          "UTF-8 without one");
    return false;
  }
  size_t nul = text.find('\0');
  if (nul != std::string::npos) {
    reporter.error(positionOfByte(file, nul), "a NUL byte is not allowed");
    return false;
  }
  const auto *cursor = reinterpret_cast<const llvm::UTF8 *>(text.data());
  if (!llvm::isLegalUTF8String(&cursor, cursor + text.size())) {
    size_t offset = reinterpret_cast<const char *>(cursor) - text.data();
    reporter.error(positionOfByte(file, offset), "the text is not valid UTF-8");
    return false;
  }
  return true;
}

static std::optional<SpecNode> parse(const SourceFile &file,
                                     Reporter &reporter) {
  try {
    std::istringstream stream(file.text);
    YAML::Parser parser(stream);
    TreeBuilder builder(file, reporter);
    if (!parser.HandleNextDocument(builder)) {
      reporter.error({&file, 1, 1}, "the file is empty");
      return std::nullopt;
    }
    // At most one more: yaml-cpp can return documents without end.
    SecondDocument second(file, reporter);
    parser.HandleNextDocument(second);
    if (!builder.isSound())
      return std::nullopt;
    return builder.take();
  } catch (const Stop &) {
  } catch (const YAML::Exception &exception) {
    SpecPos pos{&file, std::max(exception.mark.line, 0) + 1,
                std::max(exception.mark.column, 0) + 1};
    reporter.error(pos, "invalid YAML: " + exception.msg);
  } catch (const std::exception &exception) {
    reporter.error({&file, 1, 1},
                   llvm::Twine("invalid YAML: ") + exception.what());
  }
  return std::nullopt;
}

std::optional<SpecNode> pg::frontend::readYaml(const SourceFile &file,
                                               Reporter &reporter) {
  if (!checkBytes(file, reporter))
    return std::nullopt;
  // yaml-cpp has a known wild read on malformed indentation (its issue 1475):
  // a crash in it is an error of the file, not of this process.
  std::optional<SpecNode> root;
  llvm::CrashRecoveryContext::Enable();
  llvm::CrashRecoveryContext recovery;
  bool survived =
      recovery.RunSafely([&] { root = parse(file, reporter); });
  llvm::CrashRecoveryContext::Disable();
  if (!survived) {
    reporter.error({&file, 1, 1}, "invalid YAML: the parser failed on it");
    return std::nullopt;
  }
  return root;
}
