// Pages are touched first by the threads that a static partition gives them to.
#include "ring.h"

#include <algorithm>
#include <cstring>

#include "roof_loops.h"

namespace xent_bench {
namespace {

// Copies `bytes` of the master (zeros without one) to every slot, each thread its part of a slot.
void CopyToSlots(const char* master, size_t bytes, size_t stride, size_t begin, size_t end, int threads, char* ring) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; ++part) {
    const size_t lines = bytes / kLine, count = static_cast<size_t>(threads), i = static_cast<size_t>(part);
    const size_t first = lines * i / count * kLine, last = lines * (i + 1) / count * kLine;
    for (size_t slot = begin; slot < end; ++slot) {
      char* const to = ring + slot * stride + first;
      if (master != nullptr) std::memcpy(to, master + first, last - first);
      if (master == nullptr) std::memset(to, 0, last - first);
    }
  }
}

}  // namespace

CopyRing::CopyRing(const RingPlan& plan) : plan_(plan) {
  // One line more than whole pages: copies do not all start in the same cache set.
  stride_ = RoundUp(plan.bytes, 4096) + kLine;
  const size_t moved = plan.has_outputs ? 2 * stride_ : stride_;
  slots_ = plan.footprint == 0 ? 1 : std::max<size_t>(3, (plan.footprint + moved - 1) / moved) | 1;
  master_ = Allocate(plan.bytes);
  std::memset(master_.get(), 0, plan.bytes);
}

void CopyRing::Spread() {
  inputs_ = Allocate(slots_ * stride_, plan_.huge_pages);
  CopyToSlots(master_.get(), plan_.bytes, stride_, 0, slots_, plan_.threads, inputs_.get());
  if (!plan_.has_outputs) return;
  outputs_ = Allocate(slots_ * stride_, plan_.huge_pages);
  CopyToSlots(nullptr, plan_.bytes, stride_, 0, slots_, plan_.threads, outputs_.get());
}

void CopyRing::Restore(size_t bytes, size_t begin, size_t end) {
  CopyToSlots(master_.get(), bytes, stride_, begin, end, plan_.threads, inputs_.get());
}

}  // namespace xent_bench
