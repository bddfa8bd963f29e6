//===- Builtins.h - the functions of the language --------------------------===//
#ifndef PG_FRONTEND_BUILTINS_H
#define PG_FRONTEND_BUILTINS_H

#include "frontend/Interpreter.h"

#include <string>
#include <vector>

namespace pg::frontend {

/// What a function gets: one value per parameter of its signature, defaults
/// filled in, `*rest` collected in a list.
struct BuiltinCall {
  std::string name;
  std::vector<Value> values;
  SpecPos pos;
  Reporter &reporter;
  TensorBuilder *tensors; ///< null where only static values are possible

  Value error(const llvm::Twine &message) const;
  const Value &operator[](size_t index) const { return values[index]; }
};

/// A row of the table: all there is to know about a function.
struct Builtin {
  const char *name;
  const char *signature; ///< "x, eps=1e-6"; "*xs" takes all by place
  const char *doc;
  Value (*build)(const BuiltinCall &call);
};

const Builtin *findBuiltin(llvm::StringRef name);
std::vector<std::string> builtinNames();
/// Matches arguments with the signature, then builds.
Value callBuiltin(const Builtin &builtin, const std::vector<Argument> &arguments,
                  SpecPos pos, Reporter &reporter, TensorBuilder *tensors);
/// The table as JSON, for the reference page and completion.
std::string builtinsJson();

/// Rows of the static functions (StaticBuiltins.cpp) and of the tensor
/// functions (TensorBuiltins.cpp).
llvm::ArrayRef<Builtin> staticBuiltins();
llvm::ArrayRef<Builtin> tensorBuiltins();

} // namespace pg::frontend

#endif // PG_FRONTEND_BUILTINS_H
