// Packs: a few vectors that take every step of a function together. Exponentials and logarithms are chains in which
// each step waits for the one before; processors find other work among the few dozen instructions that they look at,
// and a pack puts it there. (Zen 5, f64 arrays in cache, cycles per element one
// vector after another and in packs: log1p 3.7 and 2.7, sigmoid 4.0 and 2.7; sums of rows of 256 classes a tenth less.)
//
// `hn` is Highway with the operations that such functions need for packs too, so that a function is written once.

#if defined(XENT_SIMD_PACKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_PACKS_INL_H_
#undef XENT_SIMD_PACKS_INL_H_
#else
#define XENT_SIMD_PACKS_INL_H_
#endif

#include <hwy/highway.h>

// For lambdas that are to disappear: with the instruction set, and inline.
#undef XENT_LAMBDA
#define XENT_LAMBDA HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {
namespace packs {
namespace hw = hwy::HWY_NAMESPACE;
using namespace hw;

// What a tag is to a vector.
template <class D, int kCount>
struct PackTag {
  static constexpr int kVectors = kCount;
};

// Copies are written out, vector by vector: those that the compiler makes, of the whole, go through memory.
template <class D, int kCount>
struct Pack {
  HWY_INLINE Pack() {}
  HWY_INLINE Pack(const Pack& other) { *this = other; }
  HWY_INLINE Pack& operator=(const Pack& other) {
    HWY_UNROLL(8)
    for (int i = 0; i < kCount; ++i) at[i] = other.at[i];
    return *this;
  }

  hw::Vec<D> at[kCount];
};

template <class D, int kCount>
struct PackMask {
  hw::Mask<D> at[kCount];
};

// The types of Highway that depend on a tag.
template <class D>
struct TagTraits {
  using Lane = hw::TFromD<D>;
  using Unsigned = hw::RebindToUnsigned<D>;
  using Signed = hw::RebindToSigned<D>;
  using Mask = hw::Mask<D>;
};

template <class D, int kCount>
struct TagTraits<PackTag<D, kCount>> {
  using Lane = hw::TFromD<D>;
  using Unsigned = PackTag<hw::RebindToUnsigned<D>, kCount>;
  using Signed = PackTag<hw::RebindToSigned<D>, kCount>;
  using Mask = PackMask<D, kCount>;
};

template <class D>
using TFromD = typename TagTraits<D>::Lane;
template <class D>
using RebindToUnsigned = typename TagTraits<D>::Unsigned;
template <class D>
using RebindToSigned = typename TagTraits<D>::Signed;
template <class D>
using Mask = typename TagTraits<D>::Mask;

// The pack of what `make` gives for each index.
template <class D, int kCount, class Make>
HWY_INLINE Pack<D, kCount> MakePack(const Make& make) {
  Pack<D, kCount> pack;
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) pack.at[i] = make(i);
  return pack;
}

template <class D, int kCount, class Make>
HWY_INLINE PackMask<D, kCount> MakeMask(const Make& make) {
  PackMask<D, kCount> mask;
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) mask.at[i] = make(i);
  return mask;
}

using hw::Set;
template <class D, int kCount>
HWY_INLINE Pack<D, kCount> Set(PackTag<D, kCount>, hw::TFromD<D> value) {
  return MakePack<D, kCount>([&](int) XENT_LAMBDA { return hw::Set(D(), value); });
}

using hw::Zero;
template <class D, int kCount>
HWY_INLINE Pack<D, kCount> Zero(PackTag<D, kCount>) {
  return MakePack<D, kCount>([&](int) XENT_LAMBDA { return hw::Zero(D()); });
}

template <class D>
using Vec = decltype(Zero(D()));

using hw::BitCast;
template <class To, class D, int kCount>
HWY_INLINE Pack<To, kCount> BitCast(PackTag<To, kCount>, const Pack<D, kCount>& a) {
  return MakePack<To, kCount>([&](int i) XENT_LAMBDA { return hw::BitCast(To(), a.at[i]); });
}

using hw::ConvertTo;
template <class To, class D, int kCount>
HWY_INLINE Pack<To, kCount> ConvertTo(PackTag<To, kCount>, const Pack<D, kCount>& a) {
  return MakePack<To, kCount>([&](int i) XENT_LAMBDA { return hw::ConvertTo(To(), a.at[i]); });
}

using hw::AllTrue;
template <class D, int kCount>
HWY_INLINE bool AllTrue(PackTag<D, kCount>, const PackMask<D, kCount>& mask) {
  bool all = true;
  for (int i = 0; i < kCount; ++i) all &= hw::AllTrue(D(), mask.at[i]);
  return all;
}

using hw::RebindMask;
template <class To, class D, int kCount>
HWY_INLINE PackMask<To, kCount> RebindMask(PackTag<To, kCount>, const PackMask<D, kCount>& a) {
  return MakeMask<To, kCount>([&](int i) XENT_LAMBDA { return hw::RebindMask(To(), a.at[i]); });
}

// Operations of one, two and three packs; comparisons; selections.
#define XENT_PACK_OF_1(NAME)                                                          \
  using hw::NAME;                                                                     \
  template <class D, int kCount>                                                      \
  HWY_INLINE Pack<D, kCount> NAME(const Pack<D, kCount>& a) {                         \
    return MakePack<D, kCount>([&](int i) XENT_LAMBDA { return hw::NAME(a.at[i]); }); \
  }

#define XENT_PACK_OF_2(NAME)                                                                   \
  using hw::NAME;                                                                              \
  template <class D, int kCount>                                                               \
  HWY_INLINE Pack<D, kCount> NAME(const Pack<D, kCount>& a, const Pack<D, kCount>& b) {        \
    return MakePack<D, kCount>([&](int i) XENT_LAMBDA { return hw::NAME(a.at[i], b.at[i]); }); \
  }

