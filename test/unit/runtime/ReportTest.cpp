//===- ReportTest.cpp - metrics lines, progress, event files, statistics ----------===//
#include "FakePackage.h"
#include "runtime/report/ByteLedger.h"
#include "runtime/report/Environment.h"
#include "runtime/report/MetricsReader.h"
#include "runtime/report/ProgressText.h"
#include "runtime/report/Statistics.h"
#include "runtime/report/TensorBoard.h"
#include "runtime/support/JsonLine.h"
#include "runtime/support/Random.h"
#include "runtime/support/Sha256.h"

#include <cmath>

namespace pg::rt {
namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (char byte : bytes) {
    text += "0123456789abcdef"[uint8_t(byte) >> 4];
    text += "0123456789abcdef"[uint8_t(byte) & 15];
  }
  return text;
}

// --- metrics.jsonl

TEST(MetricsReader, TornLastLineIsLeftOutAnyOtherIsAnError) {
  auto read = parseMetrics("{\"step\":1}\n{\"step\":2}\n{\"ste");
  ASSERT_TRUE(read.isOk());
  EXPECT_EQ(read->size(), 2u);
  read = parseMetrics("{\"step\":1}\n{\"st\n"); // the break came through, the rest did not
  ASSERT_TRUE(read.isOk());
  EXPECT_EQ(read->size(), 1u);
  EXPECT_EQ(parseMetrics("")->size(), 0u);
  auto broken = parseMetrics("{\"step\":1}\n[2]\n{\"step\":3}\n");
  EXPECT_EQ(broken.status().code(), Code::Corrupt);
  EXPECT_EQ(broken.status().message(), "line 2: expected a JSON object");
  EXPECT_EQ(parseMetrics("{\"a\":1,\"a\":2}\n{}\n").status().code(), Code::Corrupt);
}

TEST(JsonLine, DoublesReadBackEqualInAtMostSeventeenDigits) {
  Random random(11, "digits");
  JsonLine line;
  for (int i = 0; i < 2000; ++i) {
    double value = random.normal(uint64_t(i));
    std::string text(line.begin().add("x", value).end());
    EXPECT_EQ((*parseJson(text))["x"].get<double>(), value);
    size_t digits = 0, first = text.find_first_of("123456789");
    for (size_t at = first; at < text.size() && text[at] != 'e'; ++at)
      digits += isdigit(text[at]) != 0;
    EXPECT_LE(digits, 17u) << text;
  }
}

// --- progress

TEST(ProgressText, MedianOfTheLastFiftySteps) {
  StepTimes times;
  EXPECT_EQ(times.median(), 0);
  times.add(3);
  EXPECT_EQ(times.median(), 3);
  times.add(1);
  EXPECT_EQ(times.median(), 2);
  for (int i = 0; i < 50; ++i)
    times.add(i < 25 ? 10 : 20); // the first two are forgotten
  EXPECT_EQ(times.median(), 15);
  times.add(20); // 24 of 10, 26 of 20
  EXPECT_EQ(times.median(), 20);
}

TEST(ProgressText, EtaIsTheLesserOfStepsAndClock) {
  StepTimes times;
  times.add(2);
  EXPECT_EQ(remainingSeconds(times, 30, kNoBudget), 60);
  EXPECT_EQ(remainingSeconds(times, 30, 45), 45);
  EXPECT_EQ(remainingSeconds(times, -1, 45), 45);
  EXPECT_EQ(remainingSeconds(times, 5, -0.5), 0);
  EXPECT_TRUE(std::isinf(remainingSeconds(times, -1, kNoBudget)));
}

TEST(ProgressText, ShowsWhatIsKnown) {
  ProgressState state;
  state.stage = "train";
  state.step = 120;
  state.loss = 3.21054;
  state.tokensPerSecond = 41234;
  state.remaining = 185;
  EXPECT_EQ(progressText(state), "train 120  loss 3.2105  41k tokens/s  ETA 3m05s");
  state.phase = "looped";
  state.steps = 1000;
  state.utilisation = 0.381;
  state.memoryBytes = 812ull << 20;
  state.artifactBytes = 15324000;
  state.budgetLeft = 250;
  EXPECT_EQ(progressText(state), "train looped 120/1000  loss 3.2105  41k tokens/s  MFU 38%  812 MiB  "
                                 "artifact ~15.32 MB  ETA 3m05s  budget 4m10s");
}

