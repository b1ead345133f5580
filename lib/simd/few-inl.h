// Rows of a few classes, f32 lanes: lane = row. With S the sum of e^x over the classes but the label y:
//   q = S e^-x_y    loss = log(1 + q)    gradient at the label -q / (1 + q), at the others e^x_j (e^-x_y / (1 + q))
// A vector of rows is read class by class, four classes in one go. What stands once per row is a sum of two floats, so
// that a loss errs by what S does and by its own rounding. Three loops over the tile: sums, losses, gradient; so the
// chains of many rows overlap.
//
// Rows whose logits are neither small nor masked are careful: with A the largest logit but the label's,
//   S = sum e^(x - A)    D = A - x_y    q = S e^D; if D > 0: q = S - 1 + e^-D, loss = D + log(1 + q)
// Unusual is a row that holds NaN, +inf or nothing but -inf, whose label is -inf or trails by 2^100. Which a row is,
// and its bits, depend on its own logits.
//
// (Intel, calls in cache, part of the time that rows take which are staged: of 3, 5, 10, 16 classes, loss: AVX-512
// 0.61, 0.70, 0.83, 0.95, AVX2 0.53, 0.62, 0.75, 0.88. From 17 classes on nothing is won.)

#if defined(XENT_SIMD_FEW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_FEW_INL_H_
#undef XENT_SIMD_FEW_INL_H_
#else
#define XENT_SIMD_FEW_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/few-numbers-inl.h"
#include "lib/simd/operations-inl.h"
#include "lib/simd/pairs-inl.h"

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

// body(j, how many, whether they are the first: constants) for the classes of a row, four by four.
template <class Body>
HWY_INLINE void ForEachFour(int64_t classes, const Body& body) {
  using Whole = std::integral_constant<int, 4>;
  if (classes < 4) {
    body(0, std::integral_constant<int, 3>(), std::true_type());
    return;
  }
  body(0, Whole(), std::true_type());
  int64_t j = 4;
  for (; j + 4 <= classes; j += 4) body(j, Whole(), std::false_type());
  switch (classes - j) {
    case 1:
      body(j, std::integral_constant<int, 1>(), std::false_type());
      break;
    case 2:
      body(j, std::integral_constant<int, 2>(), std::false_type());
      break;
    case 3:
      body(j, std::integral_constant<int, 3>(), std::false_type());
      break;
    default:
      break;
  }
}

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

// q, the loss, of rows of a vector whose label leads by kFewLongLead or more, in f64.
struct FewLeads {
  // Before what is known about the rows makes place for what is found.
  HWY_INLINE FewLeads(uint64_t careful, const FewWork& work, int64_t first) : rows(0) {
    const hn::CappedTag<double, 1> d;
    for (int64_t i = 0; i < kFewRows && careful != 0; ++i) {
      const int64_t r = first + i;
      if ((careful >> i & 1) == 0 || work.logit[r] >= -kFewLongLead) continue;
      rows |= uint64_t{1} << i;
      // What an infinite gap lost is no number.
      const double lost = std::isfinite(work.lost[r]) ? static_cast<double>(work.lost[r]) : 0.0;
      const double e = hn::GetLane(Exp()(d, hn::Set(d, static_cast<double>(work.logit[r]) + lost), 0));
      q[i] = (static_cast<double>(work.sum[r]) + static_cast<double>(work.low[r])) * e;
    }
  }

  HWY_INLINE void StoreLosses(int64_t first, double* loss) const {
    for (int64_t i = 0; i < kFewRows && rows != 0; ++i) {
      if (rows >> i & 1) loss[first + i] = q[i];
    }
  }

  HWY_INLINE void StoreMarks(double slope, float* marks) const {
    for (int64_t i = 0; i < kFewRows && rows != 0; ++i) {
      if (rows >> i & 1) marks[i] = static_cast<float>(-slope * q[i]);
    }
  }

  uint64_t rows;  // a bit for each
  double q[kFewRows];
};

