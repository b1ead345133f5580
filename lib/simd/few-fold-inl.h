// Rows of a few classes (few-inl.h) to their sums: a vector of rows at a time, class by class; plain, plain beside
// masked classes, or careful.

#if defined(XENT_SIMD_FEW_FOLD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_FEW_FOLD_INL_H_
#undef XENT_SIMD_FEW_FOLD_INL_H_
#else
#define XENT_SIMD_FEW_FOLD_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "lib/kernels.h"
#include "lib/simd/few-numbers-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

#if XENT_HAS_FEW_ROWS

// What the rows of a tile have.
struct FewWork {
  alignas(64) float sum[kFewTileRows];    // then factors
  alignas(64) float low[kFewTileRows];    // then marks
  alignas(64) float logit[kFewTileRows];  // of the label; careful rows: the largest other logit less the label's
  alignas(64) float lost[kFewTileRows];   // what rounding that lost; then the least e^x that is not 0
  alignas(64) int32_t label[kFewTileRows];
  uint64_t careful[kFewTileRows / kFewRows];  // a bit for each row of a vector
};

// The sums of a vector of rows, class by class.
template <bool kMasked>
class FewSums {
 public:
  // kept: room for all classes, or null.
  HWY_INLINE FewSums(hn::Vec<hn::RebindToSigned<FewTag>> labels, float* kept)
      : labels_(labels), sum_(hn::Zero(FewTag())), low_(sum_), logit_(sum_), kept_(kept) {}

  // Four classes first.
  template <int kClasses, bool kFirst>
  HWY_INLINE void Add(int64_t j, const FewVec (&x)[4]) {
    const FewTag d;
    const hn::RebindToSigned<FewTag> di;
    constexpr int kPack = std::min(kClasses, HWY_CAP_GE512 ? 4 : 2);
    // The logits first: there are no registers to keep them.
    hn::Mask<FewTag> is_label[4];
    HWY_UNROLL(4)
    for (int k = 0; k < kClasses; ++k) {
      is_label[k] = hn::RebindMask(d, hn::Eq(labels_, hn::Set(di, kFewIndices[j + k])));
      logit_ = hn::IfThenElse(is_label[k], x[k], logit_);
    }
    FewVec others[4];
    HWY_UNROLL(4)
    for (int first = 0; first < kClasses; first += kPack) {
      if constexpr (kPack == 1) {
        others[first] = exp_(d, x[first], 0);
      } else {
        // The last pack of three classes overlaps the one before.
        const int from = std::min(first, kClasses - kPack);
        const auto e = exp_(hn::PackTag<FewTag, kPack>(),
                            hn::MakePack<FewTag, kPack>([&](int i) XENT_LAMBDA { return x[from + i]; }), 0);
        for (int i = 0; i < kPack; ++i) others[from + i] = e.at[i];
      }
    }
    HWY_UNROLL(4)
    for (int k = 0; k < kClasses; ++k) {
      if (kept_ != nullptr) hn::Store(others[k], d, kept_ + (j + k) * kFewRows);
      others[k] = hn::IfThenZeroElse(is_label[k], others[k]);
    }
    if constexpr (kFirst) {
      sum_ = hn::Add(others[0], others[1]);
    } else {
      AddTerm(kClasses > 1 ? hn::Add(others[0], others[1]) : others[0]);
    }
    if constexpr (kClasses == 3) AddTerm(others[2]);
    if constexpr (kClasses == 4) AddTerm(hn::Add(others[2], others[3]));
  }

  HWY_INLINE hn::Mask<FewTag> ArePlain() const {
    const FewTag d;
    const hn::RebindToUnsigned<FewTag> du;
    const auto beyond = hn::AndNot(hn::Set(du, Exp::Allowed()), exp_.range);
    const auto has_sum = hn::And(hn::Gt(sum_, hn::Set(d, kFewLeastSum)), hn::Lt(sum_, hn::Set(d, kFewMostSum)));
    const auto has_label = hn::Lt(hn::Abs(logit_), hn::Set(d, kFewFarthestLabel));
    return hn::And(hn::RebindMask(d, hn::Eq(beyond, hn::Zero(du))), hn::And(has_sum, has_label));
  }

  HWY_INLINE bool HasMasked() const { return exp_.Found() != Expected::kPlain; }

  HWY_INLINE void Store(float* sum, float* low, float* logit) const {
    const FewTag d;
    hn::Store(sum_, d, sum);
    hn::Store(low_, d, low);
    hn::Store(logit_, d, logit);
  }

 private:
  using Exp = PlainExp<float, Unscaled<float>, kMasked>;

