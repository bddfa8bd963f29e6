//===- ShardSet.cpp - the shards of a run, checked before it begins ---------===//
#include "runtime/data/ShardSet.h"
#include "runtime/data/TokenShards.h"
#include "runtime/exec/ThreadPool.h"
#include "runtime/support/Hash64.h"
#include "runtime/support/Sha256.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pg::rt {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are read without conversion");

constexpr size_t kHeaderBytes = 1024;
constexpr size_t kMaxProblems = 20;

/// A file opened for reading, and what it is now.
struct OpenShard {
  int fd = -1;
  struct stat info {};
  ~OpenShard() {
    if (fd >= 0)
      ::close(fd);
  }
  Status open(const std::string &path) {
    fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ::fstat(fd, &info) != 0)
      return {Code::Io, "cannot open shard '" + path + "': " + std::strerror(errno)};
    return Status::ok();
  }
  int64_t modified() const { return int64_t(info.st_mtim.tv_sec) * 1000000000 + info.st_mtim.tv_nsec; }
  Status read(void *bytes, size_t count, off_t at, const std::string &path) const {
    for (size_t done = 0; done < count;) {
      ssize_t n = ::pread(fd, static_cast<char *>(bytes) + done, count - done, at + off_t(done));
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return {Code::Io, "cannot read shard '" + path + "': " + std::strerror(errno)};
      if (n == 0)
        return {Code::Io, "cannot read shard '" + path + "': it became shorter while being read"};
      done += size_t(n);
    }
    return Status::ok();
  }
};

Status checkIds(const std::vector<uint16_t> &tokens, int64_t vocabulary, const std::string &path) {
  if (vocabulary <= 0 || tokens.empty())
    return Status::ok();
  uint16_t largest = 0; // a plain loop, so that it is a vector maximum
  for (uint16_t token : tokens)
    largest = std::max(largest, token);
  if (largest < vocabulary)
    return Status::ok();
  auto bad = std::find_if(tokens.begin(), tokens.end(), [&](uint16_t token) { return token >= vocabulary; });
  return {Code::Invalid, "shard '" + path + "': token " + std::to_string(*bad) + " at position " +
                             std::to_string(bad - tokens.begin()) + " is outside the vocabulary of " +
                             std::to_string(vocabulary) + " (data of another tokenizer?)"};
}

Status readTokens(const OpenShard &file, const ShardSet::Shard &shard, std::vector<uint16_t> &tokens) {
  tokens.resize(size_t(shard.tokens));
  return file.read(tokens.data(), tokens.size() * 2, kHeaderBytes, shard.path);
}

/// Header, size and, when asked for, the tokens of one shard.
Status check(ShardSet::Shard &shard, const ShardSetOptions &options) {
  OpenShard file;
  if (Status status = file.open(shard.path); !status)
    return status;
  std::string header(std::min<size_t>(kHeaderBytes, size_t(file.info.st_size)), '\0');
  if (Status status = file.read(header.data(), header.size(), 0, shard.path); !status)
    return status;
  auto count = parseShardHeader(header, uint64_t(file.info.st_size), shard.path);
  if (!count)
    return count.status();
  shard.tokens = *count;
  shard.modified = file.modified();
  if (!options.checkTokens)
    return Status::ok();
  std::vector<uint16_t> tokens;
  if (Status status = readTokens(file, shard, tokens); !status)
    return status;
  Hash64 hash;
  hash.add({reinterpret_cast<const char *>(tokens.data()), tokens.size() * 2});
  shard.hash = hash.value();
  return checkIds(tokens, options.vocabulary, shard.path);
}

/// The digits before the extension: {"a_train_000012", 12}; -1 when there are none.
std::pair<std::string, int64_t> splitNumber(const std::string &path) {
  std::string stem = path.substr(0, path.rfind('.'));
  size_t digits = stem.find_last_not_of("0123456789") + 1;
  if (digits >= stem.size() || stem.size() - digits > 15)
    return {stem, -1};
  return {stem.substr(0, digits), std::stoll(stem.substr(digits))};
}

/// The names of shards that seem to be missing between the first and the last.
std::vector<std::string> findGaps(const std::vector<ShardSet::Shard> &shards) {
  std::vector<std::string> gaps;
  for (size_t i = 1; i < shards.size(); ++i) {
    auto [prefix, number] = splitNumber(shards[i].path);
    auto [before, previous] = splitNumber(shards[i - 1].path);
    if (prefix == before && previous >= 0 && number > previous + 1)
      gaps.push_back("'" + shards[i].path + "' follows '" + shards[i - 1].path + "': " +
                     std::to_string(number - previous - 1) +
                     " missing between them (download incomplete? data.allow_gaps=true accepts it)");
  }
  return gaps;
}

} // namespace

StatusOr<ShardSet> ShardSet::open(const std::string &folder, const std::string &pattern,
                                  const ShardSetOptions &options, ThreadPool *pool) {
  auto paths = findShards(folder, pattern);
  if (!paths)
    return paths.status();
  ShardSet set;
  set.options = options;
  for (std::string &path : *paths)
    set.all.push_back({std::move(path), 0, 0, 0});
  std::vector<Status> problems(set.all.size());
  auto body = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      problems[size_t(i)] = check(set.all[size_t(i)], options);
  };
  if (pool)
    pool->parallelFor(int64_t(set.all.size()), 1, body);
  else
    body(0, int64_t(set.all.size()), 0);

  Code code = Code::Ok;
  std::vector<std::string> texts;
  for (const Status &problem : problems)
    if (!problem) {
      code = code == Code::Ok ? problem.code() : code;
      texts.push_back(problem.message());
    }
  if (!options.allowGaps)
    for (std::string &gap : findGaps(set.all)) {
      code = code == Code::Ok ? Code::Invalid : code;
      texts.push_back(std::move(gap));
    }
  if (code == Code::Ok)
    return set;
  std::string text = texts[0];
  for (size_t i = 1; i < std::min(texts.size(), kMaxProblems); ++i)
    text += "\n  " + texts[i];
  if (texts.size() > kMaxProblems)
    text += "\n  and " + std::to_string(texts.size() - kMaxProblems) + " more";
  return Status(code, text);
}

int64_t ShardSet::totalTokens() const {
  int64_t total = 0;
  for (const Shard &shard : all)
    total += shard.tokens;
  return total;
}

int64_t ShardSet::largestShard() const {
  int64_t largest = 0;
  for (const Shard &shard : all)
    largest = std::max(largest, shard.tokens);
  return largest;
}

Status ShardSet::load(size_t index, std::vector<uint16_t> &tokens) const {
  const Shard &shard = all[index];
  OpenShard file;
  if (Status status = file.open(shard.path); !status)
    return status;
  if (file.info.st_size != off_t(kHeaderBytes) + 2 * shard.tokens || file.modified() != shard.modified)
    return {Code::Invalid, "shard '" + shard.path + "' was changed after the run began"};
  if (Status status = readTokens(file, shard, tokens); !status)
    return status;
  return options.checkTokens ? Status::ok() : checkIds(tokens, options.vocabulary, shard.path);
}

std::string ShardSet::fingerprint() const {
  std::string text;
  for (const Shard &shard : all)
    text += shard.path.substr(shard.path.rfind('/') + 1) + " " + std::to_string(shard.tokens) + " " +
            std::to_string(shard.hash) + "\n";
  return sha256Hex(text);
}

} // namespace pg::rt
