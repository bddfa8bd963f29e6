//===- Status.h - errors as values ------------------------------------------===//
#ifndef PG_RUNTIME_SUPPORT_STATUS_H
#define PG_RUNTIME_SUPPORT_STATUS_H

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace pg::rt {

/// Closed set; each maps to one exit code (docs/exit-codes.md).
enum class Code {
  Ok = 0,
  Invalid = 1,      ///< spec, recipe or data invalid; a check failed
  Usage = 2,        ///< wrong usage
  Environment = 3,  ///< something the machine lacks
  Io = 4,           ///< input/output error
  Corrupt = 5,      ///< file corrupt or of incompatible version
  Numerical = 6,    ///< NaN, Inf, divergence
  Budget = 7,       ///< bytes or seconds exceeded
  Legality = 8,
  Peer = 9,
  Interrupted = 128, ///< given up because of a signal; the tool adds its number
  Internal = 70,
};

class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), text(std::move(message)) {}
  static Status ok() { return {}; }
  bool isOk() const { return code_ == Code::Ok; }
  explicit operator bool() const { return isOk(); }
  Code code() const { return code_; }
  const std::string &message() const { return text; }
  /// The same error with context in front: "context: message".
  Status with(const std::string &context) const {
    return isOk() ? *this : Status(code_, context + ": " + text);
  }

private:
  Code code_ = Code::Ok;
  std::string text;
};

template <typename T> class [[nodiscard]] StatusOr {
public:
  StatusOr(Status status) : error(std::move(status)) { assert(!error.isOk()); }
  StatusOr(T value) : held(std::move(value)) {}
  bool isOk() const { return held.has_value(); }
  explicit operator bool() const { return isOk(); }
  const Status &status() const { return error; }
  T &value() { assert(held); return *held; }
  const T &value() const { assert(held); return *held; }
  T &operator*() { return value(); }
  T *operator->() { return &value(); }

private:
  Status error;
  std::optional<T> held;
};

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_STATUS_H
