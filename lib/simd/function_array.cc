// The functions of exp-functions-inl.h, log-inl.h and logistic-inl.h over arrays of every storage type, those of f32 by
// twofold-inl.h where that is for them.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/function_array.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lib/kernels.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/twofold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2

template <class Op>
constexpr bool kIsItselfWhereTiny = std::is_same_v<Op, Log1p> || std::is_same_v<Op, Expm1>;

// Of 0 where x is tiny and the function x itself, and less the sign of log_sigmoid: see Finished.
template <class Op, class D>
HWY_INLINE Candidates<D> NearestOf(Op op, D d, hn::Vec<D> x) {
  if constexpr (kIsItselfWhereTiny<Op>) return Nearest(op, d, SumOf(op, d, Tiny<D>(d, x).Without()));
  return Nearest(op, d, SumOf(op, d, x));
}

template <class Op, class D>
HWY_INLINE hn::Vec<D> Finished(Op, D d, hn::Vec<D> x, hn::Vec<D> y) {
  if constexpr (kIsItselfWhereTiny<Op>) return Tiny<D>(d, x).PutBack(y);
  if constexpr (std::is_same_v<Op, LogSigmoid>) return hn::Neg(y);
  return y;
}

// Whether no lane is in doubt.
template <int kCount>
HWY_INLINE bool AreSame(const Candidates<hn::PackTag<Tag<float>, kCount>>& of) {
  const hn::RebindToUnsigned<Tag<float>> du;
  const hn::RebindToUnsigned<hn::PackTag<Tag<float>, kCount>> dus;
  const auto differ = OrXor(dus, hn::Zero(du), hn::BitCast(dus, of.y), hn::BitCast(dus, of.other));
  return hn::AllTrue(du, hn::Eq(differ, hn::Zero(du)));
}

// OfFar: y where lanes are out of reach but sums of two floats tell all the same, if they do.

// e^x of up to 20. By two floats, these 2^64 times as large; where e^x is subnormal, adding `top` rounds to a multiple
// of the least subnormal number, and leaves the multiple in the lowest bits.
template <class D>
HWY_INLINE bool OfFar(Exp, D d, hn::Vec<D> x, hn::Vec<D>& y) {
  if (!hn::AllTrue(d, hn::Le(x, hn::Set(d, 20.0f)))) return false;
  const hn::RebindToUnsigned<D> du;
  const auto sum = TwofoldPower<D, kPlaceBits == 3, 64>(d, hn::Max(x, hn::Set(d, -104.0f))).Exp();
  const auto is_subnormal = hn::Lt(x, hn::Set(d, -0x1.5d589ep+6f));  // from here on e^x is at least 2^-126
  const auto top = hn::IfThenElseZero(is_subnormal, hn::Set(d, 0x1p-62f));
  const auto high = hn::Add(top, sum.high);
  const auto nearest = Nearest(Exp(), d, Parts<D>{high, hn::Add(LostBySum(top, sum.high, high), sum.low)});
  const auto extra = hn::IfThenElse(is_subnormal, top, hn::BitCast(d, hn::Set(du, 64u << 23)));
  y = hn::BitCast(d, hn::Sub(hn::BitCast(du, nearest.y), hn::BitCast(du, extra)));
  return AreSame(nearest);
}

// Far to the left sigmoid and softplus are e^x.
template <class D>
HWY_INLINE bool OfFar(Sigmoid, D d, hn::Vec<D> x, hn::Vec<D>& y) {
  return hn::AllTrue(d, hn::Lt(x, hn::Set(d, kTwofoldLeast))) && OfFar(Exp(), d, x, y);
}

template <class D>
HWY_INLINE bool OfFar(Softplus, D d, hn::Vec<D> x, hn::Vec<D>& y) {
  return OfFar(Sigmoid(), d, x, y);
}

template <class D>
HWY_INLINE bool OfFar(LogSigmoid, D d, hn::Vec<D> x, hn::Vec<D>& y) {
  const bool is_known = OfFar(Sigmoid(), d, hn::Neg(x), y);
  y = hn::Neg(y);
  return is_known;
}

// Of subnormal numbers, 2^149 times as large by their bits.
template <class D>
HWY_INLINE bool OfFar(Log, D d, hn::Vec<D> x, hn::Vec<D>& y) {
  if (!AreWithin(x, std::numeric_limits<float>::denorm_min(), kLargestFloat)) return false;
  const auto is_subnormal = hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min()));
  const auto shift = hn::Set(d, 0x1p23f);
  const auto normal = hn::IfThenElse(is_subnormal, hn::Sub(hn::Or(x, shift), shift), x);
  const LogPlace<D> place(d, normal, hn::IfThenElseZero(is_subnormal, hn::Set(d, 149.0f)));
  const auto nearest = Nearest(Log(), d, SumOfLog(d, place));
  y = nearest.y;
  return AreSame(nearest);
}

