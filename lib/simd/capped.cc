// Softcapped rows in f32: see CappedKernels. With u = 2 scale |x| / cap, E = e^-u and v = E / (1 + E),
//   |z| = cap tanh(u / 2) = cap - 2 cap v        dz / dx = 4 scale v (1 - v)
// e^z shows every absolute error of z, so E and v are sums of two floats, and z never is a number of its own: its
// exponent and remainder are made of cap and v.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/capped.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "lib/kernels.h"
#include "lib/simd/few-numbers-inl.h"
#include "lib/simd/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

#if XENT_HAS_FEW_ROWS

// ln 2 as a sum, which leaves an exact remainder; the floats nearest to 2^(j/8), their exponents as those of exp-inl.h;
// the logarithms of what they lack; (e^r - 1 - r
// - r^2/2) / r^3, lowest degree first. Made by tools/coefficients.
constexpr float kCapLn2[] = {0xb17218p-24f, -0x82e308p-52f};
constexpr uint32_t kCapPowers[] = {0x1f800000u, 0x1f7b95c2u, 0x1f7837f0u, 0x1f75fed7u,
                                   0x1f7504f3u, 0x1f75672au, 0x1f7744fdu, 0x1f7ac0c7u};
constexpr float kCapPowersLow[] = {0x0p-24f,      -0xce0611p-50f, 0x892801p-48f,  -0x851aa9p-48f,
                                   0x9302aep-49f, 0xb3d0e5p-51f,  -0xfce183p-50f, -0xd290bep-51f};
constexpr float kCapExpTail[] = {0xaaaaabp-26f, 0xaaad1ap-28f, 0x887f04p-30f};

// e^-u is a normal number up to here, and times a probability the smallest slope is nothing.
constexpr double kMostCapSteps = 80.0;

template <class D>
struct CappedLanes {
  hn::Vec<D> e;  // e^z
  hn::Vec<D> v;
};

class CapInSingles {
 public:
  explicit CapInSingles(const CapTerms& terms) {
    constexpr double kLog2E = 0x1.71547652b82fep0;
    constexpr double kCoarse = 0x1.8p37;  // adding it leaves multiples of 2^-15, as n ln 2 is one
    const double steepness = -2.0 * terms.scale / terms.cap;
    const double coarse = (terms.cap + kCoarse) - kCoarse;
    steep_ = static_cast<float>(steepness);
    steep_low_ = static_cast<float>(steepness - static_cast<double>(steep_));
    steep_turns_ = static_cast<float>(steepness * kLog2E);
    cap_ = static_cast<float>(coarse);
    cap_low_ = static_cast<float>(terms.cap - coarse);
    cap_turns_ = static_cast<float>(2.0 * terms.cap * kLog2E);
    farthest_ = static_cast<float>(kMostCapSteps / -steepness);
  }

  float Farthest() const { return farthest_; }

  // Of finite x no further than that.
  template <class D>
  HWY_INLINE CappedLanes<D> Find(D d, hn::Vec<D> x) const {
    using E = ExpConstants<float>;
    const auto magic = hn::Set(d, E::kMagic);
    const auto e = ExpOfMinus(d, hn::Abs(x));
    const auto v = FewShare(d, e, hn::Add(hn::Set(d, 1.0f), e.high));
    // |z| = n ln 2 + remainder. cap less n ln 2 is exact, and so is what v takes off but for one rounding.
    const auto n = hn::Sub(hn::MulAdd(hn::Sub(hn::Set(d, 0.5f), v.high), hn::Set(d, cap_turns_), magic), magic);
    const auto twice = hn::Set(d, 2.0f * cap_);
    const auto near = hn::NegMulAdd(v.high, twice, hn::NegMulAdd(n, hn::Set(d, E::kLn2[0]), hn::Set(d, cap_)));
    const auto low = hn::NegMulAdd(v.high, hn::Set(d, 2.0f * cap_low_), hn::Set(d, cap_low_));
    const auto far = hn::NegMulAdd(n, hn::Set(d, E::kLn2[1]), hn::NegMulAdd(v.low, twice, low));
    const auto sign = hn::And(x, hn::Set(d, -0.0f));
    const Reduced<D> reduced = {hn::Xor(hn::Add(near, far), sign), hn::Add(hn::Xor(n, sign), magic)};
    return {LongExpScaled(d, reduced, reduced.shifted), hn::Add(v.high, v.low)};
  }

