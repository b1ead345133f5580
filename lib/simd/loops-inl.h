// The two loops over a row, tails included: Fold (a row into numbers) and Map (a row into another row). A row is a run
// of steps of 64 elements: 64 virtual lanes, whatever the width of a vector, so that sums have the same tree on every
// instruction set.

#if defined(XENT_SIMD_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_LOOPS_INL_H_
#undef XENT_SIMD_LOOPS_INL_H_
#else
#define XENT_SIMD_LOOPS_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "lib/cache.h"
#include "lib/kernels.h"
#include "lib/simd/accumulators-inl.h"
#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// Elements that a loop without a sum works on together.
constexpr int64_t kMapStep = 32;

// Memory is asked for in several pages at once, since the processor's own prefetchers follow each page, as far as its
// end: of a step, an equal part in each page of a group of pages. (Intel, 512 x 32000 f32 from memory, loss: 2.28 ms;
// 2.58 where all was asked for two pages ahead.)
template <int64_t kBytes>
constexpr int64_t kGroupPages = kBytes >= 256   ? 4
                                : kBytes >= 128 ? 2
                                                : 1;
constexpr int64_t kPage = 4096;

template <class C>
constexpr int64_t kMapVectors = kMapStep / static_cast<int64_t>(hn::MaxLanes(Tag<C>()));

// A step in memory.
template <class C>
HWY_INLINE auto StepFrom(const C* from) {
  return [from](int64_t v) HWY_ATTR { return hn::LoadU(Tag<C>(), from + v * LanesOf<C>()); };
}

// Asks for the part of a step of so many bytes in the group of pages where it begins, into the L2 cache: the few
// buffers before the L1 cache are busy with each line until it is there.
template <int64_t kBytes>
HWY_INLINE void PrefetchGroup(uintptr_t begin) {
  constexpr uintptr_t kPages = kGroupPages<kBytes>;
  const uintptr_t in_group = begin % (kPages * kPage);
  const uintptr_t part = begin - in_group + in_group / kPages;
  for (uintptr_t byte = 0; byte < kBytes / kPages; byte += 64) {
    for (uintptr_t page = 0; page < kPages; ++page) {
      __builtin_prefetch(reinterpret_cast<const char*>(part + page * kPage + byte), 0, 2);
    }
  }
}

// Asks for what follows the step at `from`.
template <int64_t kElements, class T>
HWY_INLINE void PrefetchAhead(const T* from) {
  constexpr int64_t kBytes = kElements * static_cast<int64_t>(sizeof(T));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(from);
  const MemoryRequests requests = sizeof(T) > 2 ? requests_for_floats : requests_for_words;
  if (requests.asks_early) PrefetchGroup<kBytes>(begin + kGroupPages<kBytes> * kPage);
  for (uintptr_t byte = 0; byte < kBytes; byte += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(begin + requests.bytes_ahead + byte), 0, 3);
  }
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

// How many vectors of type C the loop of an array gives an operation as a pack: as many as it says, where there are 32
// registers, at most two where there are 16, or one. (Of a sum, which has a step of its own, it takes the whole step or
// one.)
template <class Op, class C, class = void>
struct Together {
  static constexpr int kVectors = 1;
};
template <class Op, class C>
struct Together<Op, C, std::void_t<decltype(Op::template kTogether<C>)>> {
  static constexpr int kMost = Op::template kTogether<C>;
  static constexpr int kVectors = HWY_CAP_GE512 ? kMost : HWY_CAP_GE256 ? std::min(kMost, 2) : 1;
};

// A pack as a step: a function of the vector's index. (No lambda: what the compiler makes to copy one lacks the
// instruction set.)
template <class D, int kCount>
struct VectorsOf {
  HWY_INLINE explicit VectorsOf(const hn::Pack<D, kCount>& of) : pack(of) {}
  HWY_INLINE hn::Vec<D> operator()(int64_t v) const { return pack.at[v]; }

  hn::Pack<D, kCount> pack;
};