TEST(ProgressText, FlopsOfAnEntryAndPeaks) {
  Package package;
  package.kernels.resize(2);
  package.kernels[0].flopsPerToken = 100;
  package.kernels[1].flopsPerToken = 7;
  Entry entry;
  entry.launches.resize(3);
  entry.launches[2].kernel = 1;
  EXPECT_EQ(flopsPerToken(package, entry), 207);
  EXPECT_EQ(knownPeakFlops("NVIDIA H100 80GB HBM3", "bf16"), 989e12);
  EXPECT_EQ(knownPeakFlops("NVIDIA H100 PCIe", "bf16"), 756e12);
  EXPECT_EQ(knownPeakFlops("NVIDIA H100 80GB HBM3", "f32"), 67e12);
  EXPECT_EQ(knownPeakFlops("AMD EPYC 9755", "f32"), 0);
}

// --- TensorBoard

TEST(TensorBoard, ChecksumsAgreeWithPublishedOnes) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);              // the check value of CRC-32C
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);    // RFC 3720 B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);  // RFC 3720 B.4
  // 0xE3069283 rotated right by 15 is 0x2507C60D; plus 0xA282EAD8 that is 0xC78AB0E5.
  EXPECT_EQ(maskedCrc32c("123456789"), 0xC78AB0E5u);
}

TEST(TensorBoard, EventsAreTheProtobufWrittenByHand) {
  // 1: double 0; 3: 13 bytes.
  EXPECT_EQ(hex(versionEvent(0)), "090000000000000000" "1a0d" + hex("brain.Event:2"));
  // 1: double 1.5 = 3ff8...; 2: 300 = ac 02; 5: 13 bytes {1: 11 bytes {1: "loss", 2: float 0.5 = 3f000000}}
  EXPECT_EQ(hex(scalarEvent(1.5, 300, {{"loss", 0.5}})), "09000000000000f83f" "10ac02" "2a0d" "0a0b" "0a04" +
                                                             hex("loss") + "150000003f");
}

TEST(TensorBoard, RecordIsLengthChecksumPayloadChecksum) {
  std::string record = eventRecord("123456789");
  ASSERT_EQ(record.size(), 8 + 4 + 9 + 4u);
  EXPECT_EQ(hex(record.substr(0, 8)), "0900000000000000");
  EXPECT_EQ(hex(record.substr(12, 9)), hex("123456789"));
  EXPECT_EQ(hex(record.substr(21)), "e5b08ac7");
  uint32_t length = maskedCrc32c(std::string("\x09\0\0\0\0\0\0\0", 8));
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(uint8_t(record[8 + size_t(i)]), uint8_t(length >> (8 * i)));
}

TEST(TensorBoard, FileIsAnIntactListOfRecords) {
  std::string folder = testFolder();
  auto opened = TensorBoardFile::create(folder);
  ASSERT_TRUE(opened.isOk()) << opened.status().message();
  TensorBoardFile file = std::move(*opened);
  auto second = TensorBoardFile::create(folder); // in the same second: another number
  ASSERT_TRUE(second.isOk());
  EXPECT_NE(second->path(), file.path());
  ASSERT_TRUE(file.add(1, {{"loss", 2.5}, {"grad_norm", 0.25}}).isOk());
  ASSERT_TRUE(file.add(2, {{"loss", NAN}}).isOk());
  std::string bytes = slurp(file.path());
  std::vector<std::string> payloads;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length = uint8_t(bytes[at]);
    payloads.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(bytes.substr(at, 16 + length), eventRecord(payloads.back()));
    at += 16 + length;
  }
  ASSERT_EQ(payloads.size(), 3u);
  EXPECT_NE(payloads[0].find("brain.Event:2"), std::string::npos);
  EXPECT_NE(payloads[1].find("grad_norm"), std::string::npos);
  EXPECT_EQ(TensorBoardFile::create(folder + "/absent").status().code(), Code::Io);
}

// --- statistics

