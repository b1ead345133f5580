// One pass over many inputs of a function: all instruction sets map each block, and the errors of their results are
// measured against one reference.
#ifndef XENT_TOOLS_ULP_SCAN_H_
#define XENT_TOOLS_ULP_SCAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ulp_inputs.h"
#include "ulp_statistics.h"

namespace xent_command {

struct UlpPlan {
  InputPlan inputs;
  std::vector<std::string> isas;
  int64_t bins;  // of the curve; 0: none
  int64_t threads;
};

struct CurveBin {
  double from;
  double to;
  double max_ulp;  // below 0: no input in this bin has a number as its result
};

struct IsaErrors {
  std::string isa;
  double max_ulp = 0;
  double witness = 0;
  uint64_t witness_bits = 0;
  double result = 0;
  int64_t not_correctly_rounded = 0;
  ErrorHistogram histogram{};
  std::vector<CurveBin> curve;
};

struct UlpReport {
  int64_t inputs = 0;
  bool exhaustive = false;
  double seconds = 0;
  std::vector<IsaErrors> isas;
};

// Throws UsageError for a curve with more bins than the type has numbers, RunError where the library fails.
UlpReport MeasureUlp(const UlpPlan& plan);

}  // namespace xent_command

#endif  // XENT_TOOLS_ULP_SCAN_H_
