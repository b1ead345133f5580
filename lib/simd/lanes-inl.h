// Storage <-> lanes: loads widen bf16 and f16 to f32, stores round to nearest even. Subnormals are kept both ways.
// Integer arithmetic stands in where the instruction set cannot convert f16, or converts bf16 by truncation.

// The guard is toggled by Highway's foreach_target: one inclusion per instruction set.
#if defined(XENT_SIMD_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_LANES_INL_H_
#undef XENT_SIMD_LANES_INL_H_
#else
#define XENT_SIMD_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <limits>
#include <type_traits>

#include "lib/simd/packs-inl.h"

#ifdef __FAST_MATH__
#error "The library's accuracy and its equal bits rest on IEEE arithmetic: build it without -ffast-math."
#endif

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

// The type that arithmetic on a storage type is done in.
template <class T>
struct ComputeType {
  using type = float;
};
template <>
struct ComputeType<double> {
  using type = double;
};
template <class T>
using Compute = typename ComputeType<T>::type;

template <class D>
using Lane = hn::TFromD<D>;

// The widest vector that the fixed order of sums can use.
template <class C>
using Tag = hn::CappedTag<C, 16>;

template <class C>
constexpr int64_t LanesOf() {
  return static_cast<int64_t>(hn::MaxLanes(Tag<C>()));
}

// Whether float16 conversion is one instruction here.
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SSSE3 || HWY_TARGET == HWY_SSE4
constexpr bool kHasF16Instructions = false;
#else
constexpr bool kHasF16Instructions = true;
#endif

// Words of bf16 or f16, widened; the pointer says which.
template <class D>
HWY_INLINE hn::Vec<D> WidenWords(D d, hn::Vec<hn::Rebind<uint16_t, D>> words, const BF16*) {
#if HWY_TARGET == HWY_AVX3
  // Each word to the upper half of its lane, zeros below, by one permutation; else it is a widening and a shift.
  if constexpr (sizeof(hn::Vec<D>) == 64) {
    alignas(64) static constexpr uint16_t kUpper[32] = {0, 0, 0, 1, 0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,
                                                        0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15};
    const auto lanes =
        _mm512_maskz_permutexvar_epi16(0xAAAAAAAAu, _mm512_load_si512(kUpper), _mm512_castsi256_si512(words.raw));
    return hn::Vec<D>{_mm512_castsi512_ps(lanes)};
  }
#elif HWY_TARGET == HWY_AVX2
  // Likewise, of all words in both halves, as which they are loaded.
  if constexpr (sizeof(hn::Vec<D>) == 32) {
    const __m256i upper = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7,  //
                                           -1, -1, 8, 9, -1, -1, 10, 11, -1, -1, 12, 13, -1, -1, 14, 15);
    return hn::Vec<D>{_mm256_castsi256_ps(_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(words.raw), upper))};
  }
#endif
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(hn::RebindToUnsigned<D>(), words)));
}

// By integers, the 15 bits of the magnitude, placed 13 higher, are the number times 2^-112 (subnormals too); what that
// makes of infinity and NaN is at least 2^16.
template <class D>
HWY_INLINE hn::Vec<D> WidenWords(D d, hn::Vec<hn::Rebind<uint16_t, D>> words, const F16*) {
  if constexpr (kHasF16Instructions) {
    return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), words));
  } else {
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::PromoteTo(du, words);
    const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7FFFu)));
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000u)));
    const auto value = hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112f));
    const auto special = hn::Or(hn::BitCast(du, value), hn::Set(du, 0x7F800000u));
    const auto widened = hn::IfThenElse(hn::Ge(value, hn::Set(d, 0x1p16f)), hn::BitCast(d, special), value);
    return hn::Or(widened, hn::BitCast(d, sign));
  }
}

template <class D, class T>
HWY_INLINE hn::Vec<D> FromStorage(D d, const T* from) {
  if constexpr (std::is_same_v<T, Lane<D>>) {
    return hn::LoadU(d, from);
  } else {
    return WidenWords(d, hn::LoadU(hn::Rebind<uint16_t, D>(), &from->bits), from);
  }
}

template <class D, int kCount, class T>
HWY_INLINE hn::Pack<D, kCount> FromStorage(hn::PackTag<D, kCount>, const T* from) {
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  return hn::MakePack<D, kCount>([from](int i) XENT_LAMBDA { return FromStorage(D(), from + i * kLanes); });
}

// a | (b ^ c); of packs, for every vector.
template <class D>
HWY_INLINE hn::Vec<D> OrXor(D, hn::Vec<D> a, hn::Vec<D> b, hn::Vec<D> c) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (sizeof(a) == 64) return hn::Vec<D>{_mm512_ternarylogic_epi32(a.raw, b.raw, c.raw, 0xF6)};
#endif
  return hn::Or(a, hn::Xor(b, c));
}

