// Entropies of rows that the kernels for labels know, and what they add to a gradient: see row_entropy.h.
#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/row_entropy.h"
#include "lib/row_state.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_tiles.h"
#include "lib/softmax_totals.h"

namespace xent {

// Of rows with nothing else about them. Not inline, as the next.
__attribute__((noinline)) void Softmax::WriteEntropies(int64_t first, int64_t count, const int64_t* labels) const {
  const RowEntropies entropies(task_, isa_slot_, true);
  EntropyState states[kTileRows];
  double gap[kTileRows], entropy[kTileRows];
  for (int64_t begin = 0; begin < count; begin += kTileRows) {
    const int64_t n = std::min(kTileRows, count - begin);
    entropies.FindStates(Team{1, nullptr}, first + begin, n, labels + begin, states);
    entropies.Finish(first + begin, n, labels + begin, states, gap, entropy);
    WriteValues(task_, first + begin, n, entropy, labels + begin, nullptr, task_.outputs.entropy);
  }
}

// Not inline: calls without entropies need no such stack.
__attribute__((noinline)) bool Softmax::FindEntropies(const Team& team, Rows* rows) const {
  const RowEntropies entropies(task_, isa_slot_, true);
  EntropyState states[kTileRows];
  if (!entropies.FindStates(team, rows->first, rows->count, rows->read, states)) return false;
  entropies.Finish(rows->first, rows->count, rows->read, states, rows->top_gap, rows->entropy);
  for (int64_t r = 0; r < rows->count; ++r) rows->top[r] = rows->read[r] == kSkipRow ? 0.0 : states[r].top_logit;
  return true;
}

// p_j (a - d (lse - z_top) + d scale (x_j - x_top)), whose terms have the sign of those of the formula. The size of
// both factors is a power of two that joins p_j, as far as it would be none that a float can hold.
void FindTiltedGrads(double scale, double offset_of_b, Rows* rows) {
  constexpr int64_t kMost = 100;
  double factor[kTileRows] = {};
  for (int64_t r = 0; r < rows->count; ++r) {
    const double of_gap = rows->d[r] == 0.0 ? 0.0 : rows->d[r] * rows->top_gap[r];
    const double base = rows->a[r] - of_gap;
    const double size = std::max(std::fabs(base), std::fabs(rows->d[r] * scale));
    const bool is_usual = size > 0.0 && size < std::numeric_limits<double>::infinity();
    const int64_t exponent = is_usual ? ExponentOf(size) : 0;
    const int64_t kept = std::min(std::max(exponent, -kMost), kMost);
    const int64_t shift = std::min(std::max(exponent - kept, -kMost), kMost);
    factor[r] = TimesPowerOfTwo(1.0, shift);
    rows->a[r] = TimesPowerOfTwo(base, -shift);
    rows->d[r] = TimesPowerOfTwo(rows->d[r] * scale, -shift);
  }
  FindGrads(factor, offset_of_b, rows->mark, rows);
  for (int64_t r = 0; r < rows->count; ++r) {
    RowGrad& grad = rows->grads[r];
    grad.is_tilted = true;
    grad.base = rows->a[r];
    grad.tilt = rows->d[r];
    grad.top = rows->top[r];
  }
}

}  // namespace xent
