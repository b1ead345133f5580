// The kernels of softmax: what a loss is made of (the sum of a row's exponentials, label left out) and what a gradient
// is made of (those exponentials, scaled), and what options and other targets need beside. Losses, reductions and
// options are not here: lib/softmax_loss.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/softmax.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/entropy-inl.h"
#include "lib/simd/few-inl.h"
#include "lib/simd/fold-inl.h"
#include "lib/simd/gradient-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"
#include "lib/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

template <class T>
void Gather(const Tile& tile, double* values) {
  const T* const x = static_cast<const T*>(tile.logits);
  for (int64_t r = 0; r < tile.rows; ++r) {
    values[r] = tile.labels[r] == kSkipRow ? 0.0 : WidenOne(x + r * tile.stride + tile.labels[r] * tile.class_stride);
  }
}

// Logits behind the exponentials: they are in the cache then.
template <class T>
bool StagePlain(const Tile& tile, double* sums, double* logit, PendingWrite* pending) {
  const bool is_plain =
      tile.class_stride != 1 ? StagePlainColumns<T>(tile, sums) : StagePlainRows<T>(tile, sums, pending);
  if (!is_plain) return false;
  Gather<T>(tile, logit);
  for (int64_t r = tile.rows; r % kRowLanes != 0; ++r) {
    sums[r] = 1.0;
    logit[r] = 0.0;
  }
  return true;
}

// So few that ordering them into lanes takes longer than adding one after another.
constexpr int64_t kAddedInTurn = 16;

// Row by row, kTogether at a time: one row's additions wait for each other.
template <int kTogether, class T>
HWY_INLINE void SumInTurn(const T* x, int64_t stride, int64_t classes, double* sums) {
  double of[kTogether] = {};
  for (int64_t j = 0; j < classes; ++j) {
    HWY_UNROLL(8)
    for (int i = 0; i < kTogether; ++i) of[i] += WidenOne(x + i * stride + j);
  }
  std::copy(of, of + kTogether, sums);
}

// The reference is subtracted once, in f64: logits of f32 that lie close to each other far from 0 are multiples of the
// same power of two, so that their sum is exact; others are as far apart as they are large.
template <class T>
void SumDifferences(const Tile& tile, double* sums) {
  using C = Compute<T>;
  constexpr int kTogether = 8;
  const bool are_short = sizeof(C) == sizeof(float) && tile.classes <= kAddedInTurn;
  const T* const logits = static_cast<const T*>(tile.logits);
  const int64_t together = are_short && tile.is_read ? tile.rows / kTogether * kTogether : 0;
  for (int64_t r = 0; r < together; r += kTogether) {
    SumInTurn<kTogether>(logits + r * tile.stride, tile.stride, tile.classes, sums + r);
  }
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (tile.labels[r] == kSkipRow) continue;
    const T* const x = logits + r * tile.stride;
    double high = 0.0;
    double low = 0.0;
    if (r < together) {
      high = sums[r];
    } else if (are_short) {
      SumInTurn<1>(x, tile.stride, tile.classes, &high);
    } else {
      SignedSum<C> sum;
      Itself itself;
      Fold<false>(x, tile.classes, -1, itself, sum, static_cast<C*>(nullptr));
      sum.Finish(&high, &low);
    }
    sums[r] = (high - static_cast<double>(tile.classes) * WidenOne(x + tile.labels[r])) + low;
  }
}

template <class T>
void FindLargestOfRows(const Tile& tile, int64_t* classes) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (tile.labels[r] == kSkipRow) continue;
    FindLargest(static_cast<const T*>(tile.logits) + r * tile.stride, tile.classes, &classes[r]);
  }
}

template <class T, class U>
void SumTargetsOf(const T* x, const U* u, int64_t n, int64_t label, TargetSums* sums) {
  double low;
  WeightedGaps<U> gap = {u, n, static_cast<float>(WidenOne(x + label))};
  SinglesSum gaps;
  Fold<false>(x, n, -1, gap, gaps, static_cast<float*>(nullptr));
  gaps.Finish(&sums->gaps, &low);
  Weights<U> weight;
  SinglesSum weights;
  Fold<false>(u, n, label, weight, weights, static_cast<float*>(nullptr));
  weights.Finish(&sums->rest, &low);
  sums->own = WidenOne(u + label);
}

template <class T>
void SumTargets(const Tile& tile, const TargetRows& targets, TargetSums* sums) {
  if constexpr (sizeof(Compute<T>) == sizeof(float)) {
    for (int64_t r = 0; r < tile.rows; ++r) {
      if (tile.labels[r] == kSkipRow) continue;
      const T* const x = static_cast<const T*>(tile.logits) + r * tile.stride;
      if (targets.are_singles) {
        SumTargetsOf(x, static_cast<const float*>(targets.data) + r * targets.stride, tile.classes, tile.labels[r],
                     &sums[r]);
      } else {
        SumTargetsOf(x, static_cast<const T*>(targets.data) + r * targets.stride, tile.classes, tile.labels[r],
                     &sums[r]);
      }
    }
  }
}

template <class T>
void Widen(const void* logits, int64_t n, double* values) {
  Compute<T> computed[kWiden];
  Map(static_cast<const T*>(logits), n, Itself(), computed);
  std::copy(computed, computed + n, values);
}

template <class T>
void Narrow(const double* values, int64_t n, void* out) {
  Compute<T> computed[kWiden];
  for (int64_t i = 0; i < n; ++i) computed[i] = static_cast<Compute<T>>(values[i]);
  Map(computed, n, Itself(), static_cast<T*>(out));
}

template <class T>
bool ShortRows(const Tile& tile, double slope, double* loss, const GradientTile* out,
               [[maybe_unused]] bool* is_unusual) {
#if XENT_HAS_FEW_ROWS
  if (tile.classes > 2) return FewRows<T>(tile, slope, loss, out, is_unusual);
#endif
  PairRows<T>(tile, slope, loss, out);
  return true;
}

template <class T>
constexpr int64_t kShortRows = sizeof(Compute<T>) == sizeof(double) ? 0
                               : kHasFewRows                        ? kFewClasses
                                                                    : 2;

template <class T>
constexpr auto ShortRowsOf() {
  if constexpr (kShortRows < T >> 0) {
    return ShortRows<T>;
  } else {
    return nullptr;
  }
}

template <class T>
constexpr SoftmaxKernels KernelsOf() {
  return {kKnowsScale<T>,
          kShortRows<T>,
          StageRows<T>,
          WriteStaged<T>,
          StagePlain<T>,
          WritePlain<T>,
          ShortRowsOf<T>(),
          FoldSlice<T>,
          BeginWrite<T>,
          FinishWrite<T>,
          SumDifferences<T>,
          SumTargets<T>,
          SumEntropies<T, true>,
          SumEntropies<T, false>,
          FindLargestOfRows<T>,
          Gather<T>,
          Widen<T>,
          Narrow<T>};
}

const SoftmaxKernels& ChooseKernels(Dtype dtype) {
  static constexpr SoftmaxKernels kKernels[] = {KernelsOf<float>(), KernelsOf<double>(), KernelsOf<BF16>(),
                                                KernelsOf<F16>()};
  return kKernels[static_cast<int>(dtype)];
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const SoftmaxKernels& SoftmaxKernelsFor(int isa, Dtype dtype) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseKernels)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseKernels),
                                                                             HWY_CHOOSE_FALLBACK(ChooseKernels)};
  return kTable[isa](dtype);
}

}  // namespace xent
#endif  // HWY_ONCE
