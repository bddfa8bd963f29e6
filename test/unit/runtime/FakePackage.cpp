//===- FakePackage.cpp - a package made without the compiler --------------------===//
#include "FakePackage.h"
#include "runtime/support/File.h"

namespace pg::rt {
namespace {

using Kind = BufferRef::Kind;

constexpr uint64_t kNllOffset = 64;

Port tokenInput(const char *name) { return {name, DType::I32, true, {}, {}}; }

Launch launch(uint32_t kernel, std::vector<BufferRef> buffers, WorkItems items) {
  return {kernel, std::move(buffers), {double(kFakeVocabulary)}, items};
}

Entry tokenEntry(const std::string &role, const std::string &phase) {
  Entry entry;
  entry.name = role + "@" + phase;
  entry.role = role;
  entry.phase = phase;
  entry.maxTokens = kFakeMaxTokens;
  entry.arenaBytes = kNllOffset + kFakeMaxTokens * sizeof(float);
  entry.inputs = {tokenInput("tokens"), tokenInput("targets"), tokenInput("position")};
  return entry;
}

} // namespace

Package fakePackage() {
  Package package;
  package.model = "fake";
  package.compiler = "hand";
  package.programHash = std::string(64, '0');
  package.precision = "f32";
  package.vocabulary = kFakeVocabulary;
  std::vector<int64_t> square = {kFakeVocabulary, kFakeVocabulary};
  package.parameters = {{"table", DType::F32, square, {"normal", {{"std", 0.1}}}, "embed", "", "fake.yaml:1:1"}};
  package.states = {{"grad.table", "gradient", "table", DType::F32, square, 0.0},
                    {"momentum.table", "optimizer", "table", DType::F32, square, 0.0}};
  package.phases = {{"plain", 0.0}, {"late", 0.5}};
  package.kernels = {{"fake_nll", 0, "loss", "row"},
                     {"fake_gradient", kFakeVocabulary * sizeof(float), "gradient", "row"},
                     {"fake_logits", 0, "logits", "row"},
                     {"fake_apply", 0, "update", "update"},
                     {"fake_where", 0, "tables", "row"}};
  package.targets = {{"cpu", "any", "x86-64", {}}};
  BufferRef tokens{Kind::Input, 0, 0}, targets{Kind::Input, 1, 0}, table{Kind::Parameter, 0, 0};
  BufferRef arenaNll{Kind::Arena, 0, kNllOffset}, gradient{Kind::State, 0, 0};
  WorkItems perToken{1, 1, 4}, perRow{0, kFakeVocabulary, 1};
  for (const char *phase : {"plain", "late"}) {
    Entry score = tokenEntry("score", phase);
    score.outputs = {{"nll", DType::F32, true, {}, arenaNll}};
    score.launches = {launch(0, {tokens, targets, table, arenaNll}, perToken)};
    package.entries.push_back(score);

    Entry accumulate = score;
    accumulate.name = std::string("accumulate@") + phase;
    accumulate.role = "accumulate";
    accumulate.scalars = {"loss_scale"};
    accumulate.launches.push_back(launch(1, {tokens, targets, table, {Kind::Scalar, 0, 0}, gradient}, perRow));
    package.entries.push_back(accumulate);

    Entry logits = tokenEntry("logits", phase);
    logits.inputs = {tokenInput("tokens"), {"rows", DType::I32, false, {2}, {}}};
    // An output the runtime holds itself.
    logits.outputs = {{"logits", DType::F32, false, {2, kFakeVocabulary}, {Kind::Output, 0, 0}}};
    logits.launches = {launch(2, {tokens, {Kind::Input, 1, 0}, table, {Kind::Output, 0, 0}}, {0, 2, 1})};
    package.entries.push_back(logits);
  }
  Entry apply;
  apply.name = apply.role = "apply";
  apply.scalars = {"step", "embed.lr", "embed.decay"};
  apply.launches = {launch(3, {gradient, {Kind::State, 1, 0}, table, {Kind::Scalar, 1, 0}, {Kind::Scalar, 2, 0},
                               {Kind::Scalar, 0, 0}}, perRow)};
  package.entries.push_back(apply);
  Entry where = tokenEntry("where", "plain");
  where.inputs = {tokenInput("position")};
  where.outputs = {{"where", DType::F32, true, {}, arenaNll}};
  where.launches = {launch(4, {{Kind::Input, 0, 0}, arenaNll}, perToken)};
  package.entries.push_back(where);

  auto number = [&](const char *path, double value) {
    RecipeValue &entry = package.recipe[path];
    entry.f = value;
    entry.location = "fake.recipe.yaml:1:1";
  };
  auto integer = [&](const char *path, int64_t value) {
    number(path, 0);
    package.recipe[path].kind = RecipeValue::Kind::Int;
    package.recipe[path].i = value;
  };
  number("optimizer.groups.embed.lr", 1.0);
  number("optimizer.groups.embed.args.decay", 0.5);
  integer("batch.step_tokens", 32);
  integer("batch.micro_tokens", 16);
  integer("batch.row_length", 8);
  integer("schedule.steps", 20);
  integer("eval.row_length", 8);
  package.spec = "model: fake\n";
  package.ir = "module {}\n";
  auto code = readFile(FAKE_KERNELS);
  package.codeCpu = code ? *code : std::string();
  return package;
}

std::unique_ptr<Executor> fakeExecutor(int threads) {
  ExecutorOptions options;
  options.threads = threads;
  auto executor = Executor::create(fakePackage(), options);
  EXPECT_TRUE(executor.isOk()) << executor.status().message();
  return executor ? std::move(*executor) : nullptr;
}

TokenRow rowOf(const std::vector<int32_t> &all) {
  TokenRow row;
  row.tokens.assign(all.begin(), all.end() - 1);
  row.targets.assign(all.begin() + 1, all.end());
  return row;
}

std::string testFolder() {
  const auto *info = ::testing::UnitTest::GetInstance()->current_test_info();
  std::string path = ::testing::TempDir() + "pgrun-" + info->test_suite_name() + "-" + info->name();
  if (std::system(("rm -rf '" + path + "'").c_str()) != 0 || !makeFolder(path))
    ADD_FAILURE() << "cannot make " << path;
  return path;
}

std::vector<uint16_t> patternTokens(size_t count) {
  std::vector<uint16_t> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(i % 9 == 0 ? 1 : uint16_t(2 + (i % 9 * 3 + i / 9 % 2) % 6));
  return tokens;
}

std::string slurp(const std::string &path) {
  auto bytes = readFile(path);
  return bytes ? *bytes : std::string();
}

void spill(const std::string &path, const std::string &bytes) {
  Status status = writeFileAtomic(path, bytes);
  ASSERT_TRUE(status.isOk()) << status.message();
}

} // namespace pg::rt
