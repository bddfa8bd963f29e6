//===- Resolve.cpp - files, inheritance, overrides, libraries --------------===//
#include "frontend/Resolve.h"

#include "frontend/Scalar.h"
#include "frontend/YamlReader.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>
#include <filesystem>

using namespace pg::frontend;
namespace fs = std::filesystem;

static constexpr size_t kMaxExtends = 16;

//===----------------------------------------------------------------------===//
// Paths
//===----------------------------------------------------------------------===//

static fs::path realPath(const fs::path &path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error);
  fs::path result = fs::weakly_canonical(absolute, error);
  return error ? absolute.lexically_normal() : result;
}

static bool isDirectory(const fs::path &path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

/// The folder that confines what `file` may reach.
static fs::path projectRoot(const fs::path &file) {
  fs::path own = realPath(file).parent_path();
  for (fs::path folder = own;; folder = folder.parent_path()) {
    if (isDirectory(folder / "models"))
      return folder;
    if (folder == folder.parent_path())
      return own;
  }
}

static bool isInside(const fs::path &path, const fs::path &folder) {
  fs::path inner = realPath(path);
  auto [end, rest] = std::mismatch(folder.begin(), folder.end(), inner.begin(),
                                   inner.end());
  return end == folder.end();
}

/// Folders from the file's own up to the project's, as the user would write
/// them.
static std::vector<fs::path> foldersAbove(const fs::path &file) {
  fs::path root = projectRoot(file);
  fs::path shown = file.parent_path();
  fs::path real = realPath(file).parent_path();
  std::vector<fs::path> folders;
  while (true) {
    folders.push_back(shown);
    if (real == root || real == real.parent_path())
      return folders;
    real = real.parent_path();
    bool isOpen = shown.empty() || shown == "." || shown.filename() == "..";
    shown = isOpen ? shown / ".." : shown.parent_path();
  }
}

//===----------------------------------------------------------------------===//
// Reading and merging
//===----------------------------------------------------------------------===//

const SourceFile *Project::addText(std::string path, std::string text) {
  files.push_back({std::move(path), std::move(text)});
  return &files.back();
}

const SourceFile *Project::read(const std::string &path, SpecPos wantedAt) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  std::string reason;
  if (!buffer)
    reason = buffer.getError().message();
  else if (isDirectory(path))
    reason = "it is a folder";
  if (reason.empty())
    return addText(path, (*buffer)->getBuffer().str());
  SpecPos pos =
      wantedAt.isValid() ? wantedAt : SpecPos{addText(path, ""), 1, 1};
  reporter.error(pos, "cannot read '" + path + "': " + reason);
  return nullptr;
}

/// Deep merge of `over` into `base`: maps by key, everything else replaced. An
/// `init` is one choice, not a set of keys, and is replaced as a whole.
static void merge(SpecNode &base, const SpecNode &over) {
  for (const SpecEntry &entry : over.entries) {
    auto found = llvm::find_if(base.entries, [&](const SpecEntry &candidate) {
      return candidate.key == entry.key;
    });
    if (found == base.entries.end()) {
      base.entries.push_back(entry);
      continue;
    }
    found->keyPos = entry.keyPos;
    if (found->value.isMap() && entry.value.isMap() && entry.key != "init")
      merge(found->value, entry.value);
    else
      found->value = entry.value;
  }
  base.pos = over.pos;
}

bool Project::loadInto(const std::string &path, SpecPos wantedAt,
                       MergedFile &result, std::vector<std::string> &open) {
  std::string identity = realPath(path).string();
  if (llvm::is_contained(open, identity)) {
    reporter.error(wantedAt, "'" + path + "' extends itself");
    return false;
  }
  if (open.size() >= kMaxExtends) {
    reporter.error(wantedAt, "more than " + std::to_string(kMaxExtends) +
                                 " files extend each other");
    return false;
  }
  open.push_back(identity);
  const SourceFile *file = read(path, wantedAt);
  if (!file)
    return false;
  std::optional<SpecNode> own = readYaml(*file, reporter);
  if (!own)
    return false;
  result.chain.push_back(file);
  const SpecNode *extends = own->find("extends");
  if (!extends) {
    result.root = std::move(*own);
    return true;
  }
  if (!extends->isScalar() || extends->text.empty()) {
    reporter.error(extends->pos,
                   "'extends' expects a file name, got " + extends->describe());
    return false;
  }
  fs::path base = fs::path(path).parent_path() / extends->text;
  base = base.lexically_normal();
  if (fs::path(extends->text).is_absolute() ||
      !isInside(base, projectRoot(path))) {
    reporter.error(extends->pos, "'" + extends->text +
                                     "' is outside the project directory");
    return false;
  }
  if (!loadInto(base.generic_string(), extends->pos, result, open))
    return false;
  merge(result.root, *own);
  llvm::erase_if(result.root.entries,
                 [](const SpecEntry &entry) { return entry.key == "extends"; });
  return true;
}

