//===- Schema.h - what a specification file may contain --------------------===//
//
// One definition of keys, types, ranges, defaults and explanations. Validation,
// the JSON Schema and the defaults of a recipe all come from it.
//
//===----------------------------------------------------------------------===//
#ifndef PG_FRONTEND_SCHEMA_H
#define PG_FRONTEND_SCHEMA_H

#include "frontend/Report.h"
#include "frontend/SpecNode.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace pg::frontend {

struct SchemaField;

/// The shape of a value.
struct Schema {
  enum class Type {
    Name,    ///< an identifier; dots allowed when `dotted`
    Text,    ///< any string; one of `choices` when there are any
    Int,
    Float,
    Bool,
    Literal, ///< a number, true, false or a string
    Expr,    ///< an expression of the language, or a list of them; or, when
             ///< there are `fields`, a map of these keys
    Body,    ///< statements of the language
    Object,  ///< the keys listed in `fields`
    Map,     ///< any identifiers as keys, values of `item`
    List,    ///< items of `item`
    Choice,  ///< one of `choices` as a word, or a map with one key of `fields`
  };

  Type type = Type::Text;
  std::string doc;
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool dotted = false;       ///< Name; keys of Map
  bool closedNames = false;  ///< Map: `--set` reaches existing keys only
  std::vector<std::string> choices;
  std::vector<SchemaField> fields;
  std::shared_ptr<Schema> item;

  const SchemaField *field(llvm::StringRef name) const;
  /// "an integer from 1 to 8", "a map", ...: for messages.
  std::string describe() const;
};

struct SchemaField {
  std::string name;
  Schema schema;
  bool required = false;
  std::string defaultText; ///< "" = none; scalars and lists of scalars as YAML
};

/// Checks `node` and everything below it; reports all faults. `what` names the
/// node in messages: "the model", "'batch'".
bool validate(const SpecNode &node, const Schema &schema,
              const std::string &what, Reporter &reporter);

/// The schemas of the five kinds of file.
const Schema &modelSchema();
const Schema &blockSchema();
const Schema &optimizerSchema();
const Schema &quantiserSchema();
const Schema &recipeSchema();

/// JSON Schema (draft 2020-12) of `schema`.
std::string toJsonSchema(const Schema &schema, llvm::StringRef title);

/// Short forms for the tables in ModelSchema.cpp and RecipeSchema.cpp.
namespace schema {
Schema name(std::string doc, bool dotted = false);
Schema text(std::string doc, std::vector<std::string> choices = {});
Schema integer(std::string doc, double min, double max = 9e15);
Schema number(std::string doc, double min, double max);
Schema boolean(std::string doc);
Schema literal(std::string doc);
Schema expr(std::string doc);
Schema exprOr(std::string doc, std::vector<SchemaField> fields);
Schema body(std::string doc);
Schema object(std::string doc, std::vector<SchemaField> fields);
Schema map(std::string doc, Schema item, bool dotted = false,
           bool closedNames = false);
Schema list(std::string doc, Schema item);
Schema choice(std::string doc, std::vector<std::string> words,
              std::vector<SchemaField> forms);
SchemaField required(std::string name, Schema schema);
SchemaField optional(std::string name, Schema schema,
                     std::string defaultText = "");
} // namespace schema

} // namespace pg::frontend

#endif // PG_FRONTEND_SCHEMA_H
