//===- Json.cpp - strict JSON reading ---------------------------------------===//
#include "runtime/support/Json.h"

#include <cmath>
#include <limits>

namespace pg::rt {
namespace {

constexpr size_t kMaxDepth = 64;

/// Builds the document by events, which is where duplicate keys are still
/// visible.
class StrictBuilder : public Json::json_sax_t {
public:
  Json root;
  std::string problem;

  bool null() override { return place(Json(nullptr)); }
  bool boolean(bool value) override { return place(Json(value)); }
  bool number_integer(number_integer_t value) override { return place(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return place(Json(value)); }
  bool number_float(number_float_t value, const string_t &) override { return place(Json(value)); }
  bool string(string_t &value) override { return place(Json(std::move(value))); }
  bool binary(binary_t &) override { return stop("binary value"); }
  bool start_object(size_t) override { return open(Json::object()); }
  bool key(string_t &value) override {
    if (open_.back()->contains(value))
      return stop("duplicate key '" + value + "'");
    name = std::move(value);
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool parse_error(size_t position, const std::string &, const nlohmann::detail::exception &) override {
    return stop("not valid JSON at byte " + std::to_string(position));
  }

private:
  std::vector<Json *> open_;
  std::string name;

  bool stop(const std::string &text) {
    if (problem.empty())
      problem = text;
    return false;
  }
  Json *insert(Json value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    Json &parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[name] = std::move(value));
  }
  bool place(Json value) {
    insert(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() >= kMaxDepth)
      return stop("nested deeper than " + std::to_string(kMaxDepth));
    open_.push_back(insert(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
};

const Json &emptyArray() {
  static const Json value = Json::array();
  return value;
}
const Json &emptyObject() {
  static const Json value = Json::object();
  return value;
}

} // namespace

StatusOr<Json> parseJson(std::string_view text) {
  StrictBuilder builder;
  bool good = false;
  try {
    good = Json::sax_parse(text.begin(), text.end(), &builder);
  } catch (const std::exception &error) {
    return Status(Code::Corrupt, std::string("not valid JSON: ") + error.what());
  }
  if (!good || !builder.problem.empty())
    return Status(Code::Corrupt, builder.problem.empty() ? "not valid JSON" : builder.problem);
  return std::move(builder.root);
}

Json numberToJson(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value > 0 ? "inf" : "-inf";
  return value;
}

bool readNumber(const Json &value, double &number) {
  if (value.is_number()) {
    number = value.get<double>();
    return true;
  }
  if (value.is_string()) {
    const std::string &text = value.get_ref<const std::string &>();
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (text == "inf" || text == "-inf" || text == "nan") {
      number = text == "inf" ? kInfinity : text == "-inf" ? -kInfinity : std::nan("");
      return true;
    }
  }
  return false;
}

JsonFields::JsonFields(const Json &object, std::string where, Status &status)
    : object_(object), where(std::move(where)), status(status) {
  if (!object_.is_object())
    fail("expected an object");
}

void JsonFields::fail(const std::string &text) {
  if (status.isOk())
    status = Status(Code::Corrupt, where.empty() ? text : where + ": " + text);
}

const Json *JsonFields::find(const char *key) {
  if (!object_.is_object())
    return nullptr;
  auto found = object_.find(key);
  if (found == object_.end()) {
    fail(std::string("'") + key + "' is missing");
    return nullptr;
  }
  return &*found;
}

std::string JsonFields::string(const char *key) {
  const Json *value = find(key);
  if (!value)
    return {};
  if (!value->is_string()) {
    fail(std::string("'") + key + "' is not a string");
    return {};
  }
  return value->get<std::string>();
}

double JsonFields::number(const char *key) {
  const Json *value = find(key);
  double number = 0;
  if (value && !readNumber(*value, number))
    fail(std::string("'") + key + "' is not a number");
  return number;
}

bool JsonFields::boolean(const char *key) {
  const Json *value = find(key);
  if (!value)
    return false;
  if (!value->is_boolean()) {
    fail(std::string("'") + key + "' is not true or false");
    return false;
  }
  return value->get<bool>();
}

int64_t JsonFields::integer(const char *key, int64_t min, int64_t max) {
  const Json *value = find(key);
  if (!value)
    return min;
  if (!value->is_number_integer()) {
    fail(std::string("'") + key + "' is not an integer");
    return min;
  }
  bool tooLarge = value->is_number_unsigned() &&
                  value->get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max());
  int64_t number = tooLarge ? 0 : value->get<int64_t>();
  if (tooLarge || number < min || number > max) {
    fail(std::string("'") + key + "' is " + value->dump() + ", expected " + std::to_string(min) +
         " to " + std::to_string(max));
    return min;
  }
  return number;
}

const Json &JsonFields::array(const char *key) {
  const Json *value = find(key);
  if (value && !value->is_array())
    fail(std::string("'") + key + "' is not an array");
  return value && value->is_array() ? *value : emptyArray();
}

const Json &JsonFields::object(const char *key) {
  const Json *value = find(key);
  if (value && !value->is_object())
    fail(std::string("'") + key + "' is not an object");
  return value && value->is_object() ? *value : emptyObject();
}

} // namespace pg::rt
