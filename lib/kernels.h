// The interface of room 3 (lib/simd): tables of function pointers, one table per instruction set and storage type.
// Kernels know rows, labels and exponentials. Losses, reductions and options live in room 2.
#ifndef XENT_LIB_KERNELS_H_
#define XENT_LIB_KERNELS_H_

#include <cstdint>

namespace xent {

enum class Dtype : int32_t { kF32, kF64, kBF16, kF16 };

// Elements of a chunk: the piece of a long row that is plain or careful as one. Rows of at most so many classes are
// staged many at a time. The bits of results depend on it.
constexpr int64_t kChunk = 2048;

// Classes of a slice, the piece of a long row that a thread takes, and the most states that it has.
constexpr int64_t kSlice = 16 * kChunk;
constexpr int64_t kSliceStates = 1 + kSlice / kChunk;

// Bytes of the stage of several rows; it fits the L1 cache beside another. And of the slack behind it that whole
// vectors may touch.
constexpr int64_t kStageBytes = 12288;
constexpr int64_t kStageSlack = 256;

// Rows of so many classes are staged and written one by one: their tiles need no factors, and a stage for a single row
// if it is not kept.
constexpr int64_t kOwnLoop = 256;

// Logits that are widened at a time.
constexpr int64_t kWiden = 256;

// Labels that stand for "this row is not read", and, where the caller tells them apart, for "neither is this, and its
// results are NaN".
constexpr int64_t kSkipRow = -1;
constexpr int64_t kInvalidLabel = -2;

// Arrays with one value per row have room for a multiple of so many: the longest vector.
constexpr int64_t kRowLanes = 8;
// Losses of rows of few classes are written up to a multiple of so many.
constexpr int64_t kFewTogether = 32;

// Rows that are staged together at most: a multiple of kTileRows.
constexpr int64_t kPlainTileRows = 96;

// The most classes that few_rows knows, and the most rows at a time, a multiple of kTileRows.
constexpr int64_t kFewClasses = 16;
constexpr int64_t kFewTileRows = 192;
static_assert(kFewClasses * kFewTileRows * 4 <= kStageBytes, "half of a stage holds a tile");

// How the exponentials of a row are represented, decided by the row's own logits.
enum Plan : int32_t {
  kPlain = 0,      // every exponent is small: e^x itself, no maximum needed
  kCareful = 1,    // e^(x - anchor) relative to 2^exponent
  kOtherClass = 2  // a saved state only: what it leaves out is not the label, or the row was masked
};

// What a row, or a chunk of one, turns out to be: plain, plain but for masked classes, or careful. What the last one
// was is what the next one is taken for first; it makes no difference to the bits.
enum class Expected : int32_t { kPlain, kMasked, kCareful };

// The sum over a row's classes, label left out, of e^x: (sum + low) * 2^exponent * e^anchor. NaN: the row holds NaN
// or +inf. 0: all its classes are -inf.
struct RowState {
  double sum;
  double low;
  double anchor;
  int32_t exponent;
  int32_t plan;
};

// Dense targets of rows whose classes are adjacent, f32 or of the logits' type. Null: none.
struct TargetRows {
  const void* data;
  int64_t stride;
  bool are_singles;
};

// Of one row: the sum of u_j (x_y - x_j), that of the others' u_j, and u_y. Not finite where f32 does not hold them, or
// a target is negative or NaN.
struct TargetSums {
  double gaps;
  double rest;
  double own;
};

// Of a row, or a chunk of one, whose largest logit is `top`: the sum of e^z_j over the others, and of e^z_j (top - x_j)
// over all, relative to 2^exponent e^anchor. NaN: it holds NaN or +inf. A top of -inf: nothing else.
struct EntropySums {
  double top;
  double others;
  double gaps;
  double anchor;
  int32_t exponent;
};

// What a row's gradient is made of: scale * e^(x_j - anchor) / (total * 2^exponent) - offset - target * u_j for every
// class but the label. Tilted, the first term is multiplied by base + tilt * (x_j - top), top the largest logit; of f32
// lanes.
struct RowGrad {
  enum Kind : int32_t { kSoftmax, kZero, kNaN };
  double scale;
  double total;  // in [4, 8), or up to 2^123 where the scale is large
  double anchor;
  double label_value;
  double offset;
  double target;
  double base;
  double tilt;
  double top;
  int32_t exponent;
  int32_t plan;
  Kind kind;
  bool is_tilted;
};

// Rows that lie side by side (stride 1), their classes apart, are staged class by class: so many at a time, a multiple
// of kTileRows and of a cache line; so many classes, so that the stage fits the L2 cache; and bytes for what each row
// has.
constexpr int64_t kMostColumns = 960;
constexpr int64_t kMostColumnClasses = 384;
constexpr int64_t kColumnWorkBytes = 6 * 8 * kMostColumns + kStageSlack;

// Consecutive rows that are staged together. Class j of row r is at logits[r * stride + j * class_stride], one of
// them 1.
struct Tile {
  const void* logits;
  int64_t stride;
  int64_t class_stride;
  int64_t rows;
  int64_t classes;
  const int64_t* labels;  // one per row; kSkipRow: not read, or at least not used
  void* stage;            // 64-byte aligned, for rows * classes exponentials and the slack; columns: kMostColumns *
                          // classes, or null if no gradient follows
  void* work;             // columns: kColumnWorkBytes; else not used
  bool keeps_stage;       // write_staged or write_plain follows
  bool is_read;           // every row is; false: perhaps not
  double scale;        // z = scale * x takes the logits' place; 1 but for f32 lanes with FMA, rows of adjacent classes
  Expected* expected;  // rows of adjacent classes: what they are taken for; else not used
};

// A piece of one row.
struct Slice {
  const void* logits;
  int64_t classes;
  int64_t label;       // relative to the slice; outside [0, classes): not in it
  void* stage;         // room for the exponentials of a chunk, or of all classes if they are kept
  bool keeps_stage;    // fold_slice leaves plain exponentials for write_slice, which else computes them again
  double scale;        // as a tile's
  TargetRows targets;  // of its classes
  Expected* expected;  // null: plain
};

// The rest of a row's gradient, whose exponentials are kept: it can be written while another row is folded, so that the
// memory is read and written at the same time. They may lie where that row's go, or less than a step behind: each
// step reads them before it writes.
struct PendingWrite {
  const void* stage;
  void* out;
  int64_t left;  // elements; 0: nothing is pending
  double factor;
  double offset;
  void* label_out;  // null: none, or written
  double label_value;
  bool stream;  // something was written past the cache
};

struct GradientTile {
  void* data;
  int64_t stride;
  int64_t class_stride;
  bool stream;        // bypass the cache: the gradient is much larger than it
  bool are_products;  // nothing is tilted, and every offset is 0, or that of write_plain
  double offset;      // of write_plain, of each row that is read
  TargetRows targets;
};

struct SoftmaxKernels {
  bool knows_scale;     // false: tiles and slices have scale 1
  int64_t few_classes;  // rows of 2 to so many have few_rows; 0: none
  // Exponentials of the rows into the stage, and their states.
  void (*stage_rows)(const Tile& tile, RowState* states);
  // Turns the staged exponentials into gradients and writes them.
  void (*write_staged)(const Tile& tile, const RowState* states, const RowGrad* grads, const GradientTile& out);
  // The same for rows with nothing unusual: stage_plain, MathKernels::plain_rows and write_plain. Numbers instead of
  // states: the sums of the rows without their labels, the labels' logits; 1 and 0 for rows that are not read. False:
  // one of the rows is careful, and nothing was found. Some of what is pending is written meanwhile.
  bool (*stage_plain)(const Tile& tile, double* sums, double* logit, PendingWrite* pending);
  // Each exponential times its row's factor less the tile's offset; at the labels their marks; 0 for rows that are not
  // read. Finishes what is pending, and may leave this pending.
  void (*write_plain)(const Tile& tile, const double* factors, const double* marks, const GradientTile& out,
                      PendingWrite* pending);
  // Losses of rows of few classes and their gradient, if out is given, lane = row. Two classes have a closed form: no
  // row is too unusual, invalid labels give NaN, and |slope| <= 1 joins when the lanes have been rounded; the stage has
  // 2 kMostColumns floats. More must be adjacent, 2^-60 < |slope| < 2^60; rows with something unusual are marked, their
  // losses are none, and then no gradient is written; false. Others may be left as they were marked. `loss` has room
  // for a multiple of kFewTogether. The stage has room for twice the exponentials of the rows, up to a multiple of 16,
  // if there is a gradient; else it is not used.
  bool (*few_rows)(const Tile& tile, double slope, double* loss, const GradientTile* out, bool* is_unusual);
  // The states of a slice, kSliceStates at most, and how many they are. Writes some of what is pending meanwhile.
  int64_t (*fold_slice)(const Slice& slice, RowState* states, PendingWrite* pending);
  // Finishes what is pending, and writes the gradient of a piece of a row. What need not be written at once is left
  // pending.
  void (*begin_write)(const Slice& slice, const RowGrad& grad, void* out, bool stream, PendingWrite* pending);
  // What all kernels wrote past the cache can be read by other threads only after this.
  void (*finish_write)(PendingWrite* pending);
  // For each row that is read the sum of x_j - x_y, y its label, in f64. Not for f64 logits.
  void (*sum_differences)(const Tile& tile, double* sums);
  // The sums of each row that is read, y its label. Of f32 lanes.
  void (*sum_targets)(const Tile& tile, const TargetRows& targets, TargetSums* sums);
  // Of each row that is read, of kChunk classes at most. Of f32 lanes.
  void (*sum_entropies)(const Tile& tile, EntropySums* sums);
  // The same, but for the gaps, which mean nothing then.
  void (*sum_others)(const Tile& tile, EntropySums* sums);
  // The first largest logit of each row that is read; -1 where there is NaN or +inf. Not of columns.
  void (*find_largest)(const Tile& tile, int64_t* classes);
  // Logits of the labels, widened; 0 for rows that are not read.
  void (*gather)(const Tile& tile, double* values);
  // n <= kWiden consecutive logits, widened; and values rounded to such.
  void (*widen)(const void* logits, int64_t n, double* values);
  void (*narrow)(const double* values, int64_t n, void* out);
};

// What the gradient elements of a row have in common: p_j (a - d (gap + top - z_j)) - b u_j.
struct GradientTerms {
  double a;
  double b;
  double d;
  double gap;  // lse - top
  double top;
  double least;  // a smaller p_j counts as 0
};

// z = cap tanh(scale x / cap). is_short: good to f32 exponents, where logits are no doubles.
struct CapTerms {
  double scale;
  double cap;
  bool is_short;
};

// Rows of doubles whose classes have terms of their own. Arrays may be read as far as kStageSlack behind their end.
struct TermKernels {
  // The largest of n numbers and its first index; NaN or +inf where one is there.
  void (*largest)(const double* z, int64_t n, double* value, int64_t* index);
  // The sum of x_j, j != without.
  double (*sum)(const double* x, int64_t n, int64_t without);
  // The sum of w_j (top - z_j), 0 where w_j is.
  double (*sum_of_gaps)(const double* weights, const double* z, int64_t n, double top);
  // The gradient elements, times the slopes. u, slopes: null for 0 and 1. out may be p.
  void (*combine)(const GradientTerms& terms, const double* p, const double* z, const double* u, const double* slopes,
                  int64_t n, double* out);
  // Caps n logits, and finds the slopes dz / dx if there is an array for them. What is not finite stays as it is. Both
  // arrays are written up to kStageSlack bytes further.
  void (*cap)(const CapTerms& terms, int64_t n, double* z, double* slopes);
};

// Softcapped rows of n adjacent logits of f32 lanes, in f32; cap is kMostShortCap at most, so that no exponential needs
// a maximum. Null: f64 only.
constexpr double kMostShortCap = 36.0;
// Products of exponentials and slopes are so many times as large: none is subnormal.
constexpr double kCappedLift = 0x1p45;
struct CappedKernels {
  // The sum of e^z over all classes but one. False: a logit is no number, or so far out that its slope is none that a
  // float holds. kept: e^z of each class; if it has slopes, times kCappedLift dz / dx over 4 scale; 64-byte aligned and
  // with kStageSlack; null: not wanted.
  bool (*sum)(const CapTerms& terms, const void* x, int64_t n, int64_t without, bool has_slopes, float* kept,
              RowState* state);
  // These times a factor, in the logits' type.
  void (*write)(double factor, const float* kept, int64_t n, void* out);
};

// Plain rows whose loss is lse - logit of their label: what goes in, and what comes out. Arrays are read and written up
// to a multiple of kRowLanes.
struct PlainRows {
  int64_t count;
  bool is_double;        // the lanes that made the sums
  const double* sums;    // without the label
  const double* logit;   // of the label
  double slope;          // d(objective) / d(row loss)
  const double* slopes;  // each row's, in place of it; null: all have the same
  double target_own;     // the label's target, and that of all other classes; 1 and 0 if rows have own slopes, or for
  double target_rest;    // doubles
  double scale;          // d(the row's numbers) / d(logits)
  double* gap;           // lse - logit, the loss
  double* factor;        // of e^x in the gradient, scale slope (own + rest) / (S + e); null: no gradient
  double* mark;          // the label's element, scale (-slope own S / (S + e) + slope rest e / (S + e))
};

// Sums of values of rows, and what rounding them lost: row r is added to sum r % kRowLanes.
struct LaneSums {
  double sum[kRowLanes] = {};
  double low[kRowLanes] = {};
};

// e^x = mantissa * 2^exponent; logarithm of one + x * 2^exponent. Exact roundings only: no libm.
struct MathKernels {
  // |x| <= 2^20.
  void (*exp_parts)(const double* x, int64_t n, double* mantissa, double* exponent);
  // one is 0 or 1; x >= 0 finite, integers |exponent| <= 2^24. Result <= 1 ULP from the real logarithm.
  void (*log_scaled)(double one, const double* x, const double* exponent, int64_t n, double* result);
  // log_scaled(1, ...), of rows of f32 lanes that could be plain within 1.1e-10 of itself.
  void (*log_one_plus)(const double* x, const double* exponent, int64_t n, double* result);
  // The bits that AddLeftOut, FindTotals, FindLosses and FindGrads give, in one loop, where no number is so large or
  // small that it would have to be scaled. False: one is, and nothing was found.
  bool (*plain_rows)(const PlainRows& rows);
  // Adds the values of n rows from `first` on, but 0 and NaN where the label is kSkipRow and kInvalidLabel. Null: none
  // is.
  void (*sum_rows)(const double* values, const int64_t* labels, int64_t first, int64_t n, LaneSums* sums);
};

// What rows are worked on with.
struct RowKernels {
  const SoftmaxKernels& logits;
  const SoftmaxKernels& doubles;  // for numbers that were widened
  const MathKernels& math;
};

// Labels of one integer type. A label is ignored, or a class in [0, classes), or invalid.
struct LabelKernels {
  void (*count)(const void* labels, int64_t n, int64_t ignore_index, int64_t classes, int64_t* ignored,
                int64_t* invalid);
  // Ignored ones become kSkipRow, invalid ones kInvalidLabel. Negative: one of them did.
  int64_t (*widen)(const void* labels, int64_t n, int64_t ignore_index, int64_t classes, int64_t* widened);
};

// Which loss of an input and a target in [0, 1] an element has.
enum class BinaryForm : int32_t { kLogits, kFocal, kProbabilities };

// What the elements of a binary loss have in common.
struct BinaryTerms {
  double slope;          // d(objective) / d(element's loss), before weights
  double pos_weight;     // of target 1
  double smoothing;      // eps: targets become (1 - eps) t + eps / 2
  double ignored;        // this target is left out; NaN: none is
  double gamma;          // focal: (1 - p_t)^gamma
  double alpha;          // focal: target 1 weighs alpha, target 0 1 - alpha; negative: both 1
  double least_log;      // probabilities: no logarithm is less; -infinity: any may be
  double least_product;  // p (1 - p) counts as this at least where the gradient divides by it; 0: exact
  double clip;           // probabilities are clipped to [clip, 1 - clip], where the gradient is 0
};

// A run of elements. Arrays but x, targets and gradient are f64 for f64 inputs, else f32; null: 1, or not wanted.
struct BinaryPiece {
  int64_t n;
  const void* x;
  const void* targets;
  const void* weight;
  const void* pos_weight;
  const void* upstream;
  void* loss;
  void* gradient;
  bool stream;
};

// Elements whose losses are summed first.
constexpr int64_t kBinaryBlock = 512;

// The sum of the losses as sum + low, and the elements that are left out, or whose probability is none. A kernel adds
// its piece, block by block.
struct BinarySums {
  double sum;
  double low;
  int64_t ignored;
  int64_t outside;
};

using BinaryKernel = void (*)(const BinaryTerms& terms, const BinaryPiece& piece, BinarySums* sums);

// Measures of one or two distributions, and what their elements are given as.
enum class Measure : int32_t { kEntropy, kCrossEntropy, kKullbackLeibler, kJensenShannon, kConditional, kIndependence };
enum class Given : int32_t { kProbabilities, kLogs, kLogits };

// What the elements of a row have in common.
struct InformationTerms {
  Measure measure;
  Given p;
  Given q;
  double p_top;  // log p_j = (x_j - top) - gap, of logits
  double p_gap;
  double q_top;
  double q_gap;
  double beta;  // Jensen-Shannon: of p in the mixture
  // Gradients only: what they are multiplied by, and what the derivatives of a row's logits have as their mean.
  double p_slope;
  double q_slope;
  double p_mean;
  double q_mean;
};

// Rows of doubles, n elements in arrays that have kStageSlack behind them.
struct InformationKernels {
  // Terms of the measure, none of them negative where p and q are distributions, and what else is summed:
  //   cross-entropy      -p log q                      p
  //   Kullback-Leibler   p log(p / q) - (p - q)        p                             p - q
  //   Jensen-Shannon     both parts, as above          beta p log(p / m)             (1 - beta) q log(q / m)
  //   conditional        p log(q / p), q >= p >= 0 numbers of any size, q - p given in p_part; derivative log(q / p)
  //   independence       p log(p / q) - (p - q), p - q given in p_part
  void (*terms)(const InformationTerms& row, const double* p, const double* q, int64_t n, double* value, double* p_part,
                double* q_part);
  // d / d what p and q were given as. Null: not wanted. p and q may be written over.
  void (*gradients)(const InformationTerms& row, const double* p, const double* q, int64_t n, double* of_p,
                    double* of_q);
};

// What a row of probabilities adds up to: the terms of the measure, and Kullback-Leibler p - q.
struct MeasureSums {
  double terms;
  double differences;
  bool has_gradient;  // of logits: f32 knows it as well
};

// Two rows of logits x and y, z being scale times these: the largest of each, what e^(z - top) is multiplied by to be
// p, and lse of p less that of q; of one row, less its largest z.
struct LogitRows {
  double scale;
  double p_top;  // a logit
  double q_top;
  double p_share;
  double gap;
};

// Rows of n adjacent probabilities of f32 lanes, in f32, by the formulas of InformationKernels. False: something is
// unusual (no probability, a q of 0 beside a p that is not, sums that may have lost digits), and nothing was found.
struct MeasureKernels {
  bool (*entropy)(const void* p, int64_t n, MeasureSums* sums);
  bool (*cross_entropy)(const void* p, const void* q, int64_t n, MeasureSums* sums);
  bool (*divergence)(const void* p, const void* q, int64_t n, MeasureSums* sums);
  // Jensen-Shannon, beta = 1/2.
  bool (*mixture)(const void* p, const void* q, int64_t n, MeasureSums* sums);
  // Kullback-Leibler, of logits.
  bool (*divergence_of_logits)(const LogitRows& rows, const void* x, const void* y, int64_t n, MeasureSums* sums);
  // Its gradient where that is known: p_slope p (log(p / q) - value) and q_slope (q - p), of the logits' type. Null:
  // not wanted. They may take the logits' place.
  void (*divergence_gradients)(const LogitRows& rows, const void* x, const void* y, double value, double p_slope,
                               double q_slope, int64_t n, void* of_p, void* of_q);
  // The gradient of an entropy, -slope p (log p + value), where x has one that f32 knows. log p = scale (x - p_top) -
  // gap. It may take the logits' place.
  void (*entropy_gradient)(const LogitRows& rows, const void* x, double value, double slope, int64_t n, void* out);
};

// log p_j = scale (x_j - top) - gap.
struct LogRow {
  double scale;
  double top;  // a logit
  double gap;  // NaN: of a row that has no probabilities
};

// Functions of a row of n adjacent elements of f32 lanes. Results have the type of what is given, whose place they may
// take; stream: they bypass the cache.
struct RowFunctionKernels {
  void (*write_logs)(const LogRow& row, const void* x, int64_t n, void* out, bool stream);
  void (*write_constant)(float value, int64_t n, void* out);
  // scale y_j (g_j - sum_i y_i g_i), and scale (g_j - e^(y_j) sum_i g_i). 1/16 <= scale <= 1: larger ones would show
  // what products below 2^-126 lose. False: a sum is none that f32 suffices for, or a y no logarithm of a probability,
  // and nothing was written.
  bool (*softmax_backward)(const void* y, const void* g, double scale, int64_t n, void* out, bool stream);
  bool (*log_softmax_backward)(const void* y, const void* g, double scale, int64_t n, void* out, bool stream);
};

enum class Function : int32_t { kExp, kLog, kLog1p, kExpm1, kSigmoid, kLogSigmoid, kSoftplus, kTanh };

// y[i] = f(x[i]); y may be x. `stream`: bypass the cache.
using MapKernel = void (*)(const void* x, int64_t n, void* y, bool stream);

// Kernels of the instruction set with this index of isa.h.
const SoftmaxKernels& SoftmaxKernelsFor(int isa, Dtype dtype);
const MathKernels& MathKernelsFor(int isa);
const TermKernels& TermKernelsFor(int isa);
// type: u8, i8, u16, i16, i32, u32, i64.
const LabelKernels& LabelKernelsFor(int isa, int type);
// is_computed: targets and gradient are f64 for f64 inputs, else f32. Else they have the inputs' type: bf16 and f16
// logits only.
BinaryKernel BinaryKernelFor(int isa, BinaryForm form, Dtype dtype, bool is_computed);
const InformationKernels& InformationKernelsFor(int isa);
// Not for f64.
const MeasureKernels& MeasureKernelsFor(int isa, Dtype dtype);
const CappedKernels& CappedKernelsFor(int isa, Dtype dtype);
const RowFunctionKernels& RowFunctionKernelsFor(int isa, Dtype dtype);
MapKernel MapKernelFor(int isa, Function function, Dtype dtype);

}  // namespace xent

#endif  // XENT_LIB_KERNELS_H_
