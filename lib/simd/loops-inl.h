// The two loops over a row: Fold (a row into numbers) and Map (a row into another row), tails and the label included.
// A row is a run of steps of 32 elements: 32 virtual lanes, whatever the width of a vector, so that sums have the same
// tree on every instruction set. A step that is cut short, or holds the label, goes through a small buffer.

#if defined(XENT_SIMD_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_LOOPS_INL_H_
#undef XENT_SIMD_LOOPS_INL_H_
#else
#define XENT_SIMD_LOOPS_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cmath>

#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

constexpr int64_t kStep = 32;

// How far ahead of its use memory is asked for.
constexpr int64_t kPrefetchBytes = 1024;

template <class C>
using Tag = hn::CappedTag<C, 16>;

template <class C>
constexpr int64_t LanesOf() {
  return static_cast<int64_t>(hn::MaxLanes(Tag<C>()));
}

// One step: 32 elements in registers.
template <class C>
struct Step {
  static constexpr int64_t kVectors = kStep / LanesOf<C>();
  hn::Vec<Tag<C>> v[kVectors];
};

template <class C>
HWY_INLINE Step<C> StepFrom(const C* from) {
  const Tag<C> d;
  Step<C> step;
  HWY_UNROLL(32)
  for (int64_t i = 0; i < Step<C>::kVectors; ++i) step.v[i] = hn::LoadU(d, from + i * LanesOf<C>());
  return step;
}

