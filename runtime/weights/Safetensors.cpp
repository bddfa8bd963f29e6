//===- Safetensors.cpp - reader with all checks, ordered writer -------------===//
#include "runtime/weights/Safetensors.h"
#include "runtime/weights/TensorStream.h"
#include "runtime/support/BFloat16.h"
#include "runtime/support/File.h"
#include "runtime/support/Json.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace pg::rt {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxTensors = 65'536;
constexpr size_t kMaxRank = 8;
constexpr size_t kMaxName = 512;

struct DtypeInfo {
  const char *name;
  int64_t bytes;
};
constexpr DtypeInfo kDtypes[] = {{"F64", 8}, {"I64", 8}, {"U64", 8},  {"F32", 4},  {"I32", 4},
                                 {"U32", 4}, {"F16", 2}, {"BF16", 2}, {"I16", 2},  {"U16", 2},
                                 {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

Status corrupt(const std::string &text) { return {Code::Corrupt, text}; }

struct Interval {
  uint64_t begin, end;
  const std::string *name;
};

/// dtype, shape and data_offsets of one tensor; the product is checked before
/// it is compared with the interval.
StatusOr<TensorView> readTensor(const std::string &name, const Json &record, std::string_view data,
                                Interval &interval) {
  if (!record.is_object() || record.size() != 3)
    return corrupt("tensor '" + name + "' does not have exactly dtype, shape and data_offsets");
  Status status;
  JsonFields fields(record, "tensor '" + name + "'", status);
  TensorView tensor;
  tensor.dtype = fields.string("dtype");
  int64_t elementBytes = safetensorsDtypeBytes(tensor.dtype);
  if (status && !elementBytes)
    fields.fail("unknown dtype '" + tensor.dtype + "'");
  const Json &shape = fields.array("shape");
  if (shape.size() > kMaxRank)
    fields.fail("rank " + std::to_string(shape.size()) + ", at most 8 is allowed");
  uint64_t bytes = uint64_t(elementBytes);
  for (const Json &dim : shape) {
    if (!status)
      break;
    uint64_t size = dim.is_number_unsigned() ? dim.get<uint64_t>() : 0;
    if (!dim.is_number_unsigned() || size > (uint64_t(1) << 48))
      fields.fail("bad dimension " + dim.dump());
    else if (__builtin_mul_overflow(bytes, size, &bytes))
      fields.fail("the size of the shape overflows");
    tensor.shape.push_back(int64_t(size));
  }
  const Json &offsets = fields.array("data_offsets");
  if (status && (offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned()))
    fields.fail("data_offsets are not two offsets");
  if (!status)
    return status;
  interval = {offsets[0].get<uint64_t>(), offsets[1].get<uint64_t>(), &name};
  if (interval.begin > interval.end || interval.end > data.size())
    return corrupt("tensor '" + name + "' lies outside the data of " + std::to_string(data.size()) + " bytes");
  if (interval.end - interval.begin != bytes)
    return corrupt("tensor '" + name + "' has " + std::to_string(interval.end - interval.begin) +
                   " bytes, its dtype and shape need " + std::to_string(bytes));
  tensor.bytes = data.substr(interval.begin, bytes);
  return tensor;
}

template <typename To, typename From> void convert(std::vector<To> &out, std::string_view bytes) {
  for (size_t i = 0; i < out.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
    out[i] = To(value);
  }
}

} // namespace

int64_t safetensorsDtypeBytes(std::string_view dtype) {
  for (const DtypeInfo &info : kDtypes)
    if (dtype == info.name)
      return info.bytes;
  return 0;
}

int64_t TensorView::count() const { return int64_t(bytes.size()) / safetensorsDtypeBytes(dtype); }

const TensorView *SafetensorsFile::find(const std::string &name) const {
  auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

StatusOr<SafetensorsFile> SafetensorsFile::read(const std::string &path) {
  auto bytes = readFile(path);
  if (!bytes)
    return bytes.status();
  auto file = parse(std::move(*bytes));
  if (!file)
    return file.status().with("'" + path + "' is not a sound safetensors file");
  return file;
}

StatusOr<SafetensorsFile> SafetensorsFile::parse(std::string bytes) {
  if (bytes.size() < 8)
    return corrupt("shorter than the 8-byte length");
  uint64_t headerBytes = 0;
  for (int i = 0; i < 8; ++i)
    headerBytes |= uint64_t(uint8_t(bytes[size_t(i)])) << (8 * i);
  if (headerBytes > kMaxHeaderBytes)
    return corrupt("header of " + std::to_string(headerBytes) + " bytes, at most " +
                   std::to_string(kMaxHeaderBytes) + " is allowed");
  if (headerBytes > bytes.size() - 8)
    return corrupt("header of " + std::to_string(headerBytes) + " bytes in a file of " +
                   std::to_string(bytes.size()) + " (truncated?)");
  if (headerBytes < 2 || bytes[8] != '{')
    return corrupt("the header does not start with '{'");

  SafetensorsFile file;
  file.held = std::make_unique<const std::string>(std::move(bytes));
  std::string_view all = *file.held;
  auto header = parseJson(all.substr(8, headerBytes));
  if (!header)
    return header.status().with("header");
  if (!header->is_object())
    return corrupt("the header is not an object");
  if (header->size() > kMaxTensors + 1)
    return corrupt(std::to_string(header->size()) + " tensors, at most " + std::to_string(kMaxTensors));

  std::string_view data = all.substr(8 + headerBytes);
  std::vector<Interval> intervals;
  for (const auto &[name, record] : header->items()) {
    if (name == "__metadata__") {
      if (!record.is_object())
        return corrupt("__metadata__ is not an object");
      for (const auto &[key, value] : record.items()) {
        if (!value.is_string())
          return corrupt("__metadata__ '" + key + "' is not a string");
        file.metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    if (name.size() > kMaxName)
      return corrupt("a tensor name has " + std::to_string(name.size()) + " bytes, at most " +
                     std::to_string(kMaxName));
    Interval interval;
    auto tensor = readTensor(name, record, data, interval);
    if (!tensor)
      return tensor.status();
    auto stored = file.tensors_.emplace(name, std::move(*tensor)).first;
    interval.name = &stored->first;
    intervals.push_back(interval);
  }
  // The intervals must tile the data: no hole, no overlap, nothing behind.
  std::sort(intervals.begin(), intervals.end(), [](const Interval &a, const Interval &b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t end = 0;
  for (const Interval &interval : intervals) {
    if (interval.begin < end)
      return corrupt("tensor '" + *interval.name + "' overlaps another");
    if (interval.begin > end)
      return corrupt("a hole of " + std::to_string(interval.begin - end) + " bytes before tensor '" +
                     *interval.name + "'");
    end = interval.end;
  }
  if (end != data.size())
    return corrupt(std::to_string(data.size() - end) + " bytes behind the last tensor");
  return file;
}

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

void sortTensors(std::vector<TensorShape> &tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorShape &a, const TensorShape &b) {
    int64_t wide = safetensorsDtypeBytes(a.dtype), other = safetensorsDtypeBytes(b.dtype);
    return wide != other ? wide > other : a.name < b.name;
  });
}

std::string safetensorsHeader(const std::vector<TensorShape> &tensors,
                              const std::map<std::string, std::string> &metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorShape &tensor : tensors) {
    uint64_t end = offset + tensor.bytes;
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string prefix;
  for (int i = 0; i < 8; ++i)
    prefix += char(uint64_t(text.size()) >> (8 * i) & 0xff);
  return prefix + text;
}

Status writeSafetensors(const std::string &path, std::vector<TensorToWrite> tensors,
                        const std::map<std::string, std::string> &metadata) {
  std::vector<TensorShape> order;
  for (size_t i = 0; i < tensors.size(); ++i)
    order.push_back({tensors[i].name, tensors[i].dtype, tensors[i].shape, tensors[i].bytes.size(), i});
  sortTensors(order);
  std::string header = safetensorsHeader(order, metadata);
  std::vector<std::string_view> pieces = {header};
  for (const TensorShape &tensor : order)
    pieces.push_back(tensors[tensor.source].bytes);
  return writeFileAtomic(path, pieces);
}

StatusOr<std::vector<double>> toDoubles(const TensorView &tensor, const std::string &name) {
  std::vector<double> out(size_t(tensor.count()));
  const std::string &type = tensor.dtype;
  if (type == "F32")
    convert<double, float>(out, tensor.bytes);
  else if (type == "F64")
    convert<double, double>(out, tensor.bytes);
  else if (type == "I8")
    convert<double, int8_t>(out, tensor.bytes);
  else if (type == "I32")
    convert<double, int32_t>(out, tensor.bytes);
  else if (type == "BF16" || type == "F16") {
    for (size_t i = 0; i < out.size(); ++i) {
      uint16_t bits;
      std::memcpy(&bits, tensor.bytes.data() + 2 * i, 2);
      out[i] = type == "BF16" ? bf16ToFloat(bits) : halfToFloat(bits);
    }
  } else
    return Status(Code::Invalid, "tensor '" + name + "' has dtype " + type +
                                     ", expected F32, F64, BF16, F16, I32 or I8");
  return out;
}

StatusOr<std::vector<int64_t>> toIntegers(const TensorView &tensor, const std::string &name) {
  std::vector<int64_t> out(size_t(tensor.count()));
  const std::string &type = tensor.dtype;
  if (type == "I32")
    convert<int64_t, int32_t>(out, tensor.bytes);
  else if (type == "I64")
    convert<int64_t, int64_t>(out, tensor.bytes);
  else if (type == "U16")
    convert<int64_t, uint16_t>(out, tensor.bytes);
  else if (type == "I16")
    convert<int64_t, int16_t>(out, tensor.bytes);
  else if (type == "U8")
    convert<int64_t, uint8_t>(out, tensor.bytes);
  else
    return Status(Code::Invalid, "tensor '" + name + "' has dtype " + type + ", expected I32, I64, I16, U16 or U8");
  return out;
}

} // namespace pg::rt