std::optional<MergedFile> Project::load(const std::string &path) {
  MergedFile result;
  std::vector<std::string> open;
  if (!loadInto(path, SpecPos(), result, open))
    return std::nullopt;
  return result;
}

const SpecNode *Project::findLibrary(const std::string &kind,
                                     const std::string &name,
                                     const MergedFile &user,
                                     const Schema &schema, SpecPos pos) {
  std::vector<std::string> known;
  for (const SourceFile *file : user.chain) {
    for (const fs::path &folder : foldersAbove(file->path)) {
      for (const fs::path &shelf : {folder / kind, folder / "models" / kind}) {
        fs::path path = shelf / (name + ".yaml");
        std::error_code error;
        if (!fs::is_regular_file(path, error)) {
          for (const auto &entry : fs::directory_iterator(shelf, error))
            if (entry.path().extension() == ".yaml")
              known.push_back(entry.path().stem().string());
          continue;
        }
        std::string key = path.lexically_normal().generic_string();
        auto [cached, isNew] = libraries.try_emplace(key);
        if (isNew)
          if (const SourceFile *source = read(key, pos))
            if (auto node = readYaml(*source, reporter))
              if (validate(*node, schema, "'" + name + "'", reporter))
                cached->second = std::move(node);
        return cached->second ? &*cached->second : nullptr;
      }
    }
  }
  if (pos.isValid()) {
    llvm::sort(known);
    reporter.error(pos, "no file '" + kind + "/" + name +
                            ".yaml' beside the model or in a folder above it" +
                            suggest(name, known));
  }
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Overrides
//===----------------------------------------------------------------------===//

/// Moves positions of a value read from line `line` of the override text.
static void move(SpecNode &node, const SourceFile *file, int line, int column) {
  node.pos = {file, line, node.pos.column + column};
  for (SpecEntry &entry : node.entries) {
    entry.keyPos = {file, line, entry.keyPos.column + column};
    move(entry.value, file, line, column);
  }
  for (SpecNode &item : node.items)
    move(item, file, line, column);
}

namespace {

/// Follows one override path through tree and schema.
class Override {
public:
  Override(Reporter &reporter, SpecPos pos) : reporter(reporter), pos(pos) {}

  bool apply(SpecNode &node, const Schema &schema, llvm::StringRef path,
             const SpecNode &value) {
    if (path.empty()) {
      node = value;
      return true;
    }
    switch (schema.type) {
    case Schema::Type::Expr:
      if (schema.fields.empty())
        return fail("'" + path.str() +
                    "' is asked of a value that has no parts");
      [[fallthrough]];
    case Schema::Type::Object:
    case Schema::Type::Choice: {
      auto [key, rest] = path.split('.');
      const SchemaField *field = schema.field(key);
      if (!field) {
        std::vector<std::string> names;
        for (const SchemaField &candidate : schema.fields)
          names.push_back(candidate.name);
        return fail("unknown key '" + key.str() + "'" +
                    suggest(key, names));
      }
      if (schema.type == Schema::Type::Choice && !node.find(key))
        node.entries.clear(); // another choice replaces the present one
      return apply(child(node, key), field->schema, rest, value);
    }
    case Schema::Type::Map:
      return applyToMap(node, schema, path, value);
    case Schema::Type::List: {
      auto [key, rest] = path.split('.');
      std::optional<int64_t> index = parseInt(key);
      if (!index || *index < 0 ||
          *index >= static_cast<int64_t>(node.items.size()))
        return fail("'" + key.str() + "' is no index of a list of " +
                    std::to_string(node.items.size()));
      return apply(node.items[*index], *schema.item, rest, value);
    }
    default:
      return fail("'" + path.str() + "' is asked of a value that has no parts");
    }
  }

private:
  bool applyToMap(SpecNode &node, const Schema &schema, llvm::StringRef path,
                  const SpecNode &value) {
    // Keys may contain dots: the longest one that fits is meant.
    const SpecEntry *best = nullptr;
    std::vector<std::string> names;
    for (const SpecEntry &entry : node.entries) {
      names.push_back(entry.key);
      llvm::StringRef rest = path;
      if (rest.consume_front(entry.key) &&
          (rest.empty() || rest.starts_with(".")) &&
          (!best || entry.key.size() > best->key.size()))
        best = &entry;
    }
    std::string key = best ? best->key : path.split('.').first.str();
    if (!best && schema.closedNames)
      return fail("unknown name '" + key + "'" + suggest(key, names));
    llvm::StringRef rest = path.drop_front(key.size());
    rest.consume_front(".");
    return apply(child(node, key), *schema.item, rest, value);
  }

  SpecNode &child(SpecNode &node, llvm::StringRef key) {
    if (!node.isMap()) {
      node = SpecNode();
      node.kind = SpecNode::Kind::Map;
      node.pos = pos;
    }
    if (SpecNode *found = node.find(key))
      return *found;
    SpecEntry entry;
    entry.key = key.str();
    entry.keyPos = pos;
    entry.value.pos = pos;
    node.entries.push_back(std::move(entry));
    return node.entries.back().value;
  }

  bool fail(const std::string &message) {
    reporter.error(pos, message);
    return false;
  }

  Reporter &reporter;
  SpecPos pos;
};

} // namespace

void pg::frontend::applySets(const std::vector<std::string> &sets,
                             Project &project, SpecNode *model,
                             SpecNode *recipe, Reporter &reporter) {
  std::string all;
  for (const std::string &set : sets)
    all += set + "\n";
  const SourceFile *file = project.addText("--set", all);
  for (auto [index, set] : llvm::enumerate(sets)) {
    int line = static_cast<int>(index) + 1;
    SpecPos pos{file, line, 1};
    auto [path, text] = llvm::StringRef(set).split('=');
    if (path.empty() || text.empty() || set.find('\n') != std::string::npos) {
      reporter.error(pos, "expected path=value, got '" + set + "'");
      continue;
    }
    int column = static_cast<int>(path.size()) + 1;
    const SourceFile *valueFile = project.addText("--set", text.str());
    std::optional<SpecNode> value = readYaml(*valueFile, reporter);
    if (!value)
      continue;
    move(*value, file, line, column);
    llvm::StringRef head = path.split('.').first;
    bool namesFile = path.contains('.') && (head == "model" || head == "recipe");
    bool isModel = namesFile ? head == "model" : modelSchema().field(head) != nullptr;
    bool isRecipe = namesFile ? head == "recipe" : recipeSchema().field(head) != nullptr;
    if (namesFile)
      path = path.split('.').second;
    if (!isModel && !isRecipe) {
      std::vector<std::string> names;
      for (const Schema *schema : {&modelSchema(), &recipeSchema()})
        for (const SchemaField &field : schema->fields)
          names.push_back(field.name);
      reporter.error(pos, "unknown key '" + head + "'" + suggest(head, names));
      continue;
    }
    SpecNode *root = isModel ? model : recipe;
    if (!root) {
      reporter.error(pos, "'" + path + "' belongs to a recipe, but none is given");
      continue;
    }
    Override(reporter, pos)
        .apply(*root, isModel ? modelSchema() : recipeSchema(), path, *value);
  }
}

//===----------------------------------------------------------------------===//
// Canonical text
//===----------------------------------------------------------------------===//

static std::string quote(const std::string &text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out + "\"";
}

std::string pg::frontend::toYaml(const SpecNode &node, int indent) {
  std::string margin(indent, ' ');
  std::string out;
  switch (node.kind) {
  case SpecNode::Kind::Null:
    return " ~\n";
  case SpecNode::Kind::Scalar: {
    // What was plain stays plain: a quoted scalar may mean something else.
    if (!node.isQuoted)
      return " " + node.text + "\n";
    if (node.text.find('\n') == std::string::npos)
      return " " + quote(node.text) + "\n";
    out = " |2\n";
    llvm::StringRef rest(node.text);
    while (!rest.empty()) {
      auto [line, tail] = rest.split('\n');
      out += line.empty() ? "\n" : margin + line.str() + "\n";
      rest = tail;
    }
    return out;
  }
  case SpecNode::Kind::Map:
    if (node.entries.empty())
      return " {}\n";
    out = indent ? "\n" : "";
    for (const SpecEntry &entry : node.entries)
      out += margin + (isIdentifier(entry.key, true) ? entry.key
                                                     : quote(entry.key)) +
             ":" + toYaml(entry.value, indent + 2);
    return out;
  case SpecNode::Kind::List:
    if (node.items.empty())
      return " []\n";
    out = "\n";
    for (const SpecNode &item : node.items)
      out += margin + "-" + toYaml(item, indent + 2);
    return out;
  }
  return out;
}
