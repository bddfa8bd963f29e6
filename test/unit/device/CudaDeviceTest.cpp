//===- CudaDeviceTest.cpp - what the CUDA device asks of its driver ---------------===//
#include "FakeCuda.h"
#include "runtime/eval/Score.h"
#include "runtime/train/Initialise.h"

#include <algorithm>
#include <sys/wait.h>

namespace pg::rt {
namespace {

using Lines = std::vector<std::string>;

BatchTables batchOf(int tokens) {
  std::vector<int32_t> list;
  for (int i = 0; i <= tokens; ++i)
    list.push_back(i % 8);
  BatchTables batch;
  batch.add(rowOf(list));
  return batch;
}

/// The journal of one run, without copies and their waits.
Lines runJournal(Executor &executor, const std::string &entry, int tokens) {
  journal();
  EXPECT_TRUE(runBatch(executor, executor.findEntry(entry), batchOf(tokens)).isOk());
  Lines lines = journal();
  lines.erase(std::remove_if(lines.begin(), lines.end(),
                             [](const std::string &line) {
                               return line.rfind("copy", 0) == 0 || line.rfind("stream", 0) == 0;
                             }),
              lines.end());
  return lines;
}

TEST(CudaDevice, OneRunOneCaptureThenReplays) {
  auto executor = fakeCudaExecutor();
  EXPECT_EQ(runJournal(*executor, "accumulate@late", 30), (Lines{"launch fake_nll 1x32", "launch fake_gradient 1x32"}));
  EXPECT_EQ(runJournal(*executor, "accumulate@late", 30),
            (Lines{"begin capture", "launch fake_nll 1x32", "launch fake_gradient 1x32", "end capture 2",
                   "graph launch 2"}));
  EXPECT_EQ(runJournal(*executor, "accumulate@late", 30), (Lines{"graph launch 2"}));
  // Another number of tokens or another entry is another graph.
  EXPECT_EQ(runJournal(*executor, "accumulate@late", 7).size(), 2u);
  EXPECT_EQ(runJournal(*executor, "score@late", 30), (Lines{"launch fake_nll 1x32"}));
  EXPECT_EQ(runJournal(*executor, "accumulate@late", 30), (Lines{"graph launch 2"}));
}

TEST(CudaDevice, InputsScalarsAndTablesGoUpOncePerRun) {
  auto executor = fakeCudaExecutor();
  journal();
  ASSERT_TRUE(runBatch(*executor, executor->findEntry("accumulate@plain"), batchOf(5)).isOk());
  Lines lines = journal();
  // All in one copy from the host, each piece at a multiple of 256 bytes; the last one is a table.
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "copy to device 2068 on stream 1"), 1);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "copy inside 20"), 3 + 5); // three inputs, five tables
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "copy inside 8"), 1);      // loss_scale
  EXPECT_EQ(lines.back(), "launch fake_gradient 1x32");
}

TEST(CudaDevice, SharedMemoryAboveTheDefaultIsAskedFor) {
  journal();
  auto executor = fakeCudaExecutor();
  Lines lines = journal();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "attribute 8 of fake_logits = 65536"), 1);
  std::vector<TokenRow> rows = {rowOf({1, 2, 3})};
  ASSERT_TRUE(logitsAt(*executor, *findRole(*executor, "logits", ""), rows, {0}).isOk());
  lines = journal();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "launch fake_logits 1x32 shared 65536"), 1);
}

TEST(CudaDevice, GraphsAreGivenUpWhenTheyBecomeMany) {
  auto executor = fakeCudaExecutor();
  auto &device = static_cast<CudaDevice &>(executor->device());
  for (int again = 0; again < 2; ++again)
    for (const char *entry : {"score@plain", "score@late"})
      for (int tokens = 1; tokens <= 20; ++tokens)
        for (int run = 0; run < 2; ++run)
          ASSERT_TRUE(runBatch(*executor, executor->findEntry(entry), batchOf(tokens)).isOk());
  EXPECT_EQ(device.heldGraphs(), 32u);
}

TEST(CudaDevice, GraphsCanBeTurnedOff) {
  Environment off("PG_CUDA_GRAPHS", "off");
  auto executor = fakeCudaExecutor();
  for (int run = 0; run < 3; ++run)
    EXPECT_EQ(runJournal(*executor, "score@late", 30), (Lines{"launch fake_nll 1x32"}));
}

