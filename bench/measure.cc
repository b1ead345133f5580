// In-place calls leave gradients where logits were. The copies are made anew when the ring has been used up, outside
// the timed regions, followed by one untimed sample: so the cache holds as many modified lines as it does in between.
#include "measure.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "machine.h"
#include "memory.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

constexpr double kSampleSeconds = 100e-6;  // shorter calls are timed in batches of about so long
constexpr int kWarmUpRounds = 2;

// Hands out runs of `calls` neighbouring copies of a ring.
class Ring {
 public:
  Ring(Workload* workload, const Roofs& roofs) : workload_(workload), roofs_(roofs) {}

  size_t Take(size_t calls) {
    if (next_ + calls > workload_->slots()) {
      workload_->Restore(0, workload_->slots());
      next_ = 0;
      if (workload_->OverwritesInput()) Settle(calls);
    }
    next_ += calls;
    return next_ - calls;
  }

 private:
  void Settle(size_t calls) {
    const size_t last = workload_->slots();
    for (size_t slot = last - std::min(calls, last); slot < last; ++slot) roofs_.Run(workload_->Job(slot));
  }

  Workload* workload_;
  const Roofs& roofs_;
  size_t next_ = 0;
};

// Bare exponentials in cache, as an element of the workload costs: seconds for all its elements.
class ExpAddTimer {
 public:
  // With elements == 0 a block of the first-level cache is used again and again, else that many elements.
  ExpAddTimer(const Workload& workload, int64_t elements) : elements_(workload.elements()) {
    const int threads = workload.threads();
    const bool is_double = workload.dtype().value == XENT_F64;
    const size_t size = is_double ? sizeof(double) : sizeof(float);
    const size_t block = (size_t{8} << 10) / size;
    const size_t share =
        (static_cast<size_t>(elements) + static_cast<size_t>(threads) - 1) / static_cast<size_t>(threads);
    const size_t count = elements == 0 ? block : RoundUp(share, kExpAddMultiple / size);
    x_ = Allocate(count * static_cast<size_t>(threads) * size);
    const Shape shape = {"", threads, static_cast<int64_t>(count), ""};
    const std::vector<int64_t> labels(static_cast<size_t>(threads), 0);
    FillLogits(shape, is_double ? XENT_F64 : XENT_F32, Inputs::kNormal, labels.data(), x_.get());
    const int repeats = static_cast<int>(std::max<size_t>(1, (size_t{1} << 19) / count));
    job_ = {x_.get(), is_double, false, count, repeats, threads, xent_isa_chosen()};
  }

  double Seconds() const {
    const Clock::time_point start = Clock::now();
    RunExpAdd(job_);
    const double done = static_cast<double>(job_.count) * job_.repeats * job_.threads;
    return SecondsSince(start) * static_cast<double>(elements_) / done;
  }

 private:
  int64_t elements_;
  Memory x_;
  ExpAddJob job_;
};

double TimeRoof(Workload* workload, const Roofs& roofs, Ring* ring, size_t calls) {
  const size_t first = ring->Take(calls);
  const Clock::time_point start = Clock::now();
  for (size_t slot = first; slot < first + calls; ++slot) roofs.Run(workload->Job(slot));
  return SecondsSince(start) / static_cast<double>(calls);
}

double TimeCold(Workload* workload, Ring* ring, size_t calls) {
  const size_t first = ring->Take(calls);
  const Clock::time_point start = Clock::now();
  for (size_t slot = first; slot < first + calls; ++slot) workload->Call(slot);
  return SecondsSince(start) / static_cast<double>(calls);
}

double TimeWarm(Workload* workload, size_t calls) {
  const bool in_place = workload->OverwritesInput();
  double seconds = 0;
  for (size_t i = 0; i < (in_place ? calls : 1); ++i) {
    workload->Restore(0, 1);
    const Clock::time_point start = Clock::now();
    for (size_t k = 0; k < (in_place ? 1 : calls); ++k) workload->Call(0);
    seconds += SecondsSince(start);
  }
  return seconds / static_cast<double>(calls);
}

