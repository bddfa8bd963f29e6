//===- AdaptTest.cpp - documents of a stream, draws of adapters ----------------===//
#include "runtime/eval/Adapt.h"
#include "FakePackage.h"

namespace pg::rt {
namespace {

TEST(Documents, RunFromBosToTheNextOneInclusive) {
  std::vector<int32_t> stream = {5, 1, 7, 8, 1, 9, 1, 6, 6};
  std::vector<Document> documents = splitDocuments(stream, 1);
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[0].begin, 1u);
  EXPECT_EQ(documents[0].end, 5u);
  EXPECT_EQ(documents[0].targets(), 3u);
  EXPECT_EQ(documents[1].begin, 4u);
  EXPECT_EQ(documents[1].end, 7u);
  EXPECT_EQ(documents[2].begin, 6u);
  EXPECT_EQ(documents[2].end, 9u); // to the end of the stream
}

TEST(Documents, WithoutTargetsAreLeftOut) {
  EXPECT_TRUE(splitDocuments(std::vector<int32_t>{3, 4, 5}, 1).empty());
  EXPECT_TRUE(splitDocuments(std::vector<int32_t>{3, 1}, 1).empty());
  // Two in a row: the first one has the second as its target.
  std::vector<Document> documents = splitDocuments(std::vector<int32_t>{1, 1}, 1);
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].targets(), 1u);
}

TEST(Adapters, APackageWithoutThemSaysHowToGetThem) {
  auto executor = fakeExecutor();
  std::vector<int32_t> stream = {1, 2, 3};
  auto nll = adaptDocuments(*executor, stream, splitDocuments(stream, 1), {});
  EXPECT_EQ(nll.status().code(), Code::Usage);
  EXPECT_NE(nll.status().message().find("compile it with a recipe that has a section 'adapt'"), std::string::npos)
      << nll.status().message();
}

} // namespace
} // namespace pg::rt
