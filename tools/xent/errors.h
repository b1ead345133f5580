// The two ways in which the command ends badly; main.cc prints the sentence and picks the exit code.
#ifndef XENT_TOOLS_ERRORS_H_
#define XENT_TOOLS_ERRORS_H_

#include <stdexcept>

namespace xent_command {

// The command line makes no sense: exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The command line was understood, but what it asks for cannot be done: exit code 1.
class RunError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_ERRORS_H_
