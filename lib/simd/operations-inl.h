// What softmax does to a lane. An operation is called with lanes and the index of the first of them, and returns lanes;
// the loops of loops-inl.h run it over rows.

#if defined(XENT_SIMD_OPERATIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_OPERATIONS_INL_H_
#undef XENT_SIMD_OPERATIONS_INL_H_
#else
#define XENT_SIMD_OPERATIONS_INL_H_
#endif

#include <cmath>
#include <cstring>

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/exp-inl.h"
#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// What stands between a logit x and the exponent z that a row is made of. Reduce: z as n ln 2 + remainder. For the
// careful plan z - anchor is Reduce of x less ToLogit(anchor), and of what that difference lost. A logit below Masked()
// is 0 in a plain row: see ExpConstants.
template <class T, bool kOneStep = kHasOneStep<T>>
struct Unscaled {
  using C = Compute<T>;
  static constexpr bool kMayBias = kOneStep;
  static constexpr bool kAreWords = sizeof(T) == 2;

  template <class D>
  HWY_INLINE Reduced<D> Reduce(D d, hn::Vec<D> x) const {
    if constexpr (kOneStep) return ReduceExpOnce(d, x);
    return ReduceExp(d, x);
  }
  // Differences are exact where they count: see kAnchorFree.
  template <class D>
  HWY_INLINE Reduced<D> ReduceFrom(D d, hn::Vec<D> x, hn::Vec<D> anchor, hn::Vec<D> floor) const {
    return ReduceExp(d, hn::Max(hn::Sub(x, anchor), floor));
  }
  C Anchor(C max) const {
    return max < ExpConstants<C>::kAnchorFree && max > -ExpConstants<C>::kAnchorFree ? C(0) : max;
  }
  double Exponent(C x) const { return static_cast<double>(x); }
  static constexpr C Masked() { return ExpConstants<C>::kMasked; }
  C ToLogit(double z) const { return static_cast<C>(z); }
};

// z = scale x, exact but for the rounding of z's remainder: only with fused multiply-add, and f32 lanes.
template <class T>
struct Scaled {
  using C = Compute<T>;
  static constexpr bool kMayBias = false;
  static constexpr bool kAreWords = false;

  explicit Scaled(double factor)
      : scale(factor),
        high(static_cast<C>(factor)),
        low(static_cast<C>(factor - static_cast<double>(high))),
        turns(static_cast<C>(factor * 0x1.71547652b82fep0)),
        masked(static_cast<C>(static_cast<double>(ExpConstants<C>::kMasked) / factor)) {}

  template <class D>
  HWY_INLINE Reduced<D> Reduce(D d, hn::Vec<D> x) const {
    return ReduceBoth(d, x, hn::Mul(x, hn::Set(d, low)));
  }
  template <class D>
  HWY_INLINE Reduced<D> ReduceFrom(D d, hn::Vec<D> x, hn::Vec<D> anchor, hn::Vec<D> floor) const {
    const auto difference = hn::Sub(x, anchor);
    const auto from_anchor = hn::Sub(difference, x);
    const auto lost = hn::Sub(hn::Sub(x, hn::Sub(difference, from_anchor)), hn::Add(anchor, from_anchor));
    const auto least = hn::Div(floor, hn::Set(d, high));
    const auto is_above = hn::Gt(difference, least);
    const auto kept = hn::IfThenElse(is_above, difference, least);
    const auto rest = hn::MulAdd(kept, hn::Set(d, low), hn::Mul(hn::IfThenElseZero(is_above, lost), hn::Set(d, high)));
    return ReduceBoth(d, kept, rest);
  }
  // A difference of equal logits, at least, is exact.
  C Anchor(C max) const { return max; }
  double Exponent(C x) const { return scale * static_cast<double>(x) + 0.0; }  // never -0: a maximum may be either
  C Masked() const { return masked; }
  C ToLogit(double z) const { return static_cast<C>(z / scale); }

  // high * x + rest.
  template <class D>
  HWY_INLINE Reduced<D> ReduceBoth(D d, hn::Vec<D> x, hn::Vec<D> rest) const {
    using E = ExpConstants<C>;
    const auto shifted = hn::MulAdd(x, hn::Set(d, turns), hn::Set(d, E::kMagic));
    const auto n = hn::Sub(shifted, hn::Set(d, E::kMagic));
    const auto whole = hn::Mul(n, hn::Set(d, E::kLn2[0]));  // exact
    const auto near = hn::MulSub(x, hn::Set(d, high), whole);
    return {hn::Add(near, hn::NegMulAdd(n, hn::Set(d, E::kLn2[1]), rest)), shifted};
  }

