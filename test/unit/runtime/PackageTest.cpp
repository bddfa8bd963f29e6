//===- PackageTest.cpp - round trip and hostile bytes ---------------------------===//
#include "FakePackage.h"
#include "runtime/package/PackageJson.h"
#include "runtime/support/Sha256.h"

namespace pg::rt {
namespace {

Package smallPackage() {
  Package package = fakePackage();
  package.codeCpu = std::string("\x7f" "ELF", 4);
  return package;
}

/// The package after an edit, written and read again.
Status readBack(const Package &package) {
  auto read = parsePackage(serialise(package));
  return read ? Status::ok() : read.status();
}

void expectCorrupt(const Package &package, const std::string &part) {
  Status status = readBack(package);
  EXPECT_EQ(status.code(), Code::Corrupt);
  EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

TEST(Package, RoundTripKeepsBytesAndInfiniteScalars) {
  Package package = smallPackage();
  package.entries[0].launches[0].scalars = {-std::numeric_limits<double>::infinity(), 0.1};
  std::string bytes = serialise(package);
  auto read = parsePackage(bytes);
  ASSERT_TRUE(read.isOk()) << read.status().message();
  EXPECT_EQ(serialise(*read), bytes);
  EXPECT_EQ(read->entries[0].launches[0].scalars, package.entries[0].launches[0].scalars);
  EXPECT_EQ(read->recipe.at("optimizer.groups.embed.args.decay").f, 0.5);
  EXPECT_EQ(read->parameters[0].init.numbers.at("std"), 0.1);
  EXPECT_EQ(read->codeCpu, package.codeCpu);
}

TEST(Package, EveryTruncationIsCorrupt) {
  std::string bytes = serialise(smallPackage());
  for (size_t length = 0; length < bytes.size(); length += length < 600 ? 1 : 97)
    ASSERT_EQ(parsePackage(bytes.substr(0, length)).status().code(), Code::Corrupt) << length;
}

TEST(Package, EveryFlippedBitIsCorrupt) {
  std::string bytes = serialise(smallPackage());
  auto sound = parsePackage(bytes);
  for (size_t at = 0; at < bytes.size(); at += at < 600 ? 1 : 53) {
    std::string flipped = bytes;
    flipped[at] = char(flipped[at] ^ (1 << at % 8));
    auto read = parsePackage(flipped);
    // Padding between sections carries nothing; any other bit is checked.
    if (read.isOk())
      ASSERT_EQ(bytes[at], '\0') << at;
    else
      ASSERT_EQ(read.status().code(), Code::Corrupt) << at;
  }
}

TEST(Package, AnotherVersionSaysRecompile) {
  std::string bytes = serialise(smallPackage());
  bytes[8] = 99;
  EXPECT_EQ(parsePackage(bytes).status().message(),
            "package version 99, this program reads version " + std::to_string(kPackageVersion) +
                "; recompile with pgc");
  EXPECT_EQ(parsePackage("hello").status().message(), "not a package (bad magic)");
}

TEST(Package, ReferencesAreChecked) {
  Package package = smallPackage();
  package.entries[0].launches[0].kernel = 5;
  expectCorrupt(package, "entry 'score@plain': launch 0: kernel 5 of 5");

  package = smallPackage();
  package.entries[0].launches[0].buffers[2].index = 1;
  expectCorrupt(package, "a buffer refers to number 1 of 1");

  package = smallPackage();
  package.entries[0].outputs[0].buffer.offset = 65;
  expectCorrupt(package, "port 'nll' reaches beyond the arena of 192 bytes");

  package = smallPackage();
  package.entries[0].launches[0].buffers[3].offset = 1 << 20;
  expectCorrupt(package, "arena offset 1048576 is beyond the arena");

  // Buffer 3 is nll: 32 tokens of f32 at byte 64 of an arena of 192.
  auto expectWritten = [](Written written, const std::string &part) {
    Package package = smallPackage();
    package.entries[0].launches[0].writes = {written};
    expectCorrupt(package, part);
  };
  expectWritten({4, DType::F32, 1, 1}, "launch 0: a written value in buffer 4 of 4");
  expectWritten({3, DType::F64, 1, 1}, "launch 0: a written value is larger than the memory it lies in");
  expectWritten({3, DType::F32, 1, 2}, "a written value is larger than the memory it lies in");
  package = smallPackage();
  package.entries[0].launches[0].writes = {{3, DType::F32, 1, 1}};
  EXPECT_TRUE(readBack(package).isOk());

  package = smallPackage();
  package.entries[1].name = package.entries[0].name;
  expectCorrupt(package, "an entry 'score@plain' occurs twice");

  package = smallPackage();
  package.entries[0].phase = "other";
  expectCorrupt(package, "unknown phase 'other'");

  package = smallPackage();
  package.states[0].parameter = "tabel";
  expectCorrupt(package, "belongs to unknown parameter 'tabel'");

  package = smallPackage();
  package.phases[1].startFraction = -0.5;
  expectCorrupt(package, "phase 'late' starts");

  package = smallPackage();
  package.precision = "f16";
  expectCorrupt(package, "unknown precision 'f16'");
}

TEST(Package, AdaptersHaveOneNumberOfSlots) {
  Package package = smallPackage();
  State adapter;
  adapter.name = "adapter.q.0.a";
  adapter.role = "adapter";
  adapter.shape = {3, 2, 4};
  adapter.draw = {"uniform", {{"low", -0.5}, {"high", 0.5}}};
  package.states.push_back(adapter);
  auto read = parsePackage(serialise(package));
  ASSERT_TRUE(read.isOk()) << read.status().message();
  EXPECT_EQ(read->states.back().draw.kind, "uniform");
  EXPECT_EQ(read->states.back().draw.numbers.at("high"), 0.5);

  adapter.name = "adapter.q.1.a";
  adapter.shape = {2, 2, 4};
  package.states.push_back(adapter);
  expectCorrupt(package, "adapter 'adapter.q.1.a' expects the shape [slots, ., .] with the slots of the others");
  package.states.back().shape = {3, 8};
  expectCorrupt(package, "adapter 'adapter.q.1.a' expects the shape");
  package.states.back().role = "optimizer";
  expectCorrupt(package, "of role 'optimizer' is drawn; only adapters are");
}

TEST(Package, SizesMayNotOverflow) {
  Package package = smallPackage();
  package.parameters[0].shape = {int64_t(1) << 31, int64_t(1) << 31, 4};
  expectCorrupt(package, "more than 2^40 elements");

  package = smallPackage();
  package.parameters[0].shape = {0, 8};
  expectCorrupt(package, "dimension below 1");

  package = smallPackage();
  package.parameters[0].shape = {-1};
  expectCorrupt(package, "expected a dimension");

  package = smallPackage();
  package.entries[0].launches[0].items.multiplier = std::numeric_limits<int64_t>::max();
  expectCorrupt(package, ": items are more than 2^40");

  package = smallPackage();
  package.entries[0].launches[0].items.grain = 0;
  expectCorrupt(package, ": items are [1,1,0,false], expected [tokens per item, multiplier, grain of 1 or more, wants runs]");

  package = smallPackage();
  package.entries[0].launches[0].versionItems = {0, std::numeric_limits<int64_t>::max(), 1, true};
  expectCorrupt(package, "version_items are more than 2^40");

  package = smallPackage();
  package.entries[0].launches[0].versionItems = {16, 3, 2, true};
  auto readItems = parsePackage(serialise(package));
  ASSERT_TRUE(readItems.isOk());
  EXPECT_EQ(readItems->entries[0].launches[0].versionItems, package.entries[0].launches[0].versionItems);
  EXPECT_EQ(readItems->entries[1].launches[0].versionItems, std::nullopt);

  package = smallPackage();
  package.entries[0].maxTokens = int64_t(1) << 40;
  expectCorrupt(package, "'max_tokens' is 1099511627776");

  package = smallPackage();
  package.kernels[0].scratchBytes = uint64_t(1) << 63;
  expectCorrupt(package, "'scratch_bytes' is 9223372036854775808");
}

TEST(Package, ManifestTypesAreChecked) {
  Package package = smallPackage();
  Json manifest = manifestToJson(package);
  auto messageAfter = [&](const char *pointer, const Json &value) {
    Json edited = manifest;
    edited[Json::json_pointer(pointer)] = value;
    Package read;
    return manifestFromJson(edited, read).message();
  };
  EXPECT_EQ(messageAfter("/entries/0/launches/0/kernel", "x"),
            "entries[0].launches[0]: 'kernel' is not an integer");
  EXPECT_EQ(messageAfter("/entries/0/launches/0/kernel", -1),
            "entries[0].launches[0]: 'kernel' is -1, expected 0 to 16777216");
  EXPECT_EQ(messageAfter("/parameters", 3), "'parameters' is not an array");
  EXPECT_EQ(messageAfter("/parameters/0/dtype", "F8"), "parameters[0]: 'dtype' has unknown value 'F8'");
  EXPECT_EQ(messageAfter("/recipe/eval.row_length", nullptr), "recipe.eval.row_length: expected an object");
  Json without = manifest;
  without.erase("kernels");
  Package read;
  EXPECT_EQ(manifestFromJson(without, read).message(), "'kernels' is missing");
}

} // namespace
} // namespace pg::rt
