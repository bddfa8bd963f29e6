//===- BlasLt.cpp - NVIDIA's products, found when they are asked for --------===//
#include "runtime/device/cuda/BlasLt.h"

#include "runtime/support/ToolkitLibraries.h"

#include <dlfcn.h>

namespace pg::rt::cuda {
namespace {

// The library's documented constants.
constexpr int kReal32 = 0, kReal64 = 1, kBfloat16 = 14;
constexpr int kCompute32 = 68, kCompute64 = 70;
constexpr int kTransposeLeft = 3, kTransposeRight = 4;
constexpr int kMaxWorkspace = 1, kLeastAlignment = 5; // of A; B, C, D follow
/// Of every buffer of a CudaProduct.
constexpr uint32_t kAlignment = 16;
constexpr int kNotInitialised = 1;

int typeOf(DType dtype) { return dtype == DType::BF16 ? kBfloat16 : dtype == DType::F64 ? kReal64 : kReal32; }

Status failed(int status, const std::string &what) {
  return {status == kNotInitialised ? Code::Environment : Code::Internal,
          "cuBLASLt: " + what + " (status " + std::to_string(status) + ")"};
}

std::string shapeText(const CudaProduct &product, int64_t tokens) {
  auto extent = [&](int64_t given) { return std::to_string(given > 0 ? given : tokens); };
  return extent(product.rows) + " x " + std::to_string(product.columns) + " x " + extent(product.depth);
}

} // namespace

std::vector<std::string> blasPaths() {
  return toolkitLibraries("PG_CUBLASLT", {"libcublasLt.so.13", "libcublasLt.so.12"});
}

StatusOr<BlasLibrary> loadBlas(const std::string &path) {
  BlasLibrary library;
  library.path = path;
  // It stays open as long as the process runs: the table points into it.
  void *handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *problem = ::dlerror();
    return Status(Code::Environment, std::string("no cuBLASLt (") + (problem ? problem : path.c_str()) + ")");
  }
  auto version = reinterpret_cast<size_t (*)()>(::dlsym(handle, "cublasLtGetVersion"));
  if (!version)
    return Status(Code::Environment, "'" + path + "' is not cuBLASLt");
  size_t number = version();
  // 130100 is 13.1.0.
  library.version = std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
                    std::to_string(number % 100);
#define PG_CUBLASLT_FIND(member, name, parameters)                                                                     \
  library.call.member = reinterpret_cast<decltype(library.call.member)>(::dlsym(handle, name));                        \
  if (!library.call.member)                                                                                            \
    return Status(Code::Environment, std::string("cuBLASLt ") + library.version + " lacks " + name);
  PG_CUBLASLT(PG_CUBLASLT_FIND)
#undef PG_CUBLASLT_FIND
  return library;
}

StatusOr<const BlasLibrary *> blasLibrary() {
  static const StatusOr<BlasLibrary> found = [] {
    Status last;
    for (const std::string &path : blasPaths()) {
      auto library = loadBlas(path);
      if (library)
        return library;
      last = library.status();
    }
    return StatusOr<BlasLibrary>(last.with("products through cuBLASLt need it; install NVIDIA's toolkit or set CUDA_HOME"));
  }();
  if (!found)
    return found.status();
  return &found.value();
}

Status BlasProducts::open(const BlasLibrary &given) {
  library = &given;
  if (int status = library->call.create(&handle))
    return failed(status, "it cannot start on this GPU");
  return Status::ok();
}

void BlasProducts::close() {
  for (Prepared &prepared : list)
    drop(prepared);
  list.clear();
  if (handle)
    library->call.destroy(handle);
  handle = nullptr;
}

void BlasProducts::drop(Prepared &prepared) {
  for (BlasLayout layout : {prepared.left, prepared.right, prepared.result})
    if (layout)
      library->call.layoutDestroy(layout);
  if (prepared.description)
    library->call.descriptionDestroy(prepared.description);
  prepared = {};
}

StatusOr<size_t> BlasProducts::prepare(const CudaProduct &product, int64_t tokens) {
  for (size_t i = 0; i < list.size(); ++i)
    if (list[i].product == product && list[i].tokens == tokens)
      return i;
  const BlasTable &call = library->call;
  uint64_t rows = uint64_t(product.rows > 0 ? product.rows : tokens), columns = uint64_t(product.columns),
           depth = uint64_t(product.depth > 0 ? product.depth : tokens);
  // The library's matrices lie column by column. Read like that, our C is its transpose, C' = B' A': what is left there
  // is our B, and a matrix of ours that is not transposed needs no transposing there either.
  auto layout = [&](BlasLayout *made, DType type, bool transposed, uint64_t across, uint64_t down) {
    uint64_t pitch = transposed ? down : across;
    return call.layoutCreate(made, typeOf(type), pitch, transposed ? across : down, int64_t(pitch));
  };
  bool isWide = product.operands == DType::F64;
  Prepared made{product, tokens};
  BlasPreference preference = nullptr;
  BlasChoice choice{};
  int found = 0;
  int left = product.transposeB, right = product.transposeA;
  uint64_t workspace = kWorkspaceBytes;
  int status = call.descriptionCreate(&made.description, isWide ? kCompute64 : kCompute32, isWide ? kReal64 : kReal32);
  if (!status)
    status = call.descriptionSet(made.description, kTransposeLeft, &left, sizeof left);
  if (!status)
    status = call.descriptionSet(made.description, kTransposeRight, &right, sizeof right);
  if (!status)
    status = layout(&made.left, product.operands, product.transposeB, columns, depth);
  if (!status)
    status = layout(&made.right, product.operands, product.transposeA, depth, rows);
  if (!status)
    status = layout(&made.result, product.result, false, columns, rows);
  if (!status)
    status = call.preferenceCreate(&preference);
  if (!status)
    status = call.preferenceSet(preference, kMaxWorkspace, &workspace, sizeof workspace);
  if (!status)
    for (int matrix = 0; matrix < 4 && !status; ++matrix)
      status = call.preferenceSet(preference, kLeastAlignment + matrix, &kAlignment, sizeof kAlignment);
  if (!status)
    status = call.heuristic(handle, made.description, made.left, made.right, made.result, made.result, preference, 1,
                            &choice, &found);
  if (preference)
    call.preferenceDestroy(preference);
  if (status || found < 1 || choice.state != 0) {
    drop(made);
    return Status(Code::Environment, "cuBLASLt has no way to multiply " + shapeText(product, tokens) + " (status " +
                                         std::to_string(status ? status : choice.state) + ")");
  }
  made.algorithm = choice.algorithm;
  list.push_back(made);
  return list.size() - 1;
}

Status BlasProducts::run(size_t number, void *const *buffers, void *workspace, Stream stream) const {
  const Prepared &prepared = list[number];
  const CudaProduct &product = prepared.product;
  float one = 1, beta = product.accumulates ? 1 : 0;
  double wideOne = 1, wideBeta = beta;
  bool isWide = product.operands == DType::F64;
  const void *alpha = isWide ? static_cast<const void *>(&wideOne) : &one;
  const void *add = isWide ? static_cast<const void *>(&wideBeta) : &beta;
  void *result = buffers[product.c];
  int status = library->call.matmul(handle, prepared.description, alpha, buffers[product.b], prepared.left,
                                    buffers[product.a], prepared.right, add, result, prepared.result, result,
                                    prepared.result, &prepared.algorithm, workspace, kWorkspaceBytes, stream);
  return status ? failed(status, "a product of " + shapeText(product, prepared.tokens) + " failed") : Status::ok();
}

} // namespace pg::rt::cuda
