// Results of the interleaved benchmark, and three ways to print them: aligned text, Markdown, JSON.
#ifndef XENT_BENCH_REPORT_H_
#define XENT_BENCH_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "inputs.h"
#include "roofs.h"
#include "workload.h"

namespace xent_bench {

// Quartiles of a ratio taken round by round.
struct Ratio {
  double median;
  double low;
  double high;
};
Ratio RatioOf(const std::vector<double>& per_round);

struct Result {
  std::string size;  // the cells and fields that name a workload; see workload.h
  std::string what;
  std::string json_fields;
  const char* dtype;
  std::string isa;
  int threads;
  int disturbed;  // rounds in which another process never let go of the cores; they count like the others
  // Medians, in seconds per call. Warm runs have no memory roof.
  double xent;
  double roof;
  double exp_add;
  double gigabytes_per_second;  // at the floor traffic
  double cycles_per_element;    // of all threads together, at the clock of the core; 0: not known
  double exp_add_cycles_per_element;
  Ratio of_roof;     // time of the memory roof / time of the library
  Ratio of_exp_add;  // time of the bare exponentials / time of the library
  Ratio of_binding;  // time of the slower of the two roofs / time of the library
};

enum class Format { kText, kMarkdown, kJson };

struct Run {
  Format format;
  bool is_functions;  // arrays of numbers, not softmax
  bool warm;
  int rounds;
  Inputs inputs;
  bool pinned;
  std::vector<const Roofs*> roofs;
  std::vector<Result> results;
};

void Print(const Run& run);

}  // namespace xent_bench

#endif  // XENT_BENCH_REPORT_H_
