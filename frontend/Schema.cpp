//===- Schema.cpp - what a specification file may contain ------------------===//
#include "frontend/Schema.h"

#include "frontend/Scalar.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace pg::frontend;
using Type = Schema::Type;

const SchemaField *Schema::field(llvm::StringRef name) const {
  for (const SchemaField &candidate : fields)
    if (candidate.name == name)
      return &candidate;
  return nullptr;
}

/// A bound without trailing zeros: "0", "0.5", "1e+15".
static std::string formatBound(double bound) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.6g", bound);
  return text;
}

static std::string describeRange(const Schema &schema) {
  bool hasMax = std::isfinite(schema.max) && schema.max < 9e15;
  if (std::isfinite(schema.min) && hasMax)
    return " from " + formatBound(schema.min) + " to " +
           formatBound(schema.max);
  if (std::isfinite(schema.min))
    return " of at least " + formatBound(schema.min);
  return hasMax ? " of at most " + formatBound(schema.max) : "";
}

static std::string quotedList(const std::vector<std::string> &words) {
  std::string text;
  for (auto [index, word] : llvm::enumerate(words))
    text += (index == 0 ? "'" : index + 1 == words.size() ? " or '" : ", '") +
            word + "'";
  return text;
}

static std::vector<std::string>
fieldNames(const std::vector<SchemaField> &fields) {
  std::vector<std::string> names;
  for (const SchemaField &field : fields)
    names.push_back(field.name);
  return names;
}

std::string Schema::describe() const {
  switch (type) {
  case Type::Name:
    return "a name";
  case Type::Text:
    return choices.empty() ? "a string" : quotedList(choices);
  case Type::Int:
    return "an integer" + describeRange(*this);
  case Type::Float:
    return "a number" + describeRange(*this);
  case Type::Bool:
    return "true or false";
  case Type::Literal:
    return "a number, true, false or a string";
  case Type::Expr:
    return fields.empty() ? "an expression"
                          : "an expression, or a map with the keys " +
                                quotedList(fieldNames(fields));
  case Type::Body:
    return "statements";
  case Type::Object:
  case Type::Map:
    return "a map";
  case Type::List:
    return "a list";
  case Type::Choice:
    return quotedList(choices) + ", or a map with one of the keys " +
           quotedList(fieldNames(fields));
  }
  return "";
}

namespace {

class Validator {
public:
  Validator(Reporter &reporter) : reporter(reporter) {}

  bool check(const SpecNode &node, const Schema &schema,
             const std::string &what) {
    switch (schema.type) {
    case Type::Object:
      return checkObject(node, schema, what);
    case Type::Map:
      return checkMap(node, schema, what);
    case Type::List:
      return checkList(node, schema, what);
    case Type::Choice:
      return checkChoice(node, schema, what);
    default:
      return checkScalar(node, schema, what);
    }
  }

private:
  bool mismatch(const SpecNode &node, const Schema &schema,
                const std::string &what, const std::string &hint = "") {
    reporter.error(node.pos, what + " expects " + schema.describe() +
                                 ", got " + node.describe() + hint);
    return false;
  }

  bool checkObject(const SpecNode &node, const Schema &schema,
                   const std::string &what) {
    if (!node.isMap())
      return mismatch(node, schema, what);
    bool sound = true;
    for (const SpecEntry &entry : node.entries) {
      const SchemaField *field = schema.field(entry.key);
      if (field) {
        sound &= check(entry.value, field->schema, "'" + entry.key + "'");
        continue;
      }
      reporter.error(entry.keyPos,
                     "unknown key '" + entry.key + "' in " + what +
                         suggest(entry.key, fieldNames(schema.fields)));
      sound = false;
    }
    for (const SchemaField &field : schema.fields)
      if (field.required && !node.find(field.name)) {
        reporter.error(node.pos, what + " needs the key '" + field.name + "'");
        sound = false;
      }
    return sound;
  }

  bool checkMap(const SpecNode &node, const Schema &schema,
                const std::string &what) {
    if (!node.isMap())
      return mismatch(node, schema, what);
    bool sound = true;
    for (const SpecEntry &entry : node.entries) {
      if (!isIdentifier(entry.key, schema.dotted)) {
        reporter.error(entry.keyPos,
                       "'" + entry.key + "' in " + what +
                           " is not a name: letters, digits and '_'" +
                           (schema.dotted ? ", parts joined by '.'" : ""));
        sound = false;
      }
      sound &= check(entry.value, *schema.item, "'" + entry.key + "'");
    }
    return sound;
  }

  bool checkList(const SpecNode &node, const Schema &schema,
                 const std::string &what) {
    if (!node.isList())
      return mismatch(node, schema, what);
    bool sound = true;
    for (const SpecNode &item : node.items)
      sound &= check(item, *schema.item, "an item of " + what);
    return sound;
  }

