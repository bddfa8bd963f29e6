//===- Log.h - messages for people, on stderr -------------------------------===//
#ifndef PG_RUNTIME_SUPPORT_LOG_H
#define PG_RUNTIME_SUPPORT_LOG_H

#include <cstdint>
#include <string>

namespace pg::rt {

/// Seconds of a clock that never jumps.
double monotonicSeconds();

/// Shortest decimal text that reads back as the same float / double; never
/// depends on the locale. Infinities and NaN as "inf", "-inf", "nan".
std::string formatFloat(float value);
std::string formatDouble(double value);
/// Fixed number of decimals, locale-free.
std::string formatFixed(double value, int decimals);
/// "1h02m", "3m05s", "12s".
std::string formatDuration(double seconds);

/// One line on stderr, "pgrun: text"; nothing when quiet.
void note(const std::string &text);
/// "pgrun: warning: text".
void warn(const std::string &text);
void setQuiet(bool quiet);

/// The progress line: on a terminal one line updated at most 10 times a
/// second, otherwise one line per 10 s at most. Not thread-safe.
class Progress {
public:
  Progress();
  ~Progress();
  /// True when a new line may be shown now (call before building the text).
  bool isDue() const;
  void show(const std::string &text);
  /// Ends an updating line so that other text starts on its own line.
  void finish();

private:
  bool isTerminal;
  bool lineOpen = false;
  double lastShown;
};

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_LOG_H