TEST(CudaDevice, AllMemoryIsGivenBack) {
  size_t before = usedDeviceBytes();
  {
    auto executor = fakeCudaExecutor();
    EXPECT_GT(usedDeviceBytes(), before);
  }
  EXPECT_EQ(usedDeviceBytes(), before);
}

Status createWith(const Package &package, int index = 0) {
  ::setenv("PG_CUDA_DRIVER", FAKE_CUDA_DRIVER, 1);
  ExecutorOptions options;
  options.threads = 1;
  options.device = {DeviceChoice::Kind::Cuda, index};
  auto executor = Executor::create(package, options);
  return executor ? Status::ok() : executor.status();
}

TEST(CudaDevice, OutOfMemoryNamesTheLargestValues) {
  Package package = fakeCudaPackage();
  package.entries[1].arenaBytes = uint64_t(3) << 30;
  package.entries[1].largest = {{uint64_t(2) << 30, "matmul_7", "pr.model.yaml:12:3"}};
  Environment memory("FAKE_CUDA_MEMORY", "1073741824");
  Status status = createWith(package);
  EXPECT_EQ(status.code(), Code::Environment);
  for (const char *part : {"not enough memory on Fake GPU 0 (cuda:0, sm_90a)", "the package needs 3072 MiB",
                           "3072 MiB asked for, 102", "of 1024 MiB free", "largest values of entry 'accumulate@plain'",
                           "2048 MiB by matmul_7 (pr.model.yaml:12:3)"})
    EXPECT_NE(status.message().find(part), std::string::npos) << part << "\n" << status.message();
}

TEST(CudaDevice, WrongArchitectureSaysWhatToCompileFor) {
  Environment capability("FAKE_CUDA_CAPABILITY", "120");
  Status status = createWith(fakeCudaPackage());
  EXPECT_EQ(status.code(), Code::Environment);
  EXPECT_EQ(status.message(), "Fake GPU 0: the GPU is sm_120, the package holds code for sm_80, sm_90a; recompile it with "
                              "pgc compile --target cuda:sm_120");
  Package bare = fakeCudaPackage();
  bare.cuda.images.clear();
  EXPECT_NE(createWith(bare).message().find("CUDA source but no code"), std::string::npos);
  EXPECT_NE(createWith(fakePackage()).message().find("holds no CUDA code"), std::string::npos);
  EXPECT_NE(createWith(fakeCudaPackage(), 3).message().find("there is no GPU cuda:3, this machine has 1 (cuda:0)"),
            std::string::npos);
}

TEST(CudaDevice, TheClosestImageIsChosen) {
  CudaCode code;
  for (const char *arch : {"sm_80", "sm_90", "sm_90a", "sm_100f"})
    code.images.push_back({arch, {}});
  auto chosen = [&](int major, int minor) {
    auto image = chooseImage(code, major, minor);
    return image ? (*image)->arch : "none";
  };
  EXPECT_EQ(chosen(9, 0), "sm_90a");
  EXPECT_EQ(chosen(8, 0), "sm_80");
  EXPECT_EQ(chosen(8, 9), "sm_80");
  EXPECT_EQ(chosen(10, 3), "sm_100f");
  EXPECT_EQ(chosen(7, 5), "none");
  code.images = {{"sm_90a", {}}, {"sm_86", {}}};
  EXPECT_EQ(chosen(8, 0), "none");
  EXPECT_EQ(chosen(9, 1), "none");
  // Machine code before PTX, the newest PTX before older, none that is newer than the GPU.
  code.images = {{"compute_90", {}}, {"sm_80", {}}, {"compute_80", {}}};
  EXPECT_EQ(chosen(8, 9), "sm_80");
  EXPECT_EQ(chosen(9, 0), "compute_90");
  EXPECT_EQ(chosen(12, 1), "compute_90");
  EXPECT_EQ(chosen(7, 5), "none");
  code.images = {{"compute_86", {}}};
  EXPECT_EQ(chosen(8, 0), "none");
  EXPECT_EQ(chosen(9, 0), "compute_86");
}

