//===- PgOps.td - all op families ------------------------------------------===//
#ifndef PG_OPS_TD
#define PG_OPS_TD
include "dialect/PgAttrs.td"
include "dialect/ops/Program.td"
include "dialect/ops/Pointwise.td"
include "dialect/ops/Shape.td"
include "dialect/ops/Reduce.td"
include "dialect/ops/Linear.td"
include "dialect/ops/Codes.td"
include "dialect/ops/Grouped.td"
include "dialect/ops/Attention.td"
include "dialect/ops/Loss.td"
include "dialect/ops/Kernel.td"
#endif // PG_OPS_TD
