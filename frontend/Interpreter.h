//===- Interpreter.h - evaluates expressions and bodies --------------------===//
#ifndef PG_FRONTEND_INTERPRETER_H
#define PG_FRONTEND_INTERPRETER_H

#include "frontend/Report.h"
#include "frontend/StaticValue.h"
#include "frontend/Syntax.h"
#include "frontend/TensorBuilder.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pg::frontend {

/// Names and their values; looks in the parent after its own. Dotted names
/// (options.softcap, tok_emb.weight) are entries like any other.
struct Scope {
  std::map<std::string, Value> names;
  const Scope *parent = nullptr;

  const Value *find(const std::string &name) const;
  std::vector<std::string> allNames() const;
};

/// One argument of a call as written.
struct Argument {
  std::string keyword; ///< "" = by place
  Value value;
  SpecPos pos;
};

/// Something that can be called with tensors: a block in use.
class Callable {
public:
  virtual ~Callable() = default;
  /// A tensor, or a list of tensors when the block returns several.
  virtual Value call(const std::vector<Argument> &arguments, SpecPos pos,
                     TensorBuilder &tensors) const = 0;
};

/// An indexable list of callables.
class Family {
public:
  virtual ~Family() = default;
  virtual int64_t size() const = 0;
  virtual Value at(int64_t index) const = 0;
};

class Sites;

/// Evaluates in one scope. Without a TensorBuilder only static values are
/// possible. Errors are reported once and then carried as poison.
class Interpreter {
public:
  Interpreter(Scope &scope, Reporter &reporter, TensorBuilder *tensors = nullptr)
      : scope(scope), reporter(reporter), tensors(tensors) {}

  /// Told about every assignment of the body; may be null.
  void setSites(Sites *declared) { sites = declared; }

  Value evaluate(const Expr &expr);
  /// Runs statements; the values of `return` when one was reached.
  std::optional<std::vector<Value>> run(const Block &block);

private:
  Value evaluateInner(const Expr &expr);
  Value name(const Expr &expr, const std::string &dotted);
  Value attribute(const Expr &expr);
  Value call(const Expr &expr);
  Value method(const Expr &callee, std::vector<Argument> arguments);
  bool arguments(const Expr &expr, std::vector<Argument> &out);
  Value index(const Expr &expr);
  Value indexList(const Expr &expr, const Value &base);
  Value indexTensor(const Expr &expr, const Value &base);
  Value binary(const Expr &expr);
  Value compare(const Expr &expr);
  Value comprehension(const Expr &expr);
  Value unary(const Expr &expr);

  void assign(const Stmt &stmt);
  bool bind(const std::vector<std::string> &names, const Value &value,
            SpecPos pos);
  std::optional<bool> condition(const Expr &expr);
  void poisonAssigned(const Block &block);
  Value error(SpecPos pos, const llvm::Twine &message);

  Scope &scope;
  Reporter &reporter;
  TensorBuilder *tensors;
  Sites *sites = nullptr;
  int64_t steps = 0;
};

/// Parses and evaluates one static expression of a file.
Value evaluateNode(const SpecNode &node, Scope &scope, Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_INTERPRETER_H