size_t CallsPerSample(double seconds, size_t most) {
  return static_cast<size_t>(std::min(std::max(1.0, std::ceil(kSampleSeconds / seconds)), static_cast<double>(most)));
}

// What is collected, one number per round.
struct Samples {
  std::vector<double> xent, roof, exp_add, of_roof, of_exp_add, of_binding, cycles, exp_add_cycles;

  int disturbed = 0;

  void Add(double xent_seconds, double roof_seconds, double exp_seconds, double cycles_per_second_element, bool quiet) {
    disturbed += quiet ? 0 : 1;
    xent.push_back(xent_seconds);
    roof.push_back(roof_seconds);
    exp_add.push_back(exp_seconds);
    of_roof.push_back(roof_seconds / xent_seconds);
    of_exp_add.push_back(exp_seconds / xent_seconds);
    of_binding.push_back(std::max(roof_seconds, exp_seconds) / xent_seconds);
    cycles.push_back(xent_seconds * cycles_per_second_element);
    exp_add_cycles.push_back(exp_seconds * cycles_per_second_element);
  }
};

// Cycles per element are those of all threads together: a second of n threads is n seconds of cycles.
double CyclesPerSecondAndElement(const Workload& workload) {
  return CoreHertz() * workload.threads() / static_cast<double>(workload.elements());
}

Result Summarize(const Workload& workload, const Samples& samples) {
  const double xent = Median(samples.xent);
  return {workload.Size(),
          workload.What(),
          workload.JsonFields(),
          workload.dtype().name,
          xent_isa_chosen(),
          workload.threads(),
          samples.disturbed,
          xent,
          Median(samples.roof),
          Median(samples.exp_add),
          1e-9 * workload.FloorBytes() / xent,
          Median(samples.cycles),
          Median(samples.exp_add_cycles),
          RatioOf(samples.of_roof),
          RatioOf(samples.of_exp_add),
          RatioOf(samples.of_binding)};
}

}  // namespace

Result MeasureCold(Workload* workload, const Roofs& roofs, int rounds) {
  Ring ring(workload, roofs);
  const ExpAddTimer exp_add(*workload, 0);
  TimeCold(workload, &ring, 1);
  const size_t calls = CallsPerSample(TimeCold(workload, &ring, 1), workload->slots() / 3);
  Samples samples;
  for (int round = -kWarmUpRounds; round < rounds; ++round) {
    double roof = 0, xent = 0;
    bool quiet = true;
    for (int turn = 0; turn < 2; ++turn) {
      roof += SampleQuietly([&] { return TimeRoof(workload, roofs, &ring, calls); }, &quiet) / 2;
      xent += SampleQuietly([&] { return TimeCold(workload, &ring, calls); }, &quiet) / 2;
    }
    const double exponentials = SampleQuietly([&] { return exp_add.Seconds(); }, &quiet);
    if (round >= 0) samples.Add(xent, roof, exponentials, CyclesPerSecondAndElement(*workload), quiet);
  }
  return Summarize(*workload, samples);
}

Result MeasureWarm(Workload* workload, int rounds) {
  const ExpAddTimer exp_add(*workload, workload->elements());
  TimeWarm(workload, 1);
  const size_t calls = CallsPerSample(TimeWarm(workload, 1), 100000);
  Samples samples;
  for (int round = -kWarmUpRounds; round < rounds; ++round) {
    double exponentials = 0, xent = 0;
    bool quiet = true;
    for (int turn = 0; turn < 2; ++turn) {
      exponentials += SampleQuietly([&] { return exp_add.Seconds(); }, &quiet) / 2;
      xent += SampleQuietly([&] { return TimeWarm(workload, calls); }, &quiet) / 2;
    }
    if (round >= 0) samples.Add(xent, 0, exponentials, CyclesPerSecondAndElement(*workload), quiet);
  }
  return Summarize(*workload, samples);
}

}  // namespace xent_bench
