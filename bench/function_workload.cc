// Arguments are 4 * N(0, 1), as for logits, without their sign where a logarithm is taken: what functions meet in
// networks, and no special values.
#include "function_workload.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "machine.h"
#include "tools/xent/function_reference.h"

namespace xent_bench {
namespace {

size_t ArrayBytes(const FunctionCase& c) {
  return RoundUp(static_cast<size_t>(c.elements) * static_cast<size_t>(xent_dtype_size(c.dtype.value)), kLine);
}

// The sign is the highest bit of every storage type.
void DropSigns(xent_dtype dtype, int64_t elements, char* array) {
  const int64_t size = xent_dtype_size(dtype);
  for (int64_t i = 0; i < elements; ++i) array[i * size + size - 1] &= 0x7F;
}

// A few units in the last place of a number, and of the smallest normal one.
double Tolerance(xent_dtype dtype, double want) {
  const double unit = dtype == XENT_F64 ? 0x1p-52 : dtype == XENT_F32 ? 0x1p-23 : dtype == XENT_BF16 ? 0x1p-7 : 0x1p-10;
  const double least = dtype == XENT_F64 ? 0x1p-1022 : dtype == XENT_F16 ? 0x1p-14 : 0x1p-126;
  return 4 * unit * std::max(std::fabs(want), least);
}

}  // namespace

FunctionWorkload::FunctionWorkload(const FunctionCase& c)
    : case_(c), ring_({ArrayBytes(c), true, c.footprint, c.threads, c.huge_pages}) {
  const int64_t no_label = -1;
  FillLogits({"", 1, c.elements, ""}, c.dtype.value, Inputs::kNormal, &no_label, ring_.master());
  if (c.function == XENT_LOG || c.function == XENT_LOG1P) DropSigns(c.dtype.value, c.elements, ring_.master());
  ring_.Spread();
}

double FunctionWorkload::FloorBytes() const {
  return 2.0 * static_cast<double>(case_.elements) * xent_dtype_size(case_.dtype.value);
}

void FunctionWorkload::Call(size_t slot) {
  xent_map_options options = xent_map_options_default();
  options.num_threads = case_.threads;
  const xent_status status =
      xent_map(case_.function, case_.dtype.value, ring_.Input(slot), ring_.Output(slot), case_.elements, &options);
  if (status != XENT_OK) throw std::runtime_error(xent_last_error());
}

RoofJob FunctionWorkload::Job(size_t slot) const {
  return {Traffic::kCopy, ring_.Input(slot), ring_.Output(slot), ArrayBytes(case_), nullptr, 0};
}

// Some 100,000 elements, spread evenly.
std::string FunctionWorkload::Check() {
  Call(0);
  const int64_t step = std::max<int64_t>(1, case_.elements / 100000);
  for (int64_t i = 0; i < case_.elements; i += step) {
    const double x = LoadAsDouble(ring_.Input(0), case_.dtype.value, i);
    double want;
    xent_command::ApplyReference(case_.function, &x, 1, &want);
    const double got = LoadAsDouble(ring_.Output(0), case_.dtype.value, i);
    const bool overflows = case_.dtype.value == XENT_F16 && want >= 65504 && got >= 65504;
    if (got != want && !overflows && !(std::fabs(got - want) <= Tolerance(case_.dtype.value, want))) {
      return GotAndWanted("element " + std::to_string(i), got, want);
    }
  }
  return "";
}

std::string FunctionWorkload::JsonFields() const { return "\"function\": \"" + What() + "\", \"elements\": " + Size(); }

int64_t FitToCache(int64_t most, xent_dtype dtype, int threads) {
  const size_t bytes = SecondLevelCacheBytes() / 2 * static_cast<size_t>(threads);
  return std::min(most, static_cast<int64_t>(bytes) / (2 * xent_dtype_size(dtype)));
}

}  // namespace xent_bench
