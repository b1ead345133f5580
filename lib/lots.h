// Sums over many tasks in an order that does not depend on threads.
#ifndef XENT_LIB_LOTS_H_
#define XENT_LIB_LOTS_H_

#include <algorithm>
#include <new>

#include "lib/parallel.h"

namespace xent {

// Shares of the work whose totals are summed first; a constant, so that sums do not depend on threads.
constexpr int64_t kMaxLots = 128;

// range(first lot, last lot, first_tile, totals of the lots) for all lots of consecutive tiles, shared among the team;
// tiles of lot i are [first_tile(i), first_tile(i + 1)), `least` or more if there are as many. False: the caller's
// runner failed.
template <class Range, class Totals>
bool RunLots(const Team& team, int64_t tiles, const Range& range, Totals* totals, int64_t least = 1) {
  const int64_t lots = tiles <= least ? 1 : std::min(tiles / least, kMaxLots);  // a division would be felt
  // Only as many as there are: a small call is over before all of them were set.
  alignas(Totals) char memory[kMaxLots * sizeof(Totals)];
  Totals* const parts = reinterpret_cast<Totals*>(memory);
  for (int64_t i = 0; i < lots; ++i) new (parts + i) Totals();
  const auto first_tile = [&](int64_t lot) { return tiles == lots ? lot : lot * tiles / lots; };
  auto body = [&](int64_t first, int64_t last) { range(first, last, first_tile, parts); };
  if (!ParallelRanges(team, lots, body)) return false;
  for (int64_t i = 0; i < lots; ++i) totals->Add(parts[i]);
  return true;
}

}  // namespace xent

#endif  // XENT_LIB_LOTS_H_
