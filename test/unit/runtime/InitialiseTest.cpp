//===- InitialiseTest.cpp - the closed set of initialisers -----------------------===//
#include "FakePackage.h"
#include "runtime/train/Initialise.h"

#include <cmath>
#include <cstring>

namespace pg::rt {
namespace {

Parameter parameter(const char *kind, std::map<std::string, double> numbers, std::vector<int64_t> shape) {
  return {"p", DType::F32, std::move(shape), {kind, std::move(numbers)}, "g", "", "m.yaml:2:3"};
}

std::vector<double> valuesOf(const Parameter &p, uint64_t seed = 1) {
  auto values = initialValues(p, seed);
  EXPECT_TRUE(values.isOk()) << values.status().message();
  return values ? *values : std::vector<double>();
}

TEST(Initialise, ConstantKinds) {
  EXPECT_EQ(valuesOf(parameter("zeros", {}, {2})), (std::vector<double>{0, 0}));
  EXPECT_EQ(valuesOf(parameter("ones", {}, {2})), (std::vector<double>{1, 1}));
  EXPECT_EQ(valuesOf(parameter("constant", {{"value", 5}}, {})), (std::vector<double>{5}));
  EXPECT_EQ(valuesOf(parameter("rows", {{"0", 1}, {"1", 0.5}}, {2, 2})), (std::vector<double>{1, 1, 0.5, 0.5}));
}

TEST(Initialise, OrthogonalRowsOrColumns) {
  for (auto shape : {std::vector<int64_t>{3, 5}, {5, 3}, {4, 4}, {2, 2, 3}}) {
    std::vector<double> w = valuesOf(parameter("orthogonal", {{"gain", 2}}, shape));
    int64_t rows = shape[0], columns = int64_t(w.size()) / rows, small = std::min(rows, columns);
    for (int64_t i = 0; i < small; ++i)
      for (int64_t j = 0; j < small; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < std::max(rows, columns); ++k)
          dot += rows <= columns ? w[size_t(i * columns + k)] * w[size_t(j * columns + k)]
                                 : w[size_t(k * columns + i)] * w[size_t(k * columns + j)];
        EXPECT_NEAR(dot, i == j ? 4 : 0, 1e-12); // gain squared
      }
  }
}

TEST(Initialise, DependsOnSeedAndNameOnly) {
  Parameter a = parameter("normal", {{"std", 0.5}}, {64}), b = a;
  b.name = "q";
  EXPECT_EQ(valuesOf(a), valuesOf(a));
  EXPECT_NE(valuesOf(a), valuesOf(b));
  EXPECT_NE(valuesOf(a), valuesOf(a, 2));
  for (double value : valuesOf(parameter("uniform", {{"low", -2}, {"high", -1}}, {64})))
    EXPECT_TRUE(value >= -2 && value < -1);
}

TEST(Initialise, SameBitsForOneAndTwoThreads) {
  auto one = fakeExecutor(1), two = fakeExecutor(2);
  ASSERT_TRUE(initialise(*one, 3).isOk() && initialise(*two, 3).isOk());
  EXPECT_EQ(std::memcmp(one->parameter(0), two->parameter(0), 256), 0);
}

TEST(Initialise, WrongSpecificationsNameTheParameter) {
  EXPECT_EQ(initialValues(parameter("magic", {}, {2}), 1).status().message(),
            "parameter 'p' (m.yaml:2:3): initialiser 'magic' is unknown, expected zeros, ones, constant, normal, "
            "uniform, orthogonal or rows");
  EXPECT_EQ(initialValues(parameter("normal", {}, {2}), 1).status().message(),
            "parameter 'p' (m.yaml:2:3): initialiser 'normal' needs 'std'");
  EXPECT_EQ(initialValues(parameter("rows", {{"0", 1}}, {2}), 1).status().code(), Code::Invalid);
}

} // namespace
} // namespace pg::rt
