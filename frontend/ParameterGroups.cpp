//===- ParameterGroups.cpp - which optimizer group a parameter belongs to ----===//
#include "frontend/ParameterGroups.h"

#include "llvm/ADT/STLExtras.h"

#include <map>

using namespace pg::frontend;

bool pg::frontend::matchesPattern(llvm::StringRef pattern,
                                  llvm::StringRef text) {
  // After a mismatch the last * takes one character more.
  size_t p = 0, t = 0, star = llvm::StringRef::npos, taken = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != llvm::StringRef::npos) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  return pattern.drop_front(p).find_first_not_of('*') == llvm::StringRef::npos;
}

GroupSelector GroupSelector::of(const std::string &group, const SpecNode &node,
                                SpecPos pos) {
  GroupSelector selector{group, pos, {}, {}, {}};
  auto read = [&](const char *key, std::vector<std::string> &to) {
    for (const SpecNode &item : itemsOf(node.find(key)))
      to.push_back(item.text);
  };
  read("labels", selector.labels);
  read("names", selector.names);
  read("except", selector.except);
  if (selector.labels.empty() && selector.names.empty())
    selector.labels.push_back(group);
  return selector;
}

bool GroupSelector::takes(llvm::StringRef label, llvm::StringRef name) const {
  auto matches = [&](const std::string &pattern) {
    return matchesPattern(pattern, name);
  };
  return (labels.empty() || llvm::is_contained(labels, label)) &&
         (names.empty() || llvm::any_of(names, matches)) &&
         llvm::none_of(except, matches);
}

/// "a, b and 3 more".
static std::string listOf(const std::vector<std::string> &names) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kShown; ++i)
    text += (i ? ", " : "") + names[i];
  if (names.size() > kShown)
    text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

std::vector<size_t>
pg::frontend::assignGroups(const std::vector<GroupSelector> &selectors,
                           llvm::ArrayRef<pg::ParameterOp> parameters,
                           SpecPos groupsPos, Reporter &reporter) {
  std::vector<size_t> chosen;
  std::map<std::string, std::vector<std::string>> missing;
  std::map<std::pair<size_t, size_t>, std::vector<std::string>> doubled;
  for (pg::ParameterOp parameter : parameters) {
    std::vector<size_t> takers;
    for (auto [index, selector] : llvm::enumerate(selectors))
      if (selector.takes(parameter.getGroup(), parameter.getSymName()))
        takers.push_back(index);
    std::string name = parameter.getSymName().str();
    if (takers.empty())
      missing[parameter.getGroup().str()].push_back(name);
    if (takers.size() > 1)
      doubled[{takers[0], takers[1]}].push_back(name);
    chosen.push_back(takers.empty() ? 0 : takers[0]);
  }
  std::vector<std::string> known;
  for (const GroupSelector &selector : selectors)
    known.push_back(selector.group);
  for (const auto &[label, names] : missing) {
    bool isKnown = llvm::is_contained(known, label);
    reporter.error(groupsPos,
                   (isKnown ? "no optimizer group takes the parameters of label '"
                            : "no optimizer group '") +
                       label + (isKnown ? "' named " : "' for parameters ") +
                       listOf(names) + (isKnown ? "" : suggest(label, known)));
  }
  for (const auto &[pair, names] : doubled) {
    const GroupSelector &first = selectors[pair.first],
                        &second = selectors[pair.second];
    reporter.error(second.pos,
                   "optimizer groups '" + first.group + "' and '" +
                       second.group + "' both take " + listOf(names) +
                       "; leave them out of one with 'except'",
                   first.pos, "the other group");
  }
  return chosen;
}
