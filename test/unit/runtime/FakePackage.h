//===- FakePackage.h - a package made without the compiler -----------------------===//
#ifndef PG_TEST_UNIT_RUNTIME_FAKEPACKAGE_H
#define PG_TEST_UNIT_RUNTIME_FAKEPACKAGE_H

#include "runtime/data/BatchTables.h"
#include "runtime/exec/Executor.h"

#include <gtest/gtest.h>

namespace pg::rt {

inline constexpr int64_t kFakeVocabulary = 8;
inline constexpr int64_t kFakeMaxTokens = 32;

/// Parameter "table" [8, 8] of group "embed"; phases plain (0) and late (0.5);
/// score, logits (2 rows), accumulate of each phase, apply, where@plain.
Package fakePackage();

std::unique_ptr<Executor> fakeExecutor(int threads = 1);

/// A row with targets = the next token.
TokenRow rowOf(const std::vector<int32_t> &tokensAndLastTarget);

/// A fresh folder of this test under the temporary folder.
std::string testFolder();

/// Shard tokens: documents of 9 tokens, BOS 1 then a fixed pattern below 8.
std::vector<uint16_t> patternTokens(size_t count);

/// Text of a file, "" when it cannot be read.
std::string slurp(const std::string &path);
void spill(const std::string &path, const std::string &bytes);

} // namespace pg::rt

#endif // PG_TEST_UNIT_RUNTIME_FAKEPACKAGE_H
