//===- Package.cpp - the container: header, section table, hashes -----------===//
#include "runtime/package/Package.h"
#include "runtime/package/PackageJson.h"
#include "runtime/support/File.h"
#include "runtime/support/Sha256.h"

#include <cstring>
#include <functional>

namespace pg::rt {
namespace {

constexpr char kMagic[8] = {'P', 'G', 'X', 'P', 'K', 'G', '\r', '\n'};
constexpr size_t kFixedBytes = 24;   // magic, version, section count, file length
constexpr size_t kNameBytes = 24;
constexpr size_t kRecordBytes = kNameBytes + 8 + 8 + 32;
constexpr size_t kAlignment = 64;
constexpr uint32_t kMaxSections = 64;

template <typename T> void put(std::string &out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i)
    out += char(uint64_t(value) >> (8 * i) & 0xff);
}

template <typename T> T get(const std::string &bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value |= uint64_t(uint8_t(bytes[at + i])) << (8 * i);
  return T(value);
}

size_t alignUp(size_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

Status corrupt(const std::string &text) { return {Code::Corrupt, text}; }

std::string digestText(std::string_view bytes) {
  Sha256Digest digest = sha256(bytes);
  return std::string(reinterpret_cast<const char *>(digest.data()), digest.size());
}

/// Header checks that need no allocation, then the sections by name.
StatusOr<std::map<std::string, std::string_view>> readSections(const std::string &bytes) {
  if (bytes.size() < kFixedBytes || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
    return corrupt("not a package (bad magic)");
  uint32_t version = get<uint32_t>(bytes, 8);
  if (version != kPackageVersion)
    return corrupt("package version " + std::to_string(version) + ", this program reads version " +
                   std::to_string(kPackageVersion) + "; recompile with pgc");
  uint32_t count = get<uint32_t>(bytes, 12);
  uint64_t length = get<uint64_t>(bytes, 16);
  if (length != bytes.size())
    return corrupt("the header gives " + std::to_string(length) + " bytes, the file has " +
                   std::to_string(bytes.size()) + " (truncated?)");
  if (count > kMaxSections)
    return corrupt("the header gives " + std::to_string(count) + " sections, at most " +
                   std::to_string(kMaxSections) + " are allowed");
  size_t tableEnd = kFixedBytes + count * kRecordBytes;
  if (tableEnd + 32 > bytes.size())
    return corrupt("the section table reaches beyond the file");
  if (digestText({bytes.data(), tableEnd}) != bytes.substr(tableEnd, 32))
    return corrupt("the checksum of the header does not match");

  std::map<std::string, std::string_view> sections;
  uint64_t previousEnd = tableEnd + 32;
  for (uint32_t i = 0; i < count; ++i) {
    size_t at = kFixedBytes + i * kRecordBytes;
    std::string name(bytes.data() + at, strnlen(bytes.data() + at, kNameBytes));
    uint64_t offset = get<uint64_t>(bytes, at + kNameBytes);
    uint64_t size = get<uint64_t>(bytes, at + kNameBytes + 8);
    if (offset % kAlignment || offset < previousEnd || offset > bytes.size() || size > bytes.size() - offset)
      return corrupt("section '" + name + "' does not lie inside the file");
    std::string_view text(bytes.data() + offset, size);
    if (digestText(text) != bytes.substr(at + kNameBytes + 16, 32))
      return corrupt("the checksum of section '" + name + "' does not match");
    if (!sections.emplace(name, text).second)
      return corrupt("section '" + name + "' occurs twice");
    previousEnd = offset + size;
  }
  return sections;
}

/// Cuts the CUDA sections into the pieces whose lengths the manifest gave.
Status readCudaSections(const std::map<std::string, std::string_view> &sections, CudaCode &cuda,
                        const CudaLengths &lengths) {
  if (cuda.kernels.empty())
    return Status::ok();
  auto section = [&](const std::string &name, const std::vector<uint64_t> &pieces,
                     const std::function<void(size_t, std::string_view)> &take) -> Status {
    auto found = sections.find(name);
    if (found == sections.end())
      return corrupt("section '" + name + "' is missing");
    std::string_view rest = found->second;
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i] > rest.size())
        return corrupt("section '" + name + "' is shorter than the manifest says");
      take(i, rest.substr(0, size_t(pieces[i])));
      rest.remove_prefix(size_t(pieces[i]));
    }
    if (!rest.empty())
      return corrupt("section '" + name + "' is longer than the manifest says");
    return Status::ok();
  };
  Status status = section("code.cuda.source", {lengths.prelude, lengths.source}, [&](size_t i, std::string_view text) {
    (i == 0 ? cuda.prelude : cuda.source) = std::string(text);
  });
  size_t modules = cuda.kernels.size() + !cuda.support.empty();
  for (size_t i = 0; status && i < cuda.images.size(); ++i)
    if (lengths.modules[i].size() != modules)
      status = corrupt("CUDA image '" + cuda.images[i].arch + "' has " + std::to_string(lengths.modules[i].size()) +
                       " modules, expected " + std::to_string(modules));
  for (size_t i = 0; status && i < cuda.images.size(); ++i)
    status = section("code.cuda." + cuda.images[i].arch, lengths.modules[i], [&](size_t, std::string_view bytes) {
      cuda.images[i].modules.emplace_back(bytes);
    });
  return status;
}

} // namespace