// The rows of a tile: sums, losses and what gradients are made of, gradients.
template <class T>
class FewTile {
 public:
  explicit FewTile(const Tile& tile, bool wants_gradient)
      : tile_(tile), kept_(wants_gradient ? static_cast<float*>(tile.stage) : nullptr) {
    const int64_t padded = (tile.rows + kFewRows - 1) / kFewRows * kFewRows;
    for (int64_t r = 0; r < tile.rows; ++r) work_.label[r] = static_cast<int32_t>(tile.labels[r]);
    std::fill(work_.label + tile.rows, work_.label + padded, static_cast<int32_t>(kSkipRow));
  }

  // False: some rows are unusual.
  HWY_INLINE bool Fold(bool* is_unusual) {
    alignas(64) float room[kFewRows * kFewClasses + kStageSlack / sizeof(float)];
    Expected hint = tile_.expected != nullptr ? *tile_.expected : Expected::kPlain;
    bool has_unusual = false;
    std::fill(is_unusual, is_unusual + tile_.rows, false);
    for (int64_t r = 0; r < tile_.rows; r += kFewRows) {
      constexpr uint64_t kAll = (uint64_t{1} << kFewRows) - 1;
      const uint64_t absent = kAll << std::min(kFewRows, tile_.rows - r) & kAll;
      const FewLogits rows(tile_, r, static_cast<const T*>(tile_.logits) + r * tile_.stride, room);
      float* const kept = kept_ != nullptr ? kept_ + r * tile_.classes : nullptr;
      uint64_t plain = absent;
      bool has_masked = false;
      if (HWY_LIKELY(hint == Expected::kPlain)) {
        plain |= FoldFew<false>(rows, r, &work_, kept, &has_masked);
      } else if (hint == Expected::kMasked) {
        plain |= FoldFew<true>(rows, r, &work_, kept, &has_masked);
      }
      uint64_t& careful = work_.careful[r / kFewRows];
      careful = 0;
      if (HWY_UNLIKELY(plain != kAll)) {
        plain = FoldOthers(rows, r, hint == Expected::kMasked, plain, absent, kept, &careful, &has_masked);
      }
      hint = plain != kAll ? Expected::kCareful : has_masked ? Expected::kMasked : Expected::kPlain;
      const uint64_t usual = plain | careful;
      if (HWY_LIKELY(usual == kAll)) continue;
      for (int64_t i = 0; i < kFewRows && r + i < tile_.rows; ++i) is_unusual[r + i] = (usual >> i & 1) == 0;
      has_unusual = true;
    }
    if (tile_.expected != nullptr) *tile_.expected = hint;
    return !has_unusual;
  }

