// A function of an array as a workload: y[i] = f(x[i]), out of place.
#ifndef XENT_BENCH_FUNCTION_WORKLOAD_H_
#define XENT_BENCH_FUNCTION_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "inputs.h"
#include "ring.h"
#include "roofs.h"
#include "workload.h"
#include "xent/xent.h"

namespace xent_bench {

struct FunctionCase {
  xent_function function;
  Dtype dtype;
  int64_t elements;
  int threads;
  bool huge_pages;
  size_t footprint;  // bytes that the ring has at least; 0: one copy
};

class FunctionWorkload : public Workload {
 public:
  explicit FunctionWorkload(const FunctionCase& c);

  const Dtype& dtype() const override { return case_.dtype; }
  int threads() const override { return case_.threads; }
  int64_t elements() const override { return case_.elements; }
  size_t slots() const override { return ring_.slots(); }

  // Each element read once and written once.
  double FloorBytes() const override;
  void Call(size_t slot) override;
  RoofJob Job(size_t slot) const override;
  std::string Check() override;

  std::string Size() const override { return std::to_string(case_.elements); }
  std::string What() const override { return xent_function_name(case_.function); }
  std::string JsonFields() const override;

 private:
  FunctionCase case_;
  CopyRing ring_;
};

// As many elements, `most` at most, as fit half of the second-level caches of so many threads, results included.
int64_t FitToCache(int64_t most, xent_dtype dtype, int threads);

}  // namespace xent_bench

#endif  // XENT_BENCH_FUNCTION_WORKLOAD_H_
