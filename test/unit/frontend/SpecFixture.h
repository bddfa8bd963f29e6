//===- SpecFixture.h - builds specifications from inline text --------------===//
#ifndef PG_TEST_UNIT_FRONTEND_SPECFIXTURE_H
#define PG_TEST_UNIT_FRONTEND_SPECFIXTURE_H

#include "frontend/Frontend.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pg::test {

/// Writes files into a fresh folder, builds, and keeps diagnostics as
/// "file:line:column: message" with notes as "file:line:column: note: ...".
/// Paths in messages are relative to the folder.
class SpecFixture : public ::testing::Test {
protected:
  void SetUp() override;
  void TearDown() override;

  void write(const std::string &path, const std::string &text);
  /// Builds model.yaml (and recipe.yaml when `withRecipe`); the printed module
  /// or "" after errors.
  std::string build(const std::vector<std::string> &sets = {},
                    bool withRecipe = false);
  /// Builds model.yaml made of `text`; all diagnostics, one per line.
  std::string errorsOf(const std::string &text,
                       const std::vector<std::string> &sets = {});
  /// A model whose forward pass is `body` (indented by two spaces, from line 4)
  /// with sizes V = 16, D = 8 and a parameter `w` [V, D].
  static std::string modelWith(const std::string &body,
                               const std::string &more = "");

  mlir::MLIRContext context;
  std::string folder;
  std::string diagnostics;
  pg::frontend::Built built;
};

/// How often `part` occurs in `text`.
int occurrences(const std::string &text, const std::string &part);

} // namespace pg::test

#define EXPECT_HAS(text, part)                                                 \
  EXPECT_NE((text).find(part), std::string::npos)                              \
      << "expected: " << (part) << "\ngot:\n"                                  \
      << (text)

#define EXPECT_LACKS(text, part)                                               \
  EXPECT_EQ((text).find(part), std::string::npos)                              \
      << "not expected: " << (part) << "\ngot:\n"                              \
      << (text)

#endif // PG_TEST_UNIT_FRONTEND_SPECFIXTURE_H
