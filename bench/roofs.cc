// Trial: all candidates take turns (A B C A B C), so that a slow second hits them alike; the best few then run on, with
// the plainest one (one stream, no prefetch) beside them for comparison.
#include "roofs.h"

#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "machine.h"
#include "memory.h"

namespace xent_bench {
namespace {

// Below this a second thread costs more than it brings: entering and leaving a parallel region takes microseconds.
constexpr size_t kBytesPerThread = size_t{64} << 10;

struct Candidate {
  RoofChoice choice;
  std::vector<double> seconds;
};

int ThreadsFor(size_t bytes, int threads) {
  return static_cast<int>(std::min<size_t>(static_cast<size_t>(threads), std::max<size_t>(1, bytes / kBytesPerThread)));
}

// Thread i's part of so many bytes, in whole lines.
struct Part {
  size_t begin;
  size_t size;
};
Part PartOf(size_t bytes, int i, int threads) {
  const size_t lines = bytes / kLine;
  const size_t begin = lines * static_cast<size_t>(i) / static_cast<size_t>(threads);
  const size_t end = lines * static_cast<size_t>(i + 1) / static_cast<size_t>(threads);
  return {begin * kLine, (end - begin) * kLine};
}

void RunPart(const RoofJob& job, const RoofChoice& main, const RoofChoice& also, int i, int threads) {
  const Part part = PartOf(job.bytes, i, threads);
  char* const to = job.to == nullptr ? nullptr : job.to + part.begin;
  main.loop->run(job.from + part.begin, to, part.size, main.distance);
  if (job.also_bytes == 0) return;
  const Part labels = PartOf(job.also_bytes, i, threads);
  also.loop->run(job.also_from + labels.begin, nullptr, labels.size, also.distance);
}

void RunOn(const RoofJob& job, const RoofChoice& main, const RoofChoice& also, int threads) {
  const int team = ThreadsFor(job.bytes, threads);
  if (team == 1) return RunPart(job, main, also, 0, 1);
#pragma omp parallel num_threads(team)
  RunPart(job, main, also, omp_get_thread_num(), omp_get_num_threads());
}

std::vector<Candidate> Candidates(Traffic traffic) {
  std::vector<Candidate> candidates;
  for (const LoopTable* table : {Loops128(), Loops256(), Loops512()}) {
    // 128-bit loops are tried only where there is nothing wider: they never won beside 256 bits.
    if (table == nullptr || (table->bits == 128 && Loops256() != nullptr)) continue;
    for (size_t k = 0; k < table->count; ++k) {
      if (table->loops[k].traffic != traffic) continue;
      for (size_t distance : {0, 256, 512, 1024, 4096}) {
        candidates.push_back({{&table->loops[k], table->bits, distance, 0, 0}, {}});
      }
    }
  }
  return candidates;
}

// Sorts by what `seconds` says of a candidate: the fastest first.
template <typename Seconds>
void Sort(std::vector<Candidate>* candidates, const Seconds& seconds) {
  std::stable_sort(candidates->begin(), candidates->end(),
                   [&](const Candidate& a, const Candidate& b) { return seconds(a.seconds) < seconds(b.seconds); });
}

double TimeOnce(const RoofJob& job, int threads, const RoofChoice& choice) {
  const Clock::time_point start = Clock::now();
  RunOn(job, choice, choice, threads);
  return SecondsSince(start);
}

// A rough sieve: the fastest of a few times decides who stays.
void Sieve(const RoofJob& job, int threads, std::vector<Candidate>* candidates) {
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    for (Candidate& candidate : *candidates) candidate.seconds.push_back(TimeOnce(job, threads, candidate.choice));
  }
  Sort(candidates, [](const std::vector<double>& seconds) { return Quantile(seconds, 0); });
}

void Final(const RoofJob& job, int threads, std::vector<Candidate>* candidates) {
  constexpr int kRounds = 15;
  for (Candidate& candidate : *candidates) candidate.seconds.clear();
  for (int round = 0; round < kRounds; ++round) {
    for (Candidate& candidate : *candidates) {
      bool quiet = true;
      candidate.seconds.push_back(SampleQuietly([&] { return TimeOnce(job, threads, candidate.choice); }, &quiet));
    }
  }
  Sort(candidates, Median);
}

bool IsPlain(const Candidate& candidate) {
  const RoofChoice& choice = candidate.choice;
  return choice.loop->streams == 1 && choice.loop->lines == 4 && choice.distance == 0;
}

RoofChoice Best(const RoofJob& job, int threads) {
  constexpr size_t kFinalists = 8;
  const double gigabytes = static_cast<double>(job.bytes) * (job.traffic == Traffic::kRead ? 1e-9 : 2e-9);
  std::vector<Candidate> candidates = Candidates(job.traffic);
  Sieve(job, threads, &candidates);
  std::iter_swap(candidates.begin() + kFinalists - 1, std::find_if(candidates.begin(), candidates.end(), IsPlain));
  candidates.resize(kFinalists);
  Final(job, threads, &candidates);
  RoofChoice best = candidates[0].choice;
  best.gigabytes_per_second = gigabytes / Median(candidates[0].seconds);
  const auto plain = std::find_if(candidates.begin(), candidates.end(), IsPlain);
  best.plain_gigabytes_per_second = gigabytes / Median(plain->seconds);
  return best;
}

}  // namespace

