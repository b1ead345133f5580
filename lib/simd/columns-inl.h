// Rows that lie side by side, their classes apart (images: N,C,H,W; class-major matrices): lane = row. Two classes
// after two are exponentiated for all rows of the tile, added to the rows' sums, and kept in the stage,
// [classes][rows], if there is one; the gradient goes the same way back. Runs of a class are read as a whole: its lines
// and those of other classes often compete for the same places in the cache. Two classes are added before they are
// widened, then f64: the order of a row's sum does not depend on the width of a vector.

#if defined(XENT_SIMD_COLUMNS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_COLUMNS_INL_H_
#undef XENT_SIMD_COLUMNS_INL_H_
#else
#define XENT_SIMD_COLUMNS_INL_H_
#endif

#include "lib/kernels.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// The sums of a vector of rows: f32 widens to f64.
template <class C>
struct ColumnSums {
  HWY_INLINE ColumnSums(const double* sums, const double*)
      : low(hn::LoadU(Wide(), sums)), high(hn::LoadU(Wide(), sums + kHalf)) {}

  HWY_INLINE void Add(hn::Vec<Tag<float>> x) {
#if HWY_TARGET == HWY_SCALAR
    low = hn::Add(low, hn::PromoteTo(Wide(), x));
#else
    const hn::Half<Tag<float>> half;
    low = hn::Add(low, hn::PromoteTo(Wide(), hn::LowerHalf(half, x)));
    high = hn::Add(high, hn::PromoteTo(Wide(), hn::UpperHalf(half, x)));
#endif
  }

  HWY_INLINE void Store(double* sums, double*) const {
    hn::StoreU(low, Wide(), sums);
    if constexpr (kHalf > 0) hn::StoreU(high, Wide(), sums + kHalf);
  }

  using Wide = hn::CappedTag<double, 8>;
  static constexpr int64_t kHalf = LanesOf<float>() / 2;  // 0: there is only one
  hn::Vec<Wide> low, high;
};

// f64 keeps its rounding errors.
template <>
struct ColumnSums<double> {
  HWY_INLINE ColumnSums(const double* sums, const double* lows)
      : sum(hn::LoadU(Tag<double>(), sums)), low(hn::LoadU(Tag<double>(), lows)) {}

  HWY_INLINE void Add(hn::Vec<Tag<double>> x) {
    const auto before = sum;
    sum = hn::Add(before, x);
    const auto from_x = hn::Sub(sum, before);
    low = hn::Add(low, hn::Add(hn::Sub(before, hn::Sub(sum, from_x)), hn::Sub(x, from_x)));
  }

  HWY_INLINE void Store(double* sums, double* lows) const {
    hn::StoreU(sum, Tag<double>(), sums);
    hn::StoreU(low, Tag<double>(), lows);
  }

  hn::Vec<Tag<double>> sum, low;
};

template <class T>
class Columns {
 public:
  using C = Compute<T>;

  explicit Columns(const Tile& tile)
      : tile_(tile),
        logits_(static_cast<const T*>(tile.logits)),
        stage_(static_cast<C*>(tile.stage)),
        work_(static_cast<Workspace*>(tile.work)) {
    for (int64_t r = 0; r < kMostColumns; ++r) work_->labels[r] = Label(-1);
    for (int64_t r = 0; r < tile.rows; ++r) work_->labels[r] = static_cast<Label>(tile.labels[r]);
  }

  bool HasStage() const { return stage_ != nullptr; }
  HWY_INLINE C& At(int64_t row, int64_t j) const { return stage_[j * kMostColumns + row]; }
  C* Factors() const { return work_->factors; }
  C* Marks() const { return work_->marks; }
  bool IsPlain(int64_t row) const { return PlainExp<T>::IsInRange(work_->ranges[row]); }

  RowState StateOf(int64_t row) const { return PlainState<Unscaled<T>>(work_->sums[row], work_->lows[row]); }

  bool ArePlain() const {
    Bits all = 0;
    for (int64_t r = 0; r < tile_.rows; ++r) all |= work_->ranges[r];
    return PlainExp<T>::IsInRange(all);
  }

  // Each staged element times its row's factor, and at the labels their marks.
  void Write(T* out, int64_t class_stride, bool stream) const {
    // Stores past the cache are aligned: rows before the first aligned one are written as the last ones are.
    constexpr size_t kVectorBytes = static_cast<size_t>(kLanes) * sizeof(T);
    stream = stream && static_cast<size_t>(class_stride) * sizeof(T) % kVectorBytes == 0;
    const size_t misaligned = reinterpret_cast<uintptr_t>(out) % kVectorBytes;
    const size_t head = stream && misaligned != 0 ? (kVectorBytes - misaligned) / sizeof(T) : 0;
    const int64_t begin = std::min(static_cast<int64_t>(head), tile_.rows);
    for (int64_t j = 0; j < tile_.classes; ++j) {
      T* const to = out + j * class_stride;
      WritePart(j, 0, begin, to);
      if (stream) {
        WriteClass<true>(j, begin, to);
      } else {
        WriteClass<false>(j, begin, to);
      }
    }
    if (stream) hwy::FlushStream();
  }

  // Exponentials without their labels', and their sums; which rows are plain, with -inf or without.
  void FoldPlainOrMasked() const {
    Fold<PlainExp<T>>();
    if (HWY_UNLIKELY(!ArePlain())) Fold<PlainExp<T, Unscaled<T>, true>>();
  }

