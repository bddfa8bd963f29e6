//===- CudaPackageTest.cpp - CUDA code in a package: round trip, hostile bytes ----===//
#include "FakeCuda.h"
#include "runtime/device/cuda/CudaCode.h"
#include "runtime/package/PackageJson.h"

namespace pg::rt {
namespace {

Package smallPackage() {
  Package package = fakeCudaPackage();
  package.codeCpu = std::string("\x7f" "ELF", 4);
  for (CudaImage &image : package.cuda.images)
    for (size_t i = 0; i < image.modules.size(); ++i)
      image.modules[i] = std::string(10 + i, char('a' + i)) + image.arch;
  return package;
}

Status readBack(const Package &package) {
  auto read = parsePackage(serialise(package));
  return read ? Status::ok() : read.status();
}

void expectCorrupt(const Package &package, const std::string &part) {
  Status status = readBack(package);
  EXPECT_EQ(status.code(), Code::Corrupt) << part;
  EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

TEST(CudaPackage, RoundTrip) {
  Package package = smallPackage();
  std::string bytes = serialise(package);
  auto read = parsePackage(bytes);
  ASSERT_TRUE(read.isOk()) << read.status().message();
  EXPECT_EQ(serialise(*read), bytes);
  EXPECT_EQ(read->cuda.prelude, package.cuda.prelude);
  EXPECT_EQ(read->cuda.source, package.cuda.source);
  ASSERT_EQ(read->cuda.images.size(), 2u);
  EXPECT_EQ(read->cuda.images[1].arch, "sm_90a");
  EXPECT_FALSE(isPtx(read->cuda.images[1]));
  EXPECT_EQ(read->cuda.images[1].modules, package.cuda.images[1].modules);
  EXPECT_EQ(read->cuda.kernels[2].stages[0].sharedBytes, 65536u);
  EXPECT_EQ(read->cuda.kernels[0].stages[0].blocks.tokensPerItem, 32);
  EXPECT_EQ(read->cuda.support[2].symbol, "pg_scale");
  package.cuda.images[0].arch = "compute_80";
  read = parsePackage(serialise(package));
  ASSERT_TRUE(read.isOk()) << read.status().message();
  EXPECT_TRUE(isPtx(read->cuda.images[0]));
  EXPECT_EQ(read->cuda.images[0].modules, package.cuda.images[0].modules);
  // Source alone, for machines whose code comes later.
  package.cuda.images.clear();
  EXPECT_TRUE(readBack(package).isOk());
}

TEST(CudaPackage, EveryTruncationAndFlippedBitIsCorrupt) {
  std::string bytes = serialise(smallPackage());
  for (size_t length = 0; length < bytes.size(); length += length < 900 ? 1 : 89)
    ASSERT_EQ(parsePackage(bytes.substr(0, length)).status().code(), Code::Corrupt) << length;
  for (size_t at = 0; at < bytes.size(); at += at < 900 ? 1 : 47) {
    std::string flipped = bytes;
    flipped[at] = char(flipped[at] ^ (1 << at % 8));
    auto read = parsePackage(flipped);
    if (read.isOk())
      ASSERT_EQ(bytes[at], '\0') << at; // padding between sections
    else
      ASSERT_EQ(read.status().code(), Code::Corrupt) << at;
  }
}

TEST(CudaPackage, TablesAreChecked) {
  Package package = smallPackage();
  package.cuda.kernels.pop_back();
  expectCorrupt(package, "4 CUDA kernels for 5 kernels");

  package = smallPackage();
  package.cuda.kernels.clear();
  expectCorrupt(package, "CUDA images without CUDA kernels");

  package = smallPackage();
  package.cuda.kernels[0].stages.clear();
  expectCorrupt(package, "CUDA kernel 0 has 0 stages");

  for (int64_t threads : {31, 48, 2048}) {
    package = smallPackage();
    package.cuda.kernels[1].stages[0].threads = threads;
    expectCorrupt(package, "blocks of " + std::to_string(threads) + " threads");
  }

  package = smallPackage();
  package.cuda.kernels[1].stages[0].sharedBytes = uint64_t(1) << 40;
  expectCorrupt(package, "bytes of shared memory");

  package = smallPackage();
  package.cuda.kernels[1].stages[0].symbol = "";
  expectCorrupt(package, "a stage without a usable name");

  package = smallPackage();
  package.cuda.kernels[0].stages[0].blocks = {1, int64_t(1) << 30, 1};
  expectCorrupt(package, "more than 2^31 - 1 blocks in entry 'score@plain'");

  package = smallPackage();
  package.cuda.kernels[3].stages[0].blocks.tokensPerItem = 1;
  expectCorrupt(package, "blocks per token in entry 'apply' without a token axis");

  package = smallPackage();
  package.cuda.kernels[0].workspacePerToken = uint64_t(1) << 45;
  expectCorrupt(package, "a workspace of more than 2^46 bytes");

  package = smallPackage();
  package.entries[0].launches[0].scalars.assign(600, 1.0);
  expectCorrupt(package, "more than 4,096 bytes of arguments");

  package = smallPackage();
  package.cuda.images[1].arch = "sm_80";
  expectCorrupt(package, "occurs twice");

  for (const char *arch : {"sm_", "sm_9", "sm_90aa", "sm_a0", "compute_", "compute_8", "compute_90a", "../../x", ""}) {
    package = smallPackage();
    package.cuda.images[1].arch = arch;
    EXPECT_EQ(readBack(package).code(), Code::Corrupt) << arch;
  }

  package = smallPackage();
  package.cuda.images[0].modules.pop_back();
  expectCorrupt(package, "CUDA image 'sm_80' has 5 modules, expected 6");
}

TEST(CudaPackage, LengthsAreThoseOfTheSections) {
  Package package = smallPackage();
  Json manifest = manifestToJson(package);
  auto lengthsAfter = [&](const char *pointer, const Json &value) {
    Json edited = manifest;
    edited[Json::json_pointer(pointer)] = value;
    Package read;
    CudaLengths lengths;
    return manifestFromJson(edited, read, &lengths);
  };
  EXPECT_EQ(lengthsAfter("/cuda/images/0/module_bytes/1", -1).message(),
            "cuda.images[0]: 'module_bytes' holds -1, expected a length");
  EXPECT_EQ(lengthsAfter("/cuda/kernels/0/stages/0/threads", "x").message(),
            "cuda.kernels[0].stages[0]: 'threads' is not an integer");
  EXPECT_EQ(lengthsAfter("/cuda/source_bytes", 1e300).message(), "cuda: 'source_bytes' is not an integer");
  EXPECT_EQ(lengthsAfter("/cuda", nullptr).message(), "'cuda' is not an object");
  // A section that is longer or shorter than its table of lengths.
  std::string bytes = serialise(package);
  package.cuda.images[0].modules[0] += "x";
  EXPECT_NE(serialise(package), bytes);
}

} // namespace
} // namespace pg::rt