Roofs::Roofs(int threads, size_t trial_bytes, bool huge_pages, const std::vector<Traffic>& traffics)
    : threads_(threads) {
  const size_t bytes = RoundUp(trial_bytes, size_t{1} << 20);
  const Memory from = Allocate(bytes, huge_pages);
  const Memory to = Allocate(bytes, huge_pages);
#pragma omp parallel num_threads(threads)
  {
    const Part part = PartOf(bytes, omp_get_thread_num(), omp_get_num_threads());
    std::memset(from.get() + part.begin, 1, part.size);
    std::memset(to.get() + part.begin, 2, part.size);
  }
  for (Traffic traffic : traffics) {
    choices_[static_cast<int>(traffic)] = Best({traffic, from.get(), to.get(), bytes, nullptr, 0}, threads);
  }
}

void Roofs::Run(const RoofJob& job) const { RunOn(job, choice(job.traffic), choice(Traffic::kRead), threads_); }

std::string Roofs::Describe(Traffic traffic) const {
  static const char* const kNames[] = {"read", "copy, streaming stores", "copy in place"};
  const RoofChoice& roof = choice(traffic);
  char text[200];
  std::snprintf(text, sizeof(text),
                "%-22s %6.1f GB/s  (%d-bit, %d stream%s of %d line%s, prefetch %zu; one stream without prefetch %.1f)",
                kNames[static_cast<int>(traffic)], roof.gigabytes_per_second, roof.bits, roof.loop->streams,
                roof.loop->streams > 1 ? "s" : "", roof.loop->lines, roof.loop->lines > 1 ? "s" : "", roof.distance,
                roof.plain_gigabytes_per_second);
  return text;
}

void RunExpAdd(const ExpAddJob& job) {
  const bool wide = std::strncmp(job.isa, "avx512", 6) == 0 || std::strncmp(job.isa, "avx3", 4) == 0;
  const LoopTable* table = wide ? Loops512() : std::strcmp(job.isa, "avx2") == 0 ? Loops256() : Loops128();
  if (table == nullptr) table = Loops128();
  const auto run = [&](int i) {
    const size_t first = job.shared ? 0 : static_cast<size_t>(i) * job.count;
    if (job.is_double) {
      table->exp_add_f64(static_cast<const double*>(job.x) + first, job.count, job.repeats);
    } else {
      table->exp_add_f32(static_cast<const float*>(job.x) + first, job.count, job.repeats);
    }
  };
  if (job.threads == 1) return run(0);
#pragma omp parallel num_threads(job.threads)
  run(omp_get_thread_num());
}

}  // namespace xent_bench
