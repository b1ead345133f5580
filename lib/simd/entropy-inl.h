// Entropies of rows of f32 lanes, H = log(1 + T) + D / (1 + T): T the sum of e^(z_j - max) over all classes but the
// largest, D that of e^(z_j - max) (max - z_j). No term is negative. A row, or a chunk of a long one, is gone over for
// its largest logit, for the exponentials, and for both sums, while it stays in the L1 cache.

#if defined(XENT_SIMD_ENTROPY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_ENTROPY_INL_H_
#undef XENT_SIMD_ENTROPY_INL_H_
#else
#define XENT_SIMD_ENTROPY_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/columns-inl.h"
#include "lib/simd/few-fold-inl.h"
#include "lib/simd/fold-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// The largest of n logits and the first place where it is; NaN and -1 where there is NaN or +inf.
template <class T>
Compute<T> FindLargest(const T* x, int64_t n, int64_t* place) {
  using C = Compute<T>;
  const Tag<C> d;
  Itself itself;
  MaxAccumulator<C> largest;
  Fold<false>(x, n, -1, itself, largest, static_cast<C*>(nullptr));
  const C max = largest.Finish();
  *place = -1;
  if (!(max < std::numeric_limits<C>::infinity())) return max;
  int64_t j = 0;
  for (; j + LanesOf<C>() <= n; j += LanesOf<C>()) {
    const auto first = hn::FindFirstTrue(d, hn::Eq(FromStorage(d, x + j), hn::Set(d, max)));
    if (first < 0) continue;
    *place = j + static_cast<int64_t>(first);
    return max;
  }
#if HWY_CAP_GE512
  *place = j + static_cast<int64_t>(hn::FindFirstTrue(d, hn::Eq(PartFromStorage(d, n - j, x + j), hn::Set(d, max))));
#else
  while (WidenOne(x + j) != static_cast<double>(max)) ++j;
  *place = j;
#endif
  return max;
}

// e (top - x), 0 where e is: e^x in a stage.
template <class C>
struct StagedGaps {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    const auto e = hn::LoadU(d, stage + i);
    const auto gap = hn::Mul(e, hn::Sub(hn::Set(d, top), x));
    return hn::IfThenZeroElse(hn::Eq(e, hn::Zero(d)), gap);
  }

  const C* stage;
  C top;
};

// `stage` has room for n exponentials and the slack. kGaps: D is wanted, not T alone.
template <bool kGaps, class T, class Scaling>
void SumEntropyOf(const T* x, int64_t n, const Scaling& scaling, Compute<T>* stage, Expected* expected,
                  EntropySums* sums) {
  using C = Compute<T>;
  int64_t largest;
  const C top = FindLargest(x, n, &largest);
  *sums = EntropySums{static_cast<double>(top), 0.0, 0.0, 0.0, 0};
  if (!(top < std::numeric_limits<C>::infinity())) sums->others = std::numeric_limits<double>::quiet_NaN();
  if (largest < 0 || top == -std::numeric_limits<C>::infinity()) return;
  RowState state;
  StepSum<C> terms;
  // Masked logits are 0 beside a plain one only.
  const bool is_plain =
      top >= scaling.Masked() && FoldPlainOrMasked<kGaps>(x, n, true, largest, scaling, stage, terms, expected);
  if (is_plain) {
    state = StateOf<T, Scaling>(terms);
  } else {
    FoldCarefully(x, n, largest, scaling, stage, &state);
  }
  if constexpr (kGaps) {
    stage[largest] = C(0);  // whatever it is beside the others
    StagedGaps<C> gap = {stage, top};
    SinglesSum gaps;
    double low;
    Fold<false>(x, n, -1, gap, gaps, static_cast<C*>(nullptr));
    gaps.Finish(&sums->gaps, &low);
  }
  sums->others = state.sum + state.low;
  sums->anchor = state.anchor;
  sums->exponent = state.exponent;
}

#if XENT_HAS_FEW_ROWS

// Rows of so many classes are gone over lane = row: a vector of them, transposed, fits the L1 cache.
constexpr int64_t kLaneClasses = 64;

// A vector of rows, class by class, and their largest logits. Their classes are filled up with -inf to fours.
struct EntropyRows {
  template <class T>
  HWY_INLINE EntropyRows(const Tile& tile, int64_t first, const T* x) : classes((tile.classes + 3) / 4 * 4) {
    const FewTag d;
    alignas(64) float room[kFewRows * kLaneClasses + kStageSlack / sizeof(float)];
    const FewLogits rows(tile, first, x, room);
    const auto minus_infinity = hn::Set(d, -std::numeric_limits<float>::infinity());
    for (int64_t j = tile.classes; j < classes; ++j) hn::Store(minus_infinity, d, at + j * kFewRows);
    if (tile.classes < 3) {
      for (int64_t r = 0; r < kFewRows; ++r) {
        const float* const row = rows.is_single ? rows.at : rows.at + r * tile.classes;
        for (int64_t j = 0; j < tile.classes; ++j) at[j * kFewRows + r] = row[j];
      }
    } else {
      rows.ForEachFour([&](int64_t j, const FewVec(&v)[4], auto count, auto) XENT_LAMBDA {
        for (int k = 0; k < decltype(count)::value; ++k) hn::Store(v[k], d, at + (j + k) * kFewRows);
      });
    }
    top = minus_infinity;
    are_numbers = hn::Eq(top, top);
    for (int64_t j = 0; j < classes; ++j) {
      top = hn::Max(top, Class(j));
      are_numbers = hn::And(are_numbers, hn::Lt(Class(j), hn::Neg(minus_infinity)));
    }
  }