  HWY_INLINE void AddTerm(FewVec term) {
    const auto before = sum_;
    sum_ = hn::Add(before, term);
    low_ = hn::Add(low_, LostByAnySum(before, term, sum_));
  }

  Exp exp_;
  hn::Vec<hn::RebindToSigned<FewTag>> labels_;
  FewVec sum_;
  FewVec low_;
  FewVec logit_;
  float* kept_;
};

// body(j, how many, whether they are the first: constants) for classes four by four.
template <class Body>
HWY_INLINE void ForFours(int64_t classes, const Body& body) {
  using First = std::true_type;
  using Next = std::false_type;
  if (classes < 4) return body(0, std::integral_constant<int, 3>(), First());
  body(0, std::integral_constant<int, 4>(), First());
  int64_t j = 4;
  for (; j + 4 <= classes; j += 4) body(j, std::integral_constant<int, 4>(), Next());
  if (classes - j == 1) body(j, std::integral_constant<int, 1>(), Next());
  if (classes - j == 2) body(j, std::integral_constant<int, 2>(), Next());
  if (classes - j == 3) body(j, std::integral_constant<int, 3>(), Next());
}

// As many rows as a vector has, dense, or one.
struct FewLogits {
  // Those of a tile from `first` on: they themselves, or a copy, in which those that are not read or do not exist are
  // 0.
  template <class T>
  HWY_INLINE FewLogits(const Tile& tile, int64_t first, const T* x, float* room)
      : at(room), classes(tile.classes), is_single(tile.rows == 1) {
    const int64_t count = std::min(kFewRows, tile.rows - first);
    if (HWY_LIKELY(tile.is_read && tile.stride == classes)) {
      if constexpr (std::is_same_v<T, float>) {
        if (HWY_LIKELY(count == kFewRows || is_single)) {
          at = x;
          return;
        }
      }
      Map(x, count * classes, Itself(), room);
      if (is_single) return;
    } else {
      for (int64_t r = 0; r < count; ++r) {
        if (tile.labels[first + r] == kSkipRow) {
          std::fill(room + r * classes, room + (r + 1) * classes, 0.0f);
        } else {
          Map(x + r * tile.stride, classes, Itself(), room + r * classes);
        }
      }
    }
    std::fill(room + count * classes, room + kFewRows * classes, 0.0f);
  }

  // body(j, their lanes, how many, whether they are the first) for the classes, four by four.
  template <class Body>
  HWY_INLINE void ForEachFour(const Body& body) const {
    ForFours(classes, [&](int64_t j, auto count, auto is_first) XENT_LAMBDA {
      FewVec v[4];
      PrefetchAhead<4 * kFewRows>(at + j * kFewRows);
      LoadClasses<decltype(count)::value>(at + j, classes, is_single, v);
      body(j, v, count, is_first);
    });
  }

  const float* at;
  int64_t classes;
  bool is_single;
};

