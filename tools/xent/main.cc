// xent: the command line of the library. Exit code 0; 1 when the work failed; 2 when the command line was wrong.
// Messages go to standard error, one sentence each.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "command_line.h"
#include "errors.h"

namespace {

enum ExitCode { kSuccess = 0, kFailure = 1, kUsage = 2 };

ExitCode Complain(const char* sentence, ExitCode code) {
  std::fprintf(stderr, "xent: %s\n", sentence);
  return code;
}

ExitCode Run(int argc, char** argv) {
  try {
    xent_command::RunCommandLine(argc, argv);
    if (std::fflush(stdout) == 0) return kSuccess;
    throw xent_command::RunError(std::string("standard output cannot be written: ") + std::strerror(errno));
  } catch (const xent_command::UsageError& error) {
    return Complain(error.what(), kUsage);
  } catch (const std::bad_alloc&) {
    return Complain("there is not enough memory", kFailure);
  } catch (const std::exception& error) {
    return Complain(error.what(), kFailure);
  }
}

}  // namespace

int main(int argc, char** argv) {
#if defined(SIGXFSZ)
  std::signal(SIGXFSZ, SIG_IGN);  // a file that grows too large is an error of write(), which is reported
#endif
  return Run(argc, argv);
}