/// The fake driver compiles PTX to the library that the text names.
Package packageWithPtx(const std::string &target) {
  Package package = fakeCudaPackage();
  std::string text = "// kernels " FAKE_CUDA_KERNELS "\n.version 9.0\n.target " + target + "\n.address_size 64\n";
  package.cuda.images.push_back(
      {"compute_80", std::vector<std::string>(package.kernels.size() + 1, text)});
  return package;
}

TEST(CudaDevice, PtxIsCompiledByTheDriverWhereNoMachineCodeFits) {
  journal();
  auto count = [](const Lines &lines, const std::string &line) {
    return std::count(lines.begin(), lines.end(), line);
  };
  Package package = packageWithPtx("sm_80");
  {
    auto device = CudaDevice::create(package, 0, fakeDriver());
    ASSERT_TRUE(device.isOk()) << device.status().message();
    EXPECT_EQ(count(journal(), "compile PTX of sm_80"), 0); // sm_90a is there
  }
  Environment capability("FAKE_CUDA_CAPABILITY", "120");
  ::testing::internal::CaptureStderr();
  auto device = CudaDevice::create(package, 0, fakeDriver());
  std::string said = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(device.isOk()) << device.status().message();
  EXPECT_NE(said.find("no machine code for Fake GPU 0 in the package"), std::string::npos) << said;
  EXPECT_NE(said.find("--target cuda:sm_120 avoids it"), std::string::npos) << said;
  EXPECT_EQ(count(journal(), "compile PTX of sm_80"), long(package.kernels.size() + 1));
  EXPECT_EQ((*device)->describe(), "Fake GPU 0 (cuda:0, compute_80)");
}

TEST(CudaDevice, TheDoctorSaysOnWhichCodeAPackageRuns) {
  std::string path = ::testing::TempDir() + "ptx-doctor.pgx", report = path + ".txt";
  ASSERT_TRUE(writePackage(packageWithPtx("sm_80"), path).isOk());
  auto doctor = [&](const std::string &capability, int code) {
    std::string command = "PG_CUDA_DRIVER='" FAKE_CUDA_DRIVER "' FAKE_CUDA_CAPABILITY=" + capability + " '" PGRUN
                          "' doctor '" + path + "' --device cuda > '" + report + "' 2>&1";
    int status = std::system(command.c_str());
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, code) << capability;
    return slurp(report);
  };
  for (auto [capability, code, part] :
       {std::tuple("120", 0, "package on the GPU runs, from PTX that the driver compiles at the first start"),
        {"75", 3, "the GPU is sm_75, the package holds code for sm_80, sm_90a, compute_80"}}) {
    std::string said = doctor(capability, code);
    EXPECT_NE(said.find(part), std::string::npos) << part << "\n" << said;
  }
}

TEST(CudaDevice, PtxThatTheDriverRefusesIsExplained) {
  Environment capability("FAKE_CUDA_CAPABILITY", "120");
  Status status = createWith(packageWithPtx("sm_130"));
  EXPECT_EQ(status.code(), Code::Environment);
  for (const char *part : {"cannot load the compute_80 code (made by NVRTC 13.0", "this driver supports CUDA 13.0",
                           "a newer driver or a recompilation helps"})
    EXPECT_NE(status.message().find(part), std::string::npos) << part << "\n" << status.message();
}

TEST(CudaDevice, AFailedKernelIsReportedOnceAndForAll) {
  auto executor = fakeCudaExecutor();
  int entry = executor->findEntry("score@plain");
  ASSERT_TRUE(runBatch(*executor, entry, batchOf(4)).isOk());
  resetCalls();
  Environment fail("FAKE_CUDA_FAIL", "cuStreamSynchronize:1:700");
  double nll[4];
  Status status = readOutput(*executor, entry, "nll", 4, nll);
  EXPECT_EQ(status.code(), Code::Internal);
  EXPECT_EQ(status.message(), "work on Fake GPU 0 failed (PG_CUDA_SYNC=1 says in which kernel): "
                              "CUDA_ERROR_ILLEGAL_ADDRESS (700), an illegal memory access was encountered");
  executor->zeroGradients(); // says nothing, does nothing
  EXPECT_EQ(runBatch(*executor, entry, batchOf(4)).message(), status.message());
  EXPECT_EQ(executor->synchronize().message(), status.message());
}

