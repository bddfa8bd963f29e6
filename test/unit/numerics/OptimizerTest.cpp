//===- OptimizerTest.cpp - optimizer modules against plain loops ------------===//
//
// Every module of models/optim, compiled in f32 and f64, against the formula of
// its `doc` line written as loops in double: three steps with a changing rate,
// states carried along, averages, and the effect of every argument. Shapes are
// odd, wide, tall, square, a stack, a vector and a scalar.
//
//===----------------------------------------------------------------------===//
#include "frontend/Frontend.h"
#include "passes/pipeline/Pipelines.h"
#include "test/numerics/Compiled.h"
#include "test/numerics/Program.h"

#include "gtest/gtest.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

using namespace pg;
using namespace pg::numerics;
namespace fs = std::filesystem;

namespace {

using Values = std::vector<double>;
using Arguments = std::map<std::string, double>;

/// One parameter of the loops.
struct Subject {
  std::vector<int64_t> shape;
  Values p, average;
  std::map<std::string, Values> states;
  int64_t size() const { return static_cast<int64_t>(p.size()); }
};

/// One step of the loops.
using Formula = std::function<void(Subject &, const Values &g, double lr,
                                   int step, const Arguments &)>;

struct OptimizerCase {
  std::string name, module, args; ///< args: as the recipe has them
  Arguments numbers;
  Formula formula;
  bool vectors = true;            ///< takes parameters of rank below 2
};

Values &stateOf(Subject &s, const std::string &name) {
  Values &state = s.states[name];
  state.resize(s.p.size());
  return state;
}

void adam(Subject &s, const Values &g, double lr, int step, const Arguments &a,
          bool isDecoupled) {
  Values &m = stateOf(s, "m"), &v = stateOf(s, "v");
  for (size_t i = 0; i < g.size(); ++i) {
    double gi = g[i] + (isDecoupled ? 0 : a.at("wd") * s.p[i]);
    m[i] = a.at("beta1") * m[i] + (1 - a.at("beta1")) * gi;
    v[i] = a.at("beta2") * v[i] + (1 - a.at("beta2")) * gi * gi;
    double mh = m[i] / (1 - std::pow(a.at("beta1"), step));
    double vh = v[i] / (1 - std::pow(a.at("beta2"), step));
    if (isDecoupled)
      s.p[i] -= lr * a.at("wd") * s.p[i];
    s.p[i] -= lr * mh / (std::sqrt(vh) + a.at("eps"));
  }
}

void sgd(Subject &s, const Values &g, double lr, int, const Arguments &a) {
  Values &b = stateOf(s, "buffer");
  for (size_t i = 0; i < g.size(); ++i) {
    b[i] = a.at("momentum") * b[i] + g[i] + a.at("wd") * s.p[i];
    s.p[i] -= lr * b[i];
  }
}

void lion(Subject &s, const Values &g, double lr, int, const Arguments &a) {
  Values &m = stateOf(s, "m");
  for (size_t i = 0; i < g.size(); ++i) {
    double c = a.at("beta1") * m[i] + (1 - a.at("beta1")) * g[i];
    s.p[i] -= lr * (a.at("wd") * s.p[i] + (c > 0 ? 1 : c < 0 ? -1 : 0));
    m[i] = a.at("beta2") * m[i] + (1 - a.at("beta2")) * g[i];
  }
}

/// a X + (b A + c A^2) X with A = X X', whatever the shape of X.
Values newtonSchulz(const Values &x, int64_t rows, int64_t columns,
                    const std::array<double, 3> &abc) {
  auto product = [](const Values &p, const Values &q, int64_t n, int64_t k,
                    int64_t m) {
    Values r(size_t(n * m));
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < m; ++j)
        for (int64_t t = 0; t < k; ++t)
          r[size_t(i * m + j)] += p[size_t(i * k + t)] * q[size_t(t * m + j)];
    return r;
  };
  Values transposed(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      transposed[size_t(j * rows + i)] = x[size_t(i * columns + j)];
  Values gram = product(x, transposed, rows, columns, rows);
  Values mix = product(gram, gram, rows, rows, rows);
  for (size_t i = 0; i < mix.size(); ++i)
    mix[i] = abc[1] * gram[i] + abc[2] * mix[i];
  Values next = product(mix, x, rows, rows, columns);
  for (size_t i = 0; i < next.size(); ++i)
    next[i] += abc[0] * x[i];
  return next;
}

void muon(Subject &s, const Values &g, double lr, int, const Arguments &a,
          const std::vector<std::array<double, 3>> &coefficients,
          bool isNesterov, bool normalisesRows) {
  Values &m = stateOf(s, "m");
  int64_t rows = s.shape[s.shape.size() - 2], columns = s.shape.back();
  double scale = std::sqrt(std::max(1.0, double(rows) / double(columns)));
  Values u(g.size());
  for (size_t i = 0; i < g.size(); ++i) {
    m[i] = a.at("momentum") * m[i] + g[i];
    u[i] = isNesterov ? g[i] + a.at("momentum") * m[i] : m[i];
  }
  auto length = [](const Values &v, size_t begin, size_t count) {
    double sum = 0;
    for (size_t i = begin; i < begin + count; ++i)
      sum += v[i] * v[i];
    return std::sqrt(sum);
  };
  if (normalisesRows)
    for (size_t r = 0; r < u.size(); r += size_t(columns)) {
      double norm = std::max(length(u, r, size_t(columns)), 1e-7);
      for (size_t i = r; i < r + size_t(columns); ++i)
        u[i] /= norm;
    }
  size_t matrix = size_t(rows * columns);
  for (size_t at = 0; at < u.size(); at += matrix) {
    Values x(u.begin() + long(at), u.begin() + long(at + matrix));
    double norm = length(x, 0, matrix) + 1e-7;
    for (double &value : x)
      value /= norm;
    for (const auto &abc : coefficients)
      x = newtonSchulz(x, rows, columns, abc);
    for (size_t i = 0; i < matrix; ++i)
      s.p[at + i] = s.p[at + i] * (1 - lr * a.at("wd")) - lr * scale * x[i];
  }
}

const std::vector<std::array<double, 3>> kClassic(5, {3.4445, -4.775, 2.0315});

std::vector<OptimizerCase> optimizerCases() {
  auto adamwFormula = [](Subject &s, const Values &g, double lr, int step,
                         const Arguments &a) { adam(s, g, lr, step, a, true); };
  auto adamFormula = [](Subject &s, const Values &g, double lr, int step,
                        const Arguments &a) { adam(s, g, lr, step, a, false); };
  auto muonFormula = [](std::vector<std::array<double, 3>> coefficients,
                        bool isNesterov, bool normalisesRows) {
    return [=](Subject &s, const Values &g, double lr, int step,
               const Arguments &a) {
      muon(s, g, lr, step, a, coefficients, isNesterov, normalisesRows);
    };
  };
  Arguments moments = {{"beta1", 0.8}, {"beta2", 0.9}, {"eps", 1e-6}, {"wd", 0.1}};
  Arguments heavy = {{"momentum", 0.9}, {"wd", 0.05}};
  return {
      {"AdamW", "adamw", "beta1: 0.8, beta2: 0.9, eps: 1.0e-6, wd: 0.1", moments,
       adamwFormula},
      {"Adam", "adam", "beta1: 0.8, beta2: 0.9, eps: 1.0e-6, wd: 0.1", moments,
       adamFormula},
      {"Sgd", "sgd", "momentum: 0.9, wd: 0.05", heavy, sgd},
      {"Lion", "lion", "beta1: 0.8, beta2: 0.9, wd: 0.1", moments, lion},
      {"Muon", "muon", "momentum: 0.9, wd: 0.05", heavy,
       muonFormula(kClassic, true, false), false},
      {"MuonOfRows", "muon",
       "momentum: 0.9, wd: 0.05, row_normalise: true, nesterov: false", heavy,
       muonFormula(kClassic, false, true), false},
      {"MuonOfGivenCoefficients", "muon",
       "momentum: 0.9, wd: 0.05, steps: 2, coefficients: [[2, -1.5, 0.5], [1.5, "
       "-0.5, 0.25], [9, 9, 9]]",
       heavy, muonFormula({{2, -1.5, 0.5}, {1.5, -0.5, 0.25}}, true, false),
       false},
  };
}

class OptimizerTest : public testing::TestWithParam<OptimizerCase> {
protected:
  void SetUp() override {
    loadDialects(context);
    folder = fs::path(testing::TempDir()) / ("pg-optimizer-" + GetParam().name);
    fs::remove_all(folder);
    fs::create_directories(folder);
    fs::create_directory_symlink(fs::path(PG_MODELS) / "optim", folder / "optim");
    std::vector<std::vector<int64_t>> shapes = {
        {12, 5}, {5, 12}, {7, 7}, {2, 4, 6}, {3, 6, 2}};
    if (GetParam().vectors)
      shapes.insert(shapes.end(), {{19}, {}});
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    for (const auto &shape : shapes) {
      Subject subject{shape, {}, {}, {}};
      int64_t count = 1;
      for (int64_t size : shape)
        count *= size;
      for (int64_t i = 0; i < count; ++i)
        subject.p.push_back(static_cast<float>(normal(random)));
      subject.average = subject.p;
      subjects.push_back(subject);
    }
    for (int step = 0; step < kSteps; ++step) {
      gradients.emplace_back();
      for (const Subject &subject : subjects) {
        Values g;
        for (int64_t i = 0; i < subject.size(); ++i)
          g.push_back(static_cast<float>(normal(random)));
        gradients.back().push_back(g);
      }
    }
  }
  void TearDown() override { fs::remove_all(folder); }

