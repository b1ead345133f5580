// A row, or a chunk of one, folded into the sum of its exponentials, which may stay in a stage. Two plans give e^x:
// plain, where all exponents are small, needs no maximum; careful works for any logits. And the slices of long rows.

#if defined(XENT_SIMD_FOLD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_FOLD_INL_H_
#undef XENT_SIMD_FOLD_INL_H_
#else
#define XENT_SIMD_FOLD_INL_H_
#endif

#include <algorithm>
#include <limits>
#include <type_traits>

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/gradient-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// Anchor and exponent of the careful plan, from the largest of n logits but the label. False: there is no sum, and the
// state says why.
template <class T, class Scaling>
bool PlanCarefully(const T* x, int64_t n, int64_t label, const Scaling& scaling, RowState* state) {
  using C = Compute<T>;
  using E = ExpConstants<C>;
  Itself itself;
  MaxAccumulator<C> largest;
  Fold<false>(x, n, label, itself, largest, static_cast<C*>(nullptr));
  const C max = largest.Finish();
  *state = RowState{0.0, 0.0, 0.0, 0, kCareful};
  if (!(max < std::numeric_limits<C>::infinity())) {
    state->sum = std::numeric_limits<double>::quiet_NaN();
    return false;
  }
  if (max == -std::numeric_limits<C>::infinity()) {
    state->plan = kPlain;  // zeros are that, too
    return false;
  }
  const C anchor = scaling.Anchor(max);
  // Four below the largest exponent: probabilities down to the smallest normal number stay.
  state->anchor = scaling.Exponent(anchor);
  state->exponent = static_cast<int32_t>((max - anchor) * E::kLog2E) - 4;
  return true;
}

template <class T, class Scaling>
RowState StateOf(const StepSum<Compute<T>>& terms) {
  double sum, low;
  terms.Finish(&sum, &low);
  return PlainState<Scaling>(sum, low);
}

// Whether nothing, or only masked logits, were added. These are not 0 beside nothing: then a row, or a slice of one,
// that has some is not plain.
template <class Sum>
bool IsZero(const Sum& sum) {
  double high, low;
  sum.Finish(&high, &low);
  return high == 0.0;
}

// Adds the plain exponentials of a chunk to the sum, and puts them into the stage if kKeep; what it is. Careful: the
// stage means nothing, and the sum is as it was.
template <bool kKeep, class T, class Op>
HWY_NOINLINE Expected FoldPlainly(const T* x, int64_t n, int64_t label, const Op& op, Compute<T>* staged,
                                  StepSum<Compute<T>>& total) {
  // Copies that nobody else can see stay in registers. By value, `op` would be copied in pieces that are larger than
  // those it was stored in, which waits until all stores before have reached the cache.
  Op exp = op;
  StepSum<Compute<T>> sum = total;
  MapAndSum<kKeep>(x, n, label, exp, staged, sum);
  const Expected found = exp.Found();
  if (found != Expected::kCareful) total = sum;
  return found;
}

// Whether PlainExp finds n logits in its range, what is masked apart: if NaN is among them, it may still not. is_whole:
// a row, or several, is made of them.
template <class T, class Scaling>
bool CouldBePlain(const T* x, int64_t n, const Scaling& scaling, bool is_whole) {
  using C = Compute<T>;
  Itself itself;
  ExtremesAccumulator<C> extremes(scaling.Masked());
  Fold<false>(x, n, -1, itself, extremes, static_cast<C*>(nullptr));
  if (is_whole && extremes.AreMasked()) return false;
  PlainExp<T, Scaling> exp(scaling);
  exp(Tag<C>(), extremes.Max(), 0);
  exp(Tag<C>(), extremes.Min(), 0);
  return exp.InRange();
}

// attempt(whether logits may be masked), as is expected and once more if need be; it says what it found. False:
// careful.
template <class T, class Scaling, class Attempt>
HWY_INLINE bool TryPlain(const T* x, int64_t n, bool is_whole, const Scaling& scaling, Expected* expected,
                         const Attempt& attempt) {
  if (*expected == Expected::kCareful && !CouldBePlain(x, n, scaling, is_whole)) return false;
  // After a careful one it is taken for masked, too: another look at the extremes is spared.
  const bool is_first = *expected == Expected::kPlain;
  Expected found = is_first ? attempt(std::false_type()) : Expected::kCareful;
  if (found == Expected::kCareful && (!is_first || CouldBePlain(x, n, scaling, is_whole))) {
    found = attempt(std::true_type());
  }
  *expected = found;
  return found != Expected::kCareful;
}