// Lanes l, l + 8, l + 16 and l + 24 of a step added as (0 + 2) + (1 + 3); 8 results to memory.
template <class C>
HWY_INLINE void AddQuarters(const Step<C>& step, C* HWY_RESTRICT eighths) {
  const Tag<C> d;
  constexpr int64_t kLanes = LanesOf<C>();
#if HWY_CAP_GE512
  if constexpr (kLanes == 16) {
    const hn::Half<Tag<C>> dh;
    const auto both = hn::Add(step.v[0], step.v[1]);
    hn::Store(hn::Add(hn::LowerHalf(dh, both), hn::UpperHalf(dh, both)), dh, eighths);
    return;
  }
#endif
  constexpr int64_t kQuarter = kLanes < 8 ? 8 / kLanes : 1;
  HWY_UNROLL(8)
  for (int64_t i = 0; i < kQuarter; ++i) {
    const auto even = hn::Add(step.v[i], step.v[2 * kQuarter + i]);
    const auto odd = hn::Add(step.v[kQuarter + i], step.v[3 * kQuarter + i]);
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

  HWY_INLINE void Add(const Step<C>& step) {
    alignas(64) C eighths[8];
    AddQuarters(step, eighths);
    HWY_UNROLL(8)
    for (int64_t i = 0; i < kVectors; ++i) AddLanes(i, eighths + i * kLanes);
  }

  // The eight lanes as (0+4)+(2+6) + (1+5)+(3+7).
  void Finish(double* sum, double* low) const {
    const Wide d;
    alignas(64) double sums[8];
    alignas(64) double lows[8];
    for (int64_t i = 0; i < kVectors; ++i) {
      hn::Store(sum_[i], d, sums + i * kLanes);
      hn::Store(low_[i], d, lows + i * kLanes);
    }
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

  HWY_INLINE void Add(const Step<C>& step) {
    const auto infinity = hn::Set(Tag<C>(), -kIdentity);
    HWY_UNROLL(32)
    for (int64_t i = 0; i < Step<C>::kVectors; ++i) {
      max_ = hn::IfThenElse(hn::Gt(step.v[i], max_), step.v[i], max_);
      bad_ = hn::IfThenElse(hn::Lt(step.v[i], infinity), bad_, step.v[i]);
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

// Runs whole(first, last) over whole steps and part(first, count) where a step is cut short or holds the label, in
// index order. `head` elements come first as a part of their own.
template <class Whole, class Part>
HWY_INLINE void ForEachStep(int64_t n, int64_t label, int64_t head, const Whole& whole, const Part& part) {
  int64_t i = 0;
  if (head > 0) {
    part(int64_t{0}, std::min(head, n));
    i = std::min(head, n);
  }
  const bool has_label = label >= i && label < n;
  const int64_t label_step = has_label ? i + (label - i) / kStep * kStep : n;
  while (i < n) {
    const int64_t limit = i <= label_step ? label_step : n;
    const int64_t last = i + (limit - i) / kStep * kStep;
    if (last > i) whole(i, last);
    if (last < n) part(last, std::min(kStep, n - last));
    i = last + kStep;
  }
}

// Asks for the memory that a step kPrefetchBytes ahead will read.
template <class T>
HWY_INLINE void PrefetchStep(const T* from) {
  const char* const ahead = reinterpret_cast<const char*>(from) + kPrefetchBytes;
  for (size_t byte = 0; byte < kStep * sizeof(T); byte += 64) hwy::Prefetch(ahead + byte);
}

template <class T, class Op>
HWY_INLINE Step<Compute<T>> ApplyToStep(const T* from, Op& op) {
  using C = Compute<T>;
  Step<C> step;
  HWY_UNROLL(32)
  for (int64_t v = 0; v < Step<C>::kVectors; ++v) {
    step.v[v] = op(Tag<C>(), FromStorage(Tag<C>(), from + v * LanesOf<C>()));
  }
  return step;
}

// op of a step of `count` elements, in memory. It sees 0 beyond count, and in place of element `hidden`.
template <class T, class Op>
HWY_INLINE void ApplyToPart(const T* from, int64_t count, int64_t hidden, Op& op, Compute<T>* HWY_RESTRICT results) {
  using C = Compute<T>;
  T padded[kStep] = {};
  std::copy(from, from + count, padded);
  if (hidden < kStep) padded[hidden] = T{};
  HWY_UNROLL(1)
  for (int64_t v = 0; v < Step<C>::kVectors; ++v) {
    const int64_t i = v * LanesOf<C>();
    hn::Store(op(Tag<C>(), FromStorage(Tag<C>(), padded + i)), Tag<C>(), results + i);
  }
}

// accumulator += op(x[i]) for every i in [0, n) but the label.
template <class T, class Op, class Accumulator>
HWY_INLINE void Fold(const T* x, int64_t n, int64_t label, Op& op, Accumulator& accumulator) {
  using C = Compute<T>;
  const auto whole = [&](int64_t first, int64_t last) HWY_ATTR {
    for (int64_t i = first; i < last; i += kStep) {
      PrefetchStep(x + i);
      accumulator.Add(ApplyToStep(x + i, op));
    }
  };
  const auto part = [&](int64_t first, int64_t count) HWY_ATTR {
    alignas(64) C results[kStep];
    const bool has_label = label >= first && label < first + count;
    ApplyToPart(x + first, count, has_label ? label - first : kStep, op, results);
    std::fill(results + count, results + kStep, Accumulator::kIdentity);
    if (has_label) results[label - first] = Accumulator::kIdentity;
    accumulator.Add(StepFrom(results));
  };
  ForEachStep(n, label, 0, whole, part);
}

// out[i] = op(x[i]) for every i in [0, n) but the label, whose value is given. x and out may be the same memory.
template <class T, class U, class Op>
HWY_INLINE void Map(const T* x, int64_t n, int64_t label, Compute<U> label_value, const Op& op, U* out, bool stream) {
  using C = Compute<T>;
  const Tag<C> d;
  const auto whole = [&](int64_t first, int64_t last) HWY_ATTR {
    for (int64_t i = first; i < last; i += kStep) {
      const Step<C> step = ApplyToStep(x + i, op);
      HWY_UNROLL(32)
      for (int64_t v = 0; v < Step<C>::kVectors; ++v) ToStorage(step.v[v], d, out + i + v * LanesOf<C>(), stream);
    }
  };
  const auto part = [&](int64_t first, int64_t count) HWY_ATTR {
    alignas(64) C results[kStep];
    ApplyToPart(x + first, count, kStep, op, results);
    if (label >= first && label < first + count) results[label - first] = label_value;
    U rounded[kStep];
    HWY_UNROLL(1)
    for (int64_t v = 0; v < Step<C>::kVectors; ++v) {
      const int64_t i = v * LanesOf<C>();
      ToStorage(hn::Load(d, results + i), d, rounded + i, false);
    }
    std::copy(rounded, rounded + count, out + first);
  };
  // Stores past the cache are aligned.
  const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) / sizeof(U) % (64 / sizeof(U)));
  const int64_t head = stream && misaligned != 0 ? static_cast<int64_t>(64 / sizeof(U)) - misaligned : 0;
  ForEachStep(n, label, head, whole, part);
}

// op over n elements into memory of its own.
template <class T, class Op>
HWY_INLINE void MapDense(const T* x, int64_t n, Op& op, Compute<T>* HWY_RESTRICT out) {
  using C = Compute<T>;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    PrefetchStep(x + i);
    const Step<C> step = ApplyToStep(x + i, op);
    HWY_UNROLL(32)
    for (int64_t v = 0; v < Step<C>::kVectors; ++v) hn::StoreU(step.v[v], Tag<C>(), out + i + v * LanesOf<C>());
  }
  if (i < n) {
    alignas(64) C results[kStep];
    ApplyToPart(x + i, n - i, kStep, op, results);
    std::copy(results, results + (n - i), out + i);
  }
}

// Rows of n elements that wait back to back in the stage. Memory behind the last row may be read and rewritten, so
// that cut steps are whole vectors under a mask.
template <class C>
class StagedRows {
 public:
  explicit StagedRows(int64_t n) : whole_(n / kStep * kStep), n_(n) {
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t left = std::min(std::max<int64_t>(n - whole_ - v * LanesOf<C>(), 0), LanesOf<C>());
      tail_.m[v] = hn::FirstN(Tag<C>(), static_cast<size_t>(left));
    }
  }

  // accumulator += every element of the row.
  template <class Accumulator>
  HWY_INLINE void FoldRow(const C* row, Accumulator& accumulator) const {
    for (int64_t i = 0; i < whole_; i += kStep) accumulator.Add(StepFrom(row + i));
    if (whole_ == n_) return;
    Step<C> step;
    HWY_UNROLL(32)
    for (int64_t v = 0; v < kVectors; ++v) {
      step.v[v] = hn::Zero(Tag<C>());
      if (whole_ + v * LanesOf<C>() < n_) step.v[v] = hn::IfThenElseZero(tail_.m[v], At(row, v));
    }
    accumulator.Add(step);
  }

  // row[i] = op(row[i]).
  template <class Op>
  HWY_INLINE void MapRow(C* row, const Op& op) const {
    const Tag<C> d;
    for (int64_t i = 0; i + LanesOf<C>() <= whole_; i += LanesOf<C>()) {
      hn::StoreU(op(d, hn::LoadU(d, row + i)), d, row + i);
    }
    HWY_UNROLL(32)
    for (int64_t v = 0; v < kVectors; ++v) {
      if (whole_ + v * LanesOf<C>() >= n_) break;
      const auto old = At(row, v);
      hn::StoreU(hn::IfThenElse(tail_.m[v], op(d, old), old), d, row + whole_ + v * LanesOf<C>());
    }
  }

 private:
  static constexpr int64_t kVectors = Step<C>::kVectors;
  struct Masks {
    hn::Mask<Tag<C>> m[kVectors];
  };

  HWY_INLINE hn::Vec<Tag<C>> At(const C* row, int64_t v) const {
    return hn::LoadU(Tag<C>(), row + whole_ + v * LanesOf<C>());
  }

  int64_t whole_;
  int64_t n_;
  Masks tail_;
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_LOOPS_INL_H_
