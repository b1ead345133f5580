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

// e^x where some lanes are far to the left. By two floats, these 2^64 times as large; where e^x is subnormal, adding
// `top` rounds to a multiple of the least subnormal number, and leaves the multiple in the lowest bits.
template <class D>
HWY_INLINE hn::Vec<D> ExpOfFar(D d, hn::Vec<D> x) {
  const auto least = hn::Set(d, kTwofoldLeast);
  if (!hn::AllTrue(d, hn::Ge(x, least)) && hn::AllTrue(d, hn::Le(x, hn::Set(d, kTwofoldMost)))) {
    const hn::RebindToUnsigned<D> du;
    const auto bounded = hn::Max(x, hn::Set(d, -104.0f));
    const auto scale = hn::IfThenElseZero(hn::Lt(x, least), hn::BitCast(d, hn::Set(du, 64u << 23)));
    TwofoldPower<D> e(d, bounded);
    e.power = hn::BitCast(d, hn::Add(hn::BitCast(du, e.power), hn::BitCast(du, scale)));
    const auto sum = e.Exp();
    const auto is_subnormal = hn::Lt(x, hn::Set(d, -0x1.5d589ep+6f));  // from here on e^x is at least 2^-126
    const auto top = hn::IfThenElseZero(is_subnormal, hn::Set(d, 0x1p-62f));
    const auto high = hn::Add(top, sum.high);
    const auto nearest = Nearest(Exp(), d, Parts<D>{high, hn::Add(LostBySum(top, sum.high, high), sum.low)});
    if (hn::AllTrue(d, hn::Eq(nearest.y, nearest.other))) {
      const auto extra = hn::IfThenElse(is_subnormal, top, scale);
      return hn::BitCast(d, hn::Sub(hn::BitCast(du, nearest.y), hn::BitCast(du, extra)));
    }
  }
  return Exp()(d, x, 0);
}

// A vector or pack that sums of two floats cannot tell, most of it in f64. Far to the left sigmoid and softplus are
// e^x, which takes less time.
template <class Op, class D>
HWY_INLINE hn::Vec<D> InWideLanes(Op op, D d, hn::Vec<D> x) {
  const auto far = hn::Set(d, kTwofoldLeast);
  if constexpr (std::is_same_v<Op, Exp>) return ExpOfFar(d, x);
  if constexpr (std::is_same_v<Op, Sigmoid> || std::is_same_v<Op, Softplus>) {
    if (hn::AllTrue(d, hn::Lt(x, far))) return ExpOfFar(d, x);
  }
  if constexpr (std::is_same_v<Op, LogSigmoid>) {
    if (hn::AllTrue(d, hn::Gt(x, hn::Neg(far)))) return hn::Neg(ExpOfFar(d, hn::Neg(x)));
  }
  return op(d, x, 0);
}

// By way of memory, so that what needs no f64 stays in registers.
template <class Op>
HWY_NOINLINE void InWideLanes(float* x, int count) {
  const hn::PackTag<Tag<float>, 2> d;
  for (int i = 0; i < count; i += 2 * static_cast<int>(LanesOf<float>())) {
    Store<false>(InWideLanes(Op(), d, FromStorage(d, static_cast<const float*>(x + i))), d, x + i);
  }
}

// y of the vectors in which there is a doubt.
template <class Op>
HWY_NOINLINE void ReplaceDoubtful(const float* x, const uint32_t* doubts, int count, float* y) {
  const Tag<float> d;
  const hn::RebindToUnsigned<Tag<float>> du;
  for (int i = 0; i < count; i += static_cast<int>(LanesOf<float>())) {
    if (hn::AllTrue(du, hn::Eq(hn::Load(du, doubts + i), hn::Zero(du)))) continue;
    hn::Store(InWideLanes(Op(), d, hn::Load(d, x + i)), d, y + i);
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
      InWideLanes<Op>(lanes, kElements);
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

  template <int kCount>
  static HWY_INLINE bool AreSame(const Candidates<hn::PackTag<Tag<float>, kCount>>& of) {
    const hn::RebindToUnsigned<Tag<float>> du;
    const hn::RebindToUnsigned<hn::PackTag<Tag<float>, kCount>> dus;
    const auto differ = OrXor(dus, hn::Zero(du), hn::BitCast(dus, of.y), hn::BitCast(dus, of.other));
    return hn::AllTrue(du, hn::Eq(differ, hn::Zero(du)));
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
