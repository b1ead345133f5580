// xent info: which library this is, how it was built, and what it uses on this machine.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "commands.h"
#include "json_output.h"
#include "xent/xent.h"

namespace xent_command {
namespace {

void PrintText() {
  fmt::print("version  {}\n", xent_version_string());
  fmt::print("build    {}\n", xent_build_info());
  fmt::print("chosen   {}\n", xent_isa_chosen());
  fmt::print("threads  {}\n", xent_num_threads());
  fmt::print("compiled instruction sets, best first:\n");
  for (int32_t i = 0; i < xent_isa_count(); ++i) {
    const char* support = xent_isa_supported(i) == 1 ? "supported" : "not supported by this machine";
    fmt::print("  {:<8} {}\n", xent_isa_name(i), support);
  }
}

void PrintObject() {
  std::vector<JsonObject> sets;
  for (int32_t i = 0; i < xent_isa_count(); ++i) {
    JsonObject set;
    set.SetText("name", xent_isa_name(i));
    set.SetBool("supported", xent_isa_supported(i) == 1);
    sets.push_back(std::move(set));
  }
  JsonObject object;
  object.SetText("version", xent_version_string());
  object.SetText("build", xent_build_info());
  object.SetText("isa", xent_isa_chosen());
  object.SetInteger("threads", xent_num_threads());
  object.SetObjects("isas", sets);
  object.Print();
}

}  // namespace

const char kInfoHelp[] =
    "JSON keys: version, build, isa (the instruction set in use), threads, and isas: the compiled instruction sets,\n"
    "best first, each with name and supported.\n"
    "XENT_MAX_ISA=NAME caps the instruction set (a name that is none caps nothing), XENT_NUM_THREADS=N the threads, of "
    "every\n"
    "command, unless --isa and --threads say otherwise.";

void RunInfo(bool json) { json ? PrintObject() : PrintText(); }

}  // namespace xent_command
