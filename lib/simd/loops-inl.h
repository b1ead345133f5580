// The two loops over a row, tails included: Fold (a row into numbers) and Map (a row into another row); and the sum of
// a row that waits in the stage. A row is a run of steps of 32 elements: 32 virtual lanes, whatever the width of a
// vector, so that sums have the same tree on every instruction set.

#if defined(XENT_SIMD_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_LOOPS_INL_H_
#undef XENT_SIMD_LOOPS_INL_H_
#else
#define XENT_SIMD_LOOPS_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstring>

#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

constexpr int64_t kStep = 32;

// How far ahead of its use memory is asked for.
constexpr int64_t kPrefetchBytes = 1024;

// Vectors of a step. A step is passed about as a function of the vector's index, evaluated where it is needed: 32
// elements at once would not fit the registers.
template <class C>
constexpr int64_t kStepVectors = kStep / static_cast<int64_t>(hn::MaxLanes(Tag<C>()));

// A step in memory.
template <class C>
HWY_INLINE auto StepFrom(const C* from) {
  return [from](int64_t v) HWY_ATTR { return hn::LoadU(Tag<C>(), from + v * LanesOf<C>()); };
}

// Lanes l, l + 8, l + 16 and l + 24 of a step added as (0 + 2) + (1 + 3); 8 results to memory.
template <class C, class StepAt>
HWY_INLINE void AddQuarters(const StepAt& at, C* HWY_RESTRICT eighths) {
  const Tag<C> d;
  constexpr int64_t kLanes = LanesOf<C>();
#if HWY_CAP_GE512
  if constexpr (kLanes == 16) {
    const hn::Half<Tag<C>> dh;
    const auto both = hn::Add(at(0), at(1));
    hn::Store(hn::Add(hn::LowerHalf(dh, both), hn::UpperHalf(dh, both)), dh, eighths);
    return;
  }
#endif
  constexpr int64_t kQuarter = kLanes < 8 ? 8 / kLanes : 1;
  HWY_UNROLL(8)
  for (int64_t i = 0; i < kQuarter; ++i) {
    const auto even = hn::Add(at(i), at(2 * kQuarter + i));
    const auto odd = hn::Add(at(kQuarter + i), at(3 * kQuarter + i));
    hn::Store(hn::Add(even, odd), d, eighths + i * kLanes);
  }
}

// Sums steps: f32 in eight f64 lanes; f64 in eight lanes of two f64 each, rounding errors kept.
template <class C>
class SumAccumulator {
 public:
  static constexpr C kIdentity = C(0);

  HWY_INLINE SumAccumulator() {
    for (auto& lanes : sum_.v) lanes = hn::Zero(Wide());
    low_ = sum_;
  }

  template <class StepAt>
  HWY_INLINE void Add(const StepAt& at) {
    alignas(64) C eighths[8];
    AddQuarters(at, eighths);
    HWY_UNROLL(8)
    for (int64_t i = 0; i < kVectors; ++i) AddLanes(i, eighths + i * kLanes);
  }

  // The eight lanes as ((0+4)+(2+6)) + ((1+5)+(3+7)).
  HWY_INLINE void Finish(double* sum, double* low) const {
    const Wide d;
    alignas(64) double sums[8];
    for (int64_t i = 0; i < kVectors; ++i) hn::Store(sum_[i], d, sums + i * kLanes);
    if constexpr (sizeof(C) == sizeof(float)) {
      const double even = (sums[0] + sums[4]) + (sums[2] + sums[6]);
      *sum = even + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
      *low = 0.0;
    } else {
      alignas(64) double lows[8];
      for (int64_t i = 0; i < kVectors; ++i) hn::Store(low_[i], d, lows + i * kLanes);
      for (int stride = 4; stride > 0; stride /= 2) {
        for (int i = 0; i < stride; ++i) {
          const double a = sums[i];
          const double b = sums[i + stride];
          sums[i] = a + b;
          const double from_b = sums[i] - a;
          lows[i] += lows[i + stride] + ((a - (sums[i] - from_b)) + (b - from_b));
        }
      }
      *sum = sums[0];
      *low = lows[0];
    }
  }

