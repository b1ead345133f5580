// What a row is folded into: sums of several kinds, the largest element, the largest and the least. Each takes steps of
// 64 elements, 64 virtual lanes whatever the width of a vector, so that sums have the same tree on every instruction
// set.

#if defined(XENT_SIMD_ACCUMULATORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_ACCUMULATORS_INL_H_
#undef XENT_SIMD_ACCUMULATORS_INL_H_
#else
#define XENT_SIMD_ACCUMULATORS_INL_H_
#endif

#include <algorithm>
#include <type_traits>

#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

constexpr int64_t kStep = 64;

// Vectors of a step. A step is passed about as a function of the vector's index, evaluated where it is needed: 64
// elements at once would not fit the registers.
template <class C>
constexpr int64_t kStepVectors = kStep / static_cast<int64_t>(hn::MaxLanes(Tag<C>()));

// Sixteen sums in f64, one of each virtual lane of f32 vectors.
class SumsOfLanes {
 public:
  HWY_INLINE SumsOfLanes() {
    for (auto& lanes : sum_) lanes = hn::Zero(Wide());
  }

  // x: the part of that index of the sixteen lanes.
  HWY_INLINE void Add(int64_t part, hn::Vec<Tag<float>> x) {
    const Wide d;
    hn::Vec<Wide>* const to = sum_ + part * kVectors * LanesOf<float>() / 16;
#if HWY_TARGET == HWY_SCALAR
    to[0] = hn::Add(to[0], hn::PromoteTo(d, x));
#else
    const hn::Half<Tag<float>> half;
    to[0] = hn::Add(to[0], hn::PromoteTo(d, hn::LowerHalf(half, x)));
    to[1] = hn::Add(to[1], hn::PromoteTo(d, hn::UpperHalf(half, x)));
#endif
  }

#if HWY_CAP_GE512
  // The sums of lanes l and l + 8.
  HWY_INLINE hn::Vec<hn::CappedTag<double, 8>> Pairs() const { return hn::Add(sum_[0], sum_[1]); }
#endif

  // The same.
  HWY_INLINE void Pairs(double* s) const {
    for (int64_t i = 0; i < kVectors / 2; ++i) {
      hn::Store(hn::Add(sum_[i], sum_[i + kVectors / 2]), Wide(), s + i * kLanes);
    }
  }

 private:
  using Wide = hn::CappedTag<double, 8>;
  static constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(Wide()));
  static constexpr int64_t kVectors = 16 / kLanes;

  hn::Vec<Wide> sum_[kVectors];
};

#if HWY_TARGET == HWY_AVX3
// The same of numbers that are not negative nor infinite, even lanes and odd ones: what three bits lower is an f64 has
// the value times 2^-896, and a multiplication of the even lanes' bits shifts them on their way out. (Converting takes
// seven operations for these five, most of them where permutations go too. A mask would save the odd lanes a shift, but
// there is no register left for it where gradients are written meanwhile.)
class SumsOfPositiveLanes {
 public:
  HWY_INLINE SumsOfPositiveLanes() : even_(hn::Zero(Wide())), odd_(hn::Zero(Wide())) {}

  HWY_INLINE void Add(int64_t, hn::Vec<Tag<float>> x) {
    const Wide d;
    const hn::RebindToUnsigned<Wide> du;
    const hn::RebindToUnsigned<Tag<float>> du32;
    const auto even = hn::MulEven(hn::BitCast(du32, x), hn::Set(du32, 1u << 29));
    const auto odd = hn::ShiftLeft<29>(hn::ShiftRight<32>(hn::BitCast(du, x)));
    even_ = hn::Add(even_, hn::BitCast(d, even));
    odd_ = hn::Add(odd_, hn::BitCast(d, odd));
  }

  HWY_INLINE void Pairs(double* s) const {
    const Wide d;
    alignas(64) double even[8];
    alignas(64) double odd[8];
    hn::Store(hn::Mul(even_, hn::Set(d, 0x1p896)), d, even);
    hn::Store(hn::Mul(odd_, hn::Set(d, 0x1p896)), d, odd);
    for (int64_t i = 0; i < 4; ++i) {
      s[2 * i] = even[i] + even[i + 4];
      s[2 * i + 1] = odd[i] + odd[i + 4];
    }
  }

 private:
  using Wide = hn::CappedTag<double, 8>;

  hn::Vec<Wide> even_;
  hn::Vec<Wide> odd_;
};
#else
using SumsOfPositiveLanes = SumsOfLanes;
#endif

// The sum of steps, to about a rounding error per element: of a step, lanes l, l + 16, l + 32 and l + 48 are added in
// f32 as (0 + 1) + (2 + 3), the rest in sixteen f64 lanes. (Pairs alone: a tenth slower, Zen 4, in cache.)
template <class Sums>
class SumOfFours {
 public:
  static constexpr float kIdentity = 0.0f;

  HWY_INLINE SumOfFours() {}

