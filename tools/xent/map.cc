// xent map: one of the library's functions of every element of a file, whatever its shape.
#include <fmt/format.h>

#include <string>

#include "commands.h"
#include "errors.h"
#include "float_array.h"
#include "json_output.h"
#include "named_values.h"
#include "npy_array.h"
#include "output_files.h"
#include "xent/xent.h"

namespace xent_command {
namespace {

void Compute(xent_function function, xent_dtype dtype, const NpyArray& in, const MapOptions& options) {
  const NpyHeader& header = in.header();
  OutputFiles files;
  void* out = files.Add({"OUT", options.out}, header.type.kind, header.type.size, header.shape);
  xent_map_options settings = xent_map_options_default();
  settings.num_threads = static_cast<int32_t>(options.threads);
  const xent_status status = xent_map(function, dtype, in.data(), out, header.elements, &settings);
  if (status != XENT_OK) {
    throw RunError(fmt::format("{} cannot be computed ({}): {}", xent_function_name(function), xent_status_name(status),
                               xent_last_error()));
  }
  files.Commit();
}

void Print(const std::string& function, xent_dtype dtype, int64_t elements, int64_t threads, bool json) {
  const int64_t used = threads != 0 ? threads : xent_num_threads();
  if (json) {
    JsonObject object;
    object.SetText("function", function);
    object.SetText("dtype", DtypeName(dtype));
    object.SetInteger("elements", elements);
    object.SetText("isa", xent_isa_chosen());
    object.SetInteger("threads", used);
    object.Print();
    return;
  }
  fmt::print("function  {}\ndtype     {}\nelements  {}\n", function, DtypeName(dtype), elements);
  fmt::print("isa       {}\nthreads   {}\n", xent_isa_chosen(), used);
}

}  // namespace

const char kMapHelp[] =
    "IN.npy: any shape, f2, f4 or f8 (bfloat16 words with --bf16), C order. OUT.npy gets the same type and shape; it\n"
    "appears whole or not at all, and may not be IN.npy.\n"
    "FUNCTION: exp, log, log1p, expm1, sigmoid, log_sigmoid, softplus or tanh. f4 results are correctly rounded.\n"
    "JSON keys: function, dtype, elements, isa, threads.";

void RunMap(const MapOptions& options, bool json) {
  const xent_function function = ParseFunction(options.function);
  RefuseSharedPaths({{"IN", options.in}}, {{"OUT", options.out}});
  CapIsa(options.isa);
  const NpyArray in("IN", options.in);
  const xent_dtype dtype = FloatType(in, options.bf16, "elements");
  Compute(function, dtype, in, options);
  Print(options.function, dtype, in.header().elements, options.threads, json);
}

}  // namespace xent_command