template <class D, int kCount>
HWY_INLINE hn::Vec<D> OrXor(hn::PackTag<D, kCount>, hn::Vec<D> a, const hn::Pack<D, kCount>& b,
                            const hn::Pack<D, kCount>& c) {
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) a = OrXor(D(), a, b.at[i], c.at[i]);
  return a;
}

// a | b; of packs, for every vector.
template <class D>
HWY_INLINE hn::Vec<D> OrAll(D, hn::Vec<D> a, hn::Vec<D> b) {
  return hn::Or(a, b);
}

template <class D, int kCount>
HWY_INLINE hn::Vec<D> OrAll(hn::PackTag<D, kCount>, hn::Vec<D> a, const hn::Pack<D, kCount>& b) {
  static_assert(kCount % 2 == 0, "two vectors take one operation");
  HWY_UNROLL(4)
  for (int i = 0; i < kCount; i += 2) a = hn::Or3(a, b.at[i], b.at[i + 1]);
  return a;
}

// The lesser; of packs, of every vector.
template <class D>
HWY_INLINE hn::Vec<D> MinAll(D, hn::Vec<D> a, hn::Vec<D> b) {
  return hn::Min(a, b);
}

template <class D, int kCount>
HWY_INLINE hn::Vec<D> MinAll(hn::PackTag<D, kCount>, hn::Vec<D> a, const hn::Pack<D, kCount>& b) {
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) a = hn::Min(a, b.at[i]);
  return a;
}

// The greater; likewise.
template <class D>
HWY_INLINE hn::Vec<D> MaxAll(D, hn::Vec<D> a, hn::Vec<D> b) {
  return hn::Max(a, b);
}

template <class D, int kCount>
HWY_INLINE hn::Vec<D> MaxAll(hn::PackTag<D, kCount>, hn::Vec<D> a, const hn::Pack<D, kCount>& b) {
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) a = hn::Max(a, b.at[i]);
  return a;
}

// Lane l if bit l is set.
template <class D>
HWY_INLINE hn::Mask<D> MaskFromBits(D d, uint64_t bits) {
#if HWY_CAP_GE512
  (void)d;
  hn::Mask<D> mask;
  mask.raw = static_cast<decltype(mask.raw)>(bits);
  return mask;
#else
  uint8_t bytes[8];
  std::memcpy(bytes, &bits, sizeof(bits));
  return hn::LoadMaskBits(d, bytes);
#endif
}

#if HWY_CAP_GE512
// The first `count` lanes of what FromStorage gives, or all; 0 beyond, where nothing is read.
template <class D, class T>
HWY_INLINE hn::Vec<D> PartFromStorage(D d, int64_t count, const T* from) {
  const size_t n = static_cast<size_t>(count);
  if constexpr (std::is_same_v<T, Lane<D>>) {
    return hn::MaskedLoad(hn::FirstN(d, n), d, from);
  } else {
    const hn::Rebind<uint16_t, D> du16;
    return WidenWords(d, hn::MaskedLoad(hn::FirstN(du16, n), du16, &from->bits), from);
  }
}
#endif

// Plain or cache-bypassing store of a vector. Which one is a constant: on Zen 4 a loop that chooses as it runs takes
// twice as long, however constant the choice.
template <bool kStream, class D>
HWY_INLINE void Put(hn::Vec<D> value, D d, Lane<D>* to) {
  // Of less than 16 bytes, Highway would write 16.
  if constexpr (kStream && hn::MaxLanes(D()) * sizeof(Lane<D>) >= 16) {
    hn::Stream(value, d, to);
  } else {
    hn::StoreU(value, d, to);
  }
}

template <class D>
using WordsOf = hn::Vec<hn::Rebind<uint16_t, D>>;

template <class D>
HWY_INLINE WordsOf<D> HalfOf(D, hn::Vec<hn::RebindToUnsigned<D>> words) {
  const hn::RebindToSigned<hn::RebindToUnsigned<D>> di32;
  return hn::DemoteTo(hn::Rebind<uint16_t, D>(), hn::BitCast(di32, words));
}