  // Losses, and factors and marks if there is a slope.
  HWY_INLINE void FindLosses(double slope, double* loss) {
    const FewTag d;
    const auto one = hn::Set(d, 1.0f);
    const auto slopes = PartsOf(slope);
    // Careful rows take out a power of two, which joins last.
    shift_ = slope != 0.0 ? static_cast<int>(-ExponentOf(std::fabs(slope))) : 0;
    sign_ = slope < 0.0;
    const auto near_one = PartsOf(TimesPowerOfTwo(slope, shift_));
    const auto last = hn::Set(d, static_cast<float>(TimesPowerOfTwo(1.0, -shift_)));
    for (int64_t r = 0; r < tile_.rows; r += kFewRows) {
      const Parts<FewTag> sums = {hn::Load(d, work_.sum + r), hn::Load(d, work_.low + r)};
      const auto logit = hn::Load(d, work_.logit + r);
      const uint64_t careful = work_.careful[r / kFewRows];
      const auto is_careful = MaskFromBits(d, careful);
      // What is subnormal on the way would take a hundred cycles.
      const auto of_label = careful != 0 ? hn::IfThenZeroElse(is_careful, logit) : logit;
      const auto e = FewExp(ReduceExp(d, hn::Neg(of_label)));
      const auto product = FewProduct(sums, e);
      FewRatios ratios = {product, e, product};
      auto of_slope = slopes;
      auto gap = hn::Zero(d);
      auto gap_low = gap;
      if (HWY_UNLIKELY(careful != 0)) {
        gap = hn::IfThenElseZero(is_careful, logit);
        gap_low = hn::IfThenElseZero(is_careful, hn::Load(d, work_.lost + r));
        const auto of_careful = CarefulRatios(sums, gap, gap_low);
        ratios.q = Choose(is_careful, of_careful.q, ratios.q);
        ratios.own = Choose(is_careful, of_careful.own, ratios.own);
        ratios.others = Choose(is_careful, of_careful.others, ratios.others);
        of_slope = Choose(is_careful, near_one, slopes);
      }
      const FewLeads leads(careful, work_, r);
      const auto& q = ratios.q;
      const auto total = hn::Add(one, q.high);
      auto log = FewLogOnePlus(q, total);
      if (HWY_UNLIKELY(careful != 0)) {
        const auto trails = hn::Gt(gap, hn::Zero(d));
        log = hn::IfThenElse(trails, hn::Add(gap, hn::Add(log, gap_low)), log);
      }
      StoreWidened(log, loss + r);
      leads.StoreLosses(r, loss);
      if (kept_ == nullptr) continue;
      const auto more = hn::Max(one, q.high);
      const auto less = hn::Min(one, q.high);
      const auto total_low = hn::Add(hn::Sub(less, hn::Sub(total, more)), q.low);
      const auto inverse = hn::Div(one, total);
      const auto rest = hn::NegMulAdd(inverse, total_low, hn::NegMulAdd(inverse, total, one));
      const Parts<FewTag> inverses = {inverse, hn::Mul(inverse, rest)};
      const auto own = FewProduct(ratios.own, inverses);
      const auto factors = FewProduct(own, of_slope);
      const auto marks = FewProduct(FewProduct(ratios.others, inverses), of_slope);
      auto mark = hn::Neg(hn::Add(marks.high, marks.low));
      if (HWY_UNLIKELY(careful != 0)) {
        mark = hn::IfThenElse(is_careful, hn::Mul(mark, last), mark);
        constexpr float kLeast = std::numeric_limits<float>::min() * (1 << kFewRaised);
        hn::Store(hn::IfThenElseZero(is_careful, hn::Div(hn::Set(d, kLeast), own.high)), d, work_.lost + r);
      }
      hn::Store(IfRead(r, hn::Add(factors.high, factors.low)), d, work_.sum + r);
      hn::Store(mark, d, work_.low + r);
      leads.StoreMarks(slope, work_.low + r);
    }
  }

  HWY_INLINE void Write(const GradientTile& out) const {
    float* const made = kept_ + (tile_.rows + kFewRows - 1) / kFewRows * kFewRows * tile_.classes;
    for (int64_t r = 0; r < tile_.rows; r += kFewRows) {
      if (HWY_LIKELY(work_.careful[r / kFewRows] == 0)) {
        const FewTag d;
        const auto factor = hn::Load(d, work_.sum + r);
        WriteVector(r, made, [&](FewVec e) XENT_LAMBDA { return hn::Mul(e, factor); });
      } else {
        WriteCarefully(r, made);
      }
    }
    T* const to = static_cast<T*>(out.data);
    if (out.stride == tile_.classes) {
      MapOut(made, tile_.rows * tile_.classes, Itself(), to, out.stream);
    } else {
      for (int64_t r = 0; r < tile_.rows; ++r) {
        Map(made + r * tile_.classes, tile_.classes, Itself(), to + r * out.stride);
      }
    }
  }

 private:
  // A vector of rows of which some are not plain, masked classes perhaps apart: which are plain, and which careful.
  // are_told: it is known which are plain.
  HWY_NOINLINE uint64_t FoldOthers(const FewLogits& rows, int64_t r, bool are_told, uint64_t plain, uint64_t absent,
                                   float* kept, uint64_t* careful, bool* has_masked) {
    const FewColumns columns(rows, work_.label + r);
    if (!are_told) {
      plain = absent;
      if (!hn::AllFalse(FewTag(), columns.may_be_plain)) {
        plain |= FoldFew<true>(columns, r, &work_, kept, has_masked) & BitsFromMask(columns.may_be_plain);
      }
    }
    if (plain != (uint64_t{1} << kFewRows) - 1) *careful = FoldFewCarefully(columns, r, plain, &work_, kept);
    return plain;
  }

