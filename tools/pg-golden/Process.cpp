//===- Process.cpp - runs a program and keeps what it said
//-----------------===//
#include "tools/pg-golden/Process.h"

#include "runtime/support/File.h"

#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

using namespace pg;

/// The last `lines` non-empty lines, joined by " | ".
static std::string tail(const std::string &text, int lines) {
  std::string result;
  size_t end = text.size();
  while (end > 0 && lines > 0) {
    size_t begin = text.rfind('\n', end - 1);
    begin = begin == std::string::npos ? 0 : begin + 1;
    if (end > begin) {
      std::string line = text.substr(begin, end - begin);
      result = result.empty() ? line : line + " | " + result;
      --lines;
    }
    end = begin > 0 ? begin - 1 : 0;
  }
  return result;
}

rt::Status golden::runProcess(const std::vector<std::string> &arguments,
                              const std::string &log) {
  std::vector<char *> argv;
  for (const std::string &argument : arguments)
    argv.push_back(const_cast<char *>(argument.c_str()));
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child = 0;
  int error =
      posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return {rt::Code::Environment,
            "cannot run " + arguments[0] + ": " + std::strerror(error)};

  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return {rt::Code::Internal,
              std::string("waitpid: ") + std::strerror(errno)};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return rt::Status::ok();
  std::string how = WIFSIGNALED(status)
                        ? "ended by signal " + std::to_string(WTERMSIG(status))
                        : "exit code " + std::to_string(WEXITSTATUS(status));
  rt::StatusOr<std::string> said = rt::readFile(log);
  std::string name = arguments[0].substr(arguments[0].rfind('/') + 1);
  if (arguments.size() > 1)
    name += " " + arguments[1];
  return {rt::Code::Invalid,
          name + ": " + how + (said ? ": " + tail(*said, 4) : "")};
}