// The same as ApplyToStep, at once if the operation takes packs.
template <class T, class Op>
HWY_INLINE auto ApplyToWholeStep(const T* from, int64_t index, Op& op) {
  using C = Compute<T>;
  constexpr int kVectors = static_cast<int>(kStepVectors<C>);
  if constexpr (Together<Op, C>::kVectors > 1) {
    const hn::PackTag<Tag<C>, kVectors> d;
    return VectorsOf<Tag<C>, kVectors>(op(d, FromStorage(d, from), index));
  } else {
    return ApplyToStep(from, index, op);
  }
}

// The operation that does nothing. Every operation has this form: lanes and the index of the first in, lanes out.
struct Itself {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D, hn::Vec<D> x, int64_t) const {
    return x;
  }
};

// A cut step of storage, padded with zeros, for code that works on whole steps.
template <class T, int64_t kElements>
struct PaddedStep {
  PaddedStep(const T* from, int64_t count) { std::memcpy(values, from, static_cast<size_t>(count) * sizeof(T)); }
  T values[kElements] = {};
};

#if HWY_CAP_GE512

// `at`, which must outlive it, for elements that have a bit in `others`; `otherwise`, what the sum starts with, of the
// rest. Masks made of integers cost next to nothing; a branch for the label's step would be foreseen in no row, and
// what goes through memory has to wait for small stores.
template <class C, class StepAt>
HWY_INLINE auto OfOthers(const StepAt& at, uint64_t others, C otherwise) {
  return [&at, others, otherwise](int64_t v) XENT_LAMBDA {
    const Tag<C> d;
    const auto mask = MaskFromBits(d, others >> (v * LanesOf<C>()));
    const auto lanes = at(v);
    return otherwise == C(0) ? hn::IfThenElseZero(mask, lanes) : hn::IfThenElse(mask, lanes, hn::Set(d, otherwise));
  };
}

// What an operation is for a cut step.
template <class Op>
HWY_INLINE Op& OfCutStep(Op& op) {
  return op;
}

// ApplyToStep for a cut step, of which only the first `count` elements are read; the others must be masked.
template <class T, class Op>
HWY_INLINE auto ApplyToCutStep(const T* from, int64_t index, int64_t count, Op& op) {
  using C = Compute<T>;
  return [=, &op](int64_t v) HWY_ATTR {
    const Tag<C> d;
    const int64_t i = v * LanesOf<C>();
    if (i >= count) return hn::Zero(d);
    return op(d, PartFromStorage(d, count - i, from + i), index + i);
  };
}

// A bit for each element of a step but the label. No branch.
inline uint64_t AllBut(int64_t label) {
  const uint64_t position = static_cast<uint64_t>(label);
  return ~(uint64_t{position < uint64_t{kStep}} << (position % uint64_t{kStep}));
}

// accumulator += op(x[i]) for every i in [0, n) but the label (none if it is outside). kKeep: the results stay in
// `kept`.
template <bool kKeep, class T, class Op, class Accumulator>
HWY_INLINE void Fold(const T* x, int64_t n, int64_t label, Op& op, Accumulator& accumulator, Compute<T>* kept) {
  using C = Compute<T>;
  const auto add = [&](int64_t i, const auto& at) HWY_ATTR {
    if constexpr (!std::is_same_v<Op, Itself>) PrefetchAhead<kStep>(x + i);
    if constexpr (!kKeep) {
      accumulator.Add(at);
    } else {
      accumulator.Add([&](int64_t v) HWY_ATTR {
        const auto lanes = at(v);
        hn::StoreU(lanes, Tag<C>(), kept + i + v * LanesOf<C>());
        return lanes;
      });
    }
  };
  constexpr C kNone = Accumulator::kIdentity;
  int64_t i = 0;
  if (label >= 0 && label < n) {
    for (; i + kStep <= n; i += kStep) {
      add(i, OfOthers<C>(ApplyToWholeStep(x + i, i, op), AllBut(label - i), kNone));
    }
  } else {
    label = -1;
    for (; i + kStep <= n; i += kStep) add(i, ApplyToWholeStep(x + i, i, op));
  }
  if (i == n) return;
  const int64_t count = n - i;
  const uint64_t others = AllBut(label - i) & ((uint64_t{1} << count) - 1);
  const auto cut = ApplyToCutStep(x + i, i, count, OfCutStep(op));
  const auto at = OfOthers<C>(cut, others, kNone);
  accumulator.Add([&](int64_t v) HWY_ATTR {
    const auto lanes = at(v);
    if constexpr (kKeep) {
      const auto is_kept = hn::FirstN(Tag<C>(), static_cast<size_t>(std::max<int64_t>(count - v * LanesOf<C>(), 0)));
      hn::BlendedStore(lanes, is_kept, Tag<C>(), kept + i + v * LanesOf<C>());
    }
    return lanes;
  });
}