  static HWY_INLINE Parts<FewTag> PartsOf(double x) {
    const FewTag d;
    const float high = static_cast<float>(x);
    return {hn::Set(d, high), hn::Set(d, static_cast<float>(x - static_cast<double>(high)))};
  }

  // Of rows that are not read 0, of invalid ones NaN.
  HWY_INLINE FewVec IfRead(int64_t r, FewVec factor) const {
    const FewTag d;
    const hn::RebindToSigned<FewTag> di;
    const auto label = hn::Load(di, work_.label + r);
    const auto is_read = hn::RebindMask(d, hn::Gt(label, hn::Set(di, -1)));
    const auto is_invalid = hn::RebindMask(d, hn::Eq(label, hn::Set(di, static_cast<int32_t>(kInvalidLabel))));
    return hn::IfThenElse(is_read, factor, hn::IfThenElseZero(is_invalid, hn::Set(d, CanonicalNaN<float>())));
  }

  // The gradient of a vector of rows, dense; times: what makes an element of an exponential.
  template <class Times>
  HWY_INLINE void WriteVector(int64_t r, float* made, const Times& times) const {
    const FewTag d;
    const hn::RebindToSigned<FewTag> di;
    const int64_t classes = tile_.classes;
    const auto mark = hn::Load(d, work_.low + r);
    const auto label = hn::Load(di, work_.label + r);
    // From the last classes to the first: what is stored behind a row's end is written over by the next row's begin.
    for (int64_t j = (classes - 1) / 4 * 4; j >= 0; j -= 4) {
      FewVec v[4];
      for (int64_t k = 0; k < 4; ++k) {
        const float* const kept = kept_ + r * classes + std::min(j + k, classes - 1) * kFewRows;
        const auto is_label = hn::RebindMask(d, hn::Eq(label, hn::Set(di, kFewIndices[j + k])));
        v[k] = hn::IfThenElse(is_label, mark, times(hn::Load(d, kept)));
      }
      TransposeBlocks(v);
      float* const to = made + r * classes + j;
      const auto store = [&](auto block) XENT_LAMBDA {
        constexpr int kBlock = decltype(block)::value;
        for (int64_t i = 0; i < 4; ++i) {
          hn::StoreU(BlockOf<kBlock>(d, v[i]), FewBlock(), to + (4 * kBlock + i) * classes);
        }
      };
      store(std::integral_constant<int, 0>());
      if constexpr (kFewRows > 4) store(std::integral_constant<int, 1>());
      if constexpr (kFewRows > 8) store(std::integral_constant<int, 2>());
      if constexpr (kFewRows > 8) store(std::integral_constant<int, 3>());
    }
  }

  HWY_NOINLINE void WriteCarefully(int64_t r, float* made) const {
    const FewTag d;
    const auto factor = hn::Load(d, work_.sum + r);
    const auto least = hn::Load(d, work_.lost + r);
    const auto is_careful = MaskFromBits(d, work_.careful[r / kFewRows]);
    const FewSmallTimes small_times(factor, shift_ + kFewRaised, sign_);
    // The NaN of an invalid label stays one.
    const auto is_scaled = hn::And(is_careful, hn::Eq(factor, factor));
    WriteVector(r, made, [&](FewVec e) XENT_LAMBDA {
      const auto product = small_times(hn::IfThenElseZero(hn::Ge(e, least), e));
      return hn::IfThenElse(is_scaled, product, hn::Mul(e, factor));
    });
  }

  const Tile& tile_;
  float* const kept_;  // exponentials, [vectors of rows][classes][rows]; null: no gradient follows
  FewWork work_;
  int shift_;  // factors of careful rows lack 2^-shift
  bool sign_;
};

// See kernels.h.
template <class T>
bool FewRows(const Tile& tile, double slope, double* loss, const GradientTile* out, bool* is_unusual) {
  FewTile<T> rows(tile, out != nullptr);
  const bool are_usual = rows.Fold(is_unusual);
  rows.FindLosses(slope, loss);
  if (out != nullptr && are_usual) rows.Write(*out);
  return are_usual;
}

#endif  // XENT_HAS_FEW_ROWS

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_FEW_INL_H_