  bool checkChoice(const SpecNode &node, const Schema &schema,
                   const std::string &what) {
    if (node.isScalar()) {
      if (llvm::is_contained(schema.choices, node.text))
        return true;
      return mismatch(node, schema, what, suggest(node.text, schema.choices));
    }
    if (!node.isMap() || node.entries.size() != 1)
      return mismatch(node, schema, what);
    return checkObject(node, schema, what);
  }

  bool checkScalar(const SpecNode &node, const Schema &schema,
                   const std::string &what) {
    if (schema.type == Type::Expr && node.isMap() && !schema.fields.empty())
      return checkObject(node, schema, what);
    if (schema.type == Type::Expr && node.isList()) {
      bool sound = true;
      for (const SpecNode &item : node.items)
        sound &= check(item, schema, "an item of " + what);
      return sound;
    }
    if (!node.isScalar())
      return mismatch(node, schema, what);
    switch (schema.type) {
    case Type::Name:
      return checkPlain(node, schema, what) &&
             (isIdentifier(node.text, schema.dotted) ||
              mismatch(node, schema, what));
    case Type::Text:
      if (!checkPlain(node, schema, what))
        return false;
      return schema.choices.empty() ||
             llvm::is_contained(schema.choices, node.text) ||
             mismatch(node, schema, what, suggest(node.text, schema.choices));
    case Type::Int: {
      std::optional<int64_t> value = parseInt(node.text);
      return (!node.isQuoted && value && inRange(*value, schema)) ||
             mismatch(node, schema, what);
    }
    case Type::Float: {
      std::optional<double> value = parseFloat(node.text);
      return (!node.isQuoted && value && inRange(*value, schema)) ||
             mismatch(node, schema, what);
    }
    case Type::Bool:
      return (!node.isQuoted && parseBool(node.text)) ||
             mismatch(node, schema, what);
    case Type::Literal:
      if (!node.isQuoted && (parseFloat(node.text) || parseBool(node.text)))
        return true;
      return checkPlain(node, schema, what);
    default: // Expr and Body: the parser of the language checks them
      return !node.text.empty() || mismatch(node, schema, what);
    }
  }

  bool inRange(double value, const Schema &schema) {
    return value >= schema.min && value <= schema.max;
  }

  bool checkPlain(const SpecNode &node, const Schema &schema,
                  const std::string &what) {
    if (node.isQuoted || isPlainString(node.text))
      return true;
    return mismatch(node, schema, what,
                    "; numbers are decimal, booleans are true and false, quote "
                    "it if it is meant as text");
  }

  Reporter &reporter;
};

} // namespace

bool pg::frontend::validate(const SpecNode &node, const Schema &schema,
                            const std::string &what, Reporter &reporter) {
  return Validator(reporter).check(node, schema, what);
}

//===----------------------------------------------------------------------===//
// JSON Schema
//===----------------------------------------------------------------------===//

static llvm::json::Object toJson(const Schema &schema);

static llvm::json::Value defaultToJson(const SchemaField &field) {
  const std::string &text = field.defaultText;
  if (auto whole = parseInt(text))
    return *whole;
  if (auto real = parseFloat(text))
    return *real;
  if (auto flag = parseBool(text))
    return *flag;
  return text;
}

static llvm::json::Object objectToJson(const std::vector<SchemaField> &fields) {
  llvm::json::Object properties;
  llvm::json::Array required;
  for (const SchemaField &field : fields) {
    llvm::json::Object property = toJson(field.schema);
    if (!field.defaultText.empty())
      property["default"] = defaultToJson(field);
    properties[field.name] = std::move(property);
    if (field.required)
      required.push_back(field.name);
  }
  llvm::json::Object json{{"type", "object"},
                          {"properties", std::move(properties)},
                          {"additionalProperties", false}};
  if (!required.empty())
    json["required"] = std::move(required);
  return json;
}