// FoldPlainly, if need be with masked logits.
template <bool kKeep, class T, class Scaling>
bool FoldPlainOrMasked(const T* x, int64_t n, bool is_whole, int64_t label, const Scaling& scaling, Compute<T>* staged,
                       StepSum<Compute<T>>& total, Expected* expected) {
  return TryPlain(x, n, is_whole, scaling, expected, [&](auto masked) XENT_LAMBDA {
    return FoldPlainly<kKeep>(x, n, label, PlainExp<T, Scaling, decltype(masked)::value>(scaling), staged, total);
  });
}

// FoldPlainly, while as many elements of what is pending are written as whole steps have.
template <bool kStream, class T, class Scaling>
Expected FoldAndWrite(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged,
                      StepSum<Compute<T>>& sum, PendingWrite* pending) {
  using C = Compute<T>;
  const PlainExpAndWrite<kStream, T, Scaling> both = {
      PlainExp<T, Scaling>(scaling), static_cast<const C*>(pending->stage), static_cast<T*>(pending->out),
      static_cast<C>(pending->factor), static_cast<C>(pending->offset)};
  *pending = After<T>(n / kStep * kStep, *pending);
  return FoldPlainly<true>(x, n, label, both, staged, sum);
}

template <class T, class Scaling>
Expected FoldAndWrite(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged,
                      StepSum<Compute<T>>& sum, PendingWrite* pending) {
  return pending->stream ? FoldAndWrite<true>(x, n, label, scaling, staged, sum, pending)
                         : FoldAndWrite<false>(x, n, label, scaling, staged, sum, pending);
}

// Whether so many whole steps can be folded by FoldAndWrite: enough is pending, and where it goes past the cache it is
// aligned.
template <class T>
bool CanFoldAndWrite(int64_t whole, Expected expected, const PendingWrite* pending) {
  if (pending == nullptr || whole == 0 || pending->left < whole || expected != Expected::kPlain) return false;
  return !pending->stream || ElementsToAlignment(static_cast<const T*>(pending->out)) == 0;
}

// FoldPlainOrMasked, the exponentials kept, and what is pending elsewhere written meanwhile where that can be.
template <class T, class Scaling>
bool FoldWhilePending(const T* x, int64_t n, bool is_whole, int64_t label, const Scaling& scaling, Compute<T>* staged,
                      StepSum<Compute<T>>& sum, Expected* expected, PendingWrite* pending) {
  if (CanFoldAndWrite<T>(n / kStep * kStep, *expected, pending)) {
    if (FoldAndWrite(x, n, label, scaling, staged, sum, pending) == Expected::kPlain) return true;
    *expected = Expected::kMasked;
  }
  return FoldPlainOrMasked<true>(x, n, is_whole, label, scaling, staged, sum, expected);
}

// FoldPlainOrMasked of a chunk that is kept where as many elements may be pending, which leave before it takes their
// place: whole steps meanwhile, but for the label's, which leaves by itself, as what is less than a step does.
template <class T, class Scaling>
bool FoldOverPending(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged,
                     StepSum<Compute<T>>& sum, Expected* expected, PendingWrite* pending) {
  const int64_t whole = pending == nullptr ? 0 : std::min(n, pending->left) / kStep * kStep;
  if (CanFoldAndWrite<T>(whole, *expected, pending)) {
    const StepSum<Compute<T>> before = sum;
    bool is_plain = true;
    const auto together = [&](int64_t begin, int64_t end) {
      is_plain &= FoldAndWrite(x + begin, end - begin, label - begin, scaling, staged + begin, sum, pending) ==
                  Expected::kPlain;
    };
    const auto apart = [&](int64_t begin, int64_t end) {
      WritePending<T>(end - begin, pending);
      is_plain &= FoldPlainly<true>(x + begin, end - begin, label - begin, PlainExp<T, Scaling>(scaling),
                                    staged + begin, sum) == Expected::kPlain;
    };
    int64_t begin = 0;
    const int64_t mark = PendingLabel<T>(whole, *pending);
    if (mark >= 0) {
      const int64_t step = mark / kStep * kStep;
      begin = step + kStep;
      together(0, step);
      apart(step, begin);
    }
    together(begin, whole);
    if (whole < n) apart(whole, n);
    if (is_plain) return true;
    sum = before;
    *expected = Expected::kMasked;
  } else if (pending != nullptr) {
    WritePending<T>(n, pending);
  }
  return FoldPlainOrMasked<true>(x, n, false, label, scaling, staged, sum, expected);
}