 private:
  static constexpr int64_t kLanes = LanesOf<C>();
  using Label = hwy::MakeSigned<C>;
  using Bits = hwy::MakeUnsigned<C>;

  template <class Exp>
  void Fold() const {
    std::fill(work_->sums, work_->sums + kMostColumns, 0.0);
    std::fill(work_->lows, work_->lows + kMostColumns, 0.0);
    std::fill(work_->ranges, work_->ranges + kMostColumns, Bits(0));
    int64_t j = 0;
    for (; j + 4 <= tile_.classes; j += 4) FoldClasses<Exp, 4>(j);
    if (j + 2 <= tile_.classes) {
      FoldClasses<Exp, 2>(j);
      j += 2;
    }
    if (j < tile_.classes) FoldClasses<Exp, 1>(j);
  }

  struct Workspace {
    double sums[kMostColumns];
    double lows[kMostColumns];
    Label labels[kMostColumns];
    Bits ranges[kMostColumns];
    C factors[kMostColumns];
    C marks[kMostColumns];
  };
  static_assert(sizeof(Workspace) + kStageSlack <= kColumnWorkBytes, "the caller has room for it");

  // kClasses classes of all rows.
  template <class Exp, int64_t kClasses>
  HWY_INLINE void FoldClasses(int64_t j) const {
    const int64_t whole = tile_.rows / kLanes * kLanes;
    const int64_t stride = tile_.class_stride;
    const T* const x = logits_ + j * stride;
    Workspace* const work = work_;
    C* const stage = HasStage() ? &At(0, j) : nullptr;
    // The processor does not foresee where the next classes lie: of this tile, or the next tile's first.
    const int64_t left = tile_.classes - j - kClasses;
    const T* const next = left > 0 ? x + kClasses * stride : logits_ + kMostColumns;
    const int64_t ahead = left > 0 ? std::min(left, kClasses) : std::min(tile_.classes, kClasses);
    for (int64_t r = 0; r < whole; r += kLanes) {
      for (int64_t k = 0; k < ahead; ++k) hwy::Prefetch(next + k * stride + r);
      FoldVector<Exp, kClasses>(j, r, work, stage,
                                [&](int64_t k) HWY_ATTR { return FromStorage(Tag<C>(), x + k * stride + r); });
    }
    if (whole == tile_.rows) return;
    const size_t rest = static_cast<size_t>(tile_.rows - whole) * sizeof(T);
    FoldVector<Exp, kClasses>(j, whole, work, stage, [&](int64_t k) HWY_ATTR {
      T padded[kLanes] = {};
      std::memcpy(padded, x + k * stride + whole, rest);
      return FromStorage(Tag<C>(), padded);
    });
  }

  template <class Exp, int64_t kClasses, class LoadAt>
  static HWY_INLINE void FoldVector(int64_t j, int64_t r, Workspace* work, C* stage, const LoadAt& load) {
    const Tag<C> d;
    const hn::RebindToSigned<Tag<C>> di;
    const hn::RebindToUnsigned<Tag<C>> du;
    const auto labels = hn::LoadU(di, work->labels + r);
    Exp exp;
    const auto kept = [&](int64_t k) HWY_ATTR {
      const auto e = exp(d, load(k), 0);
      const auto is_label = hn::RebindMask(d, hn::Eq(labels, hn::Set(di, static_cast<Label>(j + k))));
      const auto others = hn::IfThenZeroElse(is_label, e);
      if (stage != nullptr) hn::StoreU(others, d, stage + k * kMostColumns + r);
      return others;
    };
    ColumnSums<C> sums(work->sums + r, work->lows + r);
    if constexpr (kClasses == 1) {
      sums.Add(kept(0));
    } else {
      for (int64_t k = 0; k < kClasses; k += 2) sums.Add(hn::Add(kept(k), kept(k + 1)));
    }
    sums.Store(work->sums + r, work->lows + r);
    hn::StoreU(hn::Or(hn::LoadU(du, work->ranges + r), exp.range), du, work->ranges + r);
  }

  // Rows from `begin` on.
  template <bool kStream>
  HWY_INLINE void WriteClass(int64_t j, int64_t begin, T* out) const {
    const int64_t end = begin + (tile_.rows - begin) / kLanes * kLanes;
    for (int64_t r = begin; r < end; r += kLanes) ToStorage<kStream>(Element(j, r), Tag<C>(), out + r);
    WritePart(j, end, tile_.rows, out);
  }

  // Fewer rows than a vector has.
  HWY_INLINE void WritePart(int64_t j, int64_t begin, int64_t end, T* out) const {
    if (begin == end) return;
    T rounded[kLanes];
    ToStorage(Element(j, begin), Tag<C>(), rounded);
    std::memcpy(out + begin, rounded, static_cast<size_t>(end - begin) * sizeof(T));
  }

  HWY_INLINE hn::Vec<Tag<C>> Element(int64_t j, int64_t r) const {
    const Tag<C> d;
    const hn::RebindToSigned<Tag<C>> di;
    const auto labels = hn::LoadU(di, work_->labels + r);
    const auto is_label = hn::RebindMask(d, hn::Eq(labels, hn::Set(di, static_cast<Label>(j))));
    const auto product = hn::Mul(hn::LoadU(d, &At(r, j)), hn::LoadU(d, work_->factors + r));
    return hn::IfThenElse(is_label, hn::LoadU(d, work_->marks + r), product);
  }

  const Tile& tile_;
  const T* const logits_;
  C* const stage_;
  Workspace* const work_;
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_COLUMNS_INL_H_
