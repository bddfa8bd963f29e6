//===- SpecFixture.cpp - builds specifications from inline text ------------===//
#include "test/unit/frontend/SpecFixture.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/raw_ostream.h"

#include <filesystem>
#include <fstream>

using namespace pg::test;
namespace fs = std::filesystem;

void SpecFixture::SetUp() {
  const auto *info = ::testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(info->test_suite_name()) + "." + info->name();
  for (char &c : name)
    if (c == '/')
      c = '-';
  folder = (fs::path(::testing::TempDir()) / ("pg-frontend-" + name)).string();
  fs::remove_all(folder);
  fs::create_directories(folder);
  context.getDiagEngine().registerHandler([this](mlir::Diagnostic &diagnostic) {
    auto add = [&](mlir::Diagnostic &one, const char *kind) {
      if (auto loc = mlir::dyn_cast<mlir::FileLineColLoc>(one.getLocation())) {
        std::string path = loc.getFilename().str();
        if (path.rfind(folder + "/", 0) == 0)
          path = path.substr(folder.size() + 1);
        diagnostics += path + ":" + std::to_string(loc.getLine()) + ":" +
                       std::to_string(loc.getColumn()) + ": ";
      }
      diagnostics += kind + one.str() + "\n";
    };
    add(diagnostic, "");
    for (mlir::Diagnostic &note : diagnostic.getNotes())
      add(note, "note: ");
    return mlir::success();
  });
}

void SpecFixture::TearDown() {
  built.module = {};
  fs::remove_all(folder);
}

void SpecFixture::write(const std::string &path, const std::string &text) {
  fs::path full = fs::path(folder) / path;
  fs::create_directories(full.parent_path());
  std::ofstream(full, std::ios::binary) << text;
}

std::string SpecFixture::build(const std::vector<std::string> &sets,
                               bool withRecipe) {
  diagnostics.clear();
  built.module = {};
  pg::frontend::Sources sources;
  sources.modelPath = folder + "/model.yaml";
  if (withRecipe)
    sources.recipePath = folder + "/recipe.yaml";
  sources.sets = sets;
  mlir::FailureOr<pg::frontend::Built> result =
      pg::frontend::build(context, sources);
  if (mlir::failed(result))
    return "";
  built = std::move(*result);
  std::string text;
  llvm::raw_string_ostream stream(text);
  built.module->print(stream);
  return text;
}

std::string SpecFixture::errorsOf(const std::string &text,
                                  const std::vector<std::string> &sets) {
  write("model.yaml", text);
  EXPECT_EQ(build(sets), "") << "the model was accepted";
  return diagnostics;
}

std::string SpecFixture::modelWith(const std::string &body,
                                   const std::string &more) {
  return "model: m\ndims: {V: 16, D: 8}\nforward: |\n" + body +
         "params: {w: {shape: [V, D]}}\n" + more;
}

int pg::test::occurrences(const std::string &text, const std::string &part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size()))
    ++count;
  return count;
}
