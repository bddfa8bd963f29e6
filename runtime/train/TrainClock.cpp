//===- TrainClock.cpp - the clock a schedule sees, and its record -----------===//
#include "runtime/train/TrainClock.h"
#include "runtime/support/Json.h"

namespace pg::rt {

StatusOr<std::optional<double>> TrainClock::before(int64_t step) {
  double elapsed = ledger.seconds(Stage::Train) + ledger.seconds(Stage::Checkpoint);
  if (isReplay) {
    if (step >= int64_t(recorded.size()))
      return std::optional<double>();
    elapsed = recorded[size_t(step)];
  }
  if (log)
    if (Status status = log->append(line.begin().add("step", step).add("elapsed", elapsed).end()); !status)
      return status;
  return std::optional<double>(elapsed);
}

StatusOr<std::vector<double>> parseClock(const std::string &text) {
  std::vector<double> seconds;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos)
      break;
    auto object = parseJson(std::string_view(text).substr(at, end - at));
    at = end + 1;
    std::string line = "line " + std::to_string(seconds.size() + 1) + " of the clock record";
    if (!object || !object->is_object())
      return Status(Code::Corrupt, line + " is no JSON object");
    Status status;
    JsonFields fields(*object, line, status);
    int64_t step = fields.integer("step", 0, int64_t(1) << 53);
    double elapsed = fields.number("elapsed");
    if (!status)
      return status;
    if (step != int64_t(seconds.size()))
      return Status(Code::Corrupt, line + " is for step " + std::to_string(step) + ", expected " +
                                       std::to_string(seconds.size()));
    seconds.push_back(elapsed);
  }
  return seconds;
}

} // namespace pg::rt