HWY_INLINE uint64_t BitsFromMask(hn::Mask<FewTag> mask) {
  uint8_t bytes[8] = {};
  hn::StoreMaskBits(FewTag(), mask, bytes);
  uint64_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

// The same class by class, where some rows are not plain, and what tells which.
struct FewColumns {
  HWY_INLINE FewColumns(const FewLogits& rows, const int32_t* labels) : classes(rows.classes) {
    const FewTag d;
    const hn::RebindToSigned<FewTag> di;
    const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
    const auto label = hn::Load(di, labels);
    most = hn::Neg(infinity);
    of_label = hn::Zero(d);
    are_numbers = hn::Eq(of_label, of_label);
    may_be_plain = are_numbers;
    rows.ForEachFour([&](int64_t j, const FewVec(&v)[4], auto count, auto) XENT_LAMBDA {
      for (int k = 0; k < decltype(count)::value; ++k) {
        const auto is_label = hn::RebindMask(d, hn::Eq(label, hn::Set(di, kFewIndices[j + k])));
        are_numbers = hn::And(are_numbers, hn::Lt(v[k], infinity));
        const auto is_small = hn::Lt(hn::Abs(v[k]), hn::Set(d, kFewFarthest));
        may_be_plain = hn::And(may_be_plain, hn::Or(is_small, hn::Lt(v[k], hn::Set(d, Unscaled<float>::Masked()))));
        of_label = hn::IfThenElse(is_label, v[k], of_label);
        most = hn::Max(most, hn::IfThenElse(is_label, hn::Neg(infinity), v[k]));
        hn::Store(v[k], d, at + (j + k) * kFewRows);
      }
    });
  }

  HWY_INLINE FewVec Class(int64_t j) const { return hn::Load(FewTag(), at + j * kFewRows); }

  // Of rows that cannot be plain, 0: what is subnormal on the way would take a hundred cycles.
  template <class Body>
  HWY_INLINE void ForEachFour(const Body& body) const {
    ForFours(classes, [&](int64_t j, auto count, auto is_first) XENT_LAMBDA {
      FewVec v[4];
      for (int k = 0; k < decltype(count)::value; ++k) v[k] = hn::IfThenElseZero(may_be_plain, Class(j + k));
      body(j, v, count, is_first);
    });
  }

  alignas(64) float at[kFewClasses * kFewRows];
  int64_t classes;
  FewVec most;                   // of the logits but the label's
  FewVec of_label;               // 0 without a label
  hn::Mask<FewTag> are_numbers;  // below infinity
  hn::Mask<FewTag> may_be_plain;
};

// One vector of rows. Whether each is plain: a bit.
template <bool kMasked, class Rows>
HWY_INLINE uint64_t FoldFew(const Rows& rows, int64_t first, FewWork* work, float* kept, bool* has_masked) {
  FewSums<kMasked> sums(hn::Load(hn::RebindToSigned<FewTag>(), work->label + first), kept);
  rows.ForEachFour([&](int64_t j, const FewVec(&x)[4], auto count, auto is_first)
                       XENT_LAMBDA { sums.template Add<decltype(count)::value, decltype(is_first)::value>(j, x); });
  sums.Store(work->sum + first, work->low + first, work->logit + first);
  if (kMasked) *has_masked |= sums.HasMasked();
  return BitsFromMask(sums.ArePlain());
}

// The careful ones among the rows of a vector that are not `plain`. With A the largest logit but the label's, which a
// difference from it rounds, and that is not lost: the sum of e^(x - A), and A - x_y. Whether each is one: a bit.
HWY_INLINE uint64_t FoldFewCarefully(const FewColumns& rows, int64_t first, uint64_t plain, FewWork* work,
                                     float* kept) {
  const FewTag d;
  const hn::RebindToSigned<FewTag> di;
  const auto label = hn::Load(di, work->label + first);
  const auto minus_infinity = hn::Set(d, -std::numeric_limits<float>::infinity());
  const auto most = rows.most;
  const auto of_label = rows.of_label;
  const auto gap = hn::Sub(most, of_label);
  // A larger one may have overflown, or the label is -inf.
  const auto is_near = hn::Lt(gap, hn::Set(d, 0x1p100f));
  const uint64_t careful = BitsFromMask(hn::And(rows.are_numbers, is_near)) & ~plain;
  const auto is_careful = MaskFromBits(d, careful);
  const auto anchor = hn::IfThenElseZero(hn::And(is_careful, hn::Gt(most, minus_infinity)), most);

  const auto least = hn::Set(d, kFewLeastExponent);
  auto sum = hn::Zero(d);
  auto low = hn::Zero(d);
  for (int64_t j = 0; j < rows.classes; ++j) {
    const auto logit = rows.Class(j);
    const auto distance = hn::Sub(logit, anchor);
    const auto is_kept = hn::Ge(distance, least);
    const auto lost = LostByAnySum(logit, hn::Neg(anchor), distance);
    const auto reduced = RaisedExp(hn::Max(distance, least), hn::IfThenElseZero(is_kept, lost));
    const auto e = hn::IfThenElseZero(is_kept, ExpScaled(d, reduced, reduced.shifted));
    if (kept != nullptr) {
      hn::Store(hn::IfThenElse(is_careful, e, hn::Load(d, kept + j * kFewRows)), d, kept + j * kFewRows);
    }
    const auto term = hn::IfThenZeroElse(hn::RebindMask(d, hn::Eq(label, hn::Set(di, kFewIndices[j]))), e);
    const auto before = sum;
    sum = hn::Add(before, term);
    low = hn::Add(low, LostByAnySum(before, term, sum));
  }
  const auto store = [&](FewVec value, float* to)
                         XENT_LAMBDA { hn::Store(hn::IfThenElse(is_careful, value, hn::Load(d, to)), d, to); };
  const auto lowered = hn::Set(d, 1.0f / (1 << kFewRaised));
  store(hn::Mul(sum, lowered), work->sum + first);
  store(hn::Mul(low, lowered), work->low + first);
  store(gap, work->logit + first);
  hn::Store(LostByAnySum(most, hn::Neg(of_label), gap), d, work->lost + first);
  return careful;
}

#endif  // XENT_HAS_FEW_ROWS

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_FEW_FOLD_INL_H_