  template <class StepAt>
  HWY_INLINE void Add(const StepAt& at) {
    HWY_UNROLL(16)
    for (int64_t i = 0; i < kPart; ++i) {
      // Lower addresses first: what `at` writes goes out in order.
      const auto first = at(i);
      const auto low = hn::Add(first, at(kPart + i));
      const auto third = at(2 * kPart + i);
      const auto high = hn::Add(third, at(3 * kPart + i));
      sums_.Add(i, hn::Add(low, high));
    }
  }

  HWY_INLINE const Sums& Lanes() const { return sums_; }

  // ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)) of the sums of lanes l and l + 8.
  HWY_INLINE void Finish(double* sum, double* low) const {
    alignas(64) double s[8];
    sums_.Pairs(s);
    *sum = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    *low = 0.0;
  }

 protected:
  static constexpr int64_t kPart = kStepVectors<float> / 4;

  Sums sums_;
};

using SinglesSum = SumOfFours<SumsOfLanes>;

// The same, but each element is widened before it is added.
class WidenedSum : public SinglesSum {
 public:
  HWY_INLINE WidenedSum() {}

  template <class StepAt>
  HWY_INLINE void Add(const StepAt& at) {
    HWY_UNROLL(16)
    for (int64_t i = 0; i < 4 * kPart; ++i) sums_.Add(i % kPart, at(i));
  }
};

// A sum of vectors of doubles, and what rounding it lost.
template <class D>
struct SumAndLost {
  HWY_INLINE SumAndLost() : sum(hn::Zero(D())), low(hn::Zero(D())) {}
  HWY_INLINE SumAndLost(hn::Vec<D> the_sum, hn::Vec<D> the_low) : sum(the_sum), low(the_low) {}

  HWY_INLINE void Add(hn::Vec<D> term) {
    const auto before = sum;
    sum = hn::Add(before, term);
    const auto from_term = hn::Sub(sum, before);
    low = hn::Add(low, hn::Add(hn::Sub(before, hn::Sub(sum, from_term)), hn::Sub(term, from_term)));
  }

  hn::Vec<D> sum;
  hn::Vec<D> low;
};

// Adds eight sums with their rounding errors up to the first.
inline void AddLanes(double* sums, double* lows) {
  for (int stride = 4; stride > 0; stride /= 2) {
    for (int i = 0; i < stride; ++i) {
      const double a = sums[i];
      const double b = sums[i + stride];
      sums[i] = a + b;
      const double from_b = sums[i] - a;
      lows[i] += lows[i + stride] + ((a - (sums[i] - from_b)) + (b - from_b));
    }
  }
}

// The sum of steps with the rounding errors of its eight lanes of f64, after the quarters of half a step were added in
// f64.
class DoublesSum {
 public:
  static constexpr double kIdentity = 0.0;

  HWY_INLINE DoublesSum() {}

  // Lanes l, l + 8, l + 16 and l + 24 of each half of a step as (0 + 2) + (1 + 3).
  template <class StepAt>
  HWY_INLINE void Add(const StepAt& at) {
    AddHalf(at, 0);
    AddHalf(at, 4 * kVectors);
  }

  HWY_INLINE void Finish(double* sum, double* low) const {
    alignas(64) double sums[8];
    alignas(64) double lows[8];
    for (int64_t i = 0; i < kVectors; ++i) {
      hn::Store(lanes_[i].sum, Tag<double>(), sums + i * LanesOf<double>());
      hn::Store(lanes_[i].low, Tag<double>(), lows + i * LanesOf<double>());
    }
    AddLanes(sums, lows);
    *sum = sums[0];
    *low = lows[0];
  }

 private:
  static constexpr int64_t kVectors = 8 / LanesOf<double>();

  template <class StepAt>
  HWY_INLINE void AddHalf(const StepAt& at, int64_t begin) {
    HWY_UNROLL(8)
    for (int64_t i = begin; i < begin + kVectors; ++i) {
      // Lower addresses first: what `at` writes may lie where it reads next.
      const auto first = at(i);
      const auto second = at(kVectors + i);
      const auto even = hn::Add(first, at(2 * kVectors + i));
      const auto odd = hn::Add(second, at(3 * kVectors + i));
      lanes_[i - begin].Add(hn::Add(even, odd));
    }
  }

  SumAndLost<Tag<double>> lanes_[kVectors];
};

// Of exponentials.
template <class C>
using StepSum = std::conditional_t<sizeof(C) == sizeof(float), SumOfFours<SumsOfPositiveLanes>, DoublesSum>;

// Of losses: in fours, but for steps with numbers of which four may be more than f32 holds.
class LossSum : public WidenedSum {
 public:
  HWY_INLINE LossSum() {}

  // Steps without such.
  template <class StepAt>
  HWY_INLINE void AddSmall(const StepAt& at) {
    SinglesSum::Add(at);
  }

