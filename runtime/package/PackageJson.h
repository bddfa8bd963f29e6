//===- PackageJson.h - the manifest as JSON ---------------------------------===//
#ifndef PG_RUNTIME_PACKAGE_PACKAGEJSON_H
#define PG_RUNTIME_PACKAGE_PACKAGEJSON_H

#include "runtime/package/Package.h"
#include "runtime/support/Json.h"

namespace pg::rt {

/// Bytes of the pieces of the CUDA sections, from the manifest.
struct CudaLengths {
  uint64_t prelude = 0, source = 0;
  std::vector<std::vector<uint64_t>> modules; ///< per image
};

/// All of the package except the section texts; keys sorted.
Json manifestToJson(const Package &package);
/// The reverse; a wrong type, a missing key or a number out of range is Corrupt
/// with the path of the field. References between tables: checkPackage. Images
/// are left without modules; `lengths`, when given, says how to cut them.
Status manifestFromJson(const Json &manifest, Package &package, CudaLengths *lengths = nullptr);

/// Indices, sizes, offsets and names of the whole package (PackageCheck.cpp).
Status checkPackage(const Package &package);

/// Elements of a static shape, or -1 when a dimension is below 1 or the product
/// exceeds 2^40.
int64_t elementCount(const std::vector<int64_t> &shape);

} // namespace pg::rt

#endif // PG_RUNTIME_PACKAGE_PACKAGEJSON_H
