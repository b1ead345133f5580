// What a softmax call leaves behind that is not a gradient: numbers per row, and the totals of all rows.
#ifndef XENT_LIB_SOFTMAX_TOTALS_H_
#define XENT_LIB_SOFTMAX_TOTALS_H_

#include <algorithm>
#include <new>

#include "lib/parallel.h"
#include "lib/reduce.h"
#include "lib/softmax_rows.h"
#include "lib/task.h"

namespace xent {

struct Totals {
  Sum loss;
  Sum z_loss;
  int64_t correct = 0;

  void Add(const Totals& other) {
    loss.Add(other.loss);
    z_loss.Add(other.z_loss);
    correct += other.correct;
  }
};

// Shares of the work whose totals are summed first; a constant, so that sums do not depend on threads.
constexpr int64_t kMaxLots = 128;

// range(first lot, last lot, first_tile, totals of the lots) for all lots of consecutive tiles, shared among the team;
// tiles of lot i are [first_tile(i), first_tile(i + 1)). False: the caller's runner failed.
template <class Range>
bool RunLots(const Team& team, int64_t tiles, const Range& range, Totals* totals) {
  const int64_t lots = std::min(tiles, kMaxLots);
  // Only as many as there are: a small call is over before all of them were set.
  alignas(Totals) char memory[kMaxLots * sizeof(Totals)];
  Totals* const parts = reinterpret_cast<Totals*>(memory);
  for (int64_t i = 0; i < lots; ++i) new (parts + i) Totals();
  const auto first_tile = [&](int64_t lot) { return lot * tiles / lots; };
  auto body = [&](int64_t first, int64_t last) { range(first, last, first_tile, parts); };
  if (!ParallelRanges(team, lots, body)) return false;
  for (int64_t i = 0; i < lots; ++i) totals->Add(parts[i]);
  return true;
}

// Whether the task asks for anything that rows must be read for.
bool WantsRows(const SoftmaxTask& task);
bool WantsLosses(const SoftmaxTask& task);

// Writes what was asked for of each row, and adds the rows to the totals, `part` rows at a time.
void WriteRows(const SoftmaxTask& task, const MathKernels& math, const Rows& rows, int64_t part, Totals* totals);

// Writes the class of the largest logit of each row, `largest` where the row is read and not NaN, and counts those that
// are labels.
void WriteClasses(const SoftmaxTask& task, const Rows& rows, const int64_t* largest, Totals* totals);

void WriteTotals(const SoftmaxTask& task, const Totals& totals);

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_TOTALS_H_
