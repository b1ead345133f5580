// Every list of names in a message comes from the library or from the table here, so that none can be out of date.
#include "named_values.h"

#include <fmt/format.h>

#include "errors.h"

namespace xent_command {
namespace {

struct NamedDtype {
  const char* name;
  xent_dtype dtype;
};

constexpr NamedDtype kDtypes[] = {{"f32", XENT_F32}, {"f64", XENT_F64}, {"bf16", XENT_BF16}, {"f16", XENT_F16}};

void AddName(const char* name, std::string* names) { *names += (names->empty() ? "" : ", ") + std::string(name); }

}  // namespace

void CapIsa(const std::optional<std::string>& isa) {
  if (!isa.has_value()) return;
  const xent_status status = xent_isa_cap(isa->c_str());
  if (status == XENT_OK) return;
  std::string names;
  for (int32_t i = 0; i < xent_isa_count(); ++i) AddName(xent_isa_name(i), &names);
  if (status == XENT_INVALID_ARGUMENT) {
    throw UsageError(fmt::format("--isa is \"{}\"; it must be one of {}", *isa, names));
  }
  throw RunError(fmt::format("--isa is \"{}\", which cannot be used here: {}", *isa, xent_last_error()));
}

xent_function ParseFunction(const std::string& name) {
  std::string names;
  for (xent_function function = 1; xent_function_name(function) != nullptr; ++function) {
    if (name == xent_function_name(function)) return function;
    AddName(xent_function_name(function), &names);
  }
  throw UsageError(fmt::format("FUNCTION is \"{}\"; it must be one of {}", name, names));
}

xent_dtype ParseDtype(const std::string& flag, const std::string& name) {
  std::string names;
  for (const NamedDtype& entry : kDtypes) {
    if (name == entry.name) return entry.dtype;
    AddName(entry.name, &names);
  }
  throw UsageError(fmt::format("{} is \"{}\"; it must be one of {}", flag, name, names));
}

const char* DtypeName(xent_dtype dtype) {
  for (const NamedDtype& entry : kDtypes) {
    if (dtype == entry.dtype) return entry.name;
  }
  return "unknown";
}

}  // namespace xent_command