#else

// accumulator += op(x[i]) for every i in [0, n) but the label (none if it is outside). It keeps no results: registers
// so narrow do not suffice for exponentials and their sum, see MapAndSum.
template <bool kKeep, class T, class Op, class Accumulator>
HWY_INLINE void Fold(const T* x, int64_t n, int64_t label, Op& op, Accumulator& accumulator, Compute<T>*) {
  static_assert(!kKeep, "results are kept in a loop of their own");
  using C = Compute<T>;
  constexpr bool kReadsCache = std::is_same_v<Op, Itself>;
  const int64_t label_step = label >= 0 && label < n ? label / kStep * kStep : n;
  int64_t i = 0;
  while (i < n) {
    // Whole steps without the label.
    for (const int64_t end = (i > label_step ? n : label_step) - kStep; i <= end; i += kStep) {
      if constexpr (!kReadsCache) PrefetchAhead<kStep>(x + i);
      const auto at = ApplyToStep(x + i, i, op);
      accumulator.Add(at);
    }
    if (i >= n) break;
    const int64_t count = std::min(kStep, n - i);
    const PaddedStep<T, kStep> padded(x + i, count);
    alignas(64) C values[kStep];
    const auto at = ApplyToStep(padded.values, i, op);
    for (int64_t v = 0; v * LanesOf<C>() < count; ++v) hn::Store(at(v), Tag<C>(), values + v * LanesOf<C>());
    std::fill(values + count, values + kStep, Accumulator::kIdentity);
    if (i == label_step) values[label - i] = Accumulator::kIdentity;
    accumulator.Add(StepFrom(values));
    i += kStep;
  }
}

#endif  // HWY_CAP_GE512

// Elements until the next multiple of 64 bytes.
template <class U>
HWY_INLINE int64_t ElementsToAlignment(const U* pointer) {
  return static_cast<int64_t>((64 - reinterpret_cast<uintptr_t>(pointer) % 64) % 64 / sizeof(U));
}

// out[i, i + kElements) = op of x there. `next`: what is asked for meanwhile; null: what follows in x.
template <bool kStream, int64_t kElements, class T, class U, class Op, class Next>
HWY_INLINE void MapStep(const T* x, int64_t i, Op& op, U* out, const Next* next) {
  using C = Compute<T>;
  constexpr int kCount = std::min(Together<Op, C>::kVectors, static_cast<int>(kElements / LanesOf<C>()));
  static_assert(kElements % (kCount * LanesOf<C>()) == 0, "packs must not go beyond the step");
  if (next == nullptr) {
    PrefetchAhead<kElements>(x + i);
  } else {
    constexpr int64_t kSize = static_cast<int64_t>(sizeof(Next));
    PrefetchGroup<kElements * kSize>(reinterpret_cast<uintptr_t>(next) + static_cast<uintptr_t>(i * kSize));
  }
  if constexpr (kCount > 1) {
    const hn::PackTag<Tag<C>, kCount> d;
    HWY_UNROLL(4)
    for (int64_t e = i; e < i + kElements; e += kCount * LanesOf<C>()) {
      Store<kStream>(op(d, FromStorage(d, x + e), e), d, out + e);
    }
  } else {
    const auto at = ApplyToStep(x + i, i, op);
    HWY_UNROLL(2)
    for (int64_t v = 0; v < kMapVectors<C>; ++v) ToStorage<kStream>(at(v), Tag<C>(), out + i + v * LanesOf<C>());
  }
}

