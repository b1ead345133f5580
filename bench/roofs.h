// The roofs: how fast this machine, with so many threads, reads, copies, rewrites in place, and adds up exponentials.
// They are the denominators of every figure, so each is the fastest of several plain loops (roof_loops.h), found by
// trial when a Roofs is made. They run inside the same rounds, and over the same kind of buffers, as the library.
#ifndef XENT_BENCH_ROOFS_H_
#define XENT_BENCH_ROOFS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "roof_loops.h"

namespace xent_bench {

// What one call of the library must move at least: `bytes` read from `from` and, unless traffic is kRead, written to
// `to`, and `also_bytes` (labels) read. Everything is aligned to a line and padded to whole lines.
struct RoofJob {
  Traffic traffic;
  const char* from;
  char* to;
  size_t bytes;
  const char* also_from;
  size_t also_bytes;
};

struct RoofChoice {
  const Loop* loop;
  int bits;
  size_t distance;                    // of the prefetch, in bytes; 0: none
  double gigabytes_per_second;        // read and written, the median of the trial
  double plain_gigabytes_per_second;  // the same loop family with one stream and no prefetch
};

class Roofs {
 public:
  // Tries every loop on buffers of `trial_bytes`: a few seconds for each kind of traffic. Jobs are of these kinds only.
  Roofs(int threads, size_t trial_bytes, bool huge_pages,
        const std::vector<Traffic>& traffics = {Traffic::kRead, Traffic::kCopy, Traffic::kInPlace});

  void Run(const RoofJob& job) const;

  int threads() const { return threads_; }
  const RoofChoice& choice(Traffic traffic) const { return choices_[static_cast<int>(traffic)]; }
  std::string Describe(Traffic traffic) const;

 private:
  int threads_;
  RoofChoice choices_[3];
};

// Exponentials added up, `count` floats or doubles per thread, `repeats` times; x holds threads * count of them, or
// only count that all threads share. Vectors as wide as those of the instruction set `isa`.
struct ExpAddJob {
  const void* x;
  bool is_double;
  bool shared;
  size_t count;
  int repeats;
  int threads;
  const char* isa;
};
inline constexpr size_t kExpAddMultiple = 2 * kLine;  // count * size must be a multiple of it
void RunExpAdd(const ExpAddJob& job);

}  // namespace xent_bench

#endif  // XENT_BENCH_ROOFS_H_
