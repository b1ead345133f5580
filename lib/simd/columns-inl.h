// Rows that lie side by side, their classes apart (images: N,C,H,W; class-major matrices): lane = row. Four (AVX-512:
// eight) classes after four are exponentiated for all rows of the tile, added to the rows' sums, and kept in the stage,
// [classes][rows], if there is one; the gradient goes the same way back. Runs of a class are read as a whole: its lines
// and those of other classes often compete for the same places in the cache. Four classes are added before they are
// widened, as (0 + 1) + (2 + 3), then f64: the order of a row's sum does not depend on the width of a vector.

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
  HWY_INLINE ColumnSums() : low(hn::Zero(Wide())), high(low) {}
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
  HWY_INLINE ColumnSums() {}
  HWY_INLINE ColumnSums(const double* sums, const double* lows)
      : lanes(hn::LoadU(Tag<double>(), sums), hn::LoadU(Tag<double>(), lows)) {}

  HWY_INLINE void Add(hn::Vec<Tag<double>> x) { lanes.Add(x); }

  HWY_INLINE void Store(double* sums, double* lows) const {
    hn::StoreU(lanes.sum, Tag<double>(), sums);
    hn::StoreU(lanes.low, Tag<double>(), lows);
  }

  SumAndLost<Tag<double>> lanes;
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
    static_assert(kMostColumns % kLanes == 0, "whole vectors of rows have room");
  }

  bool HasStage() const { return stage_ != nullptr; }
  HWY_INLINE C& At(int64_t row, int64_t j) const { return stage_[j * kMostColumns + row]; }
  C* Factors() const { return work_->factors; }
  C* Marks() const { return work_->marks; }
  // Masked logits are not 0 beside nothing.
  bool IsPlain(int64_t row) const {
    return PlainExp<T>::IsInRange(work_->ranges[row]) && (work_->sums[row] > 0.0 || tile_.classes == 1);
  }

  RowState StateOf(int64_t row) const {
    return PlainState<Unscaled<T>>(work_->sums[row], sizeof(C) == sizeof(double) ? work_->lows[row] : 0.0);
  }

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
    for (int64_t j = 0; j < tile_.classes; j += kTogether) {
      const int64_t classes = std::min(kTogether, tile_.classes - j);
      T* const to = out + j * class_stride;
      for (int64_t k = 0; k < classes; ++k) WritePart(j + k, 0, begin, to + k * class_stride);
      if (classes < kTogether) {
        for (int64_t k = 0; k < classes; ++k)
          WriteClasses<1>(j + k, begin, to + k * class_stride, class_stride, stream);
      } else {
        WriteClasses<kTogether>(j, begin, to, class_stride, stream);
      }
    }
  }

  // Exponentials without their labels', and their sums; which rows are plain, masked logits apart.
  void FoldPlainOrMasked() const {
    for (int64_t r = 0; r < tile_.rows; ++r) work_->labels[r] = static_cast<Label>(tile_.labels[r]);
    std::fill(work_->labels + tile_.rows, work_->labels + PaddedRows(), Label(-1));
    Fold<PlainExp<T>>();
    if (HWY_UNLIKELY(!ArePlain())) Fold<PlainExp<T, Unscaled<T>, true>>();
  }

 private:
  static constexpr int64_t kLanes = LanesOf<C>();
  static constexpr int64_t kTogether = 4;                        // classes that are added before they are widened
  static constexpr int64_t kMostFolded = HWY_CAP_GE512 ? 8 : 4;  // and that are folded in one go
  using Label = hwy::MakeSigned<C>;
  using Bits = hwy::MakeUnsigned<C>;

  // Whole vectors of rows.
  int64_t PaddedRows() const { return (tile_.rows + kLanes - 1) / kLanes * kLanes; }

  template <class Exp>
  void Fold() const {
    int64_t j = 0;
    for (; j + kMostFolded <= tile_.classes; j += kMostFolded) FoldClasses<Exp, kMostFolded>(j);
    for (; j + kTogether <= tile_.classes; j += kTogether) FoldClasses<Exp, kTogether>(j);
    if (j + 2 <= tile_.classes) {
      FoldClasses<Exp, 2>(j);
      j += 2;
    }
    if (j < tile_.classes) FoldClasses<Exp, 1>(j);
  }

  struct Workspace {
    double sums[kMostColumns];
    double lows[kMostColumns];  // f64 only
    Label labels[kMostColumns];
    Bits ranges[kMostColumns];
    C factors[kMostColumns];
    C marks[kMostColumns];
  };
  static_assert(sizeof(Workspace) + kStageSlack <= kColumnWorkBytes, "the caller has room for it");

  // kClasses classes of all rows.
  template <class Exp, int64_t kClasses>
  HWY_INLINE void FoldClasses(int64_t j) const {
    if (j == 0) {
      FoldClassesTo<Exp, kClasses, true>(j);
    } else {
      FoldClassesTo<Exp, kClasses, false>(j);
    }
  }

  template <class Exp, int64_t kClasses, bool kFirst>
  HWY_INLINE void FoldClassesTo(int64_t j) const {
    const int64_t whole = tile_.rows / kLanes * kLanes;
    const int64_t stride = tile_.class_stride;
    const T* const x = logits_ + j * stride;
    Workspace* const work = work_;
    C* const stage = HasStage() ? &At(0, j) : nullptr;
    const T* ahead[kClasses];
    for (int64_t k = 0; k < kClasses; ++k) ahead[k] = ClassAhead(j + k);
    for (int64_t r = 0; r < whole; r += kLanes) {
      for (int64_t k = 0; k < kClasses; ++k) PrefetchClass(ahead[k] + r);
      FoldVector<Exp, kClasses, kFirst>(j, r, work, stage,
                                        [&](int64_t k) HWY_ATTR { return FromStorage(Tag<C>(), x + k * stride + r); });
    }
    if (whole == tile_.rows) return;
    const size_t rest = static_cast<size_t>(tile_.rows - whole) * sizeof(T);
    FoldVector<Exp, kClasses, kFirst>(j, whole, work, stage, [&](int64_t k) HWY_ATTR {
      T padded[kLanes] = {};
      std::memcpy(padded, x + k * stride + whole, rest);
      return FromStorage(Tag<C>(), padded);
    });
  }

  // The processor does not foresee where the next classes lie. Whichever class is at work, that which comes so many
  // later is asked for: of this tile, or of the next one's first.
  HWY_INLINE const T* ClassAhead(int64_t j) const {
    const int64_t later = j + std::min(kMostFolded, tile_.classes);
    return later < tile_.classes ? logits_ + later * tile_.class_stride
                                 : logits_ + kMostColumns + (later - tile_.classes) * tile_.class_stride;
  }

  // Lines of classes often compete for the few places of the L1 cache.
  static HWY_INLINE void PrefetchClass(const T* from) {
    if (has_room_for_classes) {
      __builtin_prefetch(from, 0, 3);
    } else {
      __builtin_prefetch(from, 0, 2);
    }
  }

  template <class Exp, int64_t kClasses, bool kFirst, class LoadAt>
  static HWY_INLINE void FoldVector(int64_t j, int64_t r, Workspace* work, C* stage, const LoadAt& load) {
    const Tag<C> d;
    const hn::RebindToSigned<Tag<C>> di;
    const hn::RebindToUnsigned<Tag<C>> du;
    const auto labels = hn::LoadU(di, work->labels + r);
    Exp exp;
    // As many vectors take each step together as there are registers for.
    constexpr int64_t kMost = !HWY_CAP_GE256 ? 1 : HWY_CAP_GE512 && sizeof(C) == sizeof(float) ? 4 : 2;
    constexpr int kPack = static_cast<int>(std::min(kMost, kClasses));
    hn::Vec<Tag<C>> others[kClasses];
    for (int64_t first = 0; first < kClasses; first += kPack) {
      if constexpr (kPack == 1) {
        others[first] = exp(d, load(first), 0);
      } else {
        const hn::PackTag<Tag<C>, kPack> pack;
        const auto e = exp(pack, hn::MakePack<Tag<C>, kPack>([&](int i) XENT_LAMBDA { return load(first + i); }), 0);
        for (int i = 0; i < kPack; ++i) others[first + i] = e.at[i];
      }
    }
    for (int64_t k = 0; k < kClasses; ++k) {
      const auto is_label = hn::RebindMask(d, hn::Eq(labels, hn::Set(di, static_cast<Label>(j + k))));
      others[k] = hn::IfThenZeroElse(is_label, others[k]);
      if (stage != nullptr) hn::StoreU(others[k], d, stage + k * kMostColumns + r);
    }
    for (int64_t distance = 1; distance < std::min(kClasses, kTogether); distance *= 2) {
      for (int64_t k = 0; k < kClasses; k += 2 * distance) others[k] = hn::Add(others[k], others[k + distance]);
    }
    auto sums = kFirst ? ColumnSums<C>() : ColumnSums<C>(work->sums + r, work->lows + r);
    for (int64_t k = 0; k < kClasses; k += kTogether) sums.Add(others[k]);
    sums.Store(work->sums + r, work->lows + r);
    hn::StoreU(kFirst ? exp.range : hn::Or(hn::LoadU(du, work->ranges + r), exp.range), du, work->ranges + r);
  }

  // What rows have that all classes need.
  struct OfRows {
    HWY_INLINE OfRows(const Workspace* work, int64_t r)
        : labels(hn::LoadU(hn::RebindToSigned<Tag<C>>(), work->labels + r)),
          factors(hn::LoadU(Tag<C>(), work->factors + r)),
          marks(hn::LoadU(Tag<C>(), work->marks + r)) {}

    hn::Vec<hn::RebindToSigned<Tag<C>>> labels;
    hn::Vec<Tag<C>> factors, marks;
  };

  // kClasses classes, rows from `begin` on.
  template <int64_t kClasses>
  HWY_INLINE void WriteClasses(int64_t j, int64_t begin, T* out, int64_t class_stride, bool stream) const {
    if (stream) {
      WriteClassesBy<true, kClasses>(j, begin, out, class_stride);
    } else {
      WriteClassesBy<false, kClasses>(j, begin, out, class_stride);
    }
  }

  template <bool kStream, int64_t kClasses>
  HWY_INLINE void WriteClassesBy(int64_t j, int64_t begin, T* out, int64_t class_stride) const {
    const int64_t end = begin + (tile_.rows - begin) / kLanes * kLanes;
    for (int64_t r = begin; r < end; r += kLanes) {
      const OfRows rows(work_, r);
      for (int64_t k = 0; k < kClasses; ++k) {
        ToStorage<kStream>(Element(j + k, r, rows), Tag<C>(), out + k * class_stride + r);
      }
    }
    for (int64_t k = 0; k < kClasses; ++k) WritePart(j + k, end, tile_.rows, out + k * class_stride);
  }

  // Fewer rows than a vector has.
  HWY_INLINE void WritePart(int64_t j, int64_t begin, int64_t end, T* out) const {
    if (begin == end) return;
    T rounded[kLanes];
    ToStorage(Element(j, begin, OfRows(work_, begin)), Tag<C>(), rounded);
    std::memcpy(out + begin, rounded, static_cast<size_t>(end - begin) * sizeof(T));
  }

  HWY_INLINE hn::Vec<Tag<C>> Element(int64_t j, int64_t r, const OfRows& rows) const {
    const Tag<C> d;
    const hn::RebindToSigned<Tag<C>> di;
    const auto is_label = hn::RebindMask(d, hn::Eq(rows.labels, hn::Set(di, static_cast<Label>(j))));
    return hn::IfThenElse(is_label, rows.marks, hn::Mul(hn::LoadU(d, &At(r, j)), rows.factors));
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
