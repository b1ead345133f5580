// From argv to a subcommand. Only command_line.cc includes CLI11, which takes long to compile.
#ifndef XENT_TOOLS_COMMAND_LINE_H_
#define XENT_TOOLS_COMMAND_LINE_H_

namespace xent_command {

// Parses the command line and runs what it asks for. Throws UsageError and RunError.
void RunCommandLine(int argc, char** argv);

}  // namespace xent_command

#endif  // XENT_TOOLS_COMMAND_LINE_H_
