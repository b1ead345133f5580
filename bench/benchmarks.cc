// xent_bench: the library under Google Benchmark, so that --benchmark_filter can pick any subset. For ratios use
// xent_interleaved: roofs are not measured here.
#include "benchmarks.h"

#include <benchmark/benchmark.h>

#include "machine.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

// Google Benchmark calls a function several times until it has run long enough; the buffers wait for that.
Workload* WorkloadFor(const std::string& name, const MakeWorkload& make) {
  static std::string kept_name;
  static std::unique_ptr<Workload> kept;
  if (kept_name != name) {
    kept.reset();
    kept = make();
    kept_name = name;
  }
  return kept.get();
}

void Run(benchmark::State& state, const std::string& name, const std::string& isa, const MakeWorkload& make) {
  Workload* const workload = WorkloadFor(name, make);
  if (xent_isa_cap(isa.c_str()) != XENT_OK) return state.SkipWithError(xent_last_error());
  const std::string wrong = workload->Check();
  if (!wrong.empty()) return state.SkipWithError(wrong.c_str());
  size_t slot = 0;
  double paused = 0;
  const Clock::time_point start = Clock::now();
  for (auto _ : state) {
    if (slot == workload->slots()) {
      state.PauseTiming();
      const Clock::time_point pause = Clock::now();
      workload->Restore(0, workload->slots());
      slot = 0;
      paused += SecondsSince(pause);
      state.ResumeTiming();
    }
    workload->Call(slot++);
  }
  const double seconds = SecondsSince(start) - paused;
  workload->Restore(0, slot);
  xent_isa_cap(nullptr);
  const double done = static_cast<double>(state.iterations() * workload->elements());
  // Of all threads together, at the clock of the core as it is now.
  state.counters["cycles_per_element"] = seconds * CoreHertz() * workload->threads() / done;
  state.SetItemsProcessed(static_cast<int64_t>(done));
  state.SetBytesProcessed(static_cast<int64_t>(static_cast<double>(state.iterations()) * workload->FloorBytes()));
}

}  // namespace

void Register(const std::string& name, const std::string& isa, const MakeWorkload& make) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) { Run(state, name, isa, make); })
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

}  // namespace xent_bench

int main(int argc, char** argv) {
  xent_bench::RegisterSoftmax();
  xent_bench::RegisterFunctions();
  benchmark::AddCustomContext("xent", xent_build_info());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  xent_bench::PinThreads(xent_bench::CpuCount());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