static llvm::json::Object toJson(const Schema &schema) {
  llvm::json::Object json;
  llvm::json::Array scalars{"string", "number", "boolean"};
  switch (schema.type) {
  case Type::Name:
    json["type"] = "string";
    json["pattern"] = schema.dotted
                          ? "^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z0-9_]+)*$"
                          : "^[A-Za-z_][A-Za-z0-9_]*$";
    break;
  case Type::Text:
    json["type"] = "string";
    if (!schema.choices.empty())
      json["enum"] = llvm::json::Array(schema.choices);
    break;
  case Type::Int:
  case Type::Float:
    json["type"] = schema.type == Type::Int ? "integer" : "number";
    if (std::isfinite(schema.min))
      json["minimum"] = schema.min;
    if (std::isfinite(schema.max) && schema.max < 9e15)
      json["maximum"] = schema.max;
    break;
  case Type::Bool:
    json["type"] = "boolean";
    break;
  case Type::Literal:
    json["type"] = std::move(scalars);
    break;
  case Type::Expr:
    scalars.push_back("array");
    json["type"] = std::move(scalars);
    if (!schema.fields.empty())
      json = llvm::json::Object{
          {"oneOf", llvm::json::Array{std::move(json),
                                      objectToJson(schema.fields)}}};
    break;
  case Type::Body:
    json["type"] = "string";
    break;
  case Type::Object:
    json = objectToJson(schema.fields);
    break;
  case Type::Map:
    json["type"] = "object";
    json["propertyNames"] = toJson(schema::name("", schema.dotted));
    json["additionalProperties"] = toJson(*schema.item);
    break;
  case Type::List:
    json["type"] = "array";
    json["items"] = toJson(*schema.item);
    break;
  case Type::Choice: {
    llvm::json::Object form = objectToJson(schema.fields);
    form["minProperties"] = 1;
    form["maxProperties"] = 1;
    json["oneOf"] = llvm::json::Array{
        llvm::json::Object{{"type", "string"},
                           {"enum", llvm::json::Array(schema.choices)}},
        std::move(form)};
    break;
  }
  }
  if (!schema.doc.empty())
    json["description"] = schema.doc;
  return json;
}

std::string pg::frontend::toJsonSchema(const Schema &schema,
                                       llvm::StringRef title) {
  llvm::json::Object json = toJson(schema);
  json["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  json["title"] = title;
  std::string text;
  llvm::raw_string_ostream stream(text);
  // Keys are printed in sorted order: the text is reproducible.
  stream << llvm::formatv("{0:2}", llvm::json::Value(std::move(json))) << "\n";
  return text;
}

//===----------------------------------------------------------------------===//
// Short forms
//===----------------------------------------------------------------------===//

static Schema make(Type type, std::string doc) {
  Schema schema;
  schema.type = type;
  schema.doc = std::move(doc);
  return schema;
}

Schema schema::name(std::string doc, bool dotted) {
  Schema schema = make(Type::Name, std::move(doc));
  schema.dotted = dotted;
  return schema;
}
Schema schema::text(std::string doc, std::vector<std::string> choices) {
  Schema schema = make(Type::Text, std::move(doc));
  schema.choices = std::move(choices);
  return schema;
}
Schema schema::integer(std::string doc, double min, double max) {
  Schema schema = make(Type::Int, std::move(doc));
  schema.min = min;
  schema.max = max;
  return schema;
}
Schema schema::number(std::string doc, double min, double max) {
  Schema schema = make(Type::Float, std::move(doc));
  schema.min = min;
  schema.max = max;
  return schema;
}
Schema schema::boolean(std::string doc) {
  return make(Type::Bool, std::move(doc));
}
Schema schema::literal(std::string doc) {
  return make(Type::Literal, std::move(doc));
}
Schema schema::expr(std::string doc) { return make(Type::Expr, std::move(doc)); }
Schema schema::exprOr(std::string doc, std::vector<SchemaField> fields) {
  Schema schema = make(Type::Expr, std::move(doc));
  schema.fields = std::move(fields);
  return schema;
}
Schema schema::body(std::string doc) { return make(Type::Body, std::move(doc)); }
Schema schema::object(std::string doc, std::vector<SchemaField> fields) {
  Schema schema = make(Type::Object, std::move(doc));
  schema.fields = std::move(fields);
  return schema;
}
Schema schema::map(std::string doc, Schema item, bool dotted,
                   bool closedNames) {
  Schema schema = make(Type::Map, std::move(doc));
  schema.item = std::make_shared<Schema>(std::move(item));
  schema.dotted = dotted;
  schema.closedNames = closedNames;
  return schema;
}
Schema schema::list(std::string doc, Schema item) {
  Schema schema = make(Type::List, std::move(doc));
  schema.item = std::make_shared<Schema>(std::move(item));
  return schema;
}
Schema schema::choice(std::string doc, std::vector<std::string> words,
                      std::vector<SchemaField> forms) {
  Schema schema = make(Type::Choice, std::move(doc));
  schema.choices = std::move(words);
  schema.fields = std::move(forms);
  return schema;
}
SchemaField schema::required(std::string name, Schema schema) {
  return {std::move(name), std::move(schema), true, ""};
}
SchemaField schema::optional(std::string name, Schema schema,
                             std::string defaultText) {
  return {std::move(name), std::move(schema), false, std::move(defaultText)};
}