  double scale;
  C high;
  C low;
  C turns;  // of log2
  C masked;
};

// x - top as n ln 2 / 8 + remainder, where it is above this floor.
template <class D, class T, bool kOneStep>
HWY_INLINE Reduced<D> ReduceBelow(D d, const Unscaled<T, kOneStep>&, hn::Vec<D> x, hn::Vec<D> top, hn::Vec<D> distance,
                                  hn::Vec<D> floor) {
  const auto reduced = ReduceExp(d, hn::Max(distance, floor));
  const auto lost = LostByAnySum(x, hn::Neg(top), distance);
  return {hn::Add(reduced.remainder, hn::IfThenElseZero(hn::Ge(distance, floor), lost)), reduced.shifted};
}

template <class D, class T>
HWY_INLINE Reduced<D> ReduceBelow(D d, const Scaled<T>& scaling, hn::Vec<D> x, hn::Vec<D> top, hn::Vec<D>,
                                  hn::Vec<D> floor) {
  return scaling.ReduceFrom(d, x, top, hn::Mul(floor, hn::Set(d, scaling.high)));
}

template <class T>
constexpr bool kKnowsScale = sizeof(Compute<T>) == sizeof(float) && HWY_NATIVE_FMA;

// body(Unscaled or Scaled) of a tile's or slice's scale.
template <class T, bool kOneStep = kHasOneStep<T>, class Body>
HWY_INLINE auto WithScale(double scale, const Body& body) {
  if constexpr (kKnowsScale<T>) {
    if (HWY_UNLIKELY(scale != 1.0)) return body(Scaled<T>(scale));
  }
  return body(Unscaled<T, kOneStep>());
}

// The state of plain terms.
template <class Scaling>
RowState PlainState(double sum, double low) {
  if constexpr (Scaling::kMayBias) low += Unbiased(sum);
  return RowState{sum, low, 0.0, 0, kPlain};
}

// e^z, and a record of whether every exponent was small. A maximum of |x| would be an operation less, but forgets what
// it was when it meets NaN. kMasked: what is masked (-inf, and what is as good as that beside any plain logit: -1e4,
// say) makes 0 and counts as small; all other bits are the same (a fifth slower).
template <class T, class Scaling = Unscaled<T>, bool kMasked = false>
struct PlainExp {
  using C = Compute<T>;
  template <class>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 2 : 1;

  // Constructors that make vectors are written out: implicit ones are compiled without the instruction set.
  HWY_INLINE explicit PlainExp(Scaling of_logits = Scaling())
      : scaling(of_logits), range(hn::Zero(hn::RebindToUnsigned<Tag<C>>())), least(hn::Zero(Tag<C>())) {}

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) {
    // Masked logits go on as 0: what is subnormal on the way would take a hundred cycles.
    auto kept = x;
    if constexpr (kMasked) {
      least = MinAll(d, least, x);
      kept = hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, scaling.Masked())), x);
    }
    const auto reduced = scaling.Reduce(d, kept);
    const hn::RebindToUnsigned<D> du;
    const auto base = hn::BitCast(du, hn::Set(d, ExpConstants<C>::kMagic - C(ExpConstants<C>::kPlainExponent)));
    const auto bits = hn::BitCast(du, reduced.shifted);
    auto e = ExpScaled(d, reduced, reduced.shifted);
    if constexpr (kMasked) e = hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, scaling.Masked())), e);
    if constexpr (kOrTells) {
      range = OrAll(du, range, bits);
    } else if constexpr (sizeof(C) == sizeof(float)) {
      range = OrXor(du, range, bits, base);
    } else {
      range = OrAll(du, range, hn::Sub(bits, base));
    }
    return e;
  }

  // NaN, infinities and large numbers set a high bit too.
  HWY_INLINE bool InRange() const {
    const hn::RebindToUnsigned<Tag<C>> du;
    return hn::AllTrue(du, hn::Eq(hn::AndNot(hn::Set(du, Allowed()), range), hn::Zero(du)));
  }

  // What the logits were.
  HWY_INLINE Expected Found() const {
    if (!InRange()) return Expected::kCareful;
    const Tag<C> d;
    const bool has_masked = kMasked && !hn::AllTrue(d, hn::Ge(least, hn::Set(d, scaling.Masked())));
    return has_masked ? Expected::kMasked : Expected::kPlain;
  }
  // The same for a lane of `range`.
  static bool IsInRange(hwy::MakeUnsigned<C> lane) { return (lane & ~Allowed()) == 0; }

  // The bits that small exponents may set.
  static hwy::MakeUnsigned<C> Allowed() {
    constexpr C kBase = ExpConstants<C>::kMagic - C(ExpConstants<C>::kPlainExponent);
    hwy::MakeUnsigned<C> base = 0;
    if constexpr (kOrTells) std::memcpy(&base, &kBase, sizeof(base));
    return base | (kMany - 1);
  }

  // Of words of 16 bits, none that is too large has all its bits among those of small ones (softmax_corner_test: every
  // word), so that the bits need not be compared, and two vectors take one operation.
  static constexpr bool kOrTells = Scaling::kAreWords;
  static constexpr hwy::MakeUnsigned<C> kMany = 2 * ExpConstants<C>::kPlainExponent * ExpConstants<C>::kStepsPerOctave;
  static_assert((kMany & (kMany - 1)) == 0, "the bits below it are those that may be set");

  Scaling scaling;
  hn::Vec<hn::RebindToUnsigned<Tag<C>>> range;
  hn::Vec<Tag<C>> least;  // of the logits or 0, if kMasked
};