  HWY_INLINE FewVec Class(int64_t j) const { return hn::Load(FewTag(), at + j * kFewRows); }

  alignas(64) float at[kLaneClasses * kFewRows];
  int64_t classes;
  FewVec top;
  hn::Mask<FewTag> are_numbers;  // below infinity
};

// The sums of a vector of rows; four classes are added in f32.
template <bool kGaps, class Scaling>
HWY_INLINE void SumEntropyOfLanes(const EntropyRows& rows, const Scaling& scaling, double* others, double* gaps) {
  const FewTag d;
  constexpr int kPack = HWY_CAP_GE512 ? 4 : 2;
  const hn::PackTag<FewTag, kPack> pack;
  const auto least = hn::Set(d, static_cast<float>(-87.0 / scaling.Exponent(1.0f)));
  const double zeros[kFewRows] = {};
  ColumnSums<float> others_sum(zeros, nullptr), gaps_sum(zeros, nullptr);
  auto ties = hn::Zero(d);
  for (int64_t j = 0; j < rows.classes; j += 4) {
    FewVec e[4], gap[4];
    HWY_UNROLL(2)
    for (int first = 0; first < 4; first += kPack) {
      const auto x = hn::MakePack<FewTag, kPack>([&](int i) XENT_LAMBDA { return rows.Class(j + first + i); });
      const auto top = hn::MakePack<FewTag, kPack>([&](int) XENT_LAMBDA { return rows.top; });
      const auto floor = hn::MakePack<FewTag, kPack>([&](int) XENT_LAMBDA { return least; });
      const auto distance = hn::Sub(x, top);
      const auto reduced = ReduceBelow(pack, scaling, x, top, distance, floor);
      const auto powers = ExpScaled(pack, reduced, reduced.shifted);
      for (int i = 0; i < kPack; ++i) {
        const auto is_kept = hn::Ge(distance.at[i], least);
        const auto is_top = hn::Eq(distance.at[i], hn::Zero(d));
        e[first + i] = hn::IfThenElseZero(hn::AndNot(is_top, is_kept), powers.at[i]);
        if constexpr (kGaps) gap[first + i] = hn::IfThenElseZero(is_kept, hn::Mul(powers.at[i], distance.at[i]));
        ties = hn::Add(ties, hn::IfThenElseZero(is_top, hn::Set(d, 1.0f)));
      }
    }
    others_sum.Add(hn::Add(hn::Add(e[0], e[1]), hn::Add(e[2], e[3])));
    if constexpr (kGaps) gaps_sum.Add(hn::Add(hn::Add(gap[0], gap[1]), hn::Add(gap[2], gap[3])));
  }
  others_sum.Add(hn::Max(hn::Sub(ties, hn::Set(d, 1.0f)), hn::Zero(d)));
  others_sum.Store(others, nullptr);
  gaps_sum.Store(gaps, nullptr);
}

template <bool kGaps, class T, class Scaling>
HWY_INLINE void SumEntropiesOfLanes(const Tile& tile, const Scaling& scaling, EntropySums* sums) {
  const FewTag d;
  for (int64_t first = 0; first < tile.rows; first += kFewRows) {
    const EntropyRows rows(tile, first, static_cast<const T*>(tile.logits) + first * tile.stride);
    double others[kFewRows], gaps[kFewRows];
    alignas(64) float top[kFewRows];
    SumEntropyOfLanes<kGaps>(rows, scaling, others, gaps);
    hn::Store(hn::IfThenElse(rows.are_numbers, rows.top, hn::Set(d, CanonicalNaN<float>())), d, top);
    for (int64_t i = 0; i < std::min(kFewRows, tile.rows - first); ++i) {
      const double anchor = std::isfinite(top[i]) ? scaling.Exponent(top[i]) : 0.0;
      sums[first + i] = EntropySums{static_cast<double>(top[i]), others[i], 0.0 - gaps[i], anchor, 0};
      if (std::isnan(top[i])) sums[first + i].others = std::numeric_limits<double>::quiet_NaN();
    }
  }
}

#endif  // XENT_HAS_FEW_ROWS

template <class T, bool kGaps>
void SumEntropies(const Tile& tile, EntropySums* sums) {
  if constexpr (sizeof(Compute<T>) == sizeof(float)) {
    alignas(64) float stage[kChunk + kStageSlack / sizeof(float)];
    Expected expected = Expected::kPlain;
    WithScale<T, false>(tile.scale, [&](const auto& scaling) {
#if XENT_HAS_FEW_ROWS
      if (tile.classes <= kLaneClasses) return SumEntropiesOfLanes<kGaps, T>(tile, scaling, sums);
#endif
      for (int64_t r = 0; r < tile.rows; ++r) {
        if (tile.labels[r] == kSkipRow) continue;
        SumEntropyOf<kGaps>(static_cast<const T*>(tile.logits) + r * tile.stride, tile.classes, scaling, stage,
                            &expected, &sums[r]);
      }
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_ENTROPY_INL_H_
