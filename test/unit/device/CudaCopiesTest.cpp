//===- CudaCopiesTest.cpp - batches that follow one another without a stop --------===//
//
// Copies from the host run beside the launches of the batch before, and results
// are taken after the next batch was queued. The fake driver lets either stream
// run as early or as late as what it waits for allows: nothing but the waits that
// the device code asks for keeps a batch's inputs apart from the next one's. Each
// of those waits is left out once, and the numbers must show it.
//
//===----------------------------------------------------------------------===//
#include "FakeCuda.h"
#include "runtime/eval/Score.h"
#include "runtime/train/Initialise.h"

namespace pg::rt {
namespace {

using Lines = std::vector<std::string>;

constexpr int kTokens = 30;

BatchTables batchOf(int number) {
  std::vector<int32_t> list;
  for (int i = 0; i <= kTokens; ++i)
    list.push_back((i * (number + 1) + number) % 8);
  BatchTables batch;
  batch.add(rowOf(list));
  return batch;
}

/// Runs `count` batches one after the other; every NLL, in order.
Status runBatches(Executor &executor, int count, std::vector<double> &nll) {
  int entry = executor.findEntry("score@plain");
  OutputRead before;
  std::vector<double> values(kTokens);
  auto take = [&](const OutputRead &read) {
    Status status = read.take(executor, values.data());
    nll.insert(nll.end(), values.begin(), values.end());
    return status;
  };
  for (int i = 0; i < count; ++i) {
    OutputRead read;
    Status status = runBatch(executor, entry, batchOf(i));
    if (status)
      status = read.queue(executor, entry, "nll", kTokens);
    if (status && i > 0)
      status = take(before);
    if (!status)
      return status;
    before = read;
  }
  return take(before);
}

/// Of eight batches: gradients of all, and the NLL of each while the next is under way. The same twice, so that slots
/// hold valid tokens when waits are left out in the second half.
struct Numbers {
  std::vector<double> nll;
  std::string gradient = std::string(256, '\0');
  bool operator==(const Numbers &) const = default;
};

Numbers numbersOf(Executor &executor, const std::string &skip = "") {
  Numbers numbers;
  EXPECT_TRUE(initialise(executor, 5).isOk());
  std::vector<double> ignored;
  EXPECT_TRUE(runBatches(executor, 8, ignored).isOk());
  EXPECT_TRUE(executor.synchronize().isOk());
  Environment planted("FAKE_CUDA_SKIP", skip);
  EXPECT_TRUE(runBatches(executor, 8, numbers.nll).isOk());
  int entry = executor.findEntry("accumulate@plain");
  executor.setScalar(entry, "loss_scale", 0.5);
  executor.zeroGradients();
  // Nobody waits here at all.
  for (int i = 0; i < 8; ++i)
    EXPECT_TRUE(runBatch(executor, entry, batchOf(i)).isOk());
  EXPECT_TRUE(executor.readState(0, numbers.gradient.data()).isOk());
  return numbers;
}

TEST(CudaCopies, OneCopyPerBatchBesideTheRunBefore) {
  auto executor = fakeCudaExecutor();
  int entry = executor->findEntry("score@plain");
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(runBatch(*executor, entry, batchOf(i)).isOk());
  journal();
  ASSERT_TRUE(runBatch(*executor, entry, batchOf(3)).isOk());
  Lines pieces(8, "copy inside 120"); // three inputs, five tables
  Lines expected = {"stream 1 waits for stream 0", "copy to device 1912 on stream 1", "stream 0 waits for stream 1"};
  expected.insert(expected.end(), pieces.begin(), pieces.end());
  expected.push_back("graph launch 1");
  EXPECT_EQ(journal(), expected);
}

TEST(CudaCopies, BatchesInFlightKeepTheirInputsAndResults) {
  Numbers expected = numbersOf(*fakeExecutor());
  for (const char *eager : {"", "0", "1"}) {
    Environment streams("FAKE_CUDA_EAGER", eager);
    EXPECT_TRUE(numbersOf(*fakeCudaExecutor()) == expected) << "eager stream " << eager;
  }
}

TEST(CudaCopies, EveryWaitIsNeeded) {
  Numbers expected = numbersOf(*fakeExecutor());
  struct Planted {
    const char *skip, *eager, *what;
  };
  for (const Planted &planted :
       {Planted{"cuStreamWaitEvent:0", "", "launches before their inputs have come"},
        Planted{"cuStreamWaitEvent:1", "1", "inputs over those of a batch that has not begun"},
        Planted{"cuEventSynchronize:1", "", "the host writes over what was not sent"},
        Planted{"cuEventSynchronize:0", "", "results before the run has ended"}}) {
    Environment streams("FAKE_CUDA_EAGER", planted.eager);
    EXPECT_FALSE(numbersOf(*fakeCudaExecutor(), planted.skip) == expected) << planted.what;
  }
}

TEST(CudaCopies, AnOldResultIsRefused) {
  for (bool onGpu : {false, true}) {
    auto executor = onGpu ? fakeCudaExecutor() : fakeExecutor();
    Device &device = executor->device();
    auto memory = device.allocate(64);
    ASSERT_TRUE(memory.isOk());
    std::vector<uint64_t> tickets;
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(device.fill(*memory, uint8_t(i + 1), 64).isOk());
      auto ticket = device.queueRead(*memory, 64);
      ASSERT_TRUE(ticket.isOk());
      tickets.push_back(*ticket);
    }
    char bytes[64];
    EXPECT_EQ(device.finishRead(tickets[0], bytes, 64).code(), Code::Internal);
    EXPECT_EQ(device.finishRead(tickets[4] + 1, bytes, 64).code(), Code::Internal);
    for (int i : {4, 1, 3, 2}) {
      ASSERT_TRUE(device.finishRead(tickets[size_t(i)], bytes, 64).isOk());
      EXPECT_EQ(bytes[63], i + 1);
    }
  }
}

TEST(CudaCopies, AFailedRunIsReportedWhereItsResultIsTaken) {
  auto executor = fakeCudaExecutor();
  int entry = executor->findEntry("score@plain");
  OutputRead read;
  ASSERT_TRUE(runBatch(*executor, entry, batchOf(0)).isOk());
  ASSERT_TRUE(read.queue(*executor, entry, "nll", kTokens).isOk());
  resetCalls();
  Environment fail("FAKE_CUDA_FAIL", "cuEventSynchronize:1:700");
  std::vector<double> values(kTokens);
  Status status = read.take(*executor, values.data());
  EXPECT_NE(status.message().find("work on Fake GPU 0 failed (PG_CUDA_SYNC=1 says in which kernel)"), std::string::npos)
      << status.message();
  EXPECT_EQ(runBatch(*executor, entry, batchOf(1)).message(), status.message());
}

} // namespace
} // namespace pg::rt