// e^(z - anchor) * 2^-exponent; 0 where that is below `least`, which is more than the lowest exponent makes, of -inf
// too.
template <class C, class Scaling>
struct CarefulExp {
  template <class>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 2 : 1;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    using E = ExpConstants<C>;
    const auto reduced = scaling.ReduceFrom(d, x, hn::Set(d, anchor), hn::Set(d, E::kNegligible));
    const auto n = hn::Sub(reduced.shifted, hn::Set(d, exponent));  // and kMagic, as the bounds
    const auto above = hn::Max(n, hn::Set(d, E::kMagic + C(E::kLowest)));
    // Beyond the exponents there are only where the caller's log-sum-exp is far too small.
    const auto kept = hn::Min(above, hn::Set(d, E::kMagic + C(2 - E::kLowest)));
    const auto e = ExpScaled(d, reduced, kept);
    return hn::IfThenElseZero(hn::Ge(e, hn::Set(d, least)), e);
  }

  C anchor;  // a logit
  C exponent;
  C least;
  Scaling scaling;
};

// PlainExp, and with each vector one of the pending gradient: reads and writes of memory overlap. Nothing with a cut
// step.
template <bool kStream, class T, class Scaling>
struct PlainExpAndWrite {
  using C = Compute<T>;

  template <class>
  static constexpr int kTogether = PlainExp<T, Scaling>::template kTogether<C>;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) {
    StoreNumbers<kStream>(hn::MulSub(FromStorage(d, stage + i), hn::Set(d, factor), hn::Set(d, offset)), d, out + i);
    return exp(d, x, i);
  }

  HWY_INLINE Expected Found() const { return exp.Found(); }

  PlainExp<T, Scaling> exp;
  const C* stage;
  T* out;
  C factor;
  C offset;
};

template <bool kStream, class T, class Scaling>
HWY_INLINE PlainExp<T, Scaling>& OfCutStep(PlainExpAndWrite<kStream, T, Scaling>& both) {
  return both.exp;
}

// Of a plain row, whose logits are all small or masked.
template <class T, class Scaling>
struct PlainGrad {
  using C = Compute<T>;
  template <class>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 2 : 1;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    const auto is_masked = hn::Lt(x, hn::Set(d, scaling.Masked()));
    const auto reduced = scaling.Reduce(d, hn::IfThenZeroElse(is_masked, x));
    const auto e = hn::IfThenZeroElse(is_masked, ExpScaled(d, reduced, reduced.shifted));
    return hn::MulSub(e, hn::Set(d, factor), hn::Set(d, offset));
  }

  C factor;
  C offset;
  Scaling scaling;
};

template <class C, class Scaling, class Product>
struct CarefulGrad {
  template <class>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 2 : 1;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    return product(d, exp(d, x, 0), 0);
  }

  CarefulExp<C, Scaling> exp;
  Product product;
};

template <class C>
struct Constant {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D>, int64_t) const {
    return hn::Set(d, value);
  }

  C value;
};

// Lanes of an array that has `left` elements more; 0 beyond.
template <class D, class U>
HWY_INLINE hn::Vec<D> LoadUpTo(D d, const U* from, int64_t left) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  if (HWY_LIKELY(left >= kLanes)) return FromStorage(d, from);
#if HWY_CAP_GE512
  return PartFromStorage(d, std::max<int64_t>(left, 0), from);
#endif
  U part[kLanes] = {};
  if (left > 0) std::memcpy(static_cast<void*>(part), from, static_cast<size_t>(left) * sizeof(U));
  return FromStorage(d, part);
}