  template <class StepAt>
  HWY_INLINE void Add(const StepAt& at) {
    const Tag<float> d;
    auto are_small = hn::Lt(hn::Abs(at(0)), hn::Set(d, 0x1p120f));
    for (int64_t i = 1; i < 4 * kPart; ++i) {
      are_small = hn::And(are_small, hn::Lt(hn::Abs(at(i)), hn::Set(d, 0x1p120f)));
    }
    if (HWY_LIKELY(hn::AllTrue(d, are_small))) {
      SinglesSum::Add(at);
    } else {
      WidenedSum::Add(at);
    }
  }
};

template <class C>
using LossSumOf = std::conditional_t<sizeof(C) == sizeof(float), LossSum, DoublesSum>;

// For logits of either sign: what cancels must not have been rounded in f32.
template <class C>
using SignedSum = std::conditional_t<sizeof(C) == sizeof(float), WidenedSum, DoublesSum>;

// Vectors of a step that are folded side by side: one maximum after another takes as long as four.
template <class C>
constexpr int64_t kExtremes = std::min<int64_t>(kStepVectors<C>, 4);

// of(of(of(0, 1), 2), 3) of such vectors.
template <class C, class Of>
HWY_INLINE hn::Vec<Tag<C>> FoldExtremes(const hn::Vec<Tag<C>>* vectors, const Of& of) {
  auto folded = vectors[0];
  for (int64_t i = 1; i < kExtremes<C>; ++i) folded = of(folded, vectors[i]);
  return folded;
}

template <class C>
HWY_INLINE hn::Vec<Tag<C>> MaxOfAll(const hn::Vec<Tag<C>>* vectors) {
  return FoldExtremes<C>(vectors, [](auto a, auto b) XENT_LAMBDA { return hn::Max(a, b); });
}

// The largest element, and whether any is NaN or +inf.
template <class C>
class MaxAccumulator {
 public:
  static constexpr C kIdentity = -std::numeric_limits<C>::infinity();

  HWY_INLINE MaxAccumulator() : bad_(hn::Zero(Tag<C>())) {
    for (auto& max : max_) max = hn::Set(Tag<C>(), kIdentity);
  }

  template <class StepAt>
  HWY_INLINE void Add(const StepAt& at) {
    const auto infinity = hn::Set(Tag<C>(), -kIdentity);
    HWY_UNROLL(8)
    for (int64_t i = 0; i < kStepVectors<C>; ++i) {
      const auto x = at(i);
      auto& max = max_[i % kExtremes<C>];
      max = hn::Max(x, max);
      bad_ = hn::IfThenElse(hn::Lt(x, infinity), bad_, x);
    }
  }

  // The maximum; NaN where +inf or NaN was met.
  HWY_INLINE C Finish() const {
    const Tag<C> d;
    if (!hn::AllTrue(d, hn::Lt(bad_, hn::Set(d, -kIdentity)))) return std::numeric_limits<C>::quiet_NaN();
    return hn::GetLane(hn::MaxOfLanes(d, MaxOfAll<C>(max_)));
  }

 private:
  hn::Vec<Tag<C>> max_[kExtremes<C>];
  hn::Vec<Tag<C>> bad_;
};

// The largest and the least element, or 0; what is masked, that is below `least`, and NaN are passed over.
template <class C>
class ExtremesAccumulator {
 public:
  static constexpr C kIdentity = 0;

  HWY_INLINE explicit ExtremesAccumulator(C least) : least_(hn::Set(Tag<C>(), least)) {
    for (auto& max : max_) max = hn::Set(Tag<C>(), -std::numeric_limits<C>::infinity());
    for (auto& min : min_) min = hn::Zero(Tag<C>());
  }

  template <class StepAt>
  HWY_INLINE void Add(const StepAt& at) {
    HWY_UNROLL(8)
    for (int64_t i = 0; i < kStepVectors<C>; ++i) {
      const auto x = at(i);
      auto& max = max_[i % kExtremes<C>];
      auto& min = min_[i % kExtremes<C>];
      max = hn::Max(x, max);
      min = hn::Min(hn::IfThenZeroElse(hn::Lt(x, least_), x), min);
    }
  }

  // By lane.
  HWY_INLINE hn::Vec<Tag<C>> Max() const {
    const auto max = MaxOfAll<C>(max_);
    return hn::IfThenZeroElse(hn::Lt(max, least_), max);
  }
  HWY_INLINE hn::Vec<Tag<C>> Min() const {
    return FoldExtremes<C>(min_, [](auto a, auto b) XENT_LAMBDA { return hn::Min(a, b); });
  }

  // Whether nothing is not masked, NaN apart.
  HWY_INLINE bool AreMasked() const { return hn::AllTrue(Tag<C>(), hn::Lt(MaxOfAll<C>(max_), least_)); }

 private:
  hn::Vec<Tag<C>> max_[kExtremes<C>];
  hn::Vec<Tag<C>> min_[kExtremes<C>];
  hn::Vec<Tag<C>> least_;
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_ACCUMULATORS_INL_H_