 private:
  using Wide = hn::CappedTag<double, 8>;
  static constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(Wide()));
  static constexpr int64_t kVectors = 8 / kLanes;

  HWY_INLINE void AddLanes(int64_t i, const float* from) {
    const Wide d;
    const hn::Rebind<float, Wide> df;
    sum_[i] = hn::Add(sum_[i], hn::PromoteTo(d, hn::Load(df, from)));
  }

  HWY_INLINE void AddLanes(int64_t i, const double* from) {
    const Wide d;
    const auto a = sum_[i];
    const auto b = hn::Load(d, from);
    sum_[i] = hn::Add(a, b);
    const auto from_b = hn::Sub(sum_[i], a);
    low_[i] = hn::Add(low_[i], hn::Add(hn::Sub(a, hn::Sub(sum_[i], from_b)), hn::Sub(b, from_b)));
  }

  struct Lanes {
    hn::Vec<Wide>& operator[](int64_t i) { return v[i]; }
    const hn::Vec<Wide>& operator[](int64_t i) const { return v[i]; }
    hn::Vec<Wide> v[kVectors];
  };
  Lanes sum_;
  Lanes low_;
};

// The largest element, and whether any is NaN or +inf. Compare and select: the same on every machine.
template <class C>
class MaxAccumulator {
 public:
  static constexpr C kIdentity = -std::numeric_limits<C>::infinity();

  HWY_INLINE MaxAccumulator() : max_(hn::Set(Tag<C>(), kIdentity)), bad_(hn::Zero(Tag<C>())) {}

  template <class StepAt>
  HWY_INLINE void Add(const StepAt& at) {
    const auto infinity = hn::Set(Tag<C>(), -kIdentity);
    HWY_UNROLL(8)
    for (int64_t i = 0; i < kStepVectors<C>; ++i) {
      const auto x = at(i);
      max_ = hn::IfThenElse(hn::Gt(x, max_), x, max_);
      bad_ = hn::IfThenElse(hn::Lt(x, infinity), bad_, x);
    }
  }

  // The maximum; +inf or NaN where one was met.
  C Finish() const {
    const Tag<C> d;
    alignas(64) C maxima[16];
    alignas(64) C bads[16];
    hn::Store(max_, d, maxima);
    hn::Store(bad_, d, bads);
    C result = kIdentity;
    for (int64_t i = 0; i < LanesOf<C>(); ++i) {
      if (!(bads[i] < -kIdentity)) return bads[i];
      result = maxima[i] > result ? maxima[i] : result;
    }
    return result;
  }

 private:
  hn::Vec<Tag<C>> max_;
  hn::Vec<Tag<C>> bad_;
};

// Asks for the memory that a step kPrefetchBytes ahead will read.
template <class T>
HWY_INLINE void PrefetchStep(const T* from) {
  const char* const ahead = reinterpret_cast<const char*>(from) + kPrefetchBytes;
  for (size_t byte = 0; byte < kStep * sizeof(T); byte += 64) hwy::Prefetch(ahead + byte);
}

// op of the step at `from`, whose first element has this index.
template <class T, class Op>
HWY_INLINE auto ApplyToStep(const T* from, int64_t index, Op& op) {
  using C = Compute<T>;
  return [from, index, &op](int64_t v) HWY_ATTR {
    const int64_t i = v * LanesOf<C>();
    return op(Tag<C>(), FromStorage(Tag<C>(), from + i), index + i);
  };
}

// The operation that does nothing. Every operation has this form: lanes and the index of the first in, lanes out.
struct Itself {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D, hn::Vec<D> x, int64_t) const {
    return x;
  }
};

// A cut step of storage, padded with zeros, for code that works on whole steps.
template <class T>
struct PaddedStep {
  PaddedStep(const T* from, int64_t count) { std::memcpy(values, from, static_cast<size_t>(count) * sizeof(T)); }
  T values[kStep] = {};
};