TEST(Statistics, IncompleteBetaAtKnownPoints) {
  EXPECT_NEAR(incompleteBeta(2, 3, 0.5), 11.0 / 16, 1e-14);      // polynomial
  EXPECT_NEAR(incompleteBeta(5, 1, 0.2), 3.2e-4, 1e-17);         // x^5
  EXPECT_NEAR(incompleteBeta(0.5, 0.5, 0.5), 0.5, 1e-14);        // symmetry
  EXPECT_NEAR(incompleteBeta(0.5, 0.5, 0.25), 1.0 / 3, 1e-14);   // 2 / pi asin(sqrt x)
  EXPECT_EQ(incompleteBeta(3, 4, 0), 0);
  EXPECT_EQ(incompleteBeta(3, 4, 1), 1);
  EXPECT_TRUE(std::isnan(incompleteBeta(3, 4, 1.5)));
}

TEST(Statistics, StudentDistributionAtKnownPoints) {
  EXPECT_NEAR(studentCdf(1, 1), 0.75, 1e-14);                            // 1/2 + atan(t) / pi
  EXPECT_NEAR(studentCdf(std::sqrt(2.0), 2), 0.5 + std::sqrt(2.0) / 4, 1e-14); // 1/2 + t / (2 sqrt(2 + t^2))
  EXPECT_NEAR(studentCdf(-1.8124611228107335, 10), 0.05, 1e-12);         // tables
  EXPECT_NEAR(studentCdf(2.2281388519649385, 10), 0.975, 1e-12);
  EXPECT_NEAR(studentCdf(1.959963984540054, 1e8), 0.975, 1e-8);          // normal
  EXPECT_EQ(studentCdf(0, 3.3), 0.5);
  EXPECT_EQ(studentCdf(-INFINITY, 4), 0);
}

TEST(Statistics, MeanAndSampleDeviation) {
  EXPECT_EQ(mean({2, 4, 9}), 5);
  EXPECT_NEAR(standardDeviation({2, 4, 9}), std::sqrt(13.0), 1e-15); // (9 + 1 + 16) / 2
  EXPECT_TRUE(std::isnan(standardDeviation({2})));
}

// Values of scipy 1.x: special.betainc, stats.t.cdf, stats.ttest_ind(equal_var=False, alternative="less").
TEST(Statistics, AgreesWithAnotherImplementation) {
  EXPECT_NEAR(incompleteBeta(2.5, 0.5, 0.3), 0.018927124071945658, 1e-15);
  EXPECT_NEAR(incompleteBeta(50, 0.5, 0.97), 0.08169933372182264, 1e-14);
  EXPECT_NEAR(incompleteBeta(300, 200, 0.61), 0.6741626935263771, 1e-12);
  EXPECT_NEAR(studentCdf(-2.5, 3.7), 0.03591101145591339, 1e-14);
  EXPECT_NEAR(studentCdf(4.2, 2.31), 0.9797703611539846, 1e-14);
  EXPECT_NEAR(studentCdf(-12, 5), 3.544746258580761e-05, 1e-17);
  std::vector<double> fresh = {1.05693, 1.05730, 1.05777}, baseline = {1.0597, 1.0601, 1.0592, 1.0599};
  auto test = welchTest(fresh, baseline);
  ASSERT_TRUE(test.isOk());
  EXPECT_NEAR(test->t, -7.7042607498250995, 1e-10);
  EXPECT_NEAR(test->degrees, 4.204866335138828, 1e-10);
  EXPECT_NEAR(test->p, 0.000621956387879436, 1e-13);
  test = welchTest(fresh, baseline, 0.002); // the improvement must exceed 0.002
  ASSERT_TRUE(test.isOk());
  EXPECT_NEAR(test->t, -1.2616733632122246, 1e-10);
  EXPECT_NEAR(test->p, 0.1362597345237176, 1e-11);
}

TEST(Statistics, WelchNeedsValuesThatVary) {
  EXPECT_EQ(welchTest({1}, {1, 2}).status().message(),
            "a Welch test needs at least two values on each side, got 1 and 2");
  EXPECT_EQ(welchTest({1, 1}, {2, 2}).status().code(), Code::Invalid);
  EXPECT_EQ(welchTest({1, NAN}, {2, 3}).status().code(), Code::Invalid);
  EXPECT_TRUE(welchTest({1, 1}, {2, 3}).isOk());
}

// --- bytes of the artifact