#define XENT_PACK_OF_3(NAME)                                                                                      \
  using hw::NAME;                                                                                                 \
  template <class D, int kCount>                                                                                  \
  HWY_INLINE Pack<D, kCount> NAME(const Pack<D, kCount>& a, const Pack<D, kCount>& b, const Pack<D, kCount>& c) { \
    return MakePack<D, kCount>([&](int i) XENT_LAMBDA { return hw::NAME(a.at[i], b.at[i], c.at[i]); });           \
  }

#define XENT_PACK_COMPARISON(NAME)                                                             \
  using hw::NAME;                                                                              \
  template <class D, int kCount>                                                               \
  HWY_INLINE PackMask<D, kCount> NAME(const Pack<D, kCount>& a, const Pack<D, kCount>& b) {    \
    return MakeMask<D, kCount>([&](int i) XENT_LAMBDA { return hw::NAME(a.at[i], b.at[i]); }); \
  }

#define XENT_PACK_OF_MASKS(NAME)                                                                    \
  template <class D, int kCount>                                                                    \
  HWY_INLINE PackMask<D, kCount> NAME(const PackMask<D, kCount>& a, const PackMask<D, kCount>& b) { \
    return MakeMask<D, kCount>([&](int i) XENT_LAMBDA { return hw::NAME(a.at[i], b.at[i]); });      \
  }

#define XENT_PACK_SELECTION(NAME)                                                                 \
  using hw::NAME;                                                                                 \
  template <class D, int kCount>                                                                  \
  HWY_INLINE Pack<D, kCount> NAME(const PackMask<D, kCount>& mask, const Pack<D, kCount>& a) {    \
    return MakePack<D, kCount>([&](int i) XENT_LAMBDA { return hw::NAME(mask.at[i], a.at[i]); }); \
  }

XENT_PACK_OF_1(Abs)
XENT_PACK_OF_1(Neg)
XENT_PACK_OF_2(Add)
XENT_PACK_OF_2(Sub)
XENT_PACK_OF_2(Mul)
XENT_PACK_OF_2(Div)
XENT_PACK_OF_2(Min)
XENT_PACK_OF_2(Max)
XENT_PACK_OF_2(And)
XENT_PACK_OF_2(AndNot)
XENT_PACK_OF_2(Or)
XENT_PACK_OF_2(Xor)
XENT_PACK_OF_3(MulAdd)
XENT_PACK_OF_3(MulSub)
XENT_PACK_OF_3(NegMulAdd)
XENT_PACK_COMPARISON(Eq)
XENT_PACK_COMPARISON(Lt)
XENT_PACK_COMPARISON(Le)
XENT_PACK_COMPARISON(Gt)
XENT_PACK_COMPARISON(Ge)
XENT_PACK_OF_MASKS(And)
XENT_PACK_OF_MASKS(Or)
XENT_PACK_OF_MASKS(AndNot)
XENT_PACK_SELECTION(IfThenElseZero)
XENT_PACK_SELECTION(IfThenZeroElse)

#undef XENT_PACK_OF_1
#undef XENT_PACK_OF_2
#undef XENT_PACK_OF_3
#undef XENT_PACK_COMPARISON
#undef XENT_PACK_OF_MASKS
#undef XENT_PACK_SELECTION

using hw::IfThenElse;
template <class D, int kCount>
HWY_INLINE Pack<D, kCount> IfThenElse(const PackMask<D, kCount>& mask, const Pack<D, kCount>& a,
                                      const Pack<D, kCount>& b) {
  return MakePack<D, kCount>([&](int i) XENT_LAMBDA { return hw::IfThenElse(mask.at[i], a.at[i], b.at[i]); });
}

template <class D>
constexpr int VectorCount(D) {
  return 1;
}

template <class D, int kCount>
constexpr int VectorCount(PackTag<D, kCount>) {
  return kCount;
}

// A vector, or one of a pack.
template <class V>
HWY_INLINE V& VectorOf(V& vector, int) {
  return vector;
}

template <class D, int kCount>
HWY_INLINE hw::Vec<D>& VectorOf(Pack<D, kCount>& pack, int i) {
  return pack.at[i];
}

using hw::LoadU;
template <class D, int kCount>
HWY_INLINE Pack<D, kCount> LoadU(PackTag<D, kCount>, const hw::TFromD<D>* from) {
  constexpr int kLanes = static_cast<int>(hw::MaxLanes(D()));
  return MakePack<D, kCount>([from](int i) XENT_LAMBDA { return hw::LoadU(D(), from + i * kLanes); });
}

using hw::StoreU;
template <class D, int kCount>
HWY_INLINE void StoreU(const Pack<D, kCount>& pack, PackTag<D, kCount>, hw::TFromD<D>* to) {
  constexpr int kLanes = static_cast<int>(hw::MaxLanes(D()));
  for (int i = 0; i < kCount; ++i) hw::StoreU(pack.at[i], D(), to + i * kLanes);
}

using hw::ShiftLeft;
template <int kBits, class D, int kCount>
HWY_INLINE Pack<D, kCount> ShiftLeft(const Pack<D, kCount>& a) {
  return MakePack<D, kCount>([&](int i) XENT_LAMBDA { return hw::ShiftLeft<kBits>(a.at[i]); });
}

using hw::ShiftRight;
template <int kBits, class D, int kCount>
HWY_INLINE Pack<D, kCount> ShiftRight(const Pack<D, kCount>& a) {
  return MakePack<D, kCount>([&](int i) XENT_LAMBDA { return hw::ShiftRight<kBits>(a.at[i]); });
}

}  // namespace packs

namespace hn = packs;

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_PACKS_INL_H_
