//===- Common.cpp - what the verbs share --------------------------------------===//
#include "runtime/report/ProfileReport.h"
#include "runtime/support/Log.h"
#include "tools/pgrun/Verbs.h"

#include <cstdio>

namespace pg::rt {

void CommonOptions::add(CLI::App &app) {
  app.add_option("package", package, "the compiled model, X.pgx")->required();
  app.add_option("--threads", threads, "threads; default PG_THREADS, else every CPU")->check(CLI::Range(1, 1024));
  app.add_option("--device", device, "auto, cpu, cuda or cuda:N; auto takes a GPU when the package and the machine have one")
      ->check([](const std::string &text) {
        return parseDeviceChoice(text) ? std::string() : "'" + text + "' is no device, expected auto, cpu, cuda or cuda:N";
      });
  app.add_option("--cublaslt", cublaslt, "off or on: on a GPU, plain products go through NVIDIA's library (other last bits)")
      ->check(CLI::IsMember({"off", "on"}));
  app.add_flag("--profile", profile, "time per kernel and category, on stderr");
  app.add_flag("--poison", poison, "fill the arena with NaN before every run (finds compiler faults)");
}

StatusOr<std::unique_ptr<Executor>> CommonOptions::open() const {
  auto read = readPackage(package);
  if (!read)
    return read.status();
  ExecutorOptions options;
  options.threads = threads;
  options.device = *parseDeviceChoice(device);
  options.device.usesBlas = cublaslt == "on";
  options.profile = profile;
  options.poison = poison;
  auto executor = Executor::create(std::move(*read), options);
  if (!executor)
    return executor.status().with("'" + package + "'");
  return executor;
}

Status print(const std::string &text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fputc('\n', stdout) == EOF ||
      std::fflush(stdout) != 0)
    return {Code::Io, "cannot write to standard output"};
  return Status::ok();
}

void showProfile(Executor &executor, bool wanted) {
  if (wanted)
    std::fputs(profileText(executor.profile(), {1, 0, executor.device().describe(), {}}).c_str(), stderr);
}

} // namespace pg::rt