// Lanes as words of bf16 or f16; the pointer says which.
template <class D>
HWY_INLINE WordsOf<D> NarrowWords(D d, hn::Vec<D> value, const BF16*) {
#if HWY_TARGET == HWY_AVX3
  // The same with masks, and one permutation for the upper words.
  if constexpr (sizeof(hn::Vec<D>) == 64) {
    alignas(64) static constexpr uint16_t kUpper[32] = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
    const __m512i bits = _mm512_castps_si512(value.raw);
    const __mmask16 is_odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
    const __m512i half = _mm512_mask_blend_epi32(is_odd, _mm512_set1_epi32(0x7FFF), _mm512_set1_epi32(0x8000));
    const __mmask16 is_number = _mm512_cmp_ps_mask(value.raw, value.raw, _CMP_ORD_Q);
    const __m512i rounded = _mm512_mask_add_epi32(_mm512_set1_epi32(0x7FC00000), is_number, bits, half);
    const __m512i words = _mm512_permutexvar_epi16(_mm512_load_si512(kUpper), rounded);
    return WordsOf<D>{_mm512_castsi512_si256(words)};
  }
#endif
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu))));
  const auto is_number = hn::RebindMask(du, hn::Eq(value, value));  // Highway's Ne is false for NaN with AVX2
  return HalfOf(d, hn::IfThenElse(is_number, rounded, hn::Set(du, 0x7FC0u)));
}

// Normal results: rebias the exponent and round by an integer addition. Subnormal ones: adding 0.5 makes the
// floating-point adder round at the right place.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> NarrowF16(D d, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, value);
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFu));
  const auto size = hn::BitCast(d, magnitude);
  const auto rebiased = hn::Sub(magnitude, hn::Set(du, 112u << 23));
  const auto odd = hn::And(hn::ShiftRight<13>(rebiased), hn::Set(du, 1u));
  const auto normal = hn::ShiftRight<13>(hn::Add(rebiased, hn::Add(odd, hn::Set(du, 0xFFFu))));
  const auto half = hn::Set(d, 0.5f);
  const auto subnormal = hn::Sub(hn::BitCast(du, hn::Add(size, half)), hn::BitCast(du, half));
  auto result = hn::IfThenElse(hn::RebindMask(du, hn::Lt(size, hn::Set(d, 0x1p-14f))), subnormal, normal);
  result = hn::IfThenElse(hn::RebindMask(du, hn::Ge(size, hn::Set(d, 0x1p16f))), hn::Set(du, 0x7C00u), result);
  result = hn::IfThenElse(hn::RebindMask(du, hn::Eq(value, value)), result, hn::Set(du, 0x7E00u));
  return hn::Or(result, hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000u)));
}

template <class D>
HWY_INLINE WordsOf<D> NarrowWords(D d, hn::Vec<D> value, const F16*) {
  if constexpr (kHasF16Instructions) {
    const hn::Rebind<hwy::float16_t, D> df16;
    return hn::BitCast(hn::Rebind<uint16_t, D>(), hn::DemoteTo(df16, value));
  } else {
    return HalfOf(d, NarrowF16(d, value));
  }
}

template <bool kStream = false, class D, class T>
HWY_INLINE void ToStorage(hn::Vec<D> value, D d, T* to) {
  if constexpr (std::is_same_v<T, Lane<D>>) {
    Put<kStream>(value, d, to);
  } else {
    Put<kStream>(NarrowWords(d, value, to), hn::Rebind<uint16_t, D>(), &to->bits);
  }
}

#if HWY_CAP_GE512
// The first `count` lanes, or all.
template <class D, class T>
HWY_INLINE void PartToStorage(hn::Vec<D> value, D d, int64_t count, T* to) {
  const size_t n = static_cast<size_t>(count);
  if constexpr (std::is_same_v<T, Lane<D>>) {
    hn::BlendedStore(value, hn::FirstN(d, n), d, to);
  } else {
    const hn::Rebind<uint16_t, D> du16;
    hn::BlendedStore(NarrowWords(d, value, to), hn::FirstN(du16, n), du16, &to->bits);
  }
}
#endif

// The same of a vector or a pack.
template <bool kStream, class D, class T>
HWY_INLINE void Store(hn::Vec<D> values, D d, T* to) {
  ToStorage<kStream>(values, d, to);
}

template <bool kStream, class D, int kCount, class T>
HWY_INLINE void Store(const hn::Pack<D, kCount>& values, hn::PackTag<D, kCount>, T* to) {
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) ToStorage<kStream>(values.at[i], D(), to + i * kLanes);
}

