// Rows that lie side by side, their classes apart (images: N,C,H,W; class-major matrices): lane = row. Two classes after
// two are exponentiated for all rows of the tile, added to the rows' sums, and kept in the stage, [classes][rows], if
// there is one; the gradient goes the same way back. Runs of a class are read as a whole: its lines and those of other
// classes often compete for the same places in the cache. Two classes are added before they are widened, then f64: the
// order of a row's sum does not depend on the width of a vector.

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

// Adds a vector of rows to their sums: f32 widens to f64.
HWY_INLINE void AddToSums(Tag<float>, hn::Vec<Tag<float>> x, double* sums, double*) {
#if HWY_TARGET == HWY_SCALAR
  *sums += static_cast<double>(hn::GetLane(x));
#else
  const hn::Half<Tag<float>> half;
  const hn::Rebind<double, hn::Half<Tag<float>>> d;
  constexpr int64_t kHalf = LanesOf<float>() / 2;
  hn::StoreU(hn::Add(hn::LoadU(d, sums), hn::PromoteTo(d, hn::LowerHalf(half, x))), d, sums);
  hn::StoreU(hn::Add(hn::LoadU(d, sums + kHalf), hn::PromoteTo(d, hn::UpperHalf(half, x))), d, sums + kHalf);
#endif
}

// f64 keeps its rounding errors.
HWY_INLINE void AddToSums(Tag<double> d, hn::Vec<Tag<double>> x, double* sums, double* lows) {
  const auto before = hn::LoadU(d, sums);
  const auto sum = hn::Add(before, x);
  const auto from_x = hn::Sub(sum, before);
  const auto lost = hn::Add(hn::Sub(before, hn::Sub(sum, from_x)), hn::Sub(x, from_x));
  hn::StoreU(sum, d, sums);
  hn::StoreU(hn::Add(hn::LoadU(d, lows), lost), d, lows);
}

template <class T>
class Columns {
 public:
  using C = Compute<T>;

  explicit Columns(const Tile& tile)
      : tile_(tile),
        logits_(static_cast<const T*>(tile.logits)),
        stage_(static_cast<C*>(tile.stage)),
        work_(static_cast<Workspace*>(tile.factors)) {
    for (int64_t r = 0; r < kMostColumns; ++r) work_->labels[r] = Label(-1);
    for (int64_t r = 0; r < tile.rows; ++r) work_->labels[r] = static_cast<Label>(tile.labels[r]);
  }

  bool HasStage() const { return stage_ != nullptr; }
  HWY_INLINE C& At(int64_t row, int64_t j) const { return stage_[j * kMostColumns + row]; }
  C* Factors() const { return work_->factors; }
  C* Marks() const { return work_->marks; }
  bool IsPlain(int64_t row) const { return PlainExp<C>::IsInRange(work_->ranges[row]); }

  // Exponentials without their labels', and their sums; which rows are plain.
  void Fold(RowState* states) const {
    std::fill(work_->sums, work_->sums + kMostColumns, 0.0);
    std::fill(work_->lows, work_->lows + kMostColumns, 0.0);
    std::fill(work_->ranges, work_->ranges + kMostColumns, Bits(0));
    int64_t j = 0;
    for (; j + 2 <= tile_.classes; j += 2) FoldClasses<2>(j);
    if (j < tile_.classes) FoldClasses<1>(j);
    for (int64_t r = 0; r < tile_.rows; ++r) states[r] = RowState{work_->sums[r], work_->lows[r], 0.0, 0, kPlain};
  }

  // Each staged element times its row's factor, and at the labels their marks.
  void Write(T* out, int64_t class_stride, bool stream) const {
    constexpr size_t kVectorBytes = static_cast<size_t>(kLanes) * sizeof(T);
    const bool is_aligned = reinterpret_cast<uintptr_t>(out) % kVectorBytes == 0 &&
                            static_cast<size_t>(class_stride) * sizeof(T) % kVectorBytes == 0;
    for (int64_t j = 0; j < tile_.classes; ++j) {
      if (stream && is_aligned) {
        WriteClass<true>(j, out + j * class_stride);
      } else {
        WriteClass<false>(j, out + j * class_stride);
      }
    }
    if (stream) hwy::FlushStream();
  }