// kMapStep elements at most. (With masks: what was stored in pieces is read as a whole only when all stores before it
// have reached the cache.)
template <class T, class U, class Op>
HWY_INLINE void MapPart(const T* x, int64_t i, int64_t count, Op& op, U* out) {
  using C = Compute<T>;
#if HWY_CAP_GE512
  const auto at = ApplyToCutStep(x + i, i, count, op);
  for (int64_t v = 0; v * LanesOf<C>() < count; ++v) {
    const int64_t j = v * LanesOf<C>();
    PartToStorage(at(v), Tag<C>(), count - j, out + i + j);
  }
#else
  const PaddedStep<T, kMapStep> padded(x + i, count);
  U rounded[kMapStep];
  const auto at = ApplyToStep(padded.values, i, op);
  for (int64_t v = 0; v * LanesOf<C>() < count; ++v) ToStorage(at(v), Tag<C>(), rounded + v * LanesOf<C>());
  std::memcpy(out + i, rounded, static_cast<size_t>(count) * sizeof(U));
#endif
}

// Steps from i on, as long as a pack of the operation and then kMapStep, while there are n elements. Where they end.
template <bool kStream, class T, class U, class Op, class Next>
HWY_INLINE int64_t MapSteps(const T* x, int64_t i, int64_t n, Op& op, U* out, const Next* next) {
  constexpr int64_t kLong = std::max(kMapStep, Together<Op, Compute<T>>::kVectors * LanesOf<Compute<T>>());
  for (; i + kLong <= n; i += kLong) MapStep<kStream, kLong>(x, i, op, out, next);
  if constexpr (kLong > kMapStep) {
    for (; i + kMapStep <= n; i += kMapStep) MapStep<kStream, kMapStep>(x, i, op, out, next);
  }
  return i;
}

// out[i] = op(x[i]) for every i in [0, n). x and out may be the same memory.
template <class T, class U, class Op>
HWY_INLINE void Map(const T* x, int64_t n, Op&& op, U* out) {
  constexpr const T* kFollowing = nullptr;
  const int64_t i = MapSteps<false>(x, 0, n, op, out, kFollowing);
  if (i < n) MapPart(x, i, n - i, op, out);
}

// The same past the cache if `stream`, with other memory asked for meanwhile.
template <class T, class U, class Op, class Next>
HWY_INLINE void MapOut(const T* x, int64_t n, Op&& op, U* out, bool stream, const Next* next) {
  // Stores past the cache are aligned.
  int64_t i = stream ? std::min(n, ElementsToAlignment(out)) : 0;
  if (i > 0) MapPart(x, 0, i, op, out);
  i = stream ? MapSteps<true>(x, i, n, op, out, next) : MapSteps<false>(x, i, n, op, out, next);
  if (i < n) MapPart(x, i, n - i, op, out);
}

template <class T, class U, class Op>
HWY_INLINE void MapOut(const T* x, int64_t n, Op&& op, U* out, bool stream) {
  constexpr const T* kFollowing = nullptr;
  MapOut(x, n, op, out, stream, kFollowing);
}

// Adds op(x[i]) of every i in [0, n) but the label to the sum. kKeep: the results stay in `staged`; else it is room
// that may be used. One loop where the registers suffice for it, else two.
template <bool kKeep, class T, class Op>
HWY_INLINE void MapAndSum(const T* x, int64_t n, int64_t label, Op& op, Compute<T>* staged, StepSum<Compute<T>>& sum) {
  if constexpr (HWY_CAP_GE512) {
    Fold<kKeep>(x, n, label, op, sum, staged);
  } else {
    Map(x, n, op, staged);
    Itself itself;
    Fold<false>(staged, n, label, itself, sum, staged);
  }
}

// body(first, last, whether they are read) of the runs of rows of a tile.
template <class Body>
HWY_INLINE bool ForEachRun(const Tile& tile, const Body& body) {
  if (tile.is_read) return body(0, tile.rows, true);
  int64_t first = 0;
  while (first < tile.rows) {
    const bool skipped = tile.labels[first] == kSkipRow;
    int64_t last = first + 1;
    while (last < tile.rows && (tile.labels[last] == kSkipRow) == skipped) ++last;
    if (!body(first, last, !skipped)) return false;
    first = last;
  }
  return true;
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_LOOPS_INL_H_
