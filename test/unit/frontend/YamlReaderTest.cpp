//===- YamlReaderTest.cpp - hazards of YAML are errors with positions ------===//
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

class YamlReaderTest : public SpecFixture {};

TEST_F(YamlReaderTest, DuplicateKeyNamesBothPositions) {
  std::string got = errorsOf("model: m\nforward: x\nmodel: n\n");
  EXPECT_HAS(got, "model.yaml:3:1: duplicate key 'model'");
  EXPECT_HAS(got, "model.yaml:1:1: note: first given here");
}

TEST_F(YamlReaderTest, DuplicateKeysInFlowMapsAreAllReported) {
  std::string got = errorsOf("model: m\ndims: {D: 1, D: 2, L: 1, L: 3}\n");
  EXPECT_HAS(got, "model.yaml:2:14: duplicate key 'D'");
  EXPECT_HAS(got, "model.yaml:2:26: duplicate key 'L'");
}

TEST_F(YamlReaderTest, SecondDocument) {
  EXPECT_HAS(errorsOf("model: m\n---\nforward: x\n"),
             "model.yaml:2:1: a file holds one document");
}

TEST_F(YamlReaderTest, AliasCycle) {
  EXPECT_HAS(errorsOf("model: m\ndims: &a {x: *a}\n"),
             "model.yaml:2:14: the alias refers to a value that contains it");
}

TEST_F(YamlReaderTest, AliasExpansionIsBounded) {
  std::string text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (char name = 'b'; name < 'h'; ++name) {
    text += std::string(1, name) + ": &" + name + " [";
    for (int i = 0; i < 10; ++i)
      text += std::string(i ? ", " : "") + "*" + char(name - 1);
    text += "]\n";
  }
  EXPECT_HAS(errorsOf(text), "more than 10000 values after expansion");
}

TEST_F(YamlReaderTest, Tag) {
  EXPECT_HAS(errorsOf("model: !!str m\nforward: x\n"),
             "model.yaml:1:8: tags are not allowed, got "
             "'tag:yaml.org,2002:str'");
}

TEST_F(YamlReaderTest, MergeKey) {
  EXPECT_HAS(errorsOf("model: m\nbase: &b {x: 1}\ndims:\n  <<: *b\n"),
             "model.yaml:4:3: merge keys are not supported; use 'extends'");
}

TEST_F(YamlReaderTest, NumberAsKey) {
  EXPECT_HAS(errorsOf("model: m\ndims: {1: 2}\n"),
             "model.yaml:2:8: a key must be a string, got '1'");
}

TEST_F(YamlReaderTest, BooleanAsKey) {
  EXPECT_HAS(errorsOf("model: m\noptions: {yes: 2}\n"),
             "model.yaml:2:11: a key must be a string, got 'yes'");
}

TEST_F(YamlReaderTest, ListAsKey) {
  EXPECT_HAS(errorsOf("model: m\n? [a, b]\n: 1\n"),
             "model.yaml:2:3: a key must be a string, got a list");
}

TEST_F(YamlReaderTest, InvalidUtf8) {
  EXPECT_HAS(errorsOf("model: m\ndoc: \xC3(\n"),
             "model.yaml:2:6: the text is not valid UTF-8");
}

TEST_F(YamlReaderTest, ByteOrderMark) {
  EXPECT_HAS(errorsOf("\xEF\xBB\xBFmodel: m\n"),
             "model.yaml:1:1: the file begins with a byte order mark");
}

TEST_F(YamlReaderTest, NulByte) {
  EXPECT_HAS(errorsOf(std::string("model: m\nx: \0\n", 14)),
             "model.yaml:2:4: a NUL byte is not allowed");
}

TEST_F(YamlReaderTest, FileTooLarge) {
  EXPECT_HAS(errorsOf("model: m\n#" + std::string(1 << 20, 'x') + "\n"),
             "model.yaml:1:1: the file has 1048587 bytes, at most 1048576");
}

TEST_F(YamlReaderTest, NestingTooDeep) {
  EXPECT_HAS(errorsOf("dims: " + std::string(70, '[') + std::string(70, ']')),
             "model.yaml:1:70: values nest deeper than 64 levels");
}

TEST_F(YamlReaderTest, HopelesslyDeepNestingIsNoCrash) {
  EXPECT_HAS(errorsOf("dims: " + std::string(20000, '[')), "model.yaml:1:");
}

TEST_F(YamlReaderTest, SyntaxErrorKeepsTheMark) {
  EXPECT_HAS(errorsOf("model: m\ndims: {D: 1\nforward: x\n"),
             "invalid YAML: ");
}

TEST_F(YamlReaderTest, EmptyFile) {
  EXPECT_HAS(errorsOf(""), "model.yaml:1:1: the file is empty");
}

TEST_F(YamlReaderTest, SingleCommaTerminates) {
  EXPECT_HAS(errorsOf(","), "model.yaml:1:");
}

TEST_F(YamlReaderTest, MissingFile) {
  EXPECT_EQ(build(), "");
  EXPECT_HAS(diagnostics, "cannot read '");
}

TEST_F(YamlReaderTest, AliasesAreExpanded) {
  write("model.yaml",
        modelWith("  return linear(gather(w, tokens), u)\n") +
            "");
  write("model.yaml", "model: m\ndims: {V: 16, D: 8}\nforward: |\n"
                      "  return linear(gather(w, tokens), u)\n"
                      "params: {w: &t {shape: [V, D]}, u: *t}\n");
  EXPECT_HAS(build(), "pg.parameter @u : tensor<16x8xf32>");
}

} // namespace