int64_t dtypeBytes(DType dtype) {
  switch (dtype) {
  case DType::F64: return 8;
  case DType::F32:
  case DType::I32: return 4;
  case DType::BF16: return 2;
  case DType::I1:
  case DType::I8: return 1;
  }
  return 0;
}

const char *dtypeName(DType dtype) {
  switch (dtype) {
  case DType::F32: return "F32";
  case DType::F64: return "F64";
  case DType::BF16: return "BF16";
  case DType::I32: return "I32";
  case DType::I1: return "BOOL";
  case DType::I8: return "I8";
  }
  return "";
}

const Entry *Package::findEntry(const std::string &name) const {
  for (const Entry &entry : entries)
    if (entry.name == name)
      return &entry;
  return nullptr;
}

std::string serialise(const Package &package) {
  // Invalid UTF-8 in a name must not throw out of a writer: it is replaced.
  std::string manifest = manifestToJson(package).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::vector<std::pair<std::string, std::string_view>> sections = {
      {"manifest", manifest}, {"spec", package.spec}, {"ir", package.ir}};
  if (!package.codeCpu.empty())
    sections.push_back({"code.cpu", package.codeCpu});
  // Names of sections are views of strings that outlive the loop below.
  std::string cudaSource = package.cuda.prelude + package.cuda.source;
  std::vector<std::string> images(package.cuda.images.size());
  if (package.hasCudaCode())
    sections.push_back({"code.cuda.source", cudaSource});
  for (size_t i = 0; i < images.size(); ++i) {
    for (const std::string &module : package.cuda.images[i].modules)
      images[i] += module;
    sections.push_back({"code.cuda." + package.cuda.images[i].arch, images[i]});
  }

  size_t end = kFixedBytes + sections.size() * kRecordBytes + 32;
  std::vector<uint64_t> offsets;
  for (const auto &[name, text] : sections) {
    offsets.push_back(alignUp(end));
    end = offsets.back() + text.size();
  }
  std::string out(kMagic, sizeof kMagic);
  put<uint32_t>(out, kPackageVersion);
  put<uint32_t>(out, uint32_t(sections.size()));
  put<uint64_t>(out, end);
  for (size_t i = 0; i < sections.size(); ++i) {
    std::string name = sections[i].first;
    name.resize(kNameBytes, '\0');
    out += name;
    put<uint64_t>(out, offsets[i]);
    put<uint64_t>(out, sections[i].second.size());
    out += digestText(sections[i].second);
  }
  out += digestText(out);
  for (size_t i = 0; i < sections.size(); ++i) {
    out.resize(offsets[i], '\0');
    out += sections[i].second;
  }
  return out;
}

StatusOr<Package> parsePackage(const std::string &bytes) {
  auto sections = readSections(bytes);
  if (!sections)
    return sections.status();
  // Unknown sections are optional by definition; these three are required.
  for (const char *name : {"manifest", "spec", "ir"})
    if (!sections->count(name))
      return corrupt(std::string("section '") + name + "' is missing");
  auto manifest = parseJson((*sections)["manifest"]);
  if (!manifest)
    return manifest.status().with("manifest");
  Package package;
  CudaLengths cudaLengths;
  if (Status status = manifestFromJson(*manifest, package, &cudaLengths); !status)
    return status.with("manifest");
  if (Status status = checkPackage(package); !status)
    return status.with("manifest");
  package.spec = std::string((*sections)["spec"]);
  package.ir = std::string((*sections)["ir"]);
  if (sections->count("code.cpu"))
    package.codeCpu = std::string((*sections)["code.cpu"]);
  if (Status status = readCudaSections(*sections, package.cuda, cudaLengths); !status)
    return status;
  return package;
}

Status writePackage(const Package &package, const std::string &path) {
  return writeFileAtomic(path, serialise(package));
}

StatusOr<Package> readPackage(const std::string &path) {
  auto bytes = readFile(path, uint64_t(1) << 32);
  if (!bytes)
    return bytes.status();
  auto package = parsePackage(*bytes);
  if (!package)
    return package.status().with("'" + path + "'");
  return package;
}

} // namespace pg::rt
