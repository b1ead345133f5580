// Names on the command line that several commands take: instruction sets, functions and element types.
#ifndef XENT_TOOLS_NAMED_VALUES_H_
#define XENT_TOOLS_NAMED_VALUES_H_

#include <optional>
#include <string>

#include "xent/xent.h"

namespace xent_command {

// What --isa asks for, if it was given. Throws UsageError for a name that is not known, RunError for an instruction set
// that this machine cannot run.
void CapIsa(const std::optional<std::string>& isa);

// The function that FUNCTION names. Throws UsageError.
xent_function ParseFunction(const std::string& name);

// The floating-point type of f32, f64, bf16 or f16, and the name of one. Throws UsageError.
xent_dtype ParseDtype(const std::string& flag, const std::string& name);
const char* DtypeName(xent_dtype dtype);

}  // namespace xent_command

#endif  // XENT_TOOLS_NAMED_VALUES_H_