// A pack belongs to a whole step.
template <class D, int kCount, class U>
HWY_INLINE hn::Pack<D, kCount> LoadUpTo(hn::PackTag<D, kCount> d, const U* from, int64_t) {
  return FromStorage(d, from);
}

// Targets; NaN where there is none.
template <class U>
struct Weights {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> u, int64_t) const {
    return hn::IfThenElse(hn::Ge(u, hn::Zero(d)), u, hn::Set(d, CanonicalNaN<float>()));
  }
};

// u (top - x), 0 where u is.
template <class U>
struct WeightedGaps {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    const auto weight = LoadUpTo(d, u + i, n - i);
    return hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Mul(weight, hn::Sub(hn::Set(d, top), x)));
  }

  const U* u;
  int64_t n;
  float top;
};

// What an operation gives less targets times a factor of any size: a power of two, and what is left. The factor may be
// infinite: a target of 0 makes nothing of it.
template <class Op, class U>
struct Less {
  Less(const Op& operation, const U* targets, int64_t count, double of_targets) : op(operation), u(targets), n(count) {
    constexpr int64_t kLarge = 100;
    const int64_t exponent = ExponentOf(std::fabs(of_targets));
    const int64_t beyond = exponent - std::min(std::max(exponent, -kLarge), kLarge);
    const int64_t shift = of_targets == 0.0 ? 0 : std::min(std::max<int64_t>(beyond, -kLarge), kLarge);
    power = static_cast<float>(TimesPowerOfTwo(1.0, shift));
    factor = static_cast<float>(TimesPowerOfTwo(of_targets, -shift));
  }

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    const auto weight = LoadUpTo(d, u + i, n - i);
    const auto element = op(d, x, i);
    const auto less = hn::NegMulAdd(hn::Set(d, factor), hn::Mul(weight, hn::Set(d, power)), element);
    return hn::IfThenElse(hn::Eq(weight, hn::Zero(d)), element, less);
  }

  Op op;
  const U* u;
  int64_t n;
  float power;
  float factor;
};

// What an operation gives, times base + tilt * (x - top), less an offset. What is 0 stays: there x may be -inf.
template <class Op, class T>
struct Tilted {
  template <class D, class V>
  HWY_INLINE hn::Vec<D> operator()(D d, V lanes, int64_t i) const {
    const auto p = op(d, lanes, i);
    const auto below = hn::Sub(LoadUpTo(d, x + i, n - i), hn::Set(d, top));
    const auto product = hn::Mul(p, hn::MulAdd(hn::Set(d, tilt), below, hn::Set(d, base)));
    return hn::Sub(hn::IfThenZeroElse(hn::Eq(p, hn::Zero(d)), product), hn::Set(d, offset));
  }

  Op op;
  const T* x;
  int64_t n;
  float base;
  float tilt;
  float top;
  float offset;
};

// body(op tilted as the gradient of a row of n logits says, and times a factor), or body(op): then the offset is in op.
template <class T, class Op, class Body>
HWY_INLINE void WithTilt(const Op& op, const RowGrad& grad, double factor, const T* x, int64_t n, const Body& body) {
  if constexpr (sizeof(Compute<T>) == sizeof(float)) {
    if (HWY_UNLIKELY(grad.is_tilted)) {
      body(Tilted<Op, T>{op, x, n, static_cast<float>(grad.base * factor), static_cast<float>(grad.tilt * factor),
                         static_cast<float>(grad.top), static_cast<float>(grad.offset)});
      return;
    }
  }
  body(op);
}

// What an operation takes off each element itself.
template <class C>
C OwnOffset(const RowGrad& grad) {
  return grad.is_tilted ? C(0) : static_cast<C>(grad.offset);
}

// body(op less the targets of a row of n elements), or body(op) where there are none. T: the logits' type.
template <class T, class Op, class Body>
HWY_INLINE void WithTargets(const Op& op, const TargetRows& targets, int64_t row, int64_t n, double factor,
                            const Body& body) {
  if constexpr (sizeof(Compute<T>) == sizeof(float)) {
    if (HWY_UNLIKELY(targets.data != nullptr)) {
      if (targets.are_singles) {
        body(Less<Op, float>{op, static_cast<const float*>(targets.data) + row * targets.stride, n, factor});
      } else {
        body(Less<Op, T>{op, static_cast<const T*>(targets.data) + row * targets.stride, n, factor});
      }
      return;
    }
  }
  body(op);
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_OPERATIONS_INL_H_
