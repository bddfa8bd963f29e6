//===- Log.cpp - messages for people, on stderr -----------------------------===//
#include "runtime/support/Log.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <unistd.h>

namespace pg::rt {
namespace {

bool isQuiet = false;

void emit(const std::string &text) { (void)!::write(STDERR_FILENO, text.data(), text.size()); }

template <typename T> std::string shortest(T value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value > 0 ? "inf" : "-inf";
  char text[64];
  auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return std::string(text, end);
}

} // namespace

double monotonicSeconds() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

std::string formatFloat(float value) { return shortest(value); }
std::string formatDouble(double value) { return shortest(value); }

std::string formatFixed(double value, int decimals) {
  if (!std::isfinite(value))
    return shortest(value);
  char text[400];
  auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, decimals).ptr;
  return std::string(text, end);
}

std::string formatDuration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9)
    return "?";
  auto whole = int64_t(seconds + 0.5);
  auto twoDigits = [](int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  if (whole >= 3600)
    return std::to_string(whole / 3600) + "h" + twoDigits(whole / 60 % 60) + "m";
  if (whole >= 60)
    return std::to_string(whole / 60) + "m" + twoDigits(whole % 60) + "s";
  return std::to_string(whole) + "s";
}

void note(const std::string &text) {
  if (!isQuiet)
    emit("pgrun: " + text + "\n");
}
void warn(const std::string &text) { emit("pgrun: warning: " + text + "\n"); }
void setQuiet(bool quiet) { isQuiet = quiet; }

Progress::Progress() : isTerminal(::isatty(STDERR_FILENO)), lastShown(monotonicSeconds()) {}
Progress::~Progress() { finish(); }

bool Progress::isDue() const {
  return !isQuiet && monotonicSeconds() - lastShown >= (isTerminal ? 0.1 : 10.0);
}

void Progress::show(const std::string &text) {
  if (isQuiet)
    return;
  lastShown = monotonicSeconds();
  emit(isTerminal ? "\r" + text + "\x1b[K" : text + "\n");
  lineOpen = isTerminal;
}

void Progress::finish() {
  if (lineOpen)
    emit("\n");
  lineOpen = false;
}

} // namespace pg::rt
