//===- TensorBoard.cpp - scalars in TensorBoard's event format --------------===//
#include "runtime/report/TensorBoard.h"

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <unistd.h>

namespace pg::rt {
namespace {

constexpr std::array<uint32_t, 256> makeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0u);
    table[byte] = crc;
  }
  return table;
}
constexpr auto kCrcTable = makeCrcTable();

// Wire types of protobuf.
enum Wire : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void putFixed(std::string &out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    out += char(value >> (8 * i));
}
void putVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out += char(value | 0x80);
  out += char(value);
}
void putKey(std::string &out, uint64_t field, Wire wire) { putVarint(out, field << 3 | wire); }
void putBytes(std::string &out, uint64_t field, std::string_view bytes) {
  putKey(out, field, kBytes);
  putVarint(out, bytes.size());
  out += bytes;
}
void putDouble(std::string &out, uint64_t field, double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, 8);
  putKey(out, field, kFixed64);
  putFixed(out, bits, 8);
}
void putFloat(std::string &out, uint64_t field, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  putKey(out, field, kFixed32);
  putFixed(out, bits, 4);
}

double wallSeconds() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

} // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (char byte : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ uint8_t(byte)) & 0xFF];
  return ~crc;
}

uint32_t maskedCrc32c(std::string_view bytes) {
  uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

std::string versionEvent(double wallSeconds) {
  std::string event;
  putDouble(event, 1, wallSeconds);
  putBytes(event, 3, "brain.Event:2");
  return event;
}

std::string scalarEvent(double wallSeconds, int64_t step, const Scalars &scalars) {
  std::string summary;
  for (const auto &[tag, number] : scalars) {
    std::string value;
    putBytes(value, 1, tag);
    putFloat(value, 2, float(number));
    putBytes(summary, 1, value);
  }
  std::string event;
  putDouble(event, 1, wallSeconds);
  putKey(event, 2, kVarint);
  putVarint(event, uint64_t(step));
  putBytes(event, 5, summary);
  return event;
}

std::string eventRecord(std::string_view payload) {
  std::string record;
  putFixed(record, payload.size(), 8);
  putFixed(record, maskedCrc32c(record), 4);
  record += payload;
  putFixed(record, maskedCrc32c(payload), 4);
  return record;
}

TensorBoardFile::TensorBoardFile(TensorBoardFile &&other) noexcept
    : path_(std::move(other.path_)), file(std::exchange(other.file, -1)) {}

TensorBoardFile &TensorBoardFile::operator=(TensorBoardFile &&other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file, other.file);
  return *this;
}

TensorBoardFile::~TensorBoardFile() {
  if (file >= 0)
    ::close(file);
}

StatusOr<TensorBoardFile> TensorBoardFile::create(const std::string &folder) {
  char host[256] = "localhost";
  (void)!::gethostname(host, sizeof host - 1);
  double now = wallSeconds();
  TensorBoardFile result;
  // The number at the end keeps two files of one second apart.
  for (int number = 0; result.file < 0; ++number) {
    result.path_ = folder + "/events.out.tfevents." + std::to_string(int64_t(now)) + "." + host + "." +
                   std::to_string(::getpid()) + "." + std::to_string(number);
    result.file = ::open(result.path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (result.file < 0 && errno != EEXIST)
      return Status(Code::Io, "cannot create '" + result.path_ + "': " + std::strerror(errno));
  }
  if (Status status = result.append(eventRecord(versionEvent(now))); !status)
    return status;
  return result;
}

Status TensorBoardFile::add(int64_t step, const Scalars &scalars) {
  return append(eventRecord(scalarEvent(wallSeconds(), step, scalars)));
}

Status TensorBoardFile::append(const std::string &record) {
  for (size_t done = 0; done < record.size();) {
    ssize_t n = ::write(file, record.data() + done, record.size() - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return {Code::Io, "cannot write '" + path_ + "': " + std::strerror(errno)};
    done += size_t(n);
  }
  return Status::ok();
}

} // namespace pg::rt
