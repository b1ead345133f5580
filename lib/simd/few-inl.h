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

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/few-fold-inl.h"
#include "lib/simd/pairs-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

#if XENT_HAS_FEW_ROWS

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

// Vectors of rows whose losses are found together.
constexpr int kFewVectors = HWY_CAP_GE512 ? 2 : 1;
using FewPack = std::conditional_t<kFewVectors == 1, FewTag, hn::PackTag<FewTag, kFewVectors>>;

// The rows of a tile: sums, losses and what gradients are made of, gradients.
template <class T>
class FewTile {
 public:
  explicit FewTile(const Tile& tile, bool wants_gradient)
      : tile_(tile), kept_(wants_gradient ? static_cast<float*>(tile.stage) : nullptr) {
    for (int64_t r = 0; r < tile.rows; ++r) work_.label[r] = static_cast<int32_t>(tile.labels[r]);
    std::fill(work_.label + tile.rows, work_.label + Padded(tile.rows), static_cast<int32_t>(kSkipRow));
  }

  // False: some rows are unusual.
  HWY_INLINE bool Fold(bool* is_unusual) {
    alignas(64) float room[kFewRows * kFewClasses + kStageSlack / sizeof(float)];
    Expected hint = tile_.expected != nullptr ? *tile_.expected : Expected::kPlain;
    bool has_unusual = false;
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

  // Losses, and factors and marks if a gradient follows.
  HWY_INLINE void FindLosses(double slope, double* loss) {
    slope_ = slope;
    // Careful rows take out a power of two, which joins last.
    shift_ = slope != 0.0 ? static_cast<int>(-ExponentOf(std::fabs(slope))) : 0;
    for (int64_t r = 0; r < tile_.rows;) {
      const uint64_t* const careful = work_.careful + r / kFewRows;
      const bool is_pack = r + kFewVectors * kFewRows <= Padded(tile_.rows);
      if (HWY_UNLIKELY(careful[0] != 0)) {
        FindOf<true>(FewTag(), r, loss);
      } else if (HWY_LIKELY(is_pack && careful[kFewVectors - 1] == 0)) {
        FindOf<false>(FewPack(), r, loss);
        r += (kFewVectors - 1) * kFewRows;
      } else {
        FindOf<false>(FewTag(), r, loss);
      }
      r += kFewRows;
    }
  }

  HWY_INLINE void Write(const GradientTile& out) const {
    float* const made = kept_ + Padded(tile_.rows) * tile_.classes;
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
  // Those of one vector of rows, of which some are careful, or of one or several without such.
  template <bool kCareful, class D>
  HWY_INLINE void FindOf(D d, int64_t r, double* loss) {
    static_assert(!kCareful || std::is_same_v<D, FewTag>, "one vector");
    const auto one = hn::Set(d, 1.0f);
    const Parts<D> sums = {hn::LoadU(d, work_.sum + r), hn::LoadU(d, work_.low + r)};
    const auto logit = hn::LoadU(d, work_.logit + r);
    const uint64_t careful = kCareful ? work_.careful[r / kFewRows] : 0;
    auto of_label = logit;
    // What is subnormal on the way would take a hundred cycles.
    if constexpr (kCareful) of_label = hn::IfThenZeroElse(MaskFromBits(d, careful), logit);
    const auto e = FewExp(d, ReduceExp(d, hn::Neg(of_label)));
    const auto product = FewProduct(sums, e);
    FewRatios<D> ratios = {{product.high, product.low}, {e.high, e.low}, {product.high, product.low}};
    auto of_slope = PartsOf(d, slope_);
    auto gap = hn::Zero(d);
    auto gap_low = gap;
    if constexpr (kCareful) {
      const auto is_careful = MaskFromBits(d, careful);
      gap = hn::IfThenElseZero(is_careful, logit);
      gap_low = hn::IfThenElseZero(is_careful, hn::Load(d, work_.lost + r));
      const auto of_careful = CarefulRatios(sums, gap, gap_low);
      ratios.q = Choose(is_careful, of_careful.q, ratios.q);
      ratios.own = Choose(is_careful, of_careful.own, ratios.own);
      ratios.others = Choose(is_careful, of_careful.others, ratios.others);
      of_slope = Choose(is_careful, PartsOf(d, TimesPowerOfTwo(slope_, shift_)), of_slope);
    }
    const FewLeads leads(careful, work_, r);
    const auto& q = ratios.q;
    const auto total = hn::Add(one, q.high);
    auto log = FewLogOnePlus(d, q, total);
    if constexpr (kCareful) {
      const auto trails = hn::Gt(gap, hn::Zero(d));
      log = hn::IfThenElse(trails, hn::Add(gap, hn::Add(log, gap_low)), log);
    }
    for (int i = 0; i < hn::VectorCount(d); ++i) StoreWidened(hn::VectorOf(log, i), loss + r + i * kFewRows);
    leads.StoreLosses(r, loss);
    if (kept_ == nullptr) return;
    const auto more = hn::Max(one, q.high);
    const auto less = hn::Min(one, q.high);
    const auto total_low = hn::Add(hn::Sub(less, hn::Sub(total, more)), q.low);
    const auto inverse = hn::Div(one, total);
    const auto rest = hn::NegMulAdd(inverse, total_low, hn::NegMulAdd(inverse, total, one));
    const Parts<D> inverses = {inverse, hn::Mul(inverse, rest)};
    const auto own = FewProduct(ratios.own, inverses);
    const auto factors = FewProduct(own, of_slope);
    const auto marks = FewProduct(FewProduct(ratios.others, inverses), of_slope);
    auto mark = hn::Neg(hn::Add(marks.high, marks.low));
    if constexpr (kCareful) {
      const auto is_careful = MaskFromBits(d, careful);
      const auto last = hn::Set(d, static_cast<float>(TimesPowerOfTwo(1.0, -shift_)));
      mark = hn::IfThenElse(is_careful, hn::Mul(mark, last), mark);
      constexpr float kLeast = std::numeric_limits<float>::min() * (1 << kFewRaised);
      hn::Store(hn::IfThenElseZero(is_careful, hn::Div(hn::Set(d, kLeast), own.high)), d, work_.lost + r);
    }
    hn::StoreU(IfRead(d, r, hn::Add(factors.high, factors.low)), d, work_.sum + r);
    hn::StoreU(mark, d, work_.low + r);
    leads.StoreMarks(slope_, work_.low + r);
  }

  static int64_t Padded(int64_t rows) { return (rows + kFewRows - 1) / kFewRows * kFewRows; }

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

  template <class D>
  static HWY_INLINE Parts<D> PartsOf(D d, double x) {
    const float high = static_cast<float>(x);
    return {hn::Set(d, high), hn::Set(d, static_cast<float>(x - static_cast<double>(high)))};
  }

  // Of rows that are not read 0, of invalid ones NaN.
  template <class D>
  HWY_INLINE hn::Vec<D> IfRead(D d, int64_t r, const hn::Vec<D>& factor) const {
    const hn::RebindToSigned<D> di;
    const auto label = hn::LoadU(di, work_.label + r);
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
    const FewSmallTimes small_times(factor, shift_ + kFewRaised, slope_ < 0.0);
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
  double slope_;
  int shift_;  // factors of careful rows lack 2^-shift
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
