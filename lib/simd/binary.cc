// Binary losses of runs of elements: an input, a target, weights in; loss, gradient and their sum out.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/binary.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lib/kernels.h"
#include "lib/simd/binary-inl.h"
#include "lib/simd/focal-inl.h"
#include "lib/simd/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// T: the storage type; U: that of targets and gradient.
template <class Form, class T, class U>
class BinaryRun {
 public:
  using C = Compute<T>;
  using V = hn::Vec<Tag<C>>;
  static constexpr bool kIsLogits = std::is_same_v<Form, LogitsForm>;
  // Whether there are steps for what most calls are, so short that memory is what they wait for.
  static constexpr bool kHasPlainSteps =
      kIsLogits || (std::is_same_v<Form, ShortProbabilitiesForm> && kHasTwofolds && sizeof(C) == sizeof(float));

  // Where the arrays of a run start.
  struct Arrays {
    const T* x;
    const U* targets;
    const C* weight;
    const C* pos_weight;
    const C* upstream;
    C* loss;
    U* gradient;
  };

  HWY_INLINE explicit BinaryRun(const BinaryTerms& terms) : terms_(terms) {}

  // Elements [first, end), step by step. A step that is cut is run in copies that have a whole one. Without kLoss no
  // losses are wanted.
  template <bool kPlain, bool kGradient, bool kStream, bool kLoss>
  HWY_INLINE void Go(const Arrays& at, int64_t first, int64_t end) {
    const BinaryLaneTerms<C> lanes(terms_);
    Part part;
    for (int64_t i = first; i < end; i += kStep) {
      if constexpr (kPlain && sizeof(C) == sizeof(float)) {
        // Products of a slope of 0 may be -0.
        const bool may_be_usual = !kGradient || lanes.slope != C(0);
        if (may_be_usual && end - i >= kStep && UsualStep<kGradient, kStream, kLoss>(lanes, at, i)) continue;
      }
      const int64_t count = std::min(kStep, end - i);
      const bool is_cut = count < kStep;
      if (HWY_UNLIKELY(is_cut)) Copy(at, i, count, &part);
      Step<kPlain, kGradient, kStream, kLoss>(lanes, is_cut ? part.at : at, is_cut ? 0 : i, count);
      if (HWY_UNLIKELY(is_cut)) CopyBack(part, i, count, at);
    }
  }

  // Adds what was run to the sums, and begins anew.
  HWY_INLINE void AddTo(BinarySums* sums) {
    double block, block_low;
    sum_.Finish(&block, &block_low);
    sum_ = LossSumOf<C>();
    const double before = sums->sum;
    sums->sum = before + block;
    const double from_block = sums->sum - before;
    sums->low += block_low + ((before - (sums->sum - from_block)) + (block - from_block));
    sums->ignored += ignored_;
    sums->outside += outside_;
    ignored_ = outside_ = 0;
  }

 private:
  struct Part {
    Arrays at;
    T x[kStep];
    U targets[kStep];
    C weight[kStep];
    C pos_weight[kStep];
    C upstream[kStep];
    C loss[kStep];
    U gradient[kStep];
  };

  // What is padded with is a 0 with the target 0.
  static void Copy(const Arrays& at, int64_t first, int64_t count, Part* part) {
    const auto copy = [&](const auto* from, auto* to) {
      std::memset(static_cast<void*>(to), 0, sizeof(*to) * kStep);
      if (from == nullptr) return static_cast<decltype(to)>(nullptr);
      std::memcpy(static_cast<void*>(to), from + first, static_cast<size_t>(count) * sizeof(*to));
      return to;
    };
    part->at = {copy(at.x, part->x),
                copy(at.targets, part->targets),
                copy(at.weight, part->weight),
                copy(at.pos_weight, part->pos_weight),
                copy(at.upstream, part->upstream),
                part->loss,
                part->gradient};
  }

