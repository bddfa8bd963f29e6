//===- TensorBoard.h - scalars in TensorBoard's event format -------------------===//
//
// A file is a list of records: u64 length, u32 masked CRC of those 8 bytes,
// payload, u32 masked CRC of the payload, all little-endian. A payload is a
// protobuf message Event: 1 wall_time double, 2 step varint, 3 file_version
// string (the first record only), 5 summary {1 value {1 tag, 2 simple_value
// float}}. Pure functions make the bytes; TensorBoardFile appends them.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_REPORT_TENSORBOARD_H
#define PG_RUNTIME_REPORT_TENSORBOARD_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pg::rt {

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78).
uint32_t crc32c(std::string_view bytes);
/// The checksum as the format stores it: rotated right by 15, plus a constant.
uint32_t maskedCrc32c(std::string_view bytes);

using Scalars = std::vector<std::pair<std::string, double>>;

/// Payloads of one Event; `wallSeconds` since 1970.
std::string versionEvent(double wallSeconds);
std::string scalarEvent(double wallSeconds, int64_t step, const Scalars &scalars);
/// The payload as a record.
std::string eventRecord(std::string_view payload);

/// An event file in a folder, "events.out.tfevents.<seconds>.<host>.<pid>.<n>";
/// made by one process, appended to with one write a record.
class TensorBoardFile {
public:
  TensorBoardFile() = default;
  TensorBoardFile(TensorBoardFile &&other) noexcept;
  TensorBoardFile &operator=(TensorBoardFile &&other) noexcept;
  ~TensorBoardFile();

  /// Creates a new file with the version record. Io names the path.
  static StatusOr<TensorBoardFile> create(const std::string &folder);
  bool isOpen() const { return file >= 0; }
  /// Io when the record cannot be written.
  Status add(int64_t step, const Scalars &scalars);
  const std::string &path() const { return path_; }

private:
  Status append(const std::string &record);
  std::string path_;
  int file = -1;
};

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_TENSORBOARD_H