// What CarefulExp makes of the lowest exponent is less.
template <class C>
constexpr C LeastStaged() {
  return C(6) * std::numeric_limits<C>::min();
}

// A row, or a chunk of one, that is not plain, into the stage, and its sum. If there is none, the state says why and
// the stage holds zeros.
template <class T, class Scaling>
void FoldCarefully(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged, RowState* state) {
  using C = Compute<T>;
  if (!PlanCarefully(x, n, label, scaling, state)) {
    std::fill(staged, staged + n, C(0));
    return;
  }
  CarefulExp<C, Scaling> careful = {scaling.ToLogit(state->anchor), static_cast<C>(state->exponent), LeastStaged<C>(),
                                    scaling};
  StepSum<C> sum;
  MapAndSum<true>(x, n, label, careful, staged, sum);
  sum.Finish(&state->sum, &state->low);
}

// Whether a slice of a long row is masked altogether. Its first chunk answers for most.
template <class T, class Scaling>
bool IsMasked(const T* x, int64_t n, const Scaling& scaling) {
  using C = Compute<T>;
  const auto are_masked = [&](int64_t count) {
    Itself itself;
    MaxAccumulator<C> largest;
    Fold<false>(x, count, -1, itself, largest, static_cast<C*>(nullptr));
    return largest.Finish() < scaling.Masked();
  };
  return are_masked(std::min(n, kChunk)) && are_masked(n);
}

// The states of a piece of a long row: one of all its plain chunks together, one of each other chunk. A chunk's own
// logits decide what it is; but where there is nothing plain in the slice, masked chunks are not either. The
// exponentials stay in the slice's stage if it asks for that.
template <class T, class Scaling>
int64_t FoldSliceOf(const Slice& slice, const Scaling& scaling, RowState* states, PendingWrite* pending) {
  using C = Compute<T>;
  const T* const x = static_cast<const T*>(slice.logits);
  StepSum<C> plain;
  Expected expected = slice.expected == nullptr ? Expected::kPlain : *slice.expected;
  const bool is_masked = expected == Expected::kCareful && IsMasked(x, slice.classes, scaling);
  bool has_masked = false;
  uint32_t careful = 0;  // a bit for each chunk that is
  static_assert(kSlice / kChunk <= 32, "there are enough");
  int64_t count = 1;
  const auto fold_carefully = [&](int64_t first) {
    C* const staged = static_cast<C*>(slice.stage) + (slice.keeps_stage ? first : 0);
    FoldCarefully(x + first, std::min(kChunk, slice.classes - first), slice.label - first, scaling, staged,
                  &states[count++]);
    careful |= 1u << (first / kChunk);
  };
  for (int64_t first = 0; first < slice.classes; first += kChunk) {
    const T* const from = x + first;
    const int64_t n = std::min(kChunk, slice.classes - first);
    const int64_t label = slice.label - first;
    C* const staged = static_cast<C*>(slice.stage) + (slice.keeps_stage ? first : 0);
    bool is_plain = false;
    if (is_masked) {
      if (slice.keeps_stage && pending != nullptr) WritePending<T>(n, pending);
    } else if (slice.keeps_stage) {
      is_plain = FoldOverPending(from, n, label, scaling, staged, plain, &expected, pending);
    } else {
      is_plain = FoldPlainOrMasked<false>(from, n, false, label, scaling, staged, plain, &expected);
    }
    has_masked |= is_plain && expected == Expected::kMasked;
    if (HWY_UNLIKELY(!is_plain)) fold_carefully(first);
  }
  if (HWY_UNLIKELY(has_masked) && IsZero(plain)) {
    for (int64_t first = 0; first < slice.classes; first += kChunk) {
      if ((careful >> (first / kChunk) & 1) == 0) fold_carefully(first);
    }
    expected = Expected::kCareful;
  }
  states[0] = StateOf<T, Scaling>(plain);
  if (slice.expected != nullptr) *slice.expected = expected;
  return count;
}

template <class T>
int64_t FoldSlice(const Slice& slice, RowState* states, PendingWrite* pending) {
  return WithScale<T>(slice.scale,
                      [&](const auto& scaling) { return FoldSliceOf<T>(slice, scaling, states, pending); });
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_FOLD_INL_H_