// The same of vectors or packs without NaN.
template <bool kStream, class V, class D, class T>
HWY_INLINE void StoreNumbers(const V& values, D d, T* to) {
  Store<kStream>(values, d, to);
}

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
// The upper words of two vectors.
HWY_INLINE auto UpperWords(hn::Vec<Tag<uint32_t>> a, hn::Vec<Tag<uint32_t>> b) {
  using D = hn::CappedTag<uint16_t, 2 * hn::MaxLanes(Tag<uint32_t>())>;
#if HWY_TARGET == HWY_AVX3
  alignas(64) static constexpr uint16_t kUpper[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                      33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  return hn::Vec<D>{_mm512_permutex2var_epi16(a.raw, _mm512_load_si512(kUpper), b.raw)};
#else
  const __m256i by_halves = _mm256_packus_epi32(_mm256_srli_epi32(a.raw, 16), _mm256_srli_epi32(b.raw, 16));
  return hn::Vec<D>{_mm256_permute4x64_epi64(by_halves, 0xD8)};
#endif
}

// Whether a lane's lower word is 0.
HWY_INLINE bool AnyLowerIsZero(hn::Vec<hn::CappedTag<uint16_t, 2 * hn::MaxLanes(Tag<uint32_t>())>> words) {
#if HWY_TARGET == HWY_AVX3
  return _mm512_mask_testn_epi16_mask(0x55555555u, words.raw, words.raw) != 0;
#else
  const __m256i is_zero = _mm256_cmpeq_epi16(words.raw, _mm256_setzero_si256());
  return _mm256_testz_si256(is_zero, _mm256_set1_epi32(0xFFFF)) == 0;
#endif
}

// To bf16 by an addition before the lower words are cut off: right but for halves between two, which are rare enough
// to do all anew.
template <bool kStream, class D, int kCount>
HWY_INLINE void StoreNumbers(const hn::Pack<D, kCount>& values, hn::PackTag<D, kCount> dp, BF16* to) {
  static_assert(kCount % 2 == 0, "pairs of vectors");
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  const hn::RebindToUnsigned<D> du;
  const hn::CappedTag<uint16_t, 2 * kLanes> dw;
  const auto rounded = hn::MakePack<decltype(du), kCount>(
      [&](int i) XENT_LAMBDA { return hn::Add(hn::BitCast(du, values.at[i]), hn::Set(du, 0x8000u)); });
  auto least = hn::BitCast(dw, rounded.at[0]);
  HWY_UNROLL(4)
  for (int i = 1; i < kCount; ++i) least = hn::Min(least, hn::BitCast(dw, rounded.at[i]));
  if (HWY_UNLIKELY(AnyLowerIsZero(least))) {
    Store<kStream>(values, dp, to);
    return;
  }
  HWY_UNROLL(4)
  for (int i = 0; i < kCount; i += 2) {
    Put<kStream>(UpperWords(rounded.at[i], rounded.at[i + 1]), dw, &to[i * kLanes].bits);
  }
}
#endif

// One element, by the same conversions.
template <class T>
HWY_INLINE double WidenOne(const T* from) {
  const hn::CappedTag<Compute<T>, 1> d;
  return static_cast<double>(hn::GetLane(FromStorage(d, from)));
}

template <class T>
HWY_INLINE void NarrowOne(double value, T* to) {
  const hn::CappedTag<Compute<T>, 1> d;
  ToStorage(hn::Set(d, static_cast<Compute<T>>(value)), d, to);
}

// f of f32 lanes in f64: function(tag of f64 lanes, lanes), narrowed with one rounding. Both halves take each step
// together.
#if HWY_TARGET == HWY_SCALAR
// Not by DemoteTo: it makes the largest number of infinity.
template <class D, class Function>
HWY_INLINE hn::Vec<D> InDoubles(D d, hn::Vec<D> x, const Function& function) {
  const hn::Rebind<double, D> dd;
  return hn::Set(d, static_cast<float>(hn::GetLane(function(dd, hn::PromoteTo(dd, x)))));
}
#else
template <class D, int kCount, class Function>
HWY_INLINE hn::Pack<D, kCount> InDoubles(hn::PackTag<D, kCount>, const hn::Pack<D, kCount>& x,
                                         const Function& function) {
  const D d;
  const hn::Half<D> half;
  using Wide = hn::Rebind<double, hn::Half<D>>;
  const auto wide = hn::MakePack<Wide, 2 * kCount>([&](int i) XENT_LAMBDA {
    const auto lanes = x.at[i / 2];
    return hn::PromoteTo(Wide(), i % 2 == 0 ? hn::LowerHalf(half, lanes) : hn::UpperHalf(half, lanes));
  });
  const auto y = function(hn::PackTag<Wide, 2 * kCount>(), wide);
  return hn::MakePack<D, kCount>([&](int i) XENT_LAMBDA {
    return hn::Combine(d, hn::DemoteTo(half, y.at[2 * i + 1]), hn::DemoteTo(half, y.at[2 * i]));
  });
}

template <class D, class Function>
HWY_INLINE hn::Vec<D> InDoubles(D, hn::Vec<D> x, const Function& function) {
  hn::Pack<D, 1> pack;
  pack.at[0] = x;
  return InDoubles(hn::PackTag<D, 1>(), pack, function).at[0];
}
#endif

// NaN results are always this one.
template <class C>
HWY_INLINE C CanonicalNaN() {
  return std::numeric_limits<C>::quiet_NaN();
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_LANES_INL_H_
