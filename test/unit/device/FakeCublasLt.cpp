//===- FakeCublasLt.cpp - NVIDIA's products on the host, over the fake driver -----===//
//
// Multiplies as the library documents it: matrices column by column, with the
// pitches, types and operations of the descriptions it was given. Products are
// work of the fake driver's streams. FAKE_CUBLASLT_FAIL ("cublasLtMatmul:14")
// makes a function fail, _LACKS keeps the heuristic from finding an algorithm.
//
//===----------------------------------------------------------------------===//
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <vector>

namespace {

struct Description {
  int compute, scale, transpose[2] = {0, 0}; // of the left and the right factor
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t pitch;
};
struct Algorithm {
  uint64_t data[8];
};
struct Choice {
  Algorithm algorithm;
  size_t workspaceBytes;
  int state;
  float waves;
  int reserved[4];
};
constexpr uint64_t kMark = 0x70726f64;
constexpr int kReal32 = 0, kReal64 = 1, kBfloat16 = 14;

template <typename F> F driverHook(const char *name) {
  void *library = ::dlopen(FAKE_CUDA_DRIVER, RTLD_NOW | RTLD_NOLOAD);
  return library ? reinterpret_cast<F>(::dlsym(library, name)) : nullptr;
}

int planted(const char *name) {
  const char *text = std::getenv("FAKE_CUBLASLT_FAIL");
  std::string wanted(text ? text : "");
  size_t colon = wanted.find(':');
  return colon != std::string::npos && wanted.substr(0, colon) == name ? std::atoi(wanted.c_str() + colon + 1) : 0;
}
#define FAIL_IF_PLANTED(name)                                                                                          \
  if (int result = planted(name))                                                                                      \
  return result

double get(const void *data, int type, uint64_t at) {
  if (type == kReal32)
    return static_cast<const float *>(data)[at];
  if (type == kReal64)
    return static_cast<const double *>(data)[at];
  uint32_t bits = uint32_t(static_cast<const uint16_t *>(data)[at]) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
void put(void *data, int type, uint64_t at, double value) {
  auto narrow = float(value);
  uint32_t bits;
  std::memcpy(&bits, &narrow, 4);
  if (type == kReal32)
    static_cast<float *>(data)[at] = narrow;
  else if (type == kReal64)
    static_cast<double *>(data)[at] = value;
  else
    static_cast<uint16_t *>(data)[at] = uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

struct Product {
  Description description;
  Layout a, b, d;
  double alpha, beta;
  const void *left, *right;
  void *result;
};

void multiply(void *argument) {
  auto &p = *static_cast<Product *>(argument);
  // op(X)(i, k) of a matrix that lies column by column.
  auto element = [](const void *data, const Layout &layout, bool transposed, uint64_t i, uint64_t k) {
    return get(data, layout.type, transposed ? i * uint64_t(layout.pitch) + k : k * uint64_t(layout.pitch) + i);
  };
  uint64_t depth = p.description.transpose[0] ? p.a.rows : p.a.columns;
  for (uint64_t j = 0; j < p.d.columns; ++j)
    for (uint64_t i = 0; i < p.d.rows; ++i) {
      double sum = 0;
      for (uint64_t k = 0; k < depth; ++k)
        sum += element(p.left, p.a, p.description.transpose[0], i, k) *
               element(p.right, p.b, !p.description.transpose[1], j, k);
      uint64_t at = j * uint64_t(p.d.pitch) + i;
      put(p.result, p.d.type, at, p.alpha * sum + (p.beta != 0 ? p.beta * get(p.result, p.d.type, at) : 0));
    }
}

} // namespace

extern "C" {

size_t cublasLtGetVersion() { return 130100; }
int cublasLtCreate(void **handle) {
  FAIL_IF_PLANTED("cublasLtCreate");
  static int object;
  *handle = &object;
  return 0;
}
int cublasLtDestroy(void *) { return 0; }
int cublasLtMatmulDescCreate(Description **description, int compute, int scale) {
  FAIL_IF_PLANTED("cublasLtMatmulDescCreate");
  *description = new Description{compute, scale};
  return 0;
}
int cublasLtMatmulDescDestroy(Description *description) {
  delete description;
  return 0;
}
int cublasLtMatmulDescSetAttribute(Description *description, int attribute, const void *value, size_t bytes) {
  if ((attribute != 3 && attribute != 4) || bytes != 4)
    return 7;
  std::memcpy(&description->transpose[attribute - 3], value, 4);
  return 0;
}
int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns, int64_t pitch) {
  if (pitch < int64_t(rows))
    return 7;
  *layout = new Layout{type, rows, columns, pitch};
  return 0;
}
int cublasLtMatrixLayoutDestroy(Layout *layout) {
  delete layout;
  return 0;
}
int cublasLtMatmulPreferenceCreate(void **preference) {
  *preference = new int;
  return 0;
}
int cublasLtMatmulPreferenceDestroy(void *preference) {
  delete static_cast<int *>(preference);
  return 0;
}
int cublasLtMatmulPreferenceSetAttribute(void *, int attribute, const void *, size_t bytes) {
  return (attribute == 1 && bytes == 8) || (attribute >= 5 && attribute <= 8 && bytes == 4) ? 0 : 7;
}
int cublasLtMatmulAlgoGetHeuristic(void *, Description *description, Layout *a, Layout *b, Layout *c, Layout *d, void *,
                                   int, Choice *choice, int *found) {
  FAIL_IF_PLANTED("cublasLtMatmulAlgoGetHeuristic");
  const Layout &left = *a, &right = *b;
  uint64_t rows = description->transpose[0] ? left.columns : left.rows;
  uint64_t depth = description->transpose[0] ? left.rows : left.columns;
  uint64_t otherDepth = description->transpose[1] ? right.columns : right.rows;
  uint64_t columns = description->transpose[1] ? right.rows : right.columns;
  bool isWide = left.type == kReal64;
  if (rows != d->rows || columns != d->columns || depth != otherDepth || c->rows != d->rows || left.type != right.type ||
      description->compute != (isWide ? 70 : 68) || description->scale != (isWide ? kReal64 : kReal32) ||
      (left.type == kReal32 && d->type == kBfloat16))
    return 7;
  *found = std::getenv("FAKE_CUBLASLT_LACKS") ? 0 : 1;
  *choice = {};
  choice->algorithm.data[0] = kMark;
  return 0;
}
int cublasLtMatmul(void *, Description *description, const void *alpha, const void *left, Layout *a, const void *right,
                   Layout *b, const void *beta, const void *c, Layout *, void *result, Layout *d,
                   const Algorithm *algorithm, void *workspace, size_t workspaceBytes, void *stream) {
  FAIL_IF_PLANTED("cublasLtMatmul");
  if (!algorithm || algorithm->data[0] != kMark || !workspace || workspaceBytes == 0 || c != result)
    return 7;
  driverHook<void (*)(const char *)>("fakeNote")(
      ("product " + std::to_string(d->columns) + " x " + std::to_string(d->rows)).c_str());
  // Kept for ever: a graph may run it again.
  auto *product = new Product{*description, *a, *b, *d, get(alpha, description->scale, 0), get(beta, description->scale, 0),
                              left, right, result};
  static std::vector<Product *> kept;
  kept.push_back(product);
  driverHook<void (*)(void *, void (*)(void *), void *)>("fakeEnqueue")(stream, multiply, product);
  return 0;
}

} // extern "C"
