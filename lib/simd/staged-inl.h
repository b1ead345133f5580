// The sums of rows that wait in the stage, one by one or as many as a vector has lanes.

#if defined(XENT_SIMD_STAGED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_STAGED_INL_H_
#undef XENT_SIMD_STAGED_INL_H_
#else
#define XENT_SIMD_STAGED_INL_H_
#endif

#include <algorithm>

#include "lib/simd/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// A row of n staged elements. Memory behind it may be read: the stage has slack. Rows of at most half a step have
// orders of their own: f32 adds elements l, l + 2 w, l + w and l + 3 w as (0 + 1) + (2 + 3), w being 4 or 8, and f64
// pairs of neighbours one after another, rounding errors apart.
template <class C>
class StagedRow {
 public:
  explicit StagedRow(int64_t n) : whole_(n / kStep * kStep), n_(n) {
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t left = std::min(std::max<int64_t>(n - whole_ - v * LanesOf<C>(), 0), LanesOf<C>());
      tail_.m[v] = hn::FirstN(Tag<C>(), static_cast<size_t>(left));
    }
  }

  // The sum of the row: *sum + *low.
  HWY_INLINE void Sum(const C* row, double* sum, double* low) const {
    if constexpr (sizeof(C) == sizeof(float)) {
      *low = 0.0;
      if (n_ <= kStep / 2) {
        *sum = SumOfFours(row);
        return;
      }
    } else if (n_ <= kStep / 2) {
      const hn::CappedTag<double, 1> d;
      SumAndLost<hn::CappedTag<double, 1>> terms;
      for (int64_t j = 0; j < n_; j += 2) terms.Add(hn::Set(d, j + 1 < n_ ? row[j] + row[j + 1] : row[j]));
      *sum = hn::GetLane(terms.sum);
      *low = hn::GetLane(terms.low);
      return;
    }
    StepSum<C> accumulator;
    AddTo(&accumulator, row);
    accumulator.Finish(sum, low);
  }

#if HWY_TARGET != HWY_SCALAR
  // The sums of as many rows of doubles, n apart, as there are whole vectors of rows, with the bits of Sum; how many
  // that is. Lane = row. (Zen 4, 10 classes, in cache: a whole call takes 0.59 of the time, AVX2 0.61.)
  HWY_INLINE int64_t SumInTurn(const double* rows, int64_t count, double* sums, double* lows) const {
    if (n_ > kStep / 2) return 0;
    using D = Tag<double>;
    const D d;
    int64_t r = 0;
    for (; r + LanesOf<double>() <= count; r += LanesOf<double>()) {
      const double* const from = rows + r * n_;
      SumAndLost<D> terms;
      for (int64_t j = 0; j < n_; j += 2) {
        const auto even = ClassesOfRows(d, from + j);
        const auto odd = ClassesOfRows(d, from + n_ + j);
        const auto first = hn::InterleaveLower(d, even, odd);
        terms.Add(j + 1 < n_ ? hn::Add(first, hn::InterleaveUpper(d, even, odd)) : first);
      }
      hn::StoreU(terms.sum, d, sums + r);
      hn::StoreU(terms.low, d, lows + r);
    }
    return r;
  }
#endif

#if HWY_CAP_GE512
  using Eight = hn::CappedTag<double, 8>;

  // The sums of so many rows of floats, n apart, eight by eight, with the bits of Sum; how many rows that were. Their
  // trees go up side by side.
  HWY_INLINE int64_t SumEights(const float* rows, int64_t count, double* sums) const {
    if (n_ <= 16) return SumEightsOf<16>(rows, count, sums);
    if (n_ <= 32) return SumEightsOf<32>(rows, count, sums);
    return SumEightsOf<kStep>(rows, count, sums);
  }
#endif

 private:
  static constexpr int64_t kVectors = kStepVectors<C>;

#if HWY_TARGET != HWY_SCALAR
  // Two classes of every second row.
  template <class D>
  HWY_INLINE hn::Vec<D> ClassesOfRows(D d, const double* from) const {
    constexpr int64_t kRows = static_cast<int64_t>(hn::MaxLanes(D())) / 2;
    if constexpr (kRows <= 1) {
      return hn::LoadU(d, from);
    } else {
      const hn::Half<D> half;
      return hn::Combine(d, ClassesOfRows(half, from + kRows * n_), ClassesOfRows(half, from));
    }
  }
