//===- Precompiled.cpp - carries the compiler's precompiled headers ---------===//
//
// Four fifths of the time of compiling a file of the compiler goes into reading
// MLIR's headers. They are read once, for this file, and reused by the
// libraries that name the same target (pg_precompile in CMakeLists.txt).
//
//===----------------------------------------------------------------------===//
