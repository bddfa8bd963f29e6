//===- CudaBlasTest.cpp - products through cuBLASLt, and without it ---------------===//
#include "FakeCuda.h"
#include "runtime/device/cuda/BlasLt.h"
#include "runtime/eval/Score.h"
#include "runtime/support/BFloat16.h"
#include "runtime/train/Initialise.h"

#include <cmath>

namespace pg::rt {
namespace {

const cuda::BlasLibrary &fakeBlas() {
  static StatusOr<cuda::BlasLibrary> loaded = cuda::loadBlas(FAKE_CUBLASLT);
  if (!loaded)
    ADD_FAILURE() << loaded.status().message();
  return *loaded;
}

/// What a buffer of a type holds, from small whole numbers, and back.
template <typename T> std::vector<T> stored(const std::vector<double> &values) {
  std::vector<T> list;
  for (double value : values)
    if constexpr (std::is_same_v<T, uint16_t>)
      list.push_back(floatToBf16(float(value)));
    else
      list.push_back(T(value));
  return list;
}
template <typename T> double number(T value) {
  if constexpr (std::is_same_v<T, uint16_t>)
    return bf16ToFloat(value);
  else
    return value;
}

/// C = op(A) op(B) + C row by row, against the library's.
template <typename T, typename R> void expectProducts(DType operands, DType result) {
  constexpr int64_t kRows = 3, kColumns = 5, kDepth = 4;
  const cuda::DriverTable &call = fakeDriver().call;
  cuda::Stream stream = nullptr;
  ASSERT_EQ(call.streamCreate(&stream, 1), 0);
  cuda::BlasProducts products;
  ASSERT_TRUE(products.open(fakeBlas()).isOk());
  for (bool transposeA : {false, true})
    for (bool transposeB : {false, true})
      for (bool accumulates : {false, true})
        for (bool hasTokens : {false, true}) {
          std::vector<double> a, b, c;
          for (int64_t i = 0; i < kRows * kDepth; ++i)
            a.push_back(double(i * 7 % 11 - 5));
          for (int64_t i = 0; i < kDepth * kColumns; ++i)
            b.push_back(double(i * 5 % 13 - 6));
          for (int64_t i = 0; i < kRows * kColumns; ++i)
            c.push_back(double(i));
          std::vector<T> left = stored<T>(a), right = stored<T>(b);
          std::vector<R> sum = stored<R>(c);
          CudaProduct product{1, 2, 0, transposeA, transposeB, accumulates, operands, result,
                              hasTokens && !transposeA ? 0 : kRows, kColumns, hasTokens && transposeA ? 0 : kDepth};
          auto number1 = products.prepare(product, transposeA ? kDepth : kRows);
          ASSERT_TRUE(number1.isOk()) << number1.status().message();
          EXPECT_EQ(*products.prepare(product, transposeA ? kDepth : kRows), *number1);
          char scratch = 0;
          void *buffers[] = {sum.data(), left.data(), right.data()};
          ASSERT_TRUE(products.run(*number1, buffers, &scratch, stream).isOk());
          ASSERT_EQ(call.streamSynchronize(stream), 0);
          for (int64_t i = 0; i < kRows; ++i)
            for (int64_t j = 0; j < kColumns; ++j) {
              double want = accumulates ? c[size_t(i * kColumns + j)] : 0;
              for (int64_t k = 0; k < kDepth; ++k)
                want += a[size_t(transposeA ? k * kRows + i : i * kDepth + k)] *
                        b[size_t(transposeB ? j * kDepth + k : k * kColumns + j)];
              EXPECT_EQ(number(sum[size_t(i * kColumns + j)]), want)
                  << i << " " << j << " " << transposeA << transposeB << accumulates << hasTokens;
            }
        }
  products.close();
  call.streamDestroy(stream);
}

TEST(CudaBlas, EveryLayoutIsOurRowByRowProduct) {
  expectProducts<float, float>(DType::F32, DType::F32);
  expectProducts<double, double>(DType::F64, DType::F64);
  expectProducts<uint16_t, float>(DType::BF16, DType::F32);
  expectProducts<uint16_t, uint16_t>(DType::BF16, DType::BF16);
}

/// The logits kernel of the fake package as a product of tables, [2, 8] = [2, 8] [8, 8].
Package packageWithProduct() {
  Package package = fakeCudaPackage();
  package.kernels[2].category = "matmul";
  package.cuda.kernels[2].product = CudaProduct{2, 2, 3, false, false, false, DType::F32, DType::F32, 2, 8, 8};
  return package;
}

StatusOr<std::unique_ptr<Executor>> open(const Package &package, bool usesBlas) {
  ::setenv("PG_CUDA_DRIVER", FAKE_CUDA_DRIVER, 1);
  ::setenv("PG_CUBLASLT", FAKE_CUBLASLT, 1);
  ExecutorOptions options;
  options.threads = 1;
  options.device = {DeviceChoice::Kind::Cuda, 0, usesBlas};
  return Executor::create(package, options);
}

/// Runs the logits entry; the launches and products of the run.
std::vector<std::string> logitsJournal(Executor &executor, std::vector<double> &logits) {
  journal();
  auto found = logitsAt(executor, *findRole(executor, "logits", ""), {rowOf({1, 2, 3, 4})}, {0, 1});
  EXPECT_TRUE(found.isOk()) << found.status().message();
  logits = found ? *found : std::vector<double>();
  std::vector<std::string> lines = journal();
  std::erase_if(lines, [](const std::string &line) { return line.rfind("copy", 0) == 0 || line.rfind("stream", 0) == 0; });
  return lines;
}

TEST(CudaBlas, AProductStandsInForTheKernelInListAndGraph) {
  auto executor = open(packageWithProduct(), true);
  ASSERT_TRUE(executor.isOk()) << executor.status().message();
  EXPECT_EQ((*executor)->device().describe(), "Fake GPU 0 (cuda:0, sm_90a, cuBLASLt 13.1.0 for 1 of 1 products)");
  EXPECT_EQ((*executor)->device().codeText(), "cuda sm_90a on Fake GPU 0 with cuBLASLt 13.1.0");
  ASSERT_TRUE(initialise(**executor, 1).isOk());
  std::vector<float> table(64);
  ASSERT_TRUE((*executor)->readParameter(0, table.data()).isOk());
  using Lines = std::vector<std::string>;
  std::vector<double> logits;
  for (const Lines &expected : {Lines{"product 2 x 8"}, Lines{"begin capture", "product 2 x 8", "end capture 1", "graph launch 1"},
                                Lines{"graph launch 1"}}) {
    EXPECT_EQ(logitsJournal(**executor, logits), expected);
    for (size_t i = 0; i < 2; ++i)
      for (size_t j = 0; j < 8; ++j) {
        double want = 0;
        for (size_t k = 0; k < 8; ++k)
          want += double(table[8 * i + k]) * double(table[8 * k + j]);
        EXPECT_NEAR(logits[8 * i + j], want, 1e-6);
      }
  }
}

TEST(CudaBlas, NothingChangesWithoutItsBeingAskedFor) {
  auto executor = open(packageWithProduct(), false);
  ASSERT_TRUE(executor.isOk());
  EXPECT_EQ((*executor)->device().describe(), "Fake GPU 0 (cuda:0, sm_90a)");
  EXPECT_EQ((*executor)->device().codeText(), "cuda sm_90a on Fake GPU 0");
  std::vector<double> logits;
  EXPECT_EQ(logitsJournal(**executor, logits), std::vector<std::string>{"launch fake_logits 1x32 shared 65536"});
}

TEST(CudaBlas, AShapeWithoutAnAlgorithmKeepsItsKernel) {
  Environment lacks("FAKE_CUBLASLT_LACKS", "1");
  auto executor = open(packageWithProduct(), true);
  ASSERT_TRUE(executor.isOk());
  std::vector<double> logits;
  EXPECT_EQ(logitsJournal(**executor, logits), std::vector<std::string>{"launch fake_logits 1x32 shared 65536"});
}

TEST(CudaBlas, FailuresAreToldWithTheirStatus) {
  auto messageOf = [](const char *planted) {
    Environment fail("FAKE_CUBLASLT_FAIL", planted);
    auto executor = open(packageWithProduct(), true);
    if (!executor)
      return executor.status();
    auto logits = logitsAt(**executor, *findRole(**executor, "logits", ""), {rowOf({1, 2, 3, 4})}, {0});
    return logits.status();
  };
  Status status = messageOf("cublasLtCreate:1");
  EXPECT_EQ(status.code(), Code::Environment);
  EXPECT_NE(status.message().find("cuBLASLt: it cannot start on this GPU (status 1)"), std::string::npos) << status.message();
  status = messageOf("cublasLtMatmul:14");
  EXPECT_EQ(status.code(), Code::Internal);
  EXPECT_NE(status.message().find("kernel 'fake_logits': cuBLASLt: a product of 2 x 8 x 8 failed (status 14)"),
            std::string::npos)
      << status.message();
  // A shape that the library cannot describe is left to our own kernel.
  EXPECT_TRUE(messageOf("cublasLtMatmulDescCreate:3").isOk());
}

TEST(CudaBlas, AbsenceIsToldWhereItMatters) {
  auto absent = cuda::loadBlas("/nowhere/libcublasLt.so.13");
  EXPECT_EQ(absent.status().code(), Code::Environment);
  EXPECT_NE(absent.status().message().find("no cuBLASLt ("), std::string::npos);
  auto other = cuda::loadBlas(FAKE_CUDA_KERNELS);
  EXPECT_NE(other.status().message().find("is not cuBLASLt"), std::string::npos);
}

} // namespace
} // namespace pg::rt
