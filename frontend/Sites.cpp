//===- Sites.cpp - where adapters may attach in a body ---------------------===//
#include "frontend/Sites.h"

#include "dialect/Pg.h"

#include "llvm/ADT/STLExtras.h"

using namespace pg::frontend;

static void collectAssigned(const Block &body, std::vector<std::string> &names) {
  for (const auto &stmt : body) {
    if (stmt->kind == Stmt::Kind::Assign)
      names.insert(names.end(), stmt->names.begin(), stmt->names.end());
    for (const Block &inner : stmt->blocks)
      collectAssigned(inner, names);
  }
}

Sites::Sites(const SpecNode *node, const Block &body, Reporter &reporter) {
  std::vector<std::string> names;
  collectAssigned(body, names);
  for (const SpecNode &item : itemsOf(node)) {
    const SpecNode &adapter = *item.find("adapter");
    const SpecNode &from = *item.find("from"), &to = *item.find("to");
    if (!llvm::is_contained(names, to.text))
      reporter.error(to.pos, "no statement of the body assigns '" + to.text +
                                 "', to which adapter '" + adapter.text +
                                 "' adds" + suggest(to.text, names));
    sites.push_back({adapter.text, from.text, to.text, adapter.pos, from.pos,
                     to.pos});
  }
}

void Sites::assigned(const std::string &name, Scope &scope,
                     TensorBuilder &tensors) {
  for (Site &site : sites)
    if (site.to == name)
      attach(site, scope, tensors);
}

void Sites::attach(Site &site, Scope &scope, TensorBuilder &tensors) {
  Reporter &reporter = tensors.getReporter();
  Value &target = scope.names[site.to];
  if (target.isPoison())
    return;
  if (site.isDone) {
    reporter.error(site.toPos, "'" + site.to + "' is assigned more than once; "
                                               "an adapter adds to a name that "
                                               "is assigned once");
    target = Value::poison();
    return;
  }
  site.isDone = true;
  const Value *source = scope.find(site.from);
  if (!source) {
    reporter.error(site.fromPos, "adapter '" + site.adapter + "' reads '" +
                                     site.from + "', which has no value where "
                                                 "'" + site.to +
                                     "' is assigned" +
                                     suggest(site.from, scope.allNames()));
    target = Value::poison();
    return;
  }
  if (source->isPoison())
    return;
  std::string what = " of adapter '" + site.adapter + "'";
  mlir::Value from = tensors.tensor(*source, site.fromPos, "'from'" + what);
  mlir::Value to = from ? tensors.tensor(target, site.toPos, "'to'" + what)
                        : mlir::Value();
  if (!to) {
    target = Value::poison();
    return;
  }
  for (auto [value, pos, key] :
       {std::make_tuple(from, site.fromPos, "from"),
        std::make_tuple(to, site.toPos, "to")})
    if (typeOf(value).getRank() != 2 || !pg::isTokenTensor(value.getType()) ||
        !typeOf(value).getElementType().isF32()) {
      reporter.error(pos, "'" + std::string(key) + "'" + what +
                              " expects a tensor [T, size], got " +
                              tensors.describe(typeOf(value)));
      target = Value::poison();
      return;
    }
  mlir::OpBuilder &builder = tensors.getBuilder();
  target = Value::of(pg::SiteOp::create(builder, tensors.location(site.pos),
                                        to.getType(),
                                        builder.getStringAttr(site.adapter),
                                        from, to, mlir::IntegerAttr())
                         .getResult());
}
