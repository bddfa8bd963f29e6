//===- Process.h - runs a program and keeps what it said
//-------------------===//
#ifndef PG_TOOLS_PGGOLDEN_PROCESS_H
#define PG_TOOLS_PGGOLDEN_PROCESS_H

#include "runtime/support/Status.h"

#include <string>
#include <vector>

namespace pg::golden {

/// Runs `arguments` (the first is the program's path) to its end; its output
/// goes to `log`. An exit code other than 0 is an error that carries the last
/// lines of the log.
rt::Status runProcess(const std::vector<std::string> &arguments,
                      const std::string &log);

} // namespace pg::golden

#endif // PG_TOOLS_PGGOLDEN_PROCESS_H
