// xent_bench: softmax cross-entropy under Google Benchmark, cold. Names are
//   softmax/{loss,gradient,gradient_in_place}/DTYPE/ISA/rows:R/classes:K/threads:T
// so that --benchmark_filter can pick any subset. For ratios use xent_interleaved: roofs are not measured here.
#include <benchmark/benchmark.h>

#include <exception>
#include <memory>
#include <set>
#include <string>

#include "inputs.h"
#include "machine.h"
#include "shapes.h"
#include "workload.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

// Google Benchmark calls a function several times until it has run long enough; the buffers wait for that.
Workload* WorkloadFor(const std::string& name, const Case& c) {
  static std::string kept_name;
  static std::unique_ptr<Workload> kept;
  if (kept_name != name) {
    kept.reset();
    kept = std::make_unique<Workload>(c);
    kept_name = name;
  }
  return kept.get();
}

void Softmax(benchmark::State& state, const std::string& name, const Case& c, const char* isa) {
  Workload* const workload = WorkloadFor(name, c);
  if (xent_isa_cap(isa) != XENT_OK) return state.SkipWithError(xent_last_error());
  const std::string wrong = workload->Check();
  if (!wrong.empty()) return state.SkipWithError(wrong.c_str());
  size_t slot = 0;
  for (auto _ : state) {
    if (slot == workload->slots()) {
      state.PauseTiming();
      workload->Restore(0, workload->slots());
      slot = 0;
      state.ResumeTiming();
    }
    workload->Call(slot++);
  }
  workload->Restore(0, slot);
  xent_isa_cap(nullptr);
  state.SetItemsProcessed(state.iterations() * workload->elements());
  state.SetBytesProcessed(static_cast<int64_t>(static_cast<double>(state.iterations()) * workload->FloorBytes()));
}

void Register(const Shape& shape, const Dtype& dtype, Mode mode, const char* isa, int threads) {
  const std::string name = std::string("softmax/") + ModeName(mode) + "/" + dtype.name + "/" + isa +
                           "/rows:" + std::to_string(shape.rows) + "/classes:" + std::to_string(shape.classes) +
                           "/threads:" + std::to_string(threads);
  const Case c = {shape, dtype, mode, Inputs::kNormal, threads, false, 4 * LastLevelCacheBytes()};
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) { Softmax(state, name, c, isa); })
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

void RegisterAll() {
  const std::set<int> thread_counts = {1, CpuCount()};
  for (Mode mode : kModes) {
    for (const Dtype& dtype : kDtypes) {
      for (int32_t i = 0; i < xent_isa_count(); ++i) {
        if (xent_isa_supported(i) == 0) continue;
        for (const Shape& shape : kShapes) {
          for (int threads : thread_counts) Register(shape, dtype, mode, xent_isa_name(i), threads);
        }
      }
    }
  }
}

}  // namespace
}  // namespace xent_bench

int main(int argc, char** argv) {
  xent_bench::RegisterAll();
  benchmark::AddCustomContext("xent", xent_build_info());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  xent_bench::PinThreads(xent_bench::CpuCount());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
