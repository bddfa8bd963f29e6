//===- CheckpointTest.cpp - a run can be ended at any instant ---------------------===//
//
// PG_KILLS=200 makes the kill test a long one (default 20 kills).
//
//===----------------------------------------------------------------------===//
#include "FakePackage.h"
#include "runtime/data/TokenShards.h"
#include "runtime/support/File.h"
#include "runtime/support/Json.h"
#include "runtime/support/Log.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Trainer.h"
#include "runtime/weights/Safetensors.h"

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace pg::rt {
namespace {

class CheckpointTest : public ::testing::Test {
protected:
  std::string folder = testFolder();
  TrainOptions options;
  std::vector<TrainObserver *> observers;

  void SetUp() override {
    spill(folder + "/fineweb_train_0.bin", serialiseShard(patternTokens(400)));
    spill(folder + "/fineweb_train_1.bin", serialiseShard(patternTokens(330)));
    spill(folder + "/fineweb_val_0.bin", serialiseShard(patternTokens(60)));
    options.dataFolder = folder;
    setQuiet(true);
  }
  void TearDown() override { setQuiet(false); }

  StatusOr<TrainResult> trainIn(const std::string &run, bool resume, std::vector<std::string> settings = {},
                                int threads = 1) {
    auto executor = fakeExecutor(threads);
    Recipe recipe(executor->package());
    settings.insert(settings.begin(), {"schedule.steps=30", "eval.every=10", "checkpoint.every=4",
                                       "schedule.warmdown_fraction=0.4", "batch.logical_ranks=2", "clip.norm=0.5"});
    for (const std::string &setting : settings)
      EXPECT_TRUE(recipe.set(setting, "test").isOk()) << setting;
    options.runFolder = folder + "/" + run;
    options.resume = resume;
    options.observers = observers;
    return train(*executor, recipe, options);
  }
  std::string weightsOf(const std::string &run) { return slurp(folder + "/" + run + "/weights.safetensors"); }
  std::vector<std::string> filesOf(const std::string &run) { return *listFolder(folder + "/" + run + "/checkpoints"); }
};

/// Calls back after every step, in the training thread.
class AfterStep : public TrainObserver {
public:
  explicit AfterStep(std::function<Status(int64_t)> body) : body(std::move(body)) {}
  Status onStep(const StepReport &step) override { return body(step.step); }

private:
  std::function<Status(int64_t)> body;
};

TEST_F(CheckpointTest, GoesOnFromEveryCheckpointWithTheSameBits) {
  ASSERT_TRUE(trainIn("whole", false).isOk());
  for (int64_t last : {4, 8, 20, 28, 29}) {
    std::string run = "cut" + std::to_string(last);
    AfterStep stop([&](int64_t step) { return step == last ? Status(Code::Io, "pulled") : Status::ok(); });
    observers = {&stop};
    EXPECT_EQ(trainIn(run, false).status().message(), "pulled");
    observers = {};
    auto resumed = trainIn(run, true, {}, last % 8 == 0 ? 2 : 1);
    ASSERT_TRUE(resumed.isOk()) << resumed.status().message();
    EXPECT_EQ(resumed->resumedFrom, last); // an error, too, saves what was done
    EXPECT_EQ(resumed->steps, 30);
    EXPECT_EQ(weightsOf(run), weightsOf("whole"));
  }
  // Logging and checkpoints of another frequency change nothing.
  ASSERT_TRUE(trainIn("quiet", false, {"checkpoint.every=0", "eval.every=0", "log.every=1000"}).isOk());
  EXPECT_EQ(weightsOf("quiet"), weightsOf("whole"));
}

TEST_F(CheckpointTest, KeepsTheLastOnesAndTheBest) {
  ASSERT_TRUE(trainIn("kept", false, {"checkpoint.every=3", "checkpoint.keep=2"}).isOk());
  // Learning the pattern, the last validation (step 30) is the best.
  EXPECT_EQ(filesOf("kept"), (std::vector<std::string>{"step-00000027.json", "step-00000027.safetensors",
                                                       "step-00000030.json", "step-00000030.safetensors"}));
  auto record = parseJson(slurp(folder + "/kept/checkpoints/step-00000030.json"));
  ASSERT_TRUE(record.isOk());
  EXPECT_EQ((*record)["state"]["best_step"], 30);
  // A tiny learning rate afterwards with a loss that cannot fall keeps the first best one.
  ASSERT_TRUE(trainIn("best", false, {"checkpoint.every=3", "checkpoint.keep=1", "optimizer.groups.embed.lr=-1"}).isOk());
  EXPECT_EQ(filesOf("best"), (std::vector<std::string>{"step-00000010.json", "step-00000010.safetensors",
                                                       "step-00000030.json", "step-00000030.safetensors"}));
}

TEST_F(CheckpointTest, ADamagedNewestOneGivesWayToTheOneBefore) {
  ASSERT_TRUE(trainIn("whole", false).isOk());
  std::string checkpoints = folder + "/whole/checkpoints/";
  std::string tensors = slurp(checkpoints + "step-00000030.safetensors"), record = slurp(checkpoints + "step-00000030.json");
  auto resume = [&] { return trainIn("whole", true); };
  std::string flipped = tensors;
  flipped[flipped.size() - 3] ^= 1;
  std::string wrongStep = record;
  wrongStep.replace(wrongStep.find("\"step\": 30"), 10, "\"step\": 29");
  struct Damage {
    std::string tensors, record;
  };
  for (const Damage &damage : {Damage{flipped, record}, Damage{tensors.substr(0, tensors.size() / 2), record},
                               Damage{"", record}, Damage{tensors, record.substr(0, 100)}, Damage{tensors, wrongStep},
                               Damage{tensors, "[]"}, Damage{tensors, ""}}) {
    spill(checkpoints + "step-00000030.safetensors", damage.tensors);
    spill(checkpoints + "step-00000030.json", damage.record);
    auto resumed = resume();
    ASSERT_TRUE(resumed.isOk()) << resumed.status().message();
    EXPECT_EQ(resumed->resumedFrom, 28);
    EXPECT_EQ(slurp(checkpoints + "step-00000030.safetensors"), tensors);
  }
  for (const std::string &name : filesOf("whole"))
    spill(checkpoints + name, "x");
  auto hopeless = resume();
  EXPECT_EQ(hopeless.status().code(), Code::Corrupt);
  EXPECT_NE(hopeless.status().message().find("none of the 2 checkpoints"), std::string::npos);
}

TEST_F(CheckpointTest, AnotherProgramOrOtherDataIsRefused) {
  ASSERT_TRUE(trainIn("run", false).isOk());
  auto resumeWith = [&](Package package) {
    auto executor = Executor::create(std::move(package), {});
    Recipe recipe((*executor)->package());
    options.runFolder = folder + "/run";
    options.resume = true;
    EXPECT_TRUE(recipe.set("schedule.steps=32", "test").isOk());
    return train(**executor, recipe, options);
  };
  Package other = fakePackage();
  other.programHash[0] = '1';
  auto refused = resumeWith(other);
  EXPECT_EQ(refused.status().code(), Code::Invalid);
  EXPECT_NE(refused.status().message().find("of another program than this package"), std::string::npos);
  // The same program, built again by another compiler for another CPU, goes on.
  Package rebuilt = fakePackage();
  rebuilt.compiler = "another";
  rebuilt.targets[0].level = "x86-64-v2";
  auto saidWhenResumed = [&] {
    setQuiet(false);
    testing::internal::CaptureStderr();
    EXPECT_TRUE(resumeWith(rebuilt).isOk());
    setQuiet(true);
    return testing::internal::GetCapturedStderr();
  };
  std::string said = saidWhenResumed();
  EXPECT_NE(said.find("was written by other code (cpu "), std::string::npos) << said;
  EXPECT_NE(said.find(" x86-64-v2, compiled by another)"), std::string::npos) << said;
  EXPECT_EQ(saidWhenResumed().find("other code"), std::string::npos);
  std::string shard = slurp(folder + "/fineweb_train_1.bin");
  shard[1024 + 40] ^= 1;
  spill(folder + "/fineweb_train_1.bin", shard);
  refused = resumeWith(fakePackage());
  EXPECT_EQ(refused.status().code(), Code::Invalid);
  EXPECT_NE(refused.status().message().find("was trained on other shards"), std::string::npos);
}

TEST_F(CheckpointTest, EveryCallOfAWriteMayFailOnce) {
  auto executor = fakeExecutor();
  Checkpoints checkpoints(*executor, folder, {"data"}, 2, true);
  TrainState first;
  first.step = 5;
  ASSERT_TRUE(checkpoints.write(first).isOk());
  TrainState second;
  second.step = 6;
  int64_t call = 1;
  for (;; ++call) {
    file_faults::arm(call, file_faults::Action::Fail, call % 2 ? ENOSPC : EIO);
    Status status = checkpoints.write(second);
    bool isHit = file_faults::calls() >= call;
    file_faults::disarm();
    auto restored = checkpoints.restoreNewest();
    ASSERT_TRUE(restored.isOk()) << "call " << call << ": " << restored.status().message();
    ASSERT_TRUE(restored->has_value());
    if (!isHit) {
      EXPECT_TRUE(status.isOk());
      EXPECT_EQ((*restored)->step, 6);
      break;
    }
    if (!status) {
      EXPECT_EQ(status.code(), Code::Io) << "call " << call;
    }
    // The one before is there, or the new one is complete already; no temporary stays.
    EXPECT_TRUE((*restored)->step == 5 || (*restored)->step == 6) << "call " << call;
    auto names = listFolder(folder);
    ASSERT_TRUE(names.isOk());
    for (const std::string &name : *names)
      EXPECT_EQ(name.find(".tmp"), std::string::npos) << "call " << call << " leaves " << name;
    ASSERT_TRUE(checkpoints.restore(5).isOk()) << "call " << call;
    for (const char *suffix : {".json", ".safetensors"})
      ASSERT_TRUE(removeFile(folder + "/step-00000006" + suffix).isOk());
  }
  EXPECT_GT(call, 12); // two files of at least open, write, fsync, close, rename, folder open and fsync
}

TEST_F(CheckpointTest, DyingAtEveryCallOfAWriteLosesNothing) {
  auto executor = fakeExecutor();
  Checkpoints checkpoints(*executor, folder, {"data"}, 1, true);
  TrainState first;
  first.step = 5;
  ASSERT_TRUE(checkpoints.write(first).isOk());
  TrainState second;
  second.step = 6;
  for (int64_t call = 1;; ++call) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      file_faults::arm(call, file_faults::Action::Die, 0);
      ::_exit(checkpoints.write(second) ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    auto restored = checkpoints.restoreNewest();
    ASSERT_TRUE(restored.isOk() && restored->has_value()) << "call " << call;
    EXPECT_TRUE((*restored)->step == 5 || (*restored)->step == 6);
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      EXPECT_EQ((*restored)->step, 6);
      break;
    }
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
    // As if the second had never been: the first one may have been pruned only after the second was complete.
    ASSERT_TRUE(checkpoints.write(first).isOk());
    for (const char *suffix : {".json", ".safetensors"})
      ASSERT_TRUE(removeFile(folder + "/step-00000006" + suffix).isOk());
  }
}

TEST_F(CheckpointTest, NoCheckpointHoldsWhatIsNotFinite) {
  auto executor = fakeExecutor();
  Checkpoints checkpoints(*executor, folder, {"data"}, 2, true);
  ASSERT_TRUE(checkpoints.write({}).isOk());
  static_cast<float *>(executor->parameter(0))[7] = INFINITY;
  TrainState later;
  later.step = 1;
  Status status = checkpoints.write(later);
  EXPECT_EQ(status.code(), Code::Numerical);
  EXPECT_EQ(status.message(), "no checkpoint is written: 'table' (fake.yaml:1:1) is not finite");
  static_cast<float *>(executor->parameter(0))[7] = 0;
  static_cast<float *>(executor->state(1))[0] = NAN;
  EXPECT_EQ(checkpoints.write(later).message(), "no checkpoint is written: 'state/momentum.table' (fake.yaml:1:1) is not finite");
  EXPECT_EQ(checkpoints.steps(), std::vector<int64_t>{0});
}

TEST_F(CheckpointTest, InfinityFromAnUpdateStopsWithinOneStep) {
  // The momentum grows by 1e30 a step: it overflows in the third.
  auto result = trainIn("run", false, {"optimizer.groups.embed.args.decay=1e30", "clip.norm=0", "checkpoint.every=1"});
  EXPECT_EQ(result.status().code(), Code::Numerical) << result.status().message();
  EXPECT_NE(result.status().message().find("fake.yaml:1:1"), std::string::npos) << result.status().message();
  auto executor = fakeExecutor();
  for (const std::string &name : filesOf("run"))
    if (name.find(".safetensors") != std::string::npos) {
      auto file = SafetensorsFile::read(folder + "/run/checkpoints/" + name);
      ASSERT_TRUE(file.isOk());
      for (const auto &[tensor, view] : file->tensors()) {
        auto values = toDoubles(view, tensor);
        for (double value : *values)
          EXPECT_TRUE(std::isfinite(value)) << name << " " << tensor;
        }
    }
}

TEST_F(CheckpointTest, AFullDiskKeepsTheLastCheckpoint) {
  // In a child, because a limit on file sizes can only be lowered. 64 KiB stand for the end of the disk: the metrics
  // reach it after some hundred steps.
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    rlimit limit{1 << 16, 1 << 16};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto result = trainIn("full", false, {"schedule.steps=100000", "log.every=1"});
    ::_exit(int(result.status().code()));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 4);
  auto executor = fakeExecutor();
  for (const std::string &name : filesOf("full"))
    EXPECT_EQ(name.find(".tmp"), std::string::npos);
  // The torn line at the end of the metrics goes away, and the run goes on.
  auto resumed = trainIn("full", true, {"schedule.steps=400", "log.every=1"});
  ASSERT_TRUE(resumed.isOk()) << resumed.status().message();
  EXPECT_GT(resumed->resumedFrom, 50);
  EXPECT_EQ(resumed->steps, 400);
}

