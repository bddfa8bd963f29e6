//===- CodesTest.cpp - weights that a file holds as codes --------------------===//
#include "FakePackage.h"
#include "runtime/support/BFloat16.h"
#include "runtime/weights/Codes.h"
#include "runtime/weights/Weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

namespace pg::rt {
namespace {

/// Tensors by name, held until they are parsed.
class Tensors {
public:
  Tensors &codes(const std::string &name, std::vector<int64_t> shape, std::vector<int8_t> values) {
    return add(name, "I8", std::move(shape), values);
  }
  Tensors &floats(const std::string &name, std::vector<int64_t> shape, std::vector<float> values) {
    return add(name, "F32", std::move(shape), values);
  }
  Tensors &halves(const std::string &name, std::vector<int64_t> shape, std::vector<uint16_t> bits) {
    return add(name, "F16", std::move(shape), bits);
  }
  std::string path() const {
    std::string path = testing::TempDir() + "/codes.safetensors";
    std::vector<TensorToWrite> list;
    for (const auto &[name, tensor] : held)
      list.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
    EXPECT_TRUE(writeSafetensors(path, list).isOk());
    return path;
  }
  SafetensorsFile file() const {
    auto read = SafetensorsFile::read(path());
    EXPECT_TRUE(read.isOk());
    return std::move(*read);
  }

private:
  struct Held {
    std::string dtype, bytes;
    std::vector<int64_t> shape;
  };
  template <typename T>
  Tensors &add(const std::string &name, const char *dtype, std::vector<int64_t> shape, const std::vector<T> &values) {
    held[name] = {dtype, {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)}, std::move(shape)};
    return *this;
  }
  std::map<std::string, Held> held;
};

std::string problemOf(const Tensors &tensors, std::vector<int64_t> shape) {
  auto values = dequantise(tensors.file(), "w", shape);
  return values ? "" : values.status().message();
}

TEST(Codes, OneScaleForAllForARowOrForAGroup) {
  Tensors t;
  t.codes("w.codes", {2, 4}, {1, -2, 3, -128, 127, 0, -1, 5});
  EXPECT_EQ(*dequantise(t.floats("w.scale", {1}, {0.5f}).file(), "w", {2, 4}),
            (std::vector<float>{0.5f, -1, 1.5f, -64, 63.5f, 0, -0.5f, 2.5f}));
  // 0x3800 is one half, 0x4400 is four.
  EXPECT_EQ(*dequantise(t.halves("w.scale", {2}, {0x3800, 0x4400}).file(), "w", {2, 4}),
            (std::vector<float>{0.5f, -1, 1.5f, -64, 508, 0, -4, 20}));
  EXPECT_EQ(*dequantise(t.floats("w.scale", {4}, {1, 2, 3, 4}).file(), "w", {2, 4}),
            (std::vector<float>{1, -2, 6, -256, 381, 0, -4, 20}));
}

TEST(Codes, AFactorIsStoredEitherWay) {
  Tensors t;
  t.codes("w.codes", {2, 2}, {1, 0, 0, 1}).floats("w.scale", {2}, {1, 1});
  t.floats("w.left", {2, 1}, {2, 3}).codes("w.right.codes", {1, 2}, {10, 20}).floats("w.right.scale", {1}, {0.5f});
  EXPECT_EQ(*dequantise(t.file(), "w", {2, 2}), (std::vector<float>{11, 20, 15, 31}));
  EXPECT_EQ(partsOf(t.file(), "w"),
            (std::vector<std::string>{"w.codes", "w.scale", "w.left", "w.right.codes", "w.right.scale"}));
}

TEST(Codes, PartsThatDoNotBelongTogetherAreNamed) {
  auto has = [](const std::string &text, const char *what) {
    EXPECT_NE(text.find(what), std::string::npos) << text;
  };
  Tensors t;
  t.codes("w.codes", {2, 2}, {1, 2, 3, 4});
  has(problemOf(t, {2, 2}), "'w.codes' has no 'w.scale' beside it");
  t.floats("w.scale", {3}, {1, 1, 1});
  has(problemOf(t, {2, 2}), "3 numbers, which do not divide the 4 codes");
  t.floats("w.scale", {0}, {});
  has(problemOf(t, {2, 2}), "0 numbers");
  t.codes("w.scale", {2}, {1, 1});
  has(problemOf(t, {2, 2}), "'w.scale' has dtype I8, expected floats");
  t.floats("w.scale", {2}, {1, 1});
  has(problemOf(t, {4, 1}), "'w.codes' has shape [2, 2], expected [4, 1]");
  t.floats("w.left", {2, 1}, {1, 1});
  has(problemOf(t, {2, 2}), "'w.left' and 'w.right' belong together");
  t.floats("w.right", {2, 2}, {1, 1, 1, 1});
  has(problemOf(t, {2, 2}), "'w.right' has shape [2, 2], expected [1, 2]");
  t.floats("w.codes", {2, 2}, {1, 2, 3, 4});
  has(problemOf(t, {2, 2}), "'w.codes' has dtype F32, expected I8");
}

TEST(Codes, ACodeOutsideItsBitsIsNamed) {
  Tensors t;
  SafetensorsFile file = t.codes("w.codes", {3}, {-32, 31, 32}).file();
  EXPECT_TRUE(checkCodes(*file.find("w.codes"), "w.codes", 7).isOk());
  EXPECT_EQ(checkCodes(*file.find("w.codes"), "w.codes", 6).message(),
            "'w.codes' holds the code 32; codes of 6 bits lie in -32..31");
}

} // namespace
} // namespace pg::rt
