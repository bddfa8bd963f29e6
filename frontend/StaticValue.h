//===- StaticValue.h - what an expression can mean -------------------------===//
//
// Numbers, strings and lists are folded while the program is built; tensors,
// parameters and blocks are references into the program being built.
//
//===----------------------------------------------------------------------===//
#ifndef PG_FRONTEND_STATICVALUE_H
#define PG_FRONTEND_STATICVALUE_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pg::frontend {

class Callable;
class Family;

/// The value of an expression. Lists are shared, as in Python. `Poison` is the
/// value of a faulty expression: its error is reported, and whatever uses it
/// is poison too and stays silent.
struct Value {
  enum class Kind {
    Poison, None, Bool, Int, Float, String, List,
    TokenAxis, ///< the size T of the token axis
    Tensor,
    Parameter, ///< not yet read; `text` is the name in the present scope
    Callable,  ///< a block ready to be called
    Family     ///< a list of layers
  };
  using List = std::vector<Value>;

  Kind kind = Kind::Poison;
  bool flag = false;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  std::shared_ptr<List> list;
  mlir::Value tensor;
  mlir::RankedTensorType type; ///< Tensor and Parameter
  const Callable *callable = nullptr;
  const Family *family = nullptr;

  static Value poison() { return {}; }
  static Value none();
  static Value of(bool value);
  static Value of(int64_t value);
  static Value of(double value);
  static Value of(std::string value);
  static Value of(List items);
  static Value of(mlir::Value tensor);
  static Value tokenAxis();
  static Value parameter(std::string name, mlir::RankedTensorType type);
  static Value of(const Callable *callable);
  static Value of(const Family *family);

  bool isPoison() const { return kind == Kind::Poison; }
  bool isNone() const { return kind == Kind::None; }
  bool isInt() const { return kind == Kind::Int; }
  bool isString() const { return kind == Kind::String; }
  bool isList() const { return kind == Kind::List; }
  /// Int or Float.
  bool isNumber() const { return kind == Kind::Int || kind == Kind::Float; }
  /// Tensor or Parameter.
  bool isTensor() const {
    return kind == Kind::Tensor || kind == Kind::Parameter;
  }
  /// The number as a double.
  double number() const { return isInt() ? static_cast<double>(integer) : real; }

  /// Python's truth value; none for what has none (tensors, blocks).
  std::optional<bool> truth() const;
  /// Structural equality of static values.
  bool equals(const Value &other) const;
  /// Canonical text of a static value: "12", "0.5", "'mean'", "[0, 1]".
  std::string str() const;
  /// "an integer", "a tensor", ...: for messages.
  std::string kindName() const;
};

/// Arithmetic on static values, in 64-bit integers and doubles. On failure the
/// result is poison and `error` says why, without position.
Value staticBinary(const std::string &op, const Value &left, const Value &right,
                   std::string &error);
Value staticCompare(const std::string &op, const Value &left,
                    const Value &right, std::string &error);
/// Python's slice of a list.
Value staticSlice(const Value &list, const Value &start, const Value &stop,
                  const Value &step, std::string &error);
/// The double nearest to `value` among those of bfloat16, ties to even.
double roundToBf16(double value);

/// Longest list that may be built.
inline constexpr int64_t kMaxListLength = 65536;

} // namespace pg::frontend

#endif // PG_FRONTEND_STATICVALUE_H