// accumulator += x[i] for every i in [0, n) but the label (none if it is outside).
template <class T, class Accumulator>
HWY_INLINE void Fold(const T* x, int64_t n, int64_t label, Accumulator& accumulator) {
  using C = Compute<T>;
  Itself itself;
  const int64_t label_step = label >= 0 && label < n ? label / kStep * kStep : n;
  for (int64_t i = 0; i < n; i += kStep) {
    if (i != label_step && i + kStep <= n) {
      accumulator.Add(ApplyToStep(x + i, i, itself));
      continue;
    }
    const int64_t count = std::min(kStep, n - i);
    const PaddedStep<T> padded(x + i, count);
    alignas(64) C values[kStep];
    const auto at = ApplyToStep(padded.values, i, itself);
    for (int64_t v = 0; v < kStepVectors<C>; ++v) hn::Store(at(v), Tag<C>(), values + v * LanesOf<C>());
    std::fill(values + count, values + kStep, Accumulator::kIdentity);
    if (i == label_step) values[label - i] = Accumulator::kIdentity;
    accumulator.Add(StepFrom(values));
  }
}

// Elements until the next multiple of 64 bytes.
template <class U>
HWY_INLINE int64_t ElementsToAlignment(const U* pointer) {
  return static_cast<int64_t>((64 - reinterpret_cast<uintptr_t>(pointer) % 64) % 64 / sizeof(U));
}

// out[i] = op(x[i]) for every i in [0, n). x and out may be the same memory. `stream`: past the cache.
template <class T, class U, class Op>
HWY_INLINE void Map(const T* x, int64_t n, Op&& op, U* out, bool stream) {
  using C = Compute<T>;
  const Tag<C> d;
  const auto part = [&](int64_t first, int64_t count) HWY_ATTR {
    const PaddedStep<T> padded(x + first, count);
    U rounded[kStep];
    const auto at = ApplyToStep(padded.values, first, op);
    for (int64_t v = 0; v < kStepVectors<C>; ++v) ToStorage(at(v), d, rounded + v * LanesOf<C>(), false);
    std::memcpy(out + first, rounded, static_cast<size_t>(count) * sizeof(U));
  };
  int64_t i = 0;
  // Stores past the cache are aligned.
  if (stream && ElementsToAlignment(out) != 0) {
    i = std::min(n, ElementsToAlignment(out));
    part(0, i);
  }
  for (; i + kStep <= n; i += kStep) {
    PrefetchStep(x + i);
    const auto at = ApplyToStep(x + i, i, op);
    HWY_UNROLL(2)
    for (int64_t v = 0; v < kStepVectors<C>; ++v) ToStorage(at(v), d, out + i + v * LanesOf<C>(), stream);
  }
  if (i < n) part(i, n - i);
}

// A row of n staged elements. Memory behind it may be read: the stage has slack.
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
    SumAccumulator<C> accumulator;
    for (int64_t i = 0; i < whole_; i += kStep) accumulator.Add(StepFrom(row + i));
    if (whole_ < n_) {
      accumulator.Add([&](int64_t v) HWY_ATTR {
        const bool is_beyond = whole_ + v * LanesOf<C>() >= n_;
        const auto at = StepFrom(row + whole_);
        return is_beyond ? hn::Zero(Tag<C>()) : hn::IfThenElseZero(tail_.m[v], at(v));
      });
    }
    accumulator.Finish(sum, low);
  }

 private:
  static constexpr int64_t kVectors = kStepVectors<C>;
  struct Masks {
    hn::Mask<Tag<C>> m[kVectors];
  };

  int64_t whole_;
  int64_t n_;
  Masks tail_;
};

// Writes value to [0, n) and beyond, up to a whole vector.
template <class C>
HWY_INLINE void Spread(C value, int64_t n, C* to) {
  const Tag<C> d;
  for (int64_t i = 0; i < n; i += LanesOf<C>()) hn::StoreU(hn::Set(d, value), d, to + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_LOOPS_INL_H_