  static void CopyBack(const Part& part, int64_t first, int64_t count, const Arrays& at) {
    const size_t n = static_cast<size_t>(count);
    if (at.loss != nullptr) std::memcpy(at.loss + first, part.loss, n * sizeof(C));
    if (at.gradient != nullptr) std::memcpy(static_cast<void*>(at.gradient + first), part.gradient, n * sizeof(U));
  }

  // Whether the logits of a step are small, and its targets from 0 to 1, but for -0.
  static HWY_INLINE bool AreSmall(const Arrays& at, int64_t i) {
    const Tag<C> d;
    const hn::RebindToUnsigned<Tag<C>> du;
    const auto far = hn::BitCast(du, hn::Set(d, C(kSmallMagnitude)));
    const auto one = hn::BitCast(du, hn::Set(d, C(1)));
    auto farthest = far;
    auto most = one;
    for (int64_t v = 0; v < kStepVectors<C>; ++v) {
      const auto x = FromStorage(d, at.x + i + v * LanesOf<C>());
      farthest = hn::Max(farthest, hn::BitCast(du, hn::Abs(x)));
      most = hn::Max(most, hn::BitCast(du, FromStorage(d, at.targets + i + v * LanesOf<C>())));
    }
    return hn::AllTrue(du, hn::And(hn::Eq(farthest, far), hn::Eq(most, one)));
  }

  // The bits of Step with fewer instructions, where nothing is unusual. False: something is, and nothing was done.
  template <bool kGradient, bool kStream, bool kLoss>
  HWY_INLINE bool UsualStep(const BinaryLaneTerms<C>& lanes, const Arrays& at, int64_t i) {
    if constexpr (kIsLogits) {
      if (HWY_UNLIKELY(!AreSmall(at, i))) return false;
      SmallStep<kGradient, kStream, kLoss>(lanes, at, i);
      return true;
    } else {
      return HardStep<kGradient, kStream, kLoss>(lanes, at, i);
    }
  }

  // Of probabilities. The gradient may go where they lie.
  template <bool kGradient, bool kStream, bool kLoss>
  HWY_INLINE bool HardStep(const BinaryLaneTerms<C>& lanes, const Arrays& at, int64_t i) {
    const hn::PackTag<Tag<C>, 2> pack;
    alignas(64) C losses[kStep];
    PrefetchAhead<kStep>(at.x + i);
    PrefetchAhead<kStep>(at.targets + i);
    bool are_usual = true;
    for (int64_t v = 0; v < kStep; v += hn::VectorCount(pack) * LanesOf<C>()) {
      hn::Vec<decltype(pack)> loss;
      are_usual &=
          Form::LossOfHard(pack, terms_, FromStorage(pack, at.x + i + v), FromStorage(pack, at.targets + i + v), &loss);
      Store<false>(loss, pack, losses + v);
    }
    if (HWY_UNLIKELY(!are_usual)) return false;
    const Tag<C> d;
    for (int64_t v = 0; v < kStep && (kGradient || kLoss); v += LanesOf<C>()) {
      if constexpr (kGradient) {
        const auto gradient =
            Form::GradientOfHard(d, terms_, FromStorage(d, at.x + i + v), FromStorage(d, at.targets + i + v));
        ToStorage<kStream>(hn::Mul(hn::Set(d, lanes.slope), gradient), d, at.gradient + i + v);
      }
      if constexpr (kLoss) hn::StoreU(hn::Load(d, losses + v), d, at.loss + i + v);
    }
    sum_.Add(StepFrom(losses));
    return true;
  }

  // Such a step of logits.
  template <bool kGradient, bool kStream, bool kLoss>
  HWY_INLINE void SmallStep(const BinaryLaneTerms<C>& lanes, const Arrays& at, int64_t i) {
    const Tag<C> d;
    PrefetchAhead<kStep>(at.x + i);
    PrefetchAhead<kStep>(at.targets + i);
    sum_.AddSmall([&](int64_t v) XENT_LAMBDA {
      const int64_t from = i + v * LanesOf<C>();
      const auto result = LogitsForm::OfSmall(d, FromStorage(d, at.x + from), FromStorage(d, at.targets + from));
      if constexpr (kGradient) {
        ToStorage<kStream>(hn::Mul(hn::Set(d, lanes.slope), result.gradient), d, at.gradient + from);
      }
      if constexpr (kLoss) hn::StoreU(result.loss, d, at.loss + from);
      return result.loss;
    });
  }