/// The run as its own process: pgrun, killed at random instants.
TEST_F(CheckpointTest, KilledAtRandomItEndsWithTheSameBits) {
  std::string package = folder + "/fake.pgx";
  ASSERT_TRUE(writePackage(fakePackage(), package).isOk());
  auto command = [&](const std::string &run) {
    return std::vector<std::string>{PGRUN, "train", package, "--data", folder, "--run", folder + "/" + run, "--resume",
                                    "--threads", "1", "-q", "--steps", "6000", "--set", "checkpoint.every=100",
                                    "--set", "eval.every=1000", "--set", "clip.norm=0.5"};
  };
  auto start = [&](const std::string &run) {
    std::vector<std::string> words = command(run);
    std::vector<char *> argv;
    for (std::string &word : words)
      argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t child = ::fork();
    if (child == 0) {
      (void)!std::freopen("/dev/null", "w", stdout);
      ::execv(PGRUN, argv.data());
      ::_exit(127);
    }
    return child;
  };
  int status = 0;
  pid_t whole = start("whole");
  double began = monotonicSeconds();
  ASSERT_EQ(::waitpid(whole, &status, 0), whole);
  double seconds = monotonicSeconds() - began;
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;

  const char *wanted = std::getenv("PG_KILLS");
  int kills = wanted ? std::atoi(wanted) : 20, done = 0;
  std::srand(7);
  for (int attempt = 0; done < kills && attempt < 50 * kills; ++attempt) {
    pid_t child = start("killed");
    // Late enough, on the whole, to get on a little every time.
    double wait = (0.3 + 1.4 * std::rand() / RAND_MAX) * seconds * 1.5 / kills + 0.01;
    ::usleep(useconds_t(wait * 1e6));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
      ++done;
      continue;
    }
    ASSERT_EQ(WEXITSTATUS(status), 0);
    // Finished before its turn: what is there must be right; then another run is killed.
    ASSERT_EQ(weightsOf("killed"), weightsOf("whole"));
    ASSERT_EQ(std::system(("rm -rf '" + folder + "/killed'").c_str()), 0);
  }
  EXPECT_EQ(done, kills);
  pid_t last = start("killed");
  ASSERT_EQ(::waitpid(last, &status, 0), last);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(weightsOf("killed"), weightsOf("whole"));
  // Every step has one metrics line: what was logged twice was cut back.
  int64_t before = 0;
  std::string text = slurp(folder + "/killed/metrics.jsonl");
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    auto line = parseJson(text.substr(at, end - at));
    ASSERT_TRUE(line.isOk());
    if ((*line)["stage"] == "train") {
      EXPECT_GT((*line)["step"].get<int64_t>(), before);
      before = (*line)["step"];
    }
    at = end + 1;
  }
  EXPECT_EQ(before, 6000);
}

} // namespace
} // namespace pg::rt