TEST(ByteLedger, EntropyOfCodesCountedByHand) {
  // Row {-1, -1, 1, 1}: deviation sqrt(4 / 3); 3 bits: qmax 3; clip sqrt(27) / 2 sigmas: scale 1. Codes -1, 1.
  QuantRule rule{3, std::sqrt(27.0) / 2};
  EXPECT_NEAR(codeEntropyBits({-1, -1, 1, 1}, 1, 4, rule), 1.0, 1e-12);
  // A second row of zeros: codes -1, -1, 0, 0, 0, 0, 1, 1: shares 1/4, 1/2, 1/4.
  EXPECT_NEAR(codeEntropyBits({-1, -1, 1, 1, 0, 0, 0, 0}, 2, 4, rule), 1.5, 1e-12);
  EXPECT_EQ(codeEntropyBits({0, 0, 0, 0}, 2, 2, rule), 0);
  EXPECT_EQ(codeEntropyBits({NAN, NAN}, 1, 2, rule), 0);
}

TEST(ByteLedger, GaussianWeightsCostTheEntropyOfARoundedGaussian) {
  // log2(sigma / scale) + log2(2 pi e) / 2, with sigma / scale = 31 / 13 (attn), 31 / 12 (mlp), 63 / 15 (embed).
  Package package;
  for (const char *label : {"attn", "mlp", "embed", ""})
    package.parameters.push_back({std::string("w.") + label, DType::F32, {512, 256}, {}, "matrix", label, ""});
  package.parameters.push_back({"small", DType::F32, {256, 256}, {}, "matrix", "attn", ""});
  package.spec = "model: x\n";
  std::vector<float> values(512 * 256);
  Random random(3, "gauss");
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = float(0.02 * random.normal(i));
  ByteLedger ledger = estimateBytes(package, [&](size_t) { return values.data(); });
  ASSERT_EQ(ledger.tensors.size(), 5u);
  double counts = 512 * 256, bits[] = {3.301, 3.416, 4.117};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(8 * double(ledger.tensors[i].coded - 2 * 512) / counts, bits[i], 0.02);
    EXPECT_EQ(ledger.tensors[i].raw, 4 * 512 * 256);
  }
  EXPECT_EQ(ledger.tensors[0].quantised, 512 * 256 * 6 / 8 + 2 * 512);
  EXPECT_EQ(ledger.tensors[2].quantised, 512 * 256 * 7 / 8 + 2 * 512);
  EXPECT_EQ(ledger.tensors[3].coded, 2 * 512 * 256); // no label
  EXPECT_EQ(ledger.tensors[4].coded, 2 * 256 * 256); // too small to be worth it
  // Sampling a quarter of the rows stays near the whole.
  ByteLedger sampled = estimateBytes(package, [&](size_t) { return values.data(); }, 32768);
  EXPECT_NEAR(double(sampled.tensors[0].coded), double(ledger.tensors[0].coded), 0.01 * double(ledger.tensors[0].coded));
  EXPECT_EQ(ledger.artifactBytes(), ledger.coded + 9);
  EXPECT_EQ(ledger.toJson()["artifact"], ledger.artifactBytes());
  // Weights that are all zero round to one code: only their scales are left.
  std::fill(values.begin(), values.end(), 0.0f);
  EXPECT_EQ(estimateBytes(package, [&](size_t) { return values.data(); }).tensors[0].coded, 2 * 512);
}

// --- provenance

TEST(Environment, FilesAndShardsAreIdentifiedByTheirBytes) {
  std::string folder = testFolder(), one = folder + "/a_0.bin", two = folder + "/a_1.bin";
  spill(one, std::string(1024 + 20, 'x'));
  spill(two, std::string(1024 + 200000, 'y'));
  auto file = describeFile(one);
  ASSERT_TRUE(file.isOk());
  EXPECT_EQ((*file)["sha256"], sha256Hex(std::string(1044, 'x')));
  auto shards = describeShards({one, two});
  ASSERT_TRUE(shards.isOk());
  EXPECT_EQ((*shards)["tokens"], 10 + 100000);
  EXPECT_EQ((*shards)["first"], "a_0.bin");
  EXPECT_EQ((*shards)["last"], "a_1.bin");
  std::string changed(1024 + 200000, 'y');
  changed.back() = 'z';
  spill(two, changed);
  EXPECT_NE((*describeShards({one, two}))["digest"], (*shards)["digest"]);
  EXPECT_EQ(describeShards({folder + "/absent"}).status().code(), Code::Io);
  EXPECT_GE(describeMachine()["logical_cpus"].get<int>(), 1);
}

} // namespace
} // namespace pg::rt