 private:
  // e^-u = power (1 + r + tail), u in two parts, within 2^-31.
  template <class D>
  HWY_INLINE Parts<D> ExpOfMinus(D d, hn::Vec<D> size) const {
    using E = ExpConstants<float>;
    const auto magic = hn::Set(d, E::kMagic);
    const auto steep = hn::Set(d, steep_);
    const auto high = hn::Mul(size, steep);
    const auto shifted = hn::MulAdd(size, hn::Set(d, steep_turns_), magic);
    const auto n = hn::Sub(shifted, magic);
    const auto r = hn::NegMulAdd(n, hn::Set(d, kCapLn2[0]), high);  // exact
    const auto lost = hn::MulAdd(size, hn::Set(d, steep_low_), hn::MulSub(size, steep, high));
    const auto low = hn::Add(LookUpEighth(d, kCapPowersLow, shifted), hn::NegMulAdd(n, hn::Set(d, kCapLn2[1]), lost));
    auto fit = hn::MulAdd(r, hn::Set(d, kCapExpTail[2]), hn::Set(d, kCapExpTail[1]));
    fit = hn::MulAdd(fit, r, hn::Set(d, kCapExpTail[0]));
    const auto tail = hn::MulAdd(hn::Mul(r, r), hn::MulAdd(fit, r, hn::Set(d, 0.5f)), hn::MulAdd(low, r, low));
    const auto power = AddExponent(d, LookUpEighth(d, kCapPowers, shifted), shifted);
    const auto first = hn::MulAdd(power, r, power);
    const auto rest = hn::MulAdd(power, tail, hn::MulAdd(power, r, hn::Sub(power, first)));
    return Settled(Parts<D>{first, rest});
  }

  float steep_;
  float steep_low_;
  float steep_turns_;
  float cap_;
  float cap_low_;
  float cap_turns_;
  float farthest_;
};

enum class Kept { kNothing, kExponentials, kProducts };

// e^z, 0 at -inf, and whether all others are finite and near. What is kept goes to its array by the way.
template <Kept kKept>
struct CappedExp {
  template <class>
  static constexpr int kTogether = 2;

  explicit CappedExp(const CapTerms& terms) : cap(terms) {}

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) {
    const auto is_masked = hn::Eq(x, hn::Set(d, -std::numeric_limits<float>::infinity()));
    const auto finite = hn::IfThenZeroElse(is_masked, x);
    are_near &= hn::AllTrue(d, hn::Le(hn::Abs(finite), hn::Set(d, cap.Farthest())));
    const auto found = cap.Find(d, finite);
    const auto e = hn::IfThenZeroElse(is_masked, found.e);
    if constexpr (kKept == Kept::kExponentials) hn::StoreU(e, d, kept + i);
    if constexpr (kKept == Kept::kProducts) {
      const auto lifted = hn::Mul(e, hn::Set(d, static_cast<float>(kCappedLift)));
      hn::StoreU(hn::Mul(lifted, hn::NegMulAdd(found.v, found.v, found.v)), d, kept + i);
    }
    return e;
  }

  CapInSingles cap;
  float* kept = nullptr;
  bool are_near = true;
};

template <Kept kKept, class T>
bool SumCapped(const CapTerms& terms, const T* x, int64_t n, int64_t without, float* kept, RowState* state) {
  alignas(64) float staged[kChunk + kStageSlack / sizeof(float)];
  CappedExp<kKept> exp(terms);
  StepSum<float> sum;
  for (int64_t first = 0; first < n; first += kChunk) {
    if constexpr (kKept != Kept::kNothing) exp.kept = kept + first;
    MapAndSum<false>(x + first, std::min(kChunk, n - first), without - first, exp, staged, sum);
  }
  if (!exp.are_near) return false;
  *state = RowState{0.0, 0.0, 0.0, 0, kPlain};
  sum.Finish(&state->sum, &state->low);
  return true;
}

template <class T>
bool SumCapped(const CapTerms& terms, const void* logits, int64_t n, int64_t without, bool has_slopes, float* kept,
               RowState* state) {
  const T* const x = static_cast<const T*>(logits);
  if (kept == nullptr) return SumCapped<Kept::kNothing>(terms, x, n, without, kept, state);
  return has_slopes ? SumCapped<Kept::kProducts>(terms, x, n, without, kept, state)
                    : SumCapped<Kept::kExponentials>(terms, x, n, without, kept, state);
}

struct TimesOne {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    return hn::Mul(x, hn::Set(d, factor));
  }

  float factor;
};

template <class T>
void WriteCapped(double factor, const float* kept, int64_t n, void* out) {
  Map(kept, n, TimesOne{static_cast<float>(factor)}, static_cast<T*>(out));
}

template <class T>
constexpr CappedKernels CappedKernelsOf() {
  return {SumCapped<T>, WriteCapped<T>};
}

#else

template <class T>
constexpr CappedKernels CappedKernelsOf() {
  return {nullptr, nullptr};
}

#endif

const CappedKernels& ChooseCapped(Dtype dtype) {
  static constexpr CappedKernels kF32 = CappedKernelsOf<float>();
  static constexpr CappedKernels kBF16 = CappedKernelsOf<BF16>();
  static constexpr CappedKernels kF16 = CappedKernelsOf<F16>();
  return dtype == Dtype::kF32 ? kF32 : dtype == Dtype::kBF16 ? kBF16 : kF16;
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const CappedKernels& CappedKernelsFor(int isa, Dtype dtype) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseCapped)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseCapped),
                                                                            HWY_CHOOSE_FALLBACK(ChooseCapped)};
  return kTable[isa](dtype);
}

}  // namespace xent
#endif  // HWY_ONCE