  void check(const std::string &precision, double bound);

  static constexpr int kSteps = 3;
  static constexpr double kRates[kSteps] = {0.1, 0.07, 0.03};
  static constexpr double kDecay = 0.7;
  mlir::MLIRContext context;
  fs::path folder;
  std::vector<Subject> subjects;
  std::vector<std::vector<Values>> gradients;
};

std::string nameOf(size_t subject) { return "p" + std::to_string(subject); }

/// Elements of the executor's memory as doubles and back.
struct View {
  void *memory;
  rt::DType dtype;
  double get(int64_t i) const {
    return dtype == rt::DType::F64 ? static_cast<double *>(memory)[i]
                                   : static_cast<float *>(memory)[i];
  }
  void set(int64_t i, double value) const {
    if (dtype == rt::DType::F64)
      static_cast<double *>(memory)[i] = value;
    else
      static_cast<float *>(memory)[i] = static_cast<float>(value);
  }
};

View viewOf(rt::Executor &executor, const std::string &name) {
  const rt::Package &package = executor.package();
  for (size_t i = 0; i < package.parameters.size(); ++i)
    if (package.parameters[i].name == name)
      return {executor.parameter(i), package.parameters[i].dtype};
  for (size_t i = 0; i < package.states.size(); ++i)
    if (package.states[i].name == name)
      return {executor.state(i), package.states[i].dtype};
  ADD_FAILURE() << "no tensor " << name;
  return {nullptr, rt::DType::F32};
}

void OptimizerTest::check(const std::string &precision, double bound) {
  const OptimizerCase &c = GetParam();
  {
    std::ofstream model(folder / "m.model.yaml"), recipe(folder / "r.recipe.yaml");
    model << "model: m\nparams:\n  table: {shape: [2, 2], group: other}\n";
    for (size_t k = 0; k < subjects.size(); ++k) {
      model << "  " << nameOf(k) << ": {shape: [";
      for (size_t d = 0; d < subjects[k].shape.size(); ++d)
        model << (d ? ", " : "") << subjects[k].shape[d];
      model << "], group: tested}\n";
    }
    model << "forward: |\n  return gather(table, tokens)\n";
    recipe << "recipe: r\nema: {decay: 0.5}\noptimizer:\n  groups:\n"
              "    other: {module: sgd, lr: 0}\n    tested: {module: "
           << c.module << ", lr: 0, args: {" << c.args << "}}\n";
  }
  frontend::Sources sources;
  sources.modelPath = (folder / "m.model.yaml").string();
  sources.recipePath = (folder / "r.recipe.yaml").string();
  sources.precision = precision;
  auto built = frontend::build(context, sources);
  ASSERT_TRUE(mlir::succeeded(built));
  PipelineOptions options;
  options.precision = precision;
  ASSERT_TRUE(mlir::succeeded(runPipeline(*built->module, "spec", "derived",
                                          options, [](llvm::StringRef) {})));
  auto executor = compile(*built->module, precision);
  ASSERT_TRUE(executor.isOk()) << executor.status().message();
  rt::Executor &e = **executor;
  int apply = e.findEntry("apply");
  ASSERT_GE(apply, 0);

  for (size_t k = 0; k < subjects.size(); ++k)
    for (int64_t i = 0; i < subjects[k].size(); ++i)
      viewOf(e, nameOf(k)).set(i, subjects[k].p[size_t(i)]);
  ASSERT_TRUE(e.resetStates().isOk());
  for (int step = 1; step <= kSteps; ++step) {
    double lr = kRates[step - 1];
    e.setScalar(apply, "step", step);
    e.setScalar(apply, "ema.decay", kDecay);
    e.setScalar(apply, "tested.lr", lr);
    for (const std::string &scalar : e.package().entries[size_t(apply)].scalars) {
      auto value = built->recipe.find("optimizer.groups.tested.args." +
                                      scalar.substr(scalar.find('.') + 1));
      if (scalar.rfind("tested.", 0) == 0 && value != built->recipe.end())
        e.setScalar(apply, scalar, value->second.f);
    }
    for (size_t k = 0; k < subjects.size(); ++k) {
      Subject &s = subjects[k];
      const Values &g = gradients[size_t(step - 1)][k];
      for (int64_t i = 0; i < s.size(); ++i)
        viewOf(e, "grad." + nameOf(k)).set(i, g[size_t(i)]);
      c.formula(s, g, lr, step, c.numbers);
      for (size_t i = 0; i < s.p.size(); ++i)
        s.average[i] = kDecay * s.average[i] + (1 - kDecay) * s.p[i];
    }
    rt::Status ran = e.run(apply, nullptr);
    ASSERT_TRUE(ran.isOk()) << ran.message();
  }
  auto compare = [&](const std::string &name, const Values &wanted) {
    View view = viewOf(e, name);
    double error = 0, norm = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
      error += std::pow(view.get(int64_t(i)) - wanted[i], 2);
      norm += wanted[i] * wanted[i];
    }
    EXPECT_LE(std::sqrt(error / norm), bound) << name;
  };
  for (size_t k = 0; k < subjects.size(); ++k) {
    compare(nameOf(k), subjects[k].p);
    compare("ema." + nameOf(k), subjects[k].average);
    for (const auto &[state, values] : subjects[k].states)
      compare(c.module + "_" + state + "." + nameOf(k), values);
  }
}

} // namespace

// The iteration multiplies rounding errors: about 5 x 3.4 for five steps.
TEST_P(OptimizerTest, F32) {
  check("f32", GetParam().module == "muon" ? 1e-4 : 1e-5);
}
TEST_P(OptimizerTest, F64) {
  check("f64", GetParam().module == "muon" ? 1e-11 : 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Modules, OptimizerTest,
                         testing::ValuesIn(optimizerCases()),
                         [](const auto &info) { return info.param.name; });