  // A step, of which `count` elements are some.
  template <bool kPlain, bool kGradient, bool kStream, bool kLoss>
  HWY_INLINE void Step(const BinaryLaneTerms<C> lanes, const Arrays& at, int64_t i, int64_t count) {
    alignas(64) C losses[kStep];
    PrefetchAhead<kStep>(at.x + i);
    PrefetchAhead<kStep>(at.targets + i);
    for (int64_t v = 0; v < kStepVectors<C>; ++v) {
      hn::Store(Element<kPlain, kGradient, kStream, kLoss>(lanes, at, i + v * LanesOf<C>()), Tag<C>(),
                losses + v * LanesOf<C>());
    }
    if (HWY_UNLIKELY(count < kStep)) {
      std::fill(losses + count, losses + kStep, C(0));
      if (terms_.ignored == 0.0) ignored_ -= kStep - count;
    }
    sum_.Add(StepFrom(losses));
  }

  // The loss of the elements from i on; it and the gradient go to where they are wanted.
  template <bool kPlain, bool kGradient, bool kStream, bool kLoss>
  HWY_INLINE V Element(const BinaryLaneTerms<C> lanes, const Arrays& at, int64_t i) {
    const Tag<C> d;
    const auto zero = hn::Zero(d);
    const auto one = hn::Set(d, C(1));
    const auto target = FromStorage(d, at.targets + i);
    const auto x = FromStorage(d, at.x + i);
    BinaryResult<Tag<C>> result;
    if constexpr (kPlain && kIsLogits) {
      result = LogitsForm::Of(d, x, PlainBinaryWeights<Tag<C>>(d, target));
    } else {
      auto pos_weight = hn::Set(d, lanes.pos_weight);
      if (at.pos_weight != nullptr) pos_weight = hn::Mul(pos_weight, hn::LoadU(d, at.pos_weight + i));
      result = Form()(d, terms_, lanes, BinaryElement<Tag<C>>{x, target, pos_weight});
      if (at.weight != nullptr) {
        const auto weight = hn::LoadU(d, at.weight + i);
        result.loss = TimesFactor(d, weight, result.loss);
        result.gradient = TimesFactor(d, weight, result.gradient);
      }
    }
    const auto is_target = hn::And(hn::Ge(target, zero), hn::Le(target, one));
    const auto nan = hn::Set(d, CanonicalNaN<C>());
    const auto or_nan = [&](V y) HWY_ATTR { return hn::IfThenElse(hn::And(is_target, hn::Eq(y, y)), y, nan); };
    result.loss = or_nan(result.loss);
    if constexpr (kGradient) {
      auto slope = hn::Set(d, lanes.slope);
      if (!kPlain && at.upstream != nullptr) slope = hn::Mul(slope, hn::LoadU(d, at.upstream + i));
      result.gradient = TimesFactor(d, slope, or_nan(result.gradient));
    }
    const auto is_ignored = hn::Eq(target, hn::Set(d, lanes.ignored));
    if (!kPlain && lanes.has_ignored) {
      ignored_ += static_cast<int64_t>(hn::CountTrue(d, is_ignored));
      result.loss = hn::IfThenZeroElse(is_ignored, result.loss);
      if constexpr (kGradient) result.gradient = hn::IfThenZeroElse(is_ignored, result.gradient);
    }
    if constexpr (std::is_same_v<Form, ShortProbabilitiesForm>) {
      const auto is_inside = hn::Or(is_ignored, hn::And(hn::Ge(x, zero), hn::Le(x, one)));
      outside_ += LanesOf<C>() - static_cast<int64_t>(hn::CountTrue(d, is_inside));
    }
    if constexpr (kGradient) ToStorage<kStream>(result.gradient, d, at.gradient + i);
    if (kLoss && at.loss != nullptr) hn::StoreU(result.loss, d, at.loss + i);
    return result.loss;
  }

