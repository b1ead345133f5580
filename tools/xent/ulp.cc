// xent ulp: how far the results of a function are from the real ones, and the input that shows it.
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "commands.h"
#include "errors.h"
#include "json_output.h"
#include "named_values.h"
#include "ulp_scan.h"
#include "xent/xent.h"

namespace xent_command {
namespace {

constexpr int64_t kDefaultSamples = 10000000;

void RefuseContradictions(const UlpOptions& options, bool json) {
  if (options.exhaustive && options.dtype == XENT_F64) {
    throw UsageError(
        "--exhaustive is given with --dtype f64, whose 2^64 bit patterns would take millennia; give "
        "--samples N instead");
  }
  if (options.exhaustive && options.samples != 0) {
    throw UsageError(fmt::format("--samples is {} and --exhaustive is given too; give one of them", options.samples));
  }
  if (options.curve != 0 && !json) throw UsageError("--curve is given without --json; it adds to the JSON object");
}

std::vector<std::string> ChosenIsas(const std::optional<std::string>& isa) {
  if (isa != "all") {
    CapIsa(isa);
    return {xent_isa_chosen()};
  }
  std::vector<std::string> names;
  for (int32_t i = 0; i < xent_isa_count(); ++i) {
    if (xent_isa_supported(i) == 1) names.push_back(xent_isa_name(i));
  }
  return names;
}

std::string BitsText(uint64_t bits, xent_dtype dtype) {
  return fmt::format("0x{:0{}x}", bits, 2 * xent_dtype_size(dtype));
}

std::vector<JsonObject> CurveObjects(const std::vector<CurveBin>& curve) {
  std::vector<JsonObject> list;
  for (const CurveBin& bin : curve) {
    JsonObject object;
    object.SetNumber("from", bin.from);
    object.SetNumber("to", bin.to);
    bin.max_ulp < 0 ? object.SetNull("max_ulp") : object.SetNumber("max_ulp", bin.max_ulp);
    list.push_back(std::move(object));
  }
  return list;
}

JsonObject IsaObject(const IsaErrors& errors, xent_dtype dtype) {
  JsonObject object;
  object.SetText("isa", errors.isa);
  object.SetNumber("max_ulp", errors.max_ulp);
  object.SetNumber("witness", errors.witness);
  object.SetText("witness_hex", fmt::format("{:a}", errors.witness));
  object.SetText("witness_bits", BitsText(errors.witness_bits, dtype));
  object.SetNumber("result", errors.result);
  object.SetInteger("not_correctly_rounded", errors.not_correctly_rounded);
  object.SetIntegers("histogram", std::vector<int64_t>(errors.histogram.begin(), errors.histogram.end()));
  if (!errors.curve.empty()) object.SetObjects("curve", CurveObjects(errors.curve));
  return object;
}

void PrintObject(const UlpOptions& options, const UlpReport& report) {
  std::vector<JsonObject> isas;
  for (const IsaErrors& errors : report.isas) isas.push_back(IsaObject(errors, options.dtype));
  JsonObject object;
  object.SetText("function", options.function);
  object.SetText("dtype", DtypeName(options.dtype));
  object.SetInteger("inputs", report.inputs);
  object.SetNumber("seconds", report.seconds);
  object.SetObjects("isas", isas);
  object.Print();
}

void PrintErrors(const IsaErrors& errors, xent_dtype dtype) {
  fmt::print("{:<7} {:<20} {:>22}  {} = {:a} = {}, result {} = {:a}\n", errors.isa, NumberText(errors.max_ulp),
             errors.not_correctly_rounded, NumberText(errors.witness), errors.witness,
             BitsText(errors.witness_bits, dtype), NumberText(errors.result), errors.result);
}

void PrintHistogram(const IsaErrors& errors) {
  fmt::print("{:<7}", errors.isa);
  for (const int64_t count : errors.histogram) fmt::print(" {:>10}", count);
  fmt::print("\n");
}

void PrintText(const UlpOptions& options, const UlpReport& report) {
  fmt::print("{} {}: {} inputs{}, {:.2f} s\n\n", options.function, DtypeName(options.dtype), report.inputs,
             report.exhaustive ? " (every bit pattern)" : "", report.seconds);
  fmt::print("{:<7} {:<20} {:>22}  {}\n", "isa", "largest error in ULP", "not correctly rounded", "where");
  for (const IsaErrors& errors : report.isas) PrintErrors(errors, options.dtype);
  fmt::print("\nresults with errors up to\n{:<7}", "");
  for (int bin = 1; bin < kErrorBins; ++bin) fmt::print(" {:>10.1f}", bin / 10.0);
  fmt::print("     beyond\n");
  for (const IsaErrors& errors : report.isas) PrintHistogram(errors);
}

}  // namespace

const char kUlpHelp[] =
    "An error is |result - exact| in units in the last place (ULP) of the binade of the exact result; subnormal\n"
    "results have the unit of the least normal number. Correctly rounded results are off by 0.5 at most. bf16 and f16\n"
    "results are rounded twice, from correctly rounded f32, and may be off by a little more.\n"
    "Exact values come from the C library in more bits than the type has, and from MPFR where that leaves a doubt.\n"
    "Samples: both ends of every exponent, the surroundings of thresholds, and N more: for f64 by turns any bit\n"
    "pattern, a number from where the function is not trivial, and a number close to a threshold; for the other types\n"
    "one from each of N equal parts of all bit patterns, or all of them if N is not smaller.\n"
    "Large errors do not change the exit code.\n"
    "JSON keys: function, dtype, inputs, seconds, and isas: a list of {isa, max_ulp, witness, witness_hex,\n"
    "witness_bits, result, not_correctly_rounded, histogram}; the histogram counts errors up to 0.1, 0.2, ... 1 and\n"
    "beyond 1. --curve adds curve: a list of {from, to, max_ulp}, from the most negative to the largest input; it\n"
    "is null where no result is a number. A number that is infinite or none is one of the strings \"NaN\",\n"
    "\"Infinity\" and \"-Infinity\".";

void RunUlp(const UlpOptions& options, bool json) {
  UlpPlan plan;
  plan.inputs.function = ParseFunction(options.function);
  RefuseContradictions(options, json);
  plan.inputs.dtype = options.dtype;
  plan.inputs.exhaustive = options.exhaustive;
  plan.inputs.samples = options.samples != 0 ? options.samples : kDefaultSamples;
  plan.inputs.seed = static_cast<uint64_t>(options.seed);
  plan.isas = ChosenIsas(options.isa);
  plan.bins = options.curve;
  plan.threads = options.threads != 0 ? options.threads : xent_num_threads();
  const UlpReport report = MeasureUlp(plan);
  json ? PrintObject(options, report) : PrintText(options, report);
}

}  // namespace xent_command
