//===- Profile.cpp - time per kernel and per category -----------------------===//
#include "runtime/exec/Profile.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <map>

namespace pg::rt {
namespace {

void sortByTime(std::vector<Profile::Row> &rows) {
  std::sort(rows.begin(), rows.end(), [](const Profile::Row &a, const Profile::Row &b) {
    return a.seconds != b.seconds ? a.seconds > b.seconds : a.name < b.name;
  });
}

std::string padded(std::string text, size_t width) {
  if (text.size() < width)
    text.insert(0, width - text.size(), ' ');
  return text;
}

std::string line(const Profile::Row &row, double total) {
  double seconds = row.seconds > 0 ? row.seconds : 1e-30;
  return padded(formatFixed(row.seconds * 1e3, 2), 11) + " ms" +
         padded(formatFixed(total > 0 ? 100 * row.seconds / total : 0, 1), 7) + " %" +
         padded(std::to_string(row.launches), 9) + padded(formatFixed(row.flops / seconds * 1e-9, 1), 9) +
         padded(formatFixed(row.bytes / seconds * 1e-9, 1), 9) + "  " + row.name +
         (row.summary.empty() ? "" : "  [" + row.summary + "]") + "\n";
}

} // namespace

void Profile::add(uint32_t kernel, double seconds, int64_t tokens) {
  const Kernel &info = package.kernels[kernel];
  Row &row = rows[kernel];
  row.seconds += seconds;
  row.launches += 1;
  row.flops += info.flopsFixed + info.flopsPerToken * double(tokens);
  row.bytes += info.bytesFixed + info.bytesPerToken * double(tokens);
}

void Profile::reset() { rows.assign(package.kernels.size(), Row()); }

std::vector<Profile::Row> Profile::byKernel() const {
  std::vector<Row> result;
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].launches) {
      result.push_back(rows[i]);
      result.back().name = package.kernels[i].symbol;
      result.back().summary = package.kernels[i].summary;
    }
  sortByTime(result);
  return result;
}

std::vector<Profile::Row> Profile::byCategory() const {
  std::map<std::string, Row> groups;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].launches)
      continue;
    Row &group = groups[package.kernels[i].category];
    group.name = package.kernels[i].category;
    group.seconds += rows[i].seconds;
    group.launches += rows[i].launches;
    group.flops += rows[i].flops;
    group.bytes += rows[i].bytes;
  }
  std::vector<Row> result;
  for (auto &[name, row] : groups)
    result.push_back(row);
  sortByTime(result);
  return result;
}

double Profile::totalSeconds() const {
  double total = 0;
  for (const Row &row : rows)
    total += row.seconds;
  return total;
}

std::string Profile::report(size_t kernels) const {
  double total = totalSeconds();
  std::string text = padded("time", 14) + padded("share", 9) + padded("launches", 9) + padded("GFLOP/s", 9) +
                     padded("GB/s", 9) + "  category\n";
  for (const Row &row : byCategory())
    text += line(row, total);
  std::vector<Row> slowest = byKernel();
  text += "slowest kernels\n";
  for (size_t i = 0; i < std::min(kernels, slowest.size()); ++i)
    text += line(slowest[i], total);
  return text;
}

} // namespace pg::rt