 private:
  static constexpr int64_t kLanes = LanesOf<C>();
  using Label = hwy::MakeSigned<C>;
  using Bits = hwy::MakeUnsigned<C>;

  struct Workspace {
    double sums[kMostColumns];
    double lows[kMostColumns];
    Label labels[kMostColumns];
    Bits ranges[kMostColumns];
    C factors[kMostColumns];
    C marks[kMostColumns];
  };
  static_assert(sizeof(Workspace) <= kColumnWorkBytes, "the caller has room for it");

  // kClasses classes of all rows.
  template <int64_t kClasses>
  HWY_INLINE void FoldClasses(int64_t j) const {
    const int64_t whole = tile_.rows / kLanes * kLanes;
    const T* const x = logits_ + j * tile_.class_stride;
    const int64_t stride = tile_.class_stride;
    // The processor does not foresee where the next class lies: the next two of this tile, or the next tile's first.
    const bool is_last = j + kClasses >= tile_.classes;
    const T* const next = is_last ? logits_ + kMostColumns : x + kClasses * stride;
    const T* const after = j + 2 * kClasses > tile_.classes && !is_last ? next : next + stride;
    for (int64_t r = 0; r < whole; r += kLanes) {
      hwy::Prefetch(next + r);
      hwy::Prefetch(after + r);
      FoldVector<kClasses>(j, r, [&](int64_t k) HWY_ATTR { return FromStorage(Tag<C>(), x + k * stride + r); });
    }
    if (whole == tile_.rows) return;
    const size_t rest = static_cast<size_t>(tile_.rows - whole) * sizeof(T);
    FoldVector<kClasses>(j, whole, [&](int64_t k) HWY_ATTR {
      T padded[kLanes] = {};
      std::memcpy(padded, x + k * stride + whole, rest);
      return FromStorage(Tag<C>(), padded);
    });
  }

  template <int64_t kClasses, class LoadAt>
  HWY_INLINE void FoldVector(int64_t j, int64_t r, const LoadAt& load) const {
    const Tag<C> d;
    const hn::RebindToSigned<Tag<C>> di;
    const hn::RebindToUnsigned<Tag<C>> du;
    const auto labels = hn::LoadU(di, work_->labels + r);
    PlainExp<C> exp;
    const auto kept = [&](int64_t k) HWY_ATTR {
      const auto e = exp(d, load(k), 0);
      const auto is_label = hn::RebindMask(d, hn::Eq(labels, hn::Set(di, static_cast<Label>(j + k))));
      const auto others = hn::IfThenZeroElse(is_label, e);
      if (stage_ != nullptr) hn::StoreU(others, d, &At(r, j + k));
      return others;
    };
    auto sum = kept(0);
    if constexpr (kClasses == 2) sum = hn::Add(sum, kept(1));
    AddToSums(d, sum, work_->sums + r, work_->lows + r);
    hn::StoreU(hn::Or(hn::LoadU(du, work_->ranges + r), exp.range), du, work_->ranges + r);
  }

  template <bool kStream>
  HWY_INLINE void WriteClass(int64_t j, T* out) const {
    const int64_t whole = tile_.rows / kLanes * kLanes;
    for (int64_t r = 0; r < whole; r += kLanes) ToStorage<kStream>(Element(j, r), Tag<C>(), out + r);
    if (whole == tile_.rows) return;
    T rounded[kLanes];
    ToStorage(Element(j, whole), Tag<C>(), rounded);
    std::memcpy(out + whole, rounded, static_cast<size_t>(tile_.rows - whole) * sizeof(T));
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