  const BinaryTerms& terms_;
  LossSumOf<C> sum_;
  int64_t ignored_ = 0;
  int64_t outside_ = 0;
};

template <bool kPlain, bool kLoss, class Run>
HWY_INLINE void RunBlock(Run* run, const typename Run::Arrays& at, int64_t first, int64_t end, bool stream) {
  if (at.gradient == nullptr) {
    run->template Go<kPlain, false, false, kLoss>(at, first, end);
  } else if (stream) {
    run->template Go<kPlain, true, Run::kHasPlainSteps, kLoss>(at, first, end);
  } else {
    run->template Go<kPlain, true, false, kLoss>(at, first, end);
  }
}

template <class Form, class T, class U>
void RunBinary(const BinaryTerms& terms, const BinaryPiece& piece, BinarySums* sums) {
  using Run = BinaryRun<Form, T, U>;
  using C = Compute<T>;
  typename Run::Arrays at = {static_cast<const T*>(piece.x),        static_cast<const U*>(piece.targets),
                             static_cast<const C*>(piece.weight),   static_cast<const C*>(piece.pos_weight),
                             static_cast<const C*>(piece.upstream), static_cast<C*>(piece.loss),
                             static_cast<U*>(piece.gradient)};
  Run run(terms);
  constexpr bool kHasPlain = Run::kHasPlainSteps;
  const bool stream = kHasPlain && piece.stream && at.gradient != nullptr && ElementsToAlignment(at.gradient) == 0;
  // What most calls are: fewer instructions, of which more are under way at once.
  const bool has_rule = !Run::kIsLogits && (terms.clip > 0.0 || terms.least_log > -88.0);  // e^-88 is subnormal
  const bool is_plain = kHasPlain && !has_rule && at.weight == nullptr && at.pos_weight == nullptr &&
                        at.upstream == nullptr && terms.smoothing == 0.0 && terms.pos_weight == 1.0 &&
                        terms.ignored != terms.ignored;
  for (int64_t first = 0; first < piece.n; first += kBinaryBlock) {
    const int64_t end = std::min(first + kBinaryBlock, piece.n);
    if (is_plain && at.loss == nullptr) {
      RunBlock<kHasPlain, false>(&run, at, first, end, stream);
    } else if (is_plain) {
      RunBlock<kHasPlain, true>(&run, at, first, end, stream);
    } else {
      RunBlock<false, true>(&run, at, first, end, stream);
    }
    run.AddTo(sums);
  }
  if (stream) hwy::FlushStream();
}

struct BinaryRow {
  BinaryKernel of_dtype[4];
};

template <class Form>
constexpr BinaryRow Computed() {
  return {{RunBinary<Form, float, float>, RunBinary<Form, double, double>, RunBinary<Form, BF16, float>,
           RunBinary<Form, F16, float>}};
}

BinaryKernel ChooseBinary(BinaryForm form, Dtype dtype, bool is_computed) {
  static constexpr BinaryRow kComputed[] = {Computed<LogitsForm>(), Computed<ShortFocalForm>(),
                                            Computed<ShortProbabilitiesForm>()};
  static constexpr BinaryRow kStored = {
      {nullptr, nullptr, RunBinary<LogitsForm, BF16, BF16>, RunBinary<LogitsForm, F16, F16>}};
  return (is_computed ? kComputed[static_cast<int>(form)] : kStored).of_dtype[static_cast<int>(dtype)];
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

BinaryKernel BinaryKernelFor(int isa, BinaryForm form, Dtype dtype, bool is_computed) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseBinary)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseBinary),
                                                                            HWY_CHOOSE_FALLBACK(ChooseBinary)};
  return kTable[isa](form, dtype, is_computed);
}

}  // namespace xent
#endif  // HWY_ONCE