#endif

  HWY_INLINE hn::Vec<Tag<C>> TailVector(const C* row, int64_t v) const {
    return hn::IfThenElseZero(tail_.m[v], hn::LoadU(Tag<C>(), row + whole_ + v * LanesOf<C>()));
  }

  template <class Accumulator>
  HWY_INLINE void AddTo(Accumulator* accumulator, const C* row) const {
    for (int64_t i = 0; i < whole_; i += kStep) accumulator->Add(StepFrom(row + i));
    if (whole_ < n_) {
      accumulator->Add([&](int64_t v) HWY_ATTR {
        const bool is_beyond = whole_ + v * LanesOf<C>() >= n_;
        return is_beyond ? hn::Zero(Tag<C>()) : TailVector(row, v);
      });
    }
  }

  HWY_INLINE double SumOfFours(const C* row) const {
    alignas(64) float x[kStep / 2];
    for (int64_t v = 0; v < kVectors / 2; ++v) hn::Store(TailVector(row, v), Tag<C>(), x + v * LanesOf<C>());
    double s[8] = {};
    const int64_t width = n_ <= 16 ? 4 : 8;
    for (int64_t l = 0; l < width; ++l) {
      s[l] = static_cast<double>((x[l] + x[l + 2 * width]) + (x[l + width] + x[l + 3 * width]));
    }
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
  }

#if HWY_CAP_GE512
  // What the tree begins with, of two rows of kMost elements at most: four lanes of one, then of the other.
  template <int64_t kMost>
  HWY_INLINE hn::Vec<Eight> Fours(const float* a, const float* b) const {
    const Eight d;
    const auto halves = [](auto dd, auto x, auto y) HWY_ATTR {
      return hn::Add(hn::ConcatLowerLower(dd, y, x), hn::ConcatUpperUpper(dd, y, x));
    };
    if constexpr (kMost == 32) {
      const hn::CappedTag<float, 16> df;
      const hn::Half<decltype(df)> half;
      const auto both =
          halves(df, hn::Add(TailVector(a, 0), TailVector(a, 1)), hn::Add(TailVector(b, 0), TailVector(b, 1)));
      return halves(d, hn::PromoteTo(d, hn::LowerHalf(half, both)), hn::PromoteTo(d, hn::UpperHalf(half, both)));
    } else {
      SinglesSum of_a, of_b;
      AddTo(&of_a, a);
      AddTo(&of_b, b);
      return halves(d, of_a.Lanes().Pairs(), of_b.Lanes().Pairs());
    }
  }

  // Blocks 0 and 2, or 1 and 3, of a, then of b.
  template <int kOdd, class V>
  static HWY_INLINE V Blocks(V a, V b) {
    if constexpr (sizeof(hn::TFromV<V>) == sizeof(float))
      return V{_mm512_shuffle_f32x4(a.raw, b.raw, kOdd ? 0xDD : 0x88)};
    else
      return V{_mm512_shuffle_f64x2(a.raw, b.raw, kOdd ? 0xDD : 0x88)};
  }

  template <int64_t kMost>
  HWY_INLINE int64_t SumEightsOf(const float* rows, int64_t count, double* sums) const {
    const Eight d;
    int64_t r = 0;
    for (; r + 8 <= count; r += 8) {
      const auto at = [&](int64_t row) { return rows + (r + row) * n_; };
      // Rows whose sums come out in order: see the last step.
      const auto four = [&](int64_t i, int64_t j, int64_t k, int64_t l) HWY_ATTR {
        hn::Vec<Eight> first, second;
        if constexpr (kMost == 16) {
          const hn::CappedTag<float, 16> df;
          const hn::Half<decltype(df)> half;
          const auto pair = [&](int64_t a, int64_t b) HWY_ATTR {
            const auto x = TailVector(at(a), 0);
            const auto y = TailVector(at(b), 0);
            return hn::Add(hn::ConcatLowerLower(df, y, x), hn::ConcatUpperUpper(df, y, x));
          };
          const auto low = pair(i, j);
          const auto high = pair(k, l);
          const auto all = hn::Add(Blocks<0>(low, high), Blocks<1>(low, high));
          first = hn::PromoteTo(d, hn::LowerHalf(half, all));
          second = hn::PromoteTo(d, hn::UpperHalf(half, all));
        } else {
          first = Fours<kMost>(at(i), at(j));
          second = Fours<kMost>(at(k), at(l));
        }
        return hn::Add(Blocks<0>(first, second), Blocks<1>(first, second));
      };
      const auto even = four(0, 2, 4, 6);
      const auto odd = four(1, 3, 5, 7);
      hn::StoreU(hn::Add(hn::InterleaveLower(d, even, odd), hn::InterleaveUpper(d, even, odd)), d, sums + r);
    }
    return r;
  }
#endif

  struct Masks {
    hn::Mask<Tag<C>> m[kVectors];
  };

  int64_t whole_;
  int64_t n_;
  Masks tail_;
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_STAGED_INL_H_
