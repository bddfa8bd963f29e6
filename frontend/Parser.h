//===- Parser.h - expressions and bodies -----------------------------------===//
#ifndef PG_FRONTEND_PARSER_H
#define PG_FRONTEND_PARSER_H

#include "frontend/Report.h"
#include "frontend/SpecNode.h"
#include "frontend/Syntax.h"

namespace pg::frontend {

/// Parses a scalar as one expression, a list node as a list of expressions.
/// Null after an error, which is reported.
ExprPtr parseExpression(const SpecNode &node, Reporter &reporter);

/// Parses a scalar as statements. Every faulty statement is reported and left
/// out; `sound` is cleared.
Block parseBody(const SpecNode &scalar, Reporter &reporter, bool &sound);

} // namespace pg::frontend

#endif // PG_FRONTEND_PARSER_H
