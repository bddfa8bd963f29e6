//===- PgOpDefinitions.cpp - the generated op definitions -----------------===//
//
// Alone in a file, because it is the slowest one of the dialect to compile and
// changes only with the records.
//
//===----------------------------------------------------------------------===//
#include "dialect/Pg.h"

#include "mlir/IR/OpImplementation.h"

#define GET_OP_CLASSES
#include "dialect/PgOps.cpp.inc"
