// The chosen instruction set belongs to the whole process, so a block goes through the instruction sets one after
// another, with all workers mapping their share of it at the same time.
#include "ulp_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "errors.h"
#include "named_values.h"
#include "progress.h"
#include "ulp_comparison.h"
#include "workers.h"

namespace xent_command {
namespace {

// Few enough for the cache that cores share, and enough that starting threads for it takes no time.
constexpr int64_t kBlock = 1 << 20;

void MapShare(const InputPlan& plan, const void* x, void* y, int64_t count) {
  xent_map_options options = xent_map_options_default();
  options.num_threads = 1;
  const xent_status status = xent_map(plan.function, plan.dtype, x, y, count, &options);
  if (status != XENT_OK) throw RunError(fmt::format("the library fails: {}", xent_last_error()));
}

template <typename Format>
class Scan {
 public:
  explicit Scan(const UlpPlan& plan) : plan_(plan), inputs_(plan.inputs) {
    if (static_cast<uint64_t>(plan.bins) > InputAxis<Format>::Numbers()) {
      throw UsageError(fmt::format("--curve is {}; {} has only {} finite numbers", plan.bins,
                                   DtypeName(plan.inputs.dtype), InputAxis<Format>::Numbers()));
    }
    const size_t room = static_cast<size_t>(std::min(kBlock, inputs_.size()));
    x_.resize(room);
    results_.assign(plan.isas.size(), std::vector<Bits>(room));
    for (int64_t i = 0; i < plan.threads; ++i) {
      workers_.push_back(std::make_unique<Comparison<Format>>(plan.inputs.function, plan.isas.size(), plan.bins));
    }
  }

  UlpReport Run() {
    const auto start = std::chrono::steady_clock::now();
    Progress progress(xent_function_name(plan_.inputs.function), inputs_.size());
    for (int64_t first = 0; first < inputs_.size(); first += kBlock) {
      RunBlock(first, std::min(kBlock, inputs_.size() - first));
      progress.Update(first);
    }
    UlpReport report;
    for (size_t i = 1; i < workers_.size(); ++i) workers_[0]->Merge(*workers_[i]);
    for (size_t isa = 0; isa < plan_.isas.size(); ++isa) report.isas.push_back(Summary(isa));
    report.inputs = inputs_.size();
    report.exhaustive = inputs_.exhaustive();
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
  }

 private:
  using Bits = typename Format::Bits;

  // Cuts [0, count) into one share per worker.
  template <typename Function>
  void Share(int64_t count, Function function) {
    RunWorkers(plan_.threads, [&](int64_t worker) {
      const int64_t begin = count * worker / plan_.threads;
      function(worker, begin, count * (worker + 1) / plan_.threads - begin);
    });
  }

  void RunBlock(int64_t first, int64_t count) {
    Share(count, [&](int64_t, int64_t begin, int64_t size) {
      for (int64_t i = begin; i < begin + size; ++i) x_[i] = static_cast<Bits>(inputs_.BitsAt(first + i));
    });
    for (size_t isa = 0; isa < plan_.isas.size(); ++isa) {
      CapIsa(plan_.isas[isa]);
      Share(count, [&](int64_t, int64_t begin, int64_t size) {
        MapShare(plan_.inputs, x_.data() + begin, results_[isa].data() + begin, size);
      });
    }
    Share(count, [&](int64_t worker, int64_t begin, int64_t size) {
      std::vector<const Bits*> results;
      for (const std::vector<Bits>& result : results_) results.push_back(result.data() + begin);
      workers_[worker]->Add(x_.data() + begin, results, size, first + begin);
      ExactFunction::EndThread();
    });
  }

  IsaErrors Summary(size_t isa) const {
    ErrorCount count = workers_[0]->CountOf(isa);
    IsaErrors errors;
    errors.isa = plan_.isas[isa];
    errors.not_correctly_rounded = count.wrong;
    errors.histogram = count.histogram;
    SetLargest(count.candidates.Pruned(), &errors);
    const InputAxis<Format> axis(plan_.bins);
    for (size_t bin = 0; bin < count.curve.size(); ++bin) {
      // The reference alone measured the curve; it may exceed the largest error by what the reference is off.
      errors.curve.push_back({axis.From(bin), axis.To(bin), std::min(count.curve[bin], errors.max_ulp)});
    }
    return errors;
  }

  // Among equal errors the first input counts, so that the threads make no difference.
  void SetLargest(const std::vector<Candidate>& candidates, IsaErrors* errors) const {
    ExactFunction exact(plan_.inputs.function, Format::kShape);
    errors->max_ulp = -1;
    int64_t place = 0;
    for (const Candidate& candidate : candidates) {
      const double x = static_cast<double>(Format::Widen(static_cast<Bits>(candidate.input)));
      const double result = static_cast<double>(Format::Widen(static_cast<Bits>(candidate.result)));
      exact.SetArgument(x);
      const double error = exact.ErrorOf(result);
      if (error < errors->max_ulp || (error == errors->max_ulp && candidate.place > place)) continue;
      errors->max_ulp = error;
      errors->witness = x;
      errors->witness_bits = candidate.input;
      errors->result = result;
      place = candidate.place;
    }
  }

  const UlpPlan& plan_;
  InputSet inputs_;
  std::vector<Bits> x_;
  std::vector<std::vector<Bits>> results_;
  std::vector<std::unique_ptr<Comparison<Format>>> workers_;
};

}  // namespace

UlpReport MeasureUlp(const UlpPlan& plan) {
  switch (plan.inputs.dtype) {
    case XENT_F64:
      return Scan<F64>(plan).Run();
    case XENT_BF16:
      return Scan<BF16>(plan).Run();
    case XENT_F16:
      return Scan<F16>(plan).Run();
    default:
      return Scan<F32>(plan).Run();
  }
}

}  // namespace xent_command