template <class Op, class D>
HWY_INLINE bool OfFar(Op, D, hn::Vec<D>, hn::Vec<D>&) {
  return false;
}

// A pack out of reach, most of it in f64. By way of memory, so that what needs no f64 stays in registers.
template <class Op, int kCount>
HWY_NOINLINE void ReplaceFar(float* x) {
  const hn::PackTag<Tag<float>, kCount> d;
  const hn::PackTag<Tag<float>, 2> two;
  hn::Pack<Tag<float>, kCount> y;
  if (HWY_LIKELY(OfFar(Op(), d, FromStorage(d, static_cast<const float*>(x)), y))) {
    Store<false>(y, d, x);
    return;
  }
  for (int i = 0; i < kCount; i += 2) {
    float* const at = x + i * LanesOf<float>();
    Store<false>(Op()(two, FromStorage(two, static_cast<const float*>(at)), 0), two, at);
  }
}

// y of the vectors in which there is a doubt.
template <class Op>
HWY_NOINLINE void ReplaceDoubtful(const float* x, const uint32_t* doubts, int count, float* y) {
  const Tag<float> d;
  const hn::RebindToUnsigned<Tag<float>> du;
  for (int i = 0; i < count; i += static_cast<int>(LanesOf<float>())) {
    if (hn::AllTrue(du, hn::Eq(hn::Load(du, doubts + i), hn::Zero(du)))) continue;
    hn::Store(Op()(d, hn::Load(d, x + i), 0), d, y + i);
  }
}

// A function of f32 by sums of two floats, in packs; all else is the function's own.
template <class Op>
struct ByTwofold {
  template <class C>
  static constexpr int kTogether = Op::template kTogether<C>;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    return Of(d, x, i);
  }

 private:
  template <class D>
  HWY_INLINE hn::Vec<D> Of(D d, hn::Vec<D> x, int64_t i) const {
    return Op()(d, x, i);
  }

  template <int kCount>
  HWY_INLINE hn::Pack<Tag<float>, kCount> Of(hn::PackTag<Tag<float>, kCount> d, const hn::Pack<Tag<float>, kCount>& x,
                                             int64_t) const {
    constexpr Reach reach = ReachOf(Op());
    constexpr int kElements = kCount * static_cast<int>(LanesOf<float>());
    static_assert(kCount % 2 == 0, "f64 takes two vectors at a time");
    alignas(64) float lanes[kElements];
    if (HWY_UNLIKELY(!AreWithin(x, reach.low, reach.high))) {
      Store<false>(x, d, lanes);
      ReplaceFar<Op, kCount>(lanes);
      return FromStorage(d, static_cast<const float*>(lanes));
    }
    const auto candidates = NearestOf(Op(), d, x);
    const auto nearest = Finished(Op(), d, x, candidates.y);
    if (HWY_LIKELY(AreSame(candidates))) return nearest;
    alignas(64) uint32_t bits[kElements];
    alignas(64) float y[kElements];
    Store<false>(x, d, lanes);
    Store<false>(nearest, d, y);
    Store<false>(candidates.Doubts(), hn::RebindToUnsigned<hn::PackTag<Tag<float>, kCount>>(), bits);
    ReplaceDoubtful<Op>(lanes, bits, kElements, y);
    return FromStorage(d, static_cast<const float*>(y));
  }
};

// tanh takes as long by f64.
template <class Op>
using Fastest = std::conditional_t<std::is_same_v<Op, Tanh>, Op, ByTwofold<Op>>;

#else

template <class Op>
using Fastest = Op;

#endif

template <class Op, class T>
void MapOf(const void* x, int64_t n, void* y, bool stream) {
  MapOut(static_cast<const T*>(x), n, Op(), static_cast<T*>(y), stream);
  if (stream) hwy::FlushStream();
}

struct MapRow {
  MapKernel of_dtype[4];
};

template <class Op>
constexpr MapRow MapsOf() {
  return {{MapOf<Op, float>, MapOf<Op, double>, MapOf<Op, BF16>, MapOf<Op, F16>}};
}

MapKernel ChooseMap(Function function, Dtype dtype) {
  static constexpr MapRow kMaps[] = {
      MapsOf<Fastest<Exp>>(),     MapsOf<Fastest<Log>>(),        MapsOf<Fastest<Log1p>>(),    MapsOf<Fastest<Expm1>>(),
      MapsOf<Fastest<Sigmoid>>(), MapsOf<Fastest<LogSigmoid>>(), MapsOf<Fastest<Softplus>>(), MapsOf<Fastest<Tanh>>()};
  return kMaps[static_cast<int>(function)].of_dtype[static_cast<int>(dtype)];
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

MapKernel MapKernelFor(int isa, Function function, Dtype dtype) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseMap)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseMap),
                                                                         HWY_CHOOSE_FALLBACK(ChooseMap)};
  return kTable[isa](function, dtype);
}

}  // namespace xent
#endif  // HWY_ONCE
