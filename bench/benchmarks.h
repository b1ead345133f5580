// What the families of xent_bench share: one workload at a time, run under Google Benchmark.
#ifndef XENT_BENCH_BENCHMARKS_H_
#define XENT_BENCH_BENCHMARKS_H_

#include <functional>
#include <memory>
#include <string>

#include "workload.h"

namespace xent_bench {

using MakeWorkload = std::function<std::unique_ptr<Workload>()>;

// A benchmark of calls of the workload on an instruction set.
void Register(const std::string& name, const std::string& isa, const MakeWorkload& make);

// The families, in softmax.cc and functions.cc.
void RegisterSoftmax();
void RegisterFunctions();

}  // namespace xent_bench

#endif  // XENT_BENCH_BENCHMARKS_H_
