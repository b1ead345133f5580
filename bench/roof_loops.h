// The plain loops that are candidates for a roof, one table per vector width. They do no arithmetic worth the name, so
// that only memory (or, for the exponential, only the arithmetic units) limits them. Which one is best is found by
// trial in roofs.cc.
#ifndef XENT_BENCH_ROOF_LOOPS_H_
#define XENT_BENCH_ROOF_LOOPS_H_

#include <cstddef>

namespace xent_bench {

inline constexpr size_t kLine = 64;  // bytes of a cache line

enum class Traffic { kRead, kCopy, kInPlace };

// Goes over `bytes` (a multiple of kLine, from and to aligned to it): `streams` places in turn, `lines` cache lines at
// each, asking for what lies `distance` bytes ahead (0: not asking).
struct Loop {
  Traffic traffic;
  int streams;
  int lines;
  void (*run)(const char* from, char* to, size_t bytes, size_t distance);
};

// Sums exp(x) over `count` elements (a multiple of 2 * kLine bytes, aligned), `repeats` times.
template <typename T>
using ExpAddLoop = void (*)(const T* x, size_t count, int repeats);

struct LoopTable {
  int bits;  // width of the vectors
  const Loop* loops;
  size_t count;
  ExpAddLoop<float> exp_add_f32;
  ExpAddLoop<double> exp_add_f64;
};

// nullptr where this machine, or the compiler, does not have the instructions.
const LoopTable* Loops128();
const LoopTable* Loops256();
const LoopTable* Loops512();

}  // namespace xent_bench

#endif  // XENT_BENCH_ROOF_LOOPS_H_