TEST(CudaDevice, WaitingAfterEveryLaunchNamesTheKernel) {
  Environment wait("PG_CUDA_SYNC", "1");
  auto executor = fakeCudaExecutor();
  resetCalls();
  Environment fail("FAKE_CUDA_FAIL", "cuStreamSynchronize:2:700");
  Status status = runBatch(*executor, executor->findEntry("accumulate@plain"), batchOf(4));
  EXPECT_EQ(status.message(), "entry 'accumulate@plain', launch 1: kernel 'fake_gradient' (gradient, 1 blocks of 32): "
                              "CUDA_ERROR_ILLEGAL_ADDRESS (700), an illegal memory access was encountered");
}

TEST(CudaDevice, EveryDriverFailureIsAStatus) {
  for (const char *call : {"cuMemAlloc:2:2", "cuMemHostAlloc:1:2", "cuMemcpyHtoDAsync:1:1", "cuMemcpyDtoHAsync:1:1",
                           "cuLaunchKernel:1:701", "cuGraphInstantiateWithFlags:1:2", "cuGraphLaunch:1:700",
                           "cuModuleLoadData:3:209", "cuModuleGetFunction:2:500", "cuStreamCreate:2:2",
                           "cuStreamWaitEvent:1:700", "cuEventSynchronize:1:700"}) {
    resetCalls();
    Environment fail("FAKE_CUDA_FAIL", call);
    auto work = [&]() -> Status {
      ::setenv("PG_CUDA_DRIVER", FAKE_CUDA_DRIVER, 1);
      ExecutorOptions options;
      options.threads = 1;
      options.device = {DeviceChoice::Kind::Cuda, 0};
      auto executor = Executor::create(fakeCudaPackage(), options);
      if (!executor)
        return executor.status();
      for (int run = 0; run < 2; ++run)
        if (auto nll = scoreRows(**executor, (*executor)->findEntry("score@plain"), {rowOf({1, 2, 3})}); !nll)
          return nll.status();
      return Status::ok();
    };
    Status status = work();
    EXPECT_FALSE(status.isOk()) << call;
    EXPECT_FALSE(status.message().empty()) << call;
  }
}

TEST(CudaDriver, EveryBadDriverHasItsMessage) {
  auto messageWith = [](const char *variable, const char *value) {
    Environment set(variable, value);
    auto loaded = cuda::loadDriver(FAKE_CUDA_DRIVER);
    EXPECT_EQ(loaded.status().code(), Code::Environment);
    return loaded.status().message();
  };
  EXPECT_NE(messageWith("FAKE_CUDA_INIT", "34").find("is the stub library"), std::string::npos);
  EXPECT_NE(messageWith("FAKE_CUDA_INIT", "100").find("finds no GPU"), std::string::npos);
  EXPECT_NE(messageWith("FAKE_CUDA_INIT", "803").find("different versions"), std::string::npos);
  EXPECT_NE(messageWith("FAKE_CUDA_INIT", "802").find("fabricmanager"), std::string::npos);
  EXPECT_EQ(messageWith("FAKE_CUDA_INIT", "999"), "the CUDA driver cannot start (cuInit gives 999)");
  EXPECT_EQ(messageWith("FAKE_CUDA_VERSION", "11040"),
            "the CUDA driver supports CUDA 11.4, at least 12.0 is needed; update the NVIDIA driver");
  EXPECT_EQ(messageWith("FAKE_CUDA_LACKS", "cuGraphLaunch"),
            "the CUDA driver lacks cuGraphLaunch; update the NVIDIA driver");
  auto absent = cuda::loadDriver("/nowhere/libcuda.so.1");
  EXPECT_EQ(absent.status().code(), Code::Environment);
  EXPECT_NE(absent.status().message().find("no CUDA driver ("), std::string::npos);
  auto other = cuda::loadDriver(FAKE_CUDA_KERNELS);
  EXPECT_NE(other.status().message().find("is not a CUDA driver"), std::string::npos);
}

TEST(DeviceChoice, Spellings) {
  EXPECT_EQ(parseDeviceChoice("auto")->kind, DeviceChoice::Kind::Auto);
  EXPECT_EQ(parseDeviceChoice("cuda:3")->index, 3);
  for (const char *bad : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:9999", "CPU"})
    EXPECT_FALSE(parseDeviceChoice(bad)) << bad;
}

} // namespace
} // namespace pg::rt
