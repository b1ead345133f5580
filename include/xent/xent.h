/* xent: cross-entropy on the CPU. This file is the whole C ABI and its manual (C99, ASCII).
 *
 * Start with xent_softmax_cross_entropy: it takes logits and labels and writes whichever of loss, log-sum-exp and
 * gradient you ask for. Before it stand the types it needs, from simple to advanced. After it: classes that come in
 * slices, softmax and log-sum-exp themselves, binary losses, information measures, losses of given probabilities, and
 * xent_map: exp, log, sigmoid and others of whole arrays.
 *
 *     double loss;
 *     xent_logits logits = xent_logits_rows(x, XENT_F32, rows, classes);
 *     xent_targets labels = xent_targets_labels(y, XENT_I64);
 *     xent_softmax_outputs out = xent_softmax_outputs_none();
 *     out.total = &loss;
 *     if (xent_softmax_cross_entropy(&logits, &labels, NULL, &out) != XENT_OK) puts(xent_last_error());
 *
 * Promises of every function:
 *   - Any thread may call it at any time. Nothing is printed; the process is never aborted or exited; no exception
 *     leaves the library. (One case is out of our hands: GNU OpenMP ends the process when it cannot create a thread.
 *     With num_threads = 1, or with a runner of your own, OpenMP is not entered.)
 *   - Results have the same bits for every thread count, alignment and position of a row in its batch, from run to
 *     run, and on every instruction set that has fused multiply-add. Other options, outputs or layouts of the same
 *     call may give other last bits, within the same bounds: asking for entropy beside a loss of images can change
 *     the loss.
 *   - The caller's floating-point environment (rounding, flush-to-zero, flags) neither matters nor changes. A runner of
 *     the caller's runs in the library's own, the default one, and must not change it.
 *   - On an error no output byte has been written (but for XENT_RUNNER_FAILED), and xent_last_error() says what was
 *     wrong.
 */
#ifndef XENT_XENT_H_
#define XENT_XENT_H_

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define XENT_VERSION_MAJOR 0
#define XENT_VERSION_MINOR 1
#define XENT_VERSION_PATCH 0

#if defined(_WIN32)
#define XENT_API
#else
#define XENT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ status */

/* What a call returns. The numbers are pinned for ever; new ones may be added. */
typedef int32_t xent_status;
enum {
  XENT_OK = 0,
  XENT_INVALID_ARGUMENT = 1, /* a null pointer, a bad size, stride, enumerator or number */
  XENT_INVALID_LABEL = 2,    /* a label is neither ignored nor in [0, classes) */
  XENT_OVERLAP = 3,          /* two buffers overlap in a way that is not allowed */
  XENT_SIZE_OVERFLOW = 4,    /* rows * classes * size does not fit the address space */
  XENT_UNSUPPORTED = 5,      /* a combination that this version does not offer */
  XENT_VERSION_MISMATCH = 6, /* struct_size belongs to another version of this header */
  XENT_OUT_OF_MEMORY = 7,    /* ensemble and joint measures; other calls go without scratch memory if there is none */
  XENT_EMPTY_MEAN = 8,       /* a mean over no rows, with XENT_EMPTY_MEAN_ERROR */
  XENT_RUNNER_FAILED = 9     /* the caller's runner did not run every task once; outputs are undefined */
};

/* The name of a status, for example "XENT_INVALID_LABEL"; "unknown status" for any other number. Never NULL.
 * Threads: any. Errors: none. Since: 0.1 */
XENT_API const char* xent_status_name(xent_status status);

/* One sentence on the last call of this thread that failed; it names the argument and its value, for example
 * "labels[17] is 50257; classes is 50257 and ignore_index is -100". "" if none has failed. Never NULL.
 * The text stays valid until the next failing call of the same thread.
 * Threads: each thread has its own. Errors: none. Since: 0.1 */
XENT_API const char* xent_last_error(void);

/* ----------------------------------------------------------------- library */

/* The version of the library that runs: major * 10000 + minor * 100 + patch, and as text ("0.1.0").
 * Threads: any. Errors: none. Since: 0.1 */
XENT_API int32_t xent_version(void);
XENT_API const char* xent_version_string(void);

/* How the library was built: version, compiler, build type and instruction sets, as one line of text.
 * Threads: any. Errors: none. Since: 0.1 */
XENT_API const char* xent_build_info(void);

/* Instruction sets compiled into the library, best first: xent_isa_name(i) for i in [0, xent_isa_count()), for
 * example "avx512", "avx2", "sse4", "ssse3", "scalar"; NULL for any other i. xent_isa_supported(i) is 1 where this
 * machine can run number i, else 0.
 * Threads: any. Errors: none. Since: 0.1 */
XENT_API int32_t xent_isa_count(void);
XENT_API const char* xent_isa_name(int32_t index);
XENT_API int32_t xent_isa_supported(int32_t index);

/* The instruction set that calls use now: the best one that the machine supports and the cap allows.
 * Threads: any. Errors: none. Since: 0.1 */
XENT_API const char* xent_isa_chosen(void);

/* Caps the instruction set of later calls, process-wide: nothing better than `name` is used. NULL lifts the cap.
 * The environment variable XENT_MAX_ISA sets the cap at the first call (a name that is not known is disregarded).
 * Capping this library does not change other users of Highway in the process.
 * Reads: name, compared without regard to case. Writes: nothing.
 * Threads: any; calls that already run are not affected.
 * Errors: XENT_INVALID_ARGUMENT, not a name of xent_isa_name; XENT_UNSUPPORTED, the machine cannot run it.
 * Since: 0.1 */
XENT_API xent_status xent_isa_cap(const char* name);

/* The number of threads that a call uses at most, when its options say 0. It starts as XENT_NUM_THREADS if that is
 * a positive number, else as what OpenMP would use (OMP_NUM_THREADS, or the processors of the process).
 * OpenMP's own settings are never changed. Small work runs on fewer threads. A call from inside an OpenMP parallel
 * region runs on one, and so does every call in a forked child, whose OpenMP would wait for threads that did not
 * survive the fork.
 * xent_set_num_threads(0) goes back to the start value.
 * Threads: any. Errors: XENT_INVALID_ARGUMENT for a negative number. Since: 0.1 */
XENT_API int32_t xent_num_threads(void);
XENT_API xent_status xent_set_num_threads(int32_t num_threads);

/* Runs tasks on threads of the caller's own, in place of OpenMP. `run` must call task(task_context, i) exactly once
 * for every i in [0, tasks), from any threads and in any order, and return when all have ended. The task does not
 * throw. `concurrency` (>= 1) is how many tasks can run at a time. Results do not depend on any of it. */
typedef struct xent_parallel_runner {
  void (*run)(void* context, int64_t tasks, void (*task)(void* task_context, int64_t index), void* task_context);
  void* context;
  int32_t concurrency;
  int32_t reserved; /* 0 */
} xent_parallel_runner;

/* ------------------------------------------------------------------- types */

/* The type of an array's elements. bf16 and f16 are 2-byte words; arithmetic on them is done in f32. */
typedef int32_t xent_dtype;
enum {
  XENT_F32 = 1,
  XENT_F64 = 2,
  XENT_BF16 = 3,
  XENT_F16 = 4,
  XENT_U8 = 16,
  XENT_I8 = 17,
  XENT_U16 = 18,
  XENT_I16 = 19,
  XENT_I32 = 20,
  XENT_U32 = 21,
  XENT_I64 = 22
};

/* Bytes per element of a dtype; 0 for a number that is not one.
 * Threads: any. Errors: none. Since: 0.1 */
XENT_API int32_t xent_dtype_size(xent_dtype dtype);

/* Logits x[o][j][i], o in [0, outer), class j in [0, classes), i in [0, inner), at
 * data + o * outer_stride + j * class_stride + i * inner_stride, strides in elements. There are outer * inner rows
 * of `classes` logits each; row r is (o, i) with r = o * inner + i. So [N, C], [N, C, H, W] (inner = H * W), class-major
 * matrices and padded rows are one case. Strides are positive where a dimension has more than one element, and no two
 * elements share memory. */
typedef struct xent_logits {
  const void* data;
  xent_dtype dtype; /* XENT_F32, XENT_F64, XENT_BF16 or XENT_F16 */
  int32_t reserved; /* 0 */
  int64_t outer;
  int64_t classes;
  int64_t inner;
  int64_t outer_stride;
  int64_t class_stride;
  int64_t inner_stride;
} xent_logits;

/* A matrix [rows, classes] whose rows start row_stride elements apart (row_stride >= classes). */
static inline xent_logits xent_logits_strided(const void* data, xent_dtype dtype, int64_t rows, int64_t classes,
                                              int64_t row_stride) {
  xent_logits logits;
  logits.data = data;
  logits.dtype = dtype;
  logits.reserved = 0;
  logits.outer = rows;
  logits.classes = classes;
  logits.inner = 1;
  logits.outer_stride = row_stride;
  logits.class_stride = 1;
  logits.inner_stride = 1;
  return logits;
}

/* A matrix [rows, classes] without gaps. */
static inline xent_logits xent_logits_rows(const void* data, xent_dtype dtype, int64_t rows, int64_t classes) {
  return xent_logits_strided(data, dtype, rows, classes, classes);
}

/* [outer, classes, inner] without gaps, as deep learning frameworks store images: [N, C, H, W] with inner = H * W. */
static inline xent_logits xent_logits_channels(const void* data, xent_dtype dtype, int64_t outer, int64_t classes,
                                               int64_t inner) {
  xent_logits logits;
  logits.data = data;
  logits.dtype = dtype;
  logits.reserved = 0;
  logits.outer = outer;
  logits.classes = classes;
  logits.inner = inner;
  logits.outer_stride = classes * inner;
  logits.class_stride = inner;
  logits.inner_stride = 1;
  return logits;
}

/* What each row should be: a class, or weights of classes. */
typedef int32_t xent_target_kind;
enum {
  XENT_TARGET_LABELS = 1, /* one class per row */
  XENT_TARGET_DENSE = 2,  /* t[o][j][i] >= 0 for every class; a row need not sum to 1 */
  XENT_TARGET_SPARSE = 3  /* `per_row` pairs of class and weight per row; other classes have `rest` */
};

/* What the classes have that a sparse target does not name. */
typedef int32_t xent_rest;
enum {
  XENT_REST_DROP = 0,  /* nothing */
  XENT_REST_SPREAD = 1 /* what the weights lack to 1, in equal parts */
};

typedef struct xent_targets {
  int32_t struct_size; /* sizeof(xent_targets) */
  xent_target_kind kind;
  const void* data; /* labels: outer * inner integers. Dense: weights. Sparse: classes [outer * inner, per_row]; those
                       equal to ignore_index are left out, and so is a row that has no others */
  xent_dtype dtype; /* dense: XENT_F32, _F64, _BF16 or _F16; else: XENT_U8, _I8, _U16, _I16, _I32, _U32 or _I64 */
  xent_rest rest;   /* sparse; else 0 */
  int64_t outer_stride; /* dense, in elements, as for logits; all three 0: [outer, classes, inner] without gaps */
  int64_t class_stride;
  int64_t inner_stride;
  int64_t per_row;     /* sparse: pairs of a row, at least 1; else 0 */
  const void* weights; /* sparse: [outer * inner, per_row], not negative; float for f32, bf16 and f16 logits, double for
                          f64 logits. Weights of a class that stands twice add up. Else NULL */
} xent_targets;

static inline xent_targets xent_targets_labels(const void* data, xent_dtype dtype) {
  xent_targets targets;
  targets.struct_size = (int32_t)sizeof(xent_targets);
  targets.kind = XENT_TARGET_LABELS;
  targets.data = data;
  targets.dtype = dtype;
  targets.rest = XENT_REST_DROP;
  targets.outer_stride = 0;
  targets.class_stride = 0;
  targets.inner_stride = 0;
  targets.per_row = 0;
  targets.weights = NULL;
  return targets;
}

static inline xent_targets xent_targets_dense(const void* data, xent_dtype dtype) {
  xent_targets targets = xent_targets_labels(data, dtype);
  targets.kind = XENT_TARGET_DENSE;
  return targets;
}

static inline xent_targets xent_targets_sparse(const void* classes, xent_dtype dtype, const void* weights,
                                               int64_t per_row, xent_rest rest) {
  xent_targets targets = xent_targets_labels(classes, dtype);
  targets.kind = XENT_TARGET_SPARSE;
  targets.rest = rest;
  targets.per_row = per_row;
  targets.weights = weights;
  return targets;
}

/* How row losses become one number. */
typedef int32_t xent_reduction;
enum {
  XENT_REDUCTION_MEAN = 0, /* the sum divided by the denominator */
  XENT_REDUCTION_SUM = 1,
  XENT_REDUCTION_NONE = 2 /* row losses stand for themselves; `total` is their sum */
};

/* What a mean divides by. */
typedef int32_t xent_denominator;
enum {
  XENT_DENOMINATOR_WEIGHT = 0, /* the sum over counted rows of row weight times the label's class weight; without
                                  weights their number. Dense and sparse targets: the sum of the row weights */
  XENT_DENOMINATOR_ROWS = 1,   /* the number of counted rows */
  XENT_DENOMINATOR_GIVEN = 2   /* options.denominator_value: a batch that comes in pieces has the same for all */
};

/* What a mean is whose denominator is 0. The gradient of the losses is 0 in every case. */
typedef int32_t xent_empty_mean;
enum {
  XENT_EMPTY_MEAN_NAN = 0,
  XENT_EMPTY_MEAN_ZERO = 1,
  XENT_EMPTY_MEAN_ERROR = 2 /* the call fails with XENT_EMPTY_MEAN */
};

/* What a label does that is neither ignored nor in [0, classes). No policy reads or writes outside the row. */
typedef int32_t xent_invalid_label;
enum {
  XENT_INVALID_LABEL_ERROR = 0, /* the call fails with XENT_INVALID_LABEL before a logit is read */
  XENT_INVALID_LABEL_NAN = 1    /* that row counts, and its loss, lse and gradient are NaN (the gradient 0 where upstream
                                   is 0). Sparse: one such class is enough */
};

/* What a row is whose classes are all at -inf. */
typedef int32_t xent_masked_row;
enum {
  XENT_MASKED_ROW_NAN = 0, /* loss, lse and gradient are NaN */
  XENT_MASKED_ROW_ZERO = 1 /* loss, gradient, probabilities and entropy are 0, lse and what xent_log_softmax writes -inf;
                              the log-probability of a label or token is 0, as the loss is. The row counts: row_mask
                              or ignore_index leave it out of a mean */
};

/* Where label smoothing puts its share eps. */
typedef int32_t xent_smoothing;
enum {
  XENT_SMOOTHING_UNIFORM = 0, /* (1 - eps) * target + eps / classes (Szegedy et al. 2016) */
  XENT_SMOOTHING_OTHERS = 1   /* labels: 1 - eps, every other class eps / (classes - 1) */
};

/* What a call found out about one row, for a later backward call on the same logits. Opaque: save it, copy it,
 * hand it back to a library of the same minor version. */
typedef struct xent_row_state {
  double opaque[4];
} xent_row_state;

/* --------------------------------------------------- softmax cross-entropy */

/* Arrays with one element per row or class are float for f32, bf16 and f16 logits, double for f64 logits. What they hold
 * is not checked: negative weights multiply as they are. */
typedef struct xent_softmax_options {
  int32_t struct_size; /* sizeof(xent_softmax_options) */
  xent_reduction reduction;
  xent_empty_mean empty_mean;
  xent_invalid_label invalid_label;
  int64_t ignore_index; /* rows with this label are not read, lose nothing and have gradient 0; any number */
  double upstream;      /* d(objective) / d(total), or d(objective) / d(row loss) without reduction; finite, and for
                           f32, bf16 and f16 logits no larger than f32 holds. 0: the gradient is 0, of NaN rows too */
  int32_t num_threads;  /* at most so many threads; 0: xent_num_threads() */
  int32_t reserved;     /* 0 */
  const xent_parallel_runner* runner; /* NULL: OpenMP. With a runner, num_threads 0 means its concurrency */
  const xent_row_state* row_state;    /* one per row, from outputs.row_state of a call on the same logits, labels and
                                         options: the forward pass is skipped at no loss of accuracy, where the options
                                         allow it. NULL: none */
  const void* lse; /* the log-sum-exp of each row, from anywhere: the gradient's normaliser is taken from it, and only
                      the gradient and the counts may be asked for. Labels only, with scale 1; besides, weights and
                      upstream factors may be set.
                      Elements have an error of (4 + |lse|) ULP; an lse far from the row's own means nothing.
                      NULL: none. Not with row_state */
  xent_denominator denominator;
  xent_masked_row masked_row;
  double denominator_value;   /* with XENT_DENOMINATOR_GIVEN: finite, not negative; else 0 */
  const void* class_weight;   /* one per class, multiplies that class's term; not negative. NULL: 1 */
  const void* row_weight;     /* one per row, multiplies the row's loss. A row of weight 0 is not read; it counts.
                                 NULL: 1 */
  const uint8_t* row_mask;    /* one per row; rows that have 0 are ignored. NULL: none is */
  double scale;               /* z = scale * x takes the place of the logits; positive, normal and finite. Temperature
                                 T: 1/T */
  double softcap;             /* c > 0: z = c * tanh(scale * x / c). -inf stays -inf. 0: none */
  double label_smoothing;     /* eps in [0, 1] */
  xent_smoothing smoothing;
  int32_t live_classes;       /* 1: smoothing leaves out classes at -inf. Else 0 */
  double z_loss;              /* lambda: adds lambda * lse^2 to each row (Chowdhery et al. 2022) */
  double entropy_weight;      /* beta: subtracts beta * entropy from each row */
  double focal_gamma;         /* g >= 0: multiplies the cross-entropy by (1 - p_y)^g (Lin et al. 2017). Labels only */
  const void* row_upstream;   /* one per row, multiplies upstream. NULL: 1 */
  const void* lse_upstream;   /* one per row, d(objective) / d(lse): added to the gradient as it is. NULL: 0 */
  const void* entropy_upstream; /* one per row, d(objective) / d(entropy), likewise. NULL: 0 */
} xent_softmax_options;

/* The defaults: mean over the weights, NaN for an empty mean, an error for an invalid label, ignore_index -100,
 * upstream 1, scale 1, threads as the process has them; everything else is off. */
static inline xent_softmax_options xent_softmax_options_default(void) {
  xent_softmax_options options;
  options.struct_size = (int32_t)sizeof(xent_softmax_options);
  options.reduction = XENT_REDUCTION_MEAN;
  options.empty_mean = XENT_EMPTY_MEAN_NAN;
  options.invalid_label = XENT_INVALID_LABEL_ERROR;
  options.ignore_index = -100;
  options.upstream = 1.0;
  options.num_threads = 0;
  options.reserved = 0;
  options.runner = NULL;
  options.row_state = NULL;
  options.lse = NULL;
  options.denominator = XENT_DENOMINATOR_WEIGHT;
  options.masked_row = XENT_MASKED_ROW_NAN;
  options.denominator_value = 0.0;
  options.class_weight = NULL;
  options.row_weight = NULL;
  options.row_mask = NULL;
  options.scale = 1.0;
  options.softcap = 0.0;
  options.label_smoothing = 0.0;
  options.smoothing = XENT_SMOOTHING_UNIFORM;
  options.live_classes = 0;
  options.z_loss = 0.0;
  options.entropy_weight = 0.0;
  options.focal_gamma = 0.0;
  options.row_upstream = NULL;
  options.lse_upstream = NULL;
  options.entropy_upstream = NULL;
  return options;
}

/* Libraries whose results options can give. */
typedef int32_t xent_preset;
enum {
  XENT_PRESET_TORCH = 1,  /* torch.nn.functional.cross_entropy; class weights and smoothing as there */
  XENT_PRESET_KERAS = 2,  /* keras.losses.(Sparse)CategoricalCrossentropy(from_logits=True): a mean is over rows,
                             weights or not, and 0 over nothing */
  XENT_PRESET_ONNX = 3,   /* SoftmaxCrossEntropyLoss: as PyTorch, but no label is ignored unless ignore_index is set */
  XENT_PRESET_OPTAX = 4,  /* optax.softmax_cross_entropy(_with_integer_labels): no reduction */
  XENT_PRESET_SKLEARN = 5 /* sklearn.metrics.log_loss, of the softmax: a mean over the row weights */
};

/* The defaults, changed so that values, denominators and corner cases are those of another library for this kind of
 * target, XENT_TARGET_LABELS or XENT_TARGET_DENSE. Weights, smoothing and an ignored label are set afterwards; "no label
 * is ignored" is ignore_index INT64_MIN. Errors are xent's own: results are closer to the exact value than theirs.
 * Reads: nothing. Writes: *options.
 * Aliases: none. Threads: any. Errors: XENT_INVALID_ARGUMENT. Since: 0.1 */
XENT_API xent_status xent_softmax_options_preset(xent_preset preset, xent_target_kind kind,
                                                 xent_softmax_options* options);

/* Where results go. NULL: not computed, at no cost. Row arrays have outer * inner elements: float for f32, bf16 and
 * f16 logits, double for f64 logits, where nothing else is said. */
typedef struct xent_softmax_outputs {
  int32_t struct_size;       /* sizeof(xent_softmax_outputs) */
  xent_dtype gradient_dtype; /* 0 or the logits' dtype, or XENT_F32 for bf16 and f16 logits */
  double* total;             /* the reduced loss */
  double* sum;               /* the sum of the row losses, whatever the reduction */
  double* denominator;       /* what a mean divides by */
  int64_t* counted;          /* rows that are not ignored */
  int64_t* ignored;          /* rows that are */
  void* row_loss;            /* loss of each row, 0 for rows that are not read */
  void* lse;                 /* log(sum_j exp(z_j)) of each row, likewise */
  void* gradient;            /* d(objective) / d(logits); may be logits.data itself with equal strides and dtype */
  int64_t gradient_outer_stride; /* all three 0: as the logits */
  int64_t gradient_class_stride;
  int64_t gradient_inner_stride;
  xent_row_state* row_state; /* one per row */
  void* entropy;             /* -sum_j p_j log p_j of each row, 0 for rows that are not read */
  void* probability;         /* p_y of each row's label, likewise. Labels only, as are the next two */
  void* log_probability;     /* log p_y */
  int64_t* correct;          /* rows whose label has the largest logit (the first of equals) */
  int64_t* argmax;           /* the first class of the largest logit of each row; -1 for rows that are not read or are NaN */
  double* z_loss;            /* the part of `sum` that options.z_loss makes */
} xent_softmax_outputs;

/* No output asked for. */
static inline xent_softmax_outputs xent_softmax_outputs_none(void) {
  xent_softmax_outputs outputs;
  outputs.struct_size = (int32_t)sizeof(xent_softmax_outputs);
  outputs.gradient_dtype = 0;
  outputs.total = NULL;
  outputs.sum = NULL;
  outputs.denominator = NULL;
  outputs.counted = NULL;
  outputs.ignored = NULL;
  outputs.row_loss = NULL;
  outputs.lse = NULL;
  outputs.gradient = NULL;
  outputs.gradient_outer_stride = 0;
  outputs.gradient_class_stride = 0;
  outputs.gradient_inner_stride = 0;
  outputs.row_state = NULL;
  outputs.entropy = NULL;
  outputs.probability = NULL;
  outputs.log_probability = NULL;
  outputs.correct = NULL;
  outputs.argmax = NULL;
  outputs.z_loss = NULL;
  return outputs;
}

/* Cross-entropy of softmax(logits) against targets, with its gradient.
 *
 * For a row of logits x[0..K) with label y:
 *     lse    = log sum_j exp(x_j)
 *     loss   = lse - x_y
 *     d loss / d x_j = exp(x_j - lse) - (j == y)
 * (Bridle 1990; computed without the subtractions, so that confident rows keep their relative accuracy.)
 * The gradient is d loss / d x_j times upstream, and divided by the denominator for a mean.
 *
 * With all options, z_j = scale * x_j or c * tanh(scale * x_j / c), p_j = exp(z_j - lse), t the target after smoothing,
 * w, v the weights of class and row, and the entropy H = -sum_j p_j log p_j, the loss of a row is
 *     v * ((1 - p_y)^gamma * sum_j w_j t_j (lse - z_j) + lambda * lse^2 - beta * H).
 * The gradient is that of upstream * row_upstream * loss / denominator + lse_upstream * lse + entropy_upstream * H.
 * Little beside the plain call of many classes costs what only concerns numbers per row: weights, mask, policies,
 * z-loss, focal factor (of ten classes these two take four to six times the plain call) and upstream factors, for rows
 * whose classes lie side by side and for rows which lie side by side themselves (images, class-major; up to 384
 * classes); and for the former argmax, correct and, f64 excepted, smoothing of labels (without class weights or
 * live_classes) or, with fused multiply-add, a scale between 2^-60 and 2^60. Entropy, its weight and its upstream
 * factors take two to three times the plain call, f64 excepted, where classes lie side by side. Dense targets of type
 * f32 or that of the logits, f64 excepted, both with adjacent classes, without smoothing and class weights, are gone
 * over in f32, too. A softcap up to 36 takes five times the plain call at many classes where 192 or more lie side by
 * side, f64 excepted, targets are labels without smoothing, and no entropy is asked for. Everything else (other targets
 * and layouts, other softcaps, a gradient of another type, entropy of f64 and of other layouts) is computed in f64 and
 * takes several times as long in this version.
 *
 * Errors against the exact value, in units in the last place, for any finite logits, at every confidence. Largest seen
 * over a million rows of 29 kinds: loss 2.1 (f32), 2.4 (bf16 and f16 logits) or 3.3 (f64); gradient elements, the
 * label's included, 4.0 (f32) or 5.3 (f64); lse 1.0 (f32) or 2.4 (f64) of the largest of |lse|, |max x_j| and
 * |lse - max x_j|. Rows built so that every rounding errs the same way may exceed that by about one. bf16 and f16
 * gradients are rounded once, to nearest even, from f32. The gradient's figures hold where upstream divided by the
 * denominator is a normal number.
 * With options: loss 4 (f32) or 6 (f64), and 2 gamma more; entropy likewise; gradient elements 4 (f32; 5 with a part of
 * the entropy or a softcap) or 8 (f64), and 2 gamma more, of the sum of the magnitudes of their terms where a target is subtracted or
 * terms of other signs are added. Scale and softcap round z to double first, which adds 2^-53 |z| to the error of a loss: f32 logits show it
 * where |z| is 2^25 times as large as the loss.
 * A probability below 2^-126 (f64: 2^-1022) of its row counts as 0 in the gradient.
 *
 * Special values: a class at -inf has probability 0 and gradient 0; if it is the label, the loss is +inf and the
 * gradient finite. A row that holds NaN or +inf, or nothing but -inf (see masked_row), has NaN loss, lse and gradient;
 * other rows are not touched by it. A target or weight of 0 makes 0 of an infinite lse - z_j; a dense or sparse target
 * that is negative or NaN makes its row NaN. rows = 0 is allowed (then classes may be 0); classes = 0 with rows is an
 * error.
 *
 * Reads: logits and targets, each row once from memory (twice if it exceeds the cache and a gradient is asked for). All
 *   labels are checked before a logit is touched. Ignored rows, and rows of weight 0, are not read; where rows lie side
 *   by side and their classes apart (class_stride != 1), they are read with their neighbours, and nothing depends on them.
 * Writes: what is not NULL in outputs. Rows may be padded; padding is neither read nor written.
 * Aliases: gradient may be exactly the logits' memory, with the same strides and dtype. No other overlap.
 * Threads: up to num_threads, or the caller's runner.
 * Errors: every status but XENT_OUT_OF_MEMORY. options may be NULL (the defaults); no other pointer to a struct may.
 *   XENT_UNSUPPORTED: focal_gamma, XENT_SMOOTHING_OTHERS, probability, log_probability or correct without labels;
 *   options.lse with what it does not go with.
 * Since: 0.1 */
XENT_API xent_status xent_softmax_cross_entropy(const xent_logits* logits, const xent_targets* targets,
                                                const xent_softmax_options* options,
                                                const xent_softmax_outputs* outputs);

/* ------------------------- softmax cross-entropy, some classes at a time */

/* For logits that come in slices of classes, or that lie in several processes (a vocabulary that is split over them). A
 * row's state is what its classes so far add up to; states of different classes can be merged, sent and stored.
 *
 *     xent_softmax_begin(rows, states, label_logits);
 *     for each slice, in ascending order of classes: xent_softmax_push(...);
 *     (several processes: xent_softmax_merge(...) with the states of those that have later classes)
 *     xent_softmax_finish(...);                              the losses
 *     for each slice: xent_softmax_push_gradient(...);       d(objective) / d(its logits)
 *
 * states and label_logits have an element per row; label_logits, doubles, are the logits of the labels, -inf until
 * their slice has come. Labels are classes of the whole. Slices are matrices with rows of adjacent classes.
 * With more than 2048 classes in all and slices that begin at multiples of 32768, results have the bits of
 * xent_softmax_cross_entropy on the whole rows (lse near 0 excepted, whose last digits need the logits again); other
 * slices are within its bounds. Threads share rows.
 * Options: ignore_index, row_mask, num_threads and runner; for finish and push_gradient besides (push disregards them)
 * reduction, empty_mean, invalid_label, denominator, denominator_value, upstream, row_upstream, lse_upstream,
 * class_weight, row_weight, z_loss and focal_gamma; others that are set are XENT_UNSUPPORTED. Targets are labels. */

/* Empties the states.
 * Reads: nothing. Writes: states, label_logits. Aliases: none. Threads: any. Errors: XENT_INVALID_ARGUMENT. Since: 0.1 */
XENT_API xent_status xent_softmax_begin(int64_t rows, xent_row_state* states, double* label_logits);

/* Adds the classes [first_class, first_class + slice.classes).
 * Reads: slice, targets. Writes: states, label_logits. Aliases: none.
 * Errors: XENT_INVALID_ARGUMENT, XENT_UNSUPPORTED, XENT_OVERLAP, XENT_SIZE_OVERFLOW, XENT_VERSION_MISMATCH,
 *   XENT_RUNNER_FAILED. options may be NULL, here and below. Since: 0.1 */
XENT_API xent_status xent_softmax_push(const xent_logits* slice, int64_t first_class, const xent_targets* targets,
                                       const xent_softmax_options* options, xent_row_state* states,
                                       double* label_logits);

/* Adds states of later classes. In the same order everywhere, results have the same bits everywhere.
 * Reads: more_states, more_label_logits. Writes: states, label_logits. Aliases: none. Threads: any.
 * Errors: XENT_INVALID_ARGUMENT, XENT_OVERLAP. Since: 0.1 */
XENT_API xent_status xent_softmax_merge(int64_t rows, const xent_row_state* more_states,
                                        const double* more_label_logits, xent_row_state* states, double* label_logits);

/* The losses of rows of `classes` logits of this dtype in all: total, sum, denominator, counted, ignored, row_loss, lse,
 * probability, log_probability and z_loss; other outputs are XENT_UNSUPPORTED. All labels are checked first.
 * Reads: states, label_logits, targets. Writes: what is not NULL in outputs. Aliases: none.
 * Errors: as xent_softmax_cross_entropy. Since: 0.1 */
XENT_API xent_status xent_softmax_finish(int64_t rows, int64_t classes, xent_dtype dtype, const xent_row_state* states,
                                         const double* label_logits, const xent_targets* targets,
                                         const xent_softmax_options* options, const xent_softmax_outputs* outputs);

/* The gradient of the slice's logits, with their dtype and strides, once the states are those of all classes.
 * Reads: slice, states, label_logits, targets. Writes: gradient. Aliases: gradient may be exactly the slice's memory.
 * Errors: as xent_softmax_cross_entropy. Since: 0.1 */
XENT_API xent_status xent_softmax_push_gradient(const xent_logits* slice, int64_t first_class, int64_t classes,
                                                const xent_row_state* states, const double* label_logits,
                                                const xent_targets* targets, const xent_softmax_options* options,
                                                void* gradient);

/* ------------------------------------------------- functions of logits */

/* Of the options these functions know scale, softcap, row_mask, masked_row, ignore_index (of tokens), invalid_label,
 * num_threads and runner. reduction, denominator, empty_mean, upstream, smoothing and live_classes have no effect; any
 * other that is set is XENT_UNSUPPORTED. options may be NULL (the defaults). Rows that the
 * mask leaves out are not read and get 0. Accuracy, special values and promises are those of
 * xent_softmax_cross_entropy. */

/* lse[r] = log sum_j exp(z_j).
 * Reads: logits. Writes: lse, one per row: float for f32, bf16 and f16 logits, double for f64 logits.
 * Aliases: none. Threads: up to num_threads, or the caller's runner.
 * Errors: XENT_INVALID_ARGUMENT, XENT_UNSUPPORTED, XENT_OVERLAP, XENT_SIZE_OVERFLOW, XENT_VERSION_MISMATCH,
 *   XENT_RUNNER_FAILED. Since: 0.1 */
XENT_API xent_status xent_logsumexp(const xent_logits* logits, const xent_softmax_options* options, void* lse);

/* p_j = exp(z_j - lse), within 4 (f32) or 8 (f64) ULP each; and log p_j = z_j - lse, within 4 (f32) or 6 (f64), of the
 * likeliest class too. bf16 and f16 are rounded once, from f32. xent_softmax is as fast as the gradient of a plain
 * cross-entropy. Of f64 logits, of other layouts than rows of adjacent classes, with a softcap, with
 * XENT_MASKED_ROW_ZERO and with a scale beyond 2^20 or 2^-20, xent_log_softmax is computed in f64 and takes several
 * times as long in this version.
 * Reads: logits. Writes: a matrix with their dtype and strides.
 * Aliases: it may be exactly logits.data. Threads: up to num_threads, or the caller's runner.
 * Errors: as xent_logsumexp. Since: 0.1 */
XENT_API xent_status xent_softmax(const xent_logits* logits, const xent_softmax_options* options, void* probabilities);
XENT_API xent_status xent_log_softmax(const xent_logits* logits, const xent_softmax_options* options,
                                      void* log_probabilities);

/* The gradients of these three: g is d(objective) / d(result), and d(objective) / d(logits) is written.
 *   xent_logsumexp_backward:    g_r p_j, from the logits; g has one number per row
 *   xent_softmax_backward:      scale p_j (g_j - sum_i p_i g_i), from the probabilities
 *   xent_log_softmax_backward:  scale (g_j - p_j sum_i g_i), from the log-probabilities
 * The last two err by 4 (f32) or 8 (f64) ULP at most of scale p_j (|g_j| + sum_i |p_i g_i|), and of
 * scale (|g_j| + p_j |sum_i g_i|). The first knows softcap, these do not: its slope is not in their arguments. A scale
 * above 1, or below 1/16, is computed in f64.
 * Reads: the first argument and upstream, which has its dtype and strides (one per row: as lse). Writes: gradient, with
 *   the dtype and strides of the first argument.
 * Aliases: gradient may be exactly the first argument's memory, or the matrix upstream's.
 * Threads: up to num_threads, or the caller's runner. Errors: as xent_logsumexp. Since: 0.1 */
XENT_API xent_status xent_logsumexp_backward(const xent_logits* logits, const xent_softmax_options* options,
                                             const void* upstream, void* gradient);
XENT_API xent_status xent_softmax_backward(const xent_logits* probabilities, const xent_softmax_options* options,
                                           const void* upstream, void* gradient);
XENT_API xent_status xent_log_softmax_backward(const xent_logits* log_probabilities,
                                               const xent_softmax_options* options, const void* upstream,
                                               void* gradient);

/* log p of some classes of each row: of the tokens that a text has, or that a policy has chosen. tokens and
 * log_probabilities are [outer * inner, per_row]; a token equal to ignore_index gives 0. entropy: of each row, or NULL;
 * 0 of rows whose tokens are all ignored.
 * Reads: logits, tokens. Writes: log_probabilities and entropy, of the type of lse.
 * Aliases: none. Threads: up to num_threads, or the caller's runner.
 * Errors: as xent_logsumexp; XENT_INVALID_LABEL (options.invalid_label: or NaN). Since: 0.1 */
XENT_API xent_status xent_token_logprob(const xent_logits* logits, const void* tokens, xent_dtype tokens_dtype,
                                        int64_t per_row, const xent_softmax_options* options, void* log_probabilities,
                                        void* entropy);

/* ------------------------------------------- binary cross-entropy */

/* Elements stand for themselves here: inputs x[o][j][i] with the layout of xent_logits, a target for each. "Element
 * arrays" have outer * classes * inner elements in the order o, j, i without gaps: float for f32, bf16 and f16 inputs,
 * double for f64 inputs; arrays with one element per class or row (o, i) likewise.
 * Targets: XENT_TARGET_DENSE, reals in [0, 1] with any strides (rounded to f32 first, if the inputs are not f64); or
 * XENT_TARGET_LABELS, integers 0 and 1, one for each element in the order o, j, i. */

/* What a mean over elements divides by. */
typedef int32_t xent_element_denominator;
enum {
  XENT_ELEMENTS_ALL = 0,     /* the number of elements, as PyTorch does */
  XENT_ELEMENTS_COUNTED = 1, /* those that are not ignored */
  XENT_ELEMENTS_GIVEN = 2    /* options.denominator_value */
};

/* What becomes of the logarithm of 0. */
typedef int32_t xent_log_rule;
enum {
  XENT_LOG_EXACT = 0,  /* loss and gradient may be infinite; 0 * log 0 is 0 */
  XENT_LOG_CLAMP = 1,  /* logarithms are at least -100, and the gradient divides by at least 1e-12, as in PyTorch */
  XENT_LOG_EPSILON = 2 /* probabilities are clipped to [epsilon, 1 - epsilon] (a double); the gradient is 0 where they are. Keras:
                          1e-7; scikit-learn: 2^-23 (f32) and 2^-52 (f64) */
};

typedef struct xent_binary_options {
  int32_t struct_size; /* sizeof(xent_binary_options) */
  xent_reduction reduction;
  xent_empty_mean empty_mean;
  xent_invalid_label invalid_label; /* of labels but 0 and 1 */
  int64_t ignore_index;             /* labels: elements with this one are left out: loss and gradient 0 */
  double ignore_target;             /* dense targets: likewise; a number that the targets cannot be ignores none. NaN: none */
  double upstream;                  /* d(objective) / d(total), or d(objective) / d(loss) without reduction */
  int32_t num_threads;              /* at most so many threads; 0: xent_num_threads() */
  int32_t reserved;                 /* 0 */
  const xent_parallel_runner* runner; /* NULL: OpenMP */
  xent_element_denominator denominator;
  xent_log_rule log_rule;        /* probabilities only */
  double denominator_value;      /* with XENT_ELEMENTS_GIVEN: finite, not negative; else 0 */
  double epsilon;                /* with XENT_LOG_EPSILON, in (0, 0.5); else 0 */
  double pos_weight;             /* multiplies the part of target 1, with the next two; not negative, and for f32, bf16 and
                                    f16 inputs no larger than f32 holds */
  const void* class_pos_weight;  /* one per class. NULL: 1, as all that follow */
  const void* element_pos_weight;
  const void* class_weight;      /* weights multiply the loss of an element; not negative. One of weight 0 loses nothing */
  const void* row_weight;
  const void* element_weight;
  const void* element_upstream;  /* multiplies upstream */
  double label_smoothing;        /* eps in [0, 1]: targets become (1 - eps) t + eps / 2 */
  double focal_gamma;            /* g >= 0: multiplies the loss by (1 - p_t)^g. Logits only, as the next */
  double focal_alpha;            /* in [0, 1]: target 1 weighs alpha, target 0 1 - alpha. -1: both 1 */
} xent_binary_options;

/* The defaults: mean over all elements, ignore_index -100, no ignore_target, exact logarithms, upstream 1, threads as the
 * process has them; everything else is off. */
static inline xent_binary_options xent_binary_options_default(void) {
  xent_binary_options options;
  options.struct_size = (int32_t)sizeof(xent_binary_options);
  options.reduction = XENT_REDUCTION_MEAN;
  options.empty_mean = XENT_EMPTY_MEAN_NAN;
  options.invalid_label = XENT_INVALID_LABEL_ERROR;
  options.ignore_index = -100;
  options.ignore_target = (double)NAN;
  options.upstream = 1.0;
  options.num_threads = 0;
  options.reserved = 0;
  options.runner = NULL;
  options.denominator = XENT_ELEMENTS_ALL;
  options.log_rule = XENT_LOG_EXACT;
  options.denominator_value = 0.0;
  options.epsilon = 0.0;
  options.pos_weight = 1.0;
  options.class_pos_weight = NULL;
  options.element_pos_weight = NULL;
  options.class_weight = NULL;
  options.row_weight = NULL;
  options.element_weight = NULL;
  options.element_upstream = NULL;
  options.label_smoothing = 0.0;
  options.focal_gamma = 0.0;
  options.focal_alpha = -1.0;
  return options;
}

/* The defaults, changed so that values and denominators are those of another library, for logits or (has_probabilities 1)
 * for probabilities of this dtype, XENT_F32 or XENT_F64:
 *   TORCH    binary_cross_entropy_with_logits; binary_cross_entropy: logarithms clamped
 *   KERAS    BinaryCrossentropy: of probabilities clipped by 1e-7
 *   ONNX     as TORCH of logits (it has no operator of its own, and no rule for probabilities)
 *   OPTAX    sigmoid_binary_cross_entropy: no reduction; of logits only
 *   SKLEARN  log_loss of two classes: probabilities clipped by the dtype's epsilon, 2^-23 or 2^-52; a weighted mean divides
 *            by the sum of the weights, which is for the caller to give (XENT_ELEMENTS_GIVEN)
 * Reads: nothing. Writes: *options. Aliases: none. Threads: any.
 * Errors: XENT_INVALID_ARGUMENT; XENT_UNSUPPORTED: ONNX and OPTAX have no loss of probabilities. Since: 0.1 */
XENT_API xent_status xent_binary_options_preset(xent_preset preset, int32_t has_probabilities, xent_dtype dtype,
                                                xent_binary_options* options);

/* Where results go. NULL: not computed, at no cost. */
typedef struct xent_binary_outputs {
  int32_t struct_size;       /* sizeof(xent_binary_outputs) */
  xent_dtype gradient_dtype; /* 0 or the inputs' dtype, or XENT_F32 for bf16 and f16 inputs */
  double* total;             /* the reduced loss */
  double* sum;               /* the sum of the losses, whatever the reduction; of f32, bf16 and f16 inputs that adds 2^-23 of
                                itself at most to what the losses err by, of f64 2^-52 */
  double* denominator;       /* what a mean divides by */
  int64_t* counted;          /* elements that are not ignored */
  int64_t* ignored;          /* elements that are */
  int64_t* outside;          /* probabilities that are none: NaN, or not in [0, 1] */
  void* loss;                /* of each element: an element array */
  void* gradient;            /* d(objective) / d(inputs); may be the inputs themselves with equal strides and dtype */
  int64_t gradient_outer_stride; /* all three 0: as the inputs */
  int64_t gradient_class_stride;
  int64_t gradient_inner_stride;
} xent_binary_outputs;

/* No output asked for. */
static inline xent_binary_outputs xent_binary_outputs_none(void) {
  xent_binary_outputs outputs;
  outputs.struct_size = (int32_t)sizeof(xent_binary_outputs);
  outputs.gradient_dtype = 0;
  outputs.total = NULL;
  outputs.sum = NULL;
  outputs.denominator = NULL;
  outputs.counted = NULL;
  outputs.ignored = NULL;
  outputs.outside = NULL;
  outputs.loss = NULL;
  outputs.gradient = NULL;
  outputs.gradient_outer_stride = 0;
  outputs.gradient_class_stride = 0;
  outputs.gradient_inner_stride = 0;
  return outputs;
}

/* Binary cross-entropy of sigmoid(logits) against targets, with its gradient.
 *
 * For a logit x with target t after smoothing, weight w and positive weight u:
 *     loss     = w * (u t softplus(-x) + (1 - t) softplus(x))
 *     gradient = w * ((1 - t) sigmoid(x) - u t sigmoid(-x))
 * With focal_gamma g or focal_alpha a (Lin et al. 2017; soft targets as in torchvision), p_t = t sigmoid(x) +
 * (1 - t) sigmoid(-x), the loss is multiplied by (a t + (1 - a) (1 - t)) (1 - p_t)^g. The gradient is d loss / d x times
 * upstream, and divided by the denominator for a mean.
 *
 * Errors against the exact value, in units in the last place, at every finite logit: loss of targets 0 and 1 2; gradient
 * of targets 0 and 1 4, of others of the sum of the magnitudes of its terms. Weights, smoothing and soft targets: loss 4.
 * Several weights, positive weights and upstream factors at once: one more for each but the first. With a focal factor f64
 * has 1 + 5 g more; f32 is computed in f64 and rounded once (and once by each weight, upstream factor and mean), but for
 * g = 2 with targets 0 and 1, without smoothing and with fused multiply-add: there f32 has the bounds of no factor, with
 * alpha too, in a fourth of the time. Products of an input and a weight beyond the largest number are infinite. bf16 and f16
 * gradients are rounded once, from f32. Results below the normal numbers keep what their type can hold, times the weights.
 *
 * Special values: a term whose coefficient is 0 is 0, so that target 1 at x = +inf loses nothing and target 0 +inf. NaN
 * inputs, and targets outside [0, 1], give NaN for their element and no other; but an element whose weight is 0 (that of
 * focal_alpha included) has loss and gradient 0 whatever its input is.
 *
 * Reads: logits and targets, each once. Ignored elements are read with their neighbours, and nothing depends on them.
 * Writes: what is not NULL in outputs. Padding is neither read nor written.
 * Aliases: gradient may be exactly the inputs' memory, with the same strides and dtype. No other overlap.
 * Threads: up to num_threads, or the caller's runner.
 * Errors: every status but XENT_OUT_OF_MEMORY. options may be NULL (the defaults); no other pointer to a struct may.
 *   XENT_UNSUPPORTED: log_rule with logits; focal_gamma or focal_alpha with probabilities; sparse targets.
 * Since: 0.1 */
XENT_API xent_status xent_sigmoid_cross_entropy(const xent_logits* logits, const xent_targets* targets,
                                                const xent_binary_options* options,
                                                const xent_binary_outputs* outputs);

/* The same of probabilities p:
 *     loss     = -w * (u t log(p) + (1 - t) log(1 - p))
 *     gradient =  w * ((1 - t) / (1 - p) - u t / p)
 * with options.log_rule where p is 0 or 1. Errors in units in the last place: f32 loss of targets 0 and 1 0.5, of others
 * 2.5, with weights or smoothing 4; gradient 4; f64 4 both; the gradient's of the magnitudes of its terms, where p is a normal
 * number. A p that is NaN or not in [0, 1] gives NaN, and is counted in outputs.outside. Prefer logits where there are any: a rounded p has lost what a confident one meant.
 * Everything else as xent_sigmoid_cross_entropy. Since: 0.1 */
XENT_API xent_status xent_binary_cross_entropy(const xent_logits* probabilities, const xent_targets* targets,
                                               const xent_binary_options* options,
                                               const xent_binary_outputs* outputs);

/* ------------------------------------------------- information measures */

/* What distributions are given as. */
typedef int32_t xent_distribution;
enum {
  XENT_PROBABILITIES = 1,
  XENT_LOG_PROBABILITIES = 2, /* natural logarithms of probabilities */
  XENT_LOGITS = 3             /* probabilities are their softmax */
};

/* Measures of rows p, or of rows p and q. */
typedef int32_t xent_measure;
enum {
  XENT_ENTROPY = 1,        /* -sum_j p_j log p_j */
  XENT_CROSS_ENTROPY = 2,  /* -sum_j p_j log q_j */
  XENT_KL_DIVERGENCE = 3,  /* sum_j p_j log(p_j / q_j) (Kullback and Leibler 1951) */
  XENT_JENSEN_SHANNON = 4  /* beta KL(p, m) + (1 - beta) KL(q, m), m = beta p + (1 - beta) q (Lin 1991) */
};

typedef struct xent_information_options {
  int32_t struct_size; /* sizeof(xent_information_options) */
  xent_reduction reduction; /* a mean is over the rows; of no rows it is NaN */
  xent_distribution p_given; /* as what */
  xent_distribution q_given;
  double base;         /* of the logarithm in results: 2 for bits, 10; 0: e */
  double scale;        /* multiplies what is given as logits (temperature T: 1 / T); positive, normal and finite */
  double beta;         /* of XENT_JENSEN_SHANNON, in [0, 1] */
  double upstream;     /* d(objective) / d(total), or d(objective) / d(row) without reduction; finite */
  const void* row_upstream; /* one per row, multiplies upstream: float, or double if p is f64. NULL: 1 */
  int32_t num_threads; /* at most so many threads; 0: xent_num_threads() */
  int32_t reserved;    /* 0 */
  const xent_parallel_runner* runner; /* NULL: OpenMP */
} xent_information_options;

/* The defaults: mean, probabilities, natural logarithms, beta 1/2, scale and upstream 1. */
static inline xent_information_options xent_information_options_default(void) {
  xent_information_options options;
  options.struct_size = (int32_t)sizeof(xent_information_options);
  options.reduction = XENT_REDUCTION_MEAN;
  options.p_given = XENT_PROBABILITIES;
  options.q_given = XENT_PROBABILITIES;
  options.base = 0.0;
  options.scale = 1.0;
  options.beta = 0.5;
  options.upstream = 1.0;
  options.row_upstream = NULL;
  options.num_threads = 0;
  options.reserved = 0;
  options.runner = NULL;
  return options;
}

/* Where results go. NULL: not computed. */
typedef struct xent_information_outputs {
  int32_t struct_size; /* sizeof(xent_information_outputs) */
  int32_t reserved;    /* 0 */
  double* total;       /* the mean, or the sum */
  double* sum;
  void* rows;          /* the measure of each row: float, or double if p is f64 */
  void* p_gradient;    /* d(objective) / d(what p was given as), with its dtype and strides; may be its memory */
  void* q_gradient;    /* likewise of q */
} xent_information_outputs;

/* No output asked for. */
static inline xent_information_outputs xent_information_outputs_none(void) {
  xent_information_outputs outputs;
  outputs.struct_size = (int32_t)sizeof(xent_information_outputs);
  outputs.reserved = 0;
  outputs.total = NULL;
  outputs.sum = NULL;
  outputs.rows = NULL;
  outputs.p_gradient = NULL;
  outputs.q_gradient = NULL;
  return outputs;
}

/* A measure of each row of p, or of p and q, and its gradients. Rows are those of xent_logits, whatever they hold: p and q
 * may have other strides and types, but the same outer, classes and inner.
 *
 * Rows of probabilities need not sum to 1; the formulas stand as they are. Terms with p_j = 0 are 0; p_j > 0 with q_j = 0
 * makes cross-entropy and divergence +inf. A negative probability makes its row NaN (entropy: -inf, as scipy's entr).
 * The divergences are sums of p log(p / q) - p + q, which are not negative, plus sum(p) - sum(q): those of nearly equal
 * distributions keep their digits, and those of distributions are never negative (of logits, and Jensen-Shannon's, not
 * by a rounding error either).
 * Computed in f32, where classes lie side by side and inputs are f32, bf16 or f16: measures of probabilities
 * (Jensen-Shannon's with beta = 1/2), entropy of logits with its gradient, and Kullback-Leibler's of logits
 * (beyond 2^-20) with its gradients. Their rows, and the sums of these, are within 4 units in the last place of f32 of the sum of the magnitudes of
 * p log(p / q) - p + q and p - q (largest seen 2.6), the gradients within 4 of those of their terms. A row that holds
 * something unusual (a q that is nothing, numbers that are no probabilities, very small sums) goes by f64 by itself.
 * Everything else is computed in f64: f32 rows are within 1 unit in the last place wherever the terms cancel by less than
 * 2^-20; f64 rows within 8 units of the sum of the magnitudes of these terms, and of logits 1 + |log p_j| times
 * p_j |log p_j| among them (their logarithms are rounded: nearly equal logits, or probabilities beside logarithms, keep no
 * more). Gradient elements likewise, of the magnitudes of theirs, and of f64 logits and logarithms |log p_j| + |log q_j|
 * units more.
 *
 * Reads: p, q. Writes: what is not NULL in outputs. Aliases: p_gradient may be exactly p's memory, q_gradient q's.
 * Threads: up to num_threads, or the caller's runner.
 * Errors: XENT_INVALID_ARGUMENT, XENT_OVERLAP, XENT_SIZE_OVERFLOW, XENT_VERSION_MISMATCH, XENT_RUNNER_FAILED. q is NULL for
 *   XENT_ENTROPY and for no other. options may be NULL (the defaults).
 * Since: 0.1 */
XENT_API xent_status xent_information(xent_measure measure, const xent_logits* p, const xent_logits* q,
                                      const xent_information_options* options,
                                      const xent_information_outputs* outputs);

/* Measures of what M samples (the members of an ensemble, or passes with dropout) say about each row. */
typedef int32_t xent_ensemble_measure;
enum {
  XENT_PREDICTIVE_ENTROPY = 1,  /* entropy of the samples' mean distribution: all uncertainty */
  XENT_EXPECTED_ENTROPY = 2,    /* mean of the samples' entropies: that of the data */
  XENT_ENSEMBLE_INFORMATION = 3 /* their difference, the mutual information of class and model (Houlsby et al. 2011),
                                   computed as the mean divergence of a sample from the mean: never negative */
};

/* [samples, rows, classes] without gaps. */
static inline xent_logits xent_logits_samples(const void* data, xent_dtype dtype, int64_t samples, int64_t rows,
                                              int64_t classes) {
  xent_logits logits = xent_logits_rows(data, dtype, samples, classes);
  logits.inner = rows;
  logits.outer_stride = rows * classes;
  logits.inner_stride = classes;
  return logits;
}

/* Where results go. NULL: not computed. Row arrays have `inner` elements: float, or double for f64 samples. */
typedef struct xent_ensemble_outputs {
  int32_t struct_size; /* sizeof(xent_ensemble_outputs) */
  xent_ensemble_measure gradient_of; /* with a gradient; else 0 */
  double* totals;      /* 3 doubles: the measures in their order, as options.reduction says */
  void* predictive_entropy;
  void* expected_entropy;
  void* mutual_information;
  void* gradient;      /* d(upstream * measure) / d(samples), with their dtype and strides; may be their memory */
} xent_ensemble_outputs;

/* No output asked for. */
static inline xent_ensemble_outputs xent_ensemble_outputs_none(void) {
  xent_ensemble_outputs outputs;
  outputs.struct_size = (int32_t)sizeof(xent_ensemble_outputs);
  outputs.gradient_of = 0;
  outputs.totals = NULL;
  outputs.predictive_entropy = NULL;
  outputs.expected_entropy = NULL;
  outputs.mutual_information = NULL;
  outputs.gradient = NULL;
  return outputs;
}

/* The three measures of each row. The samples are the `outer` dimension of xent_logits, at least 1; rows are `inner`.
 * options.p_given says what they are (default: probabilities), base, scale, reduction, upstream, row_upstream and threads
 * as for xent_information; q_given and beta are disregarded.
 * Reads: samples, up to four times. Writes: what is not NULL in outputs.
 * Aliases: gradient may be exactly the samples' memory. Threads: up to num_threads, or the caller's runner.
 * Errors: XENT_INVALID_ARGUMENT, XENT_OVERLAP, XENT_SIZE_OVERFLOW, XENT_VERSION_MISMATCH, XENT_OUT_OF_MEMORY,
 *   XENT_RUNNER_FAILED. options may be NULL (the defaults). Since: 0.1 */
XENT_API xent_status xent_ensemble_information(const xent_logits* samples, const xent_information_options* options,
                                               const xent_ensemble_outputs* outputs);

/* Measures of a joint table n[x][y] of counts or probabilities, whatever they sum to: P(x, y) = n[x][y] / T, T the sum of
 * all. */
typedef int32_t xent_joint_measure;
enum {
  XENT_JOINT_ENTROPY = 1,       /* H(X, Y) */
  XENT_ROW_ENTROPY = 2,         /* H(X) */
  XENT_COLUMN_ENTROPY = 3,      /* H(Y) */
  XENT_CONDITIONAL_ENTROPY = 4, /* H(Y given X) = H(X, Y) - H(X), computed as sum P(x) H(Y given x): nothing cancels */
  XENT_MUTUAL_INFORMATION = 5   /* I(X; Y) = H(Y) - H(Y given X), computed as a divergence: never negative */
};

/* Number `measure` - 1 of values (5 doubles; NULL: not computed) becomes that measure, to the base `base` (2, 10; 0: e).
 * gradient: d(gradient_of) / d(n), with the table's layout and dtype, may be its memory; NULL: none (gradient_of is then
 * 0). H(X given Y) is that of the transposed table: exchange outer and classes, and their strides.
 * Each within 20 units in the last place of a double, however small it is and whatever T, but mutual information below
 * 1e-28, which is left by products of T that cancel; H(X, Y) = H(X) + H(Y given X) and I(X; Y) = H(X) + H(Y) - H(X, Y) hold
 * to such errors. A table of zeros, or with a negative cell, has NaN everywhere.
 * Reads: table, with inner 1: outer values of x, classes values of y. Writes: values, gradient. Threads: one.
 * Errors: XENT_INVALID_ARGUMENT, XENT_OVERLAP, XENT_SIZE_OVERFLOW, XENT_OUT_OF_MEMORY. Since: 0.1 */
XENT_API xent_status xent_joint_information(const xent_logits* table, double base, double* values,
                                            xent_joint_measure gradient_of, void* gradient);

/* ------------------------- categorical cross-entropy of probabilities */

/* -1/N sum_i sum_j t_ij log p_ij of rows that are probabilities, or their logarithms (then it is PyTorch's nll_loss),
 * with its gradient -t_j / p_j, or -t_j. Targets as for xent_softmax_cross_entropy; of labels y it is -log p_y, and only
 * p_y is read. Nothing is normalised: rows that do not sum to 1 are taken as they are. Where there are logits, prefer
 * xent_softmax_cross_entropy: it keeps what a rounded p has lost.
 *
 * given: XENT_PROBABILITIES or XENT_LOG_PROBABILITIES. log_rule and epsilon: as in xent_binary_options (of logarithms, on
 * what they are the logarithms of). Of the options count reduction, empty_mean, invalid_label, ignore_index, denominator,
 * denominator_value, upstream, row_upstream, class_weight, row_weight, row_mask, label_smoothing, smoothing, num_threads
 * and runner; of the outputs total, sum, denominator, counted, ignored, row_loss and gradient. Others that are set are
 * XENT_UNSUPPORTED. outside: how many of the probabilities that were read are none, NaN or not in [0, 1] (of logarithms:
 * NaN), which makes their rows NaN; NULL: not counted.
 *
 * Errors: f32, bf16 and f16 losses are rounded once from f64; f64 losses and gradients are within 4 units in the last place, with
 * weights and smoothing (bf16 and f16: rounded once, from f32).
 * Reads: probabilities, targets. Writes: what is not NULL in outputs. Aliases: gradient may be exactly the probabilities'
 * memory, with the same strides and dtype. Threads: up to num_threads, or the caller's runner.
 * Errors: every status but XENT_OUT_OF_MEMORY. options may be NULL (the defaults).
 * Since: 0.1 */
XENT_API xent_status xent_categorical_cross_entropy(const xent_logits* probabilities, xent_distribution given,
                                                    const xent_targets* targets, xent_log_rule log_rule, double epsilon,
                                                    const xent_softmax_options* options,
                                                    const xent_softmax_outputs* outputs, int64_t* outside);

/* -------------------------------------------------------- function arrays */

/* Functions of one number. */
typedef int32_t xent_function;
enum {
  XENT_EXP = 1,         /* e^x */
  XENT_LOG = 2,         /* natural logarithm */
  XENT_LOG1P = 3,       /* log(1 + x) */
  XENT_EXPM1 = 4,       /* e^x - 1 */
  XENT_SIGMOID = 5,     /* 1 / (1 + e^-x) */
  XENT_LOG_SIGMOID = 6, /* -log(1 + e^-x) */
  XENT_SOFTPLUS = 7,    /* log(1 + e^x) */
  XENT_TANH = 8         /* hyperbolic tangent */
};

/* The name of a function in lower case, for example "log_sigmoid"; NULL for a number that is not one.
 * Threads: any. Errors: none. Since: 0.1 */
XENT_API const char* xent_function_name(xent_function function);

typedef struct xent_map_options {
  int32_t struct_size; /* sizeof(xent_map_options) */
  int32_t num_threads; /* at most so many threads; 0: xent_num_threads() */
  const xent_parallel_runner* runner; /* NULL: OpenMP. With a runner, num_threads 0 means its concurrency */
} xent_map_options;

/* The defaults: threads as the process has them, no runner. */
static inline xent_map_options xent_map_options_default(void) {
  xent_map_options options;
  options.struct_size = (int32_t)sizeof(xent_map_options);
  options.num_threads = 0;
  options.runner = NULL;
  return options;
}

/* y[i] = f(x[i]) for i in [0, n).
 *
 * f32 results are correctly rounded: of all floats the nearest to the real value, ties to even, for every one of the
 * 2^32 arguments and on every instruction set. bf16 and f16 results are those, rounded once more to their type. f64
 * results are within these errors, in units in the last place (without fused multiply-add in parentheses):
 *   exp 0.61 (0.63), log 0.64 (0.72), log1p 0.69 (0.75), expm1 0.94 (1.01), sigmoid 0.60 (0.63), softplus and
 *   log_sigmoid 0.73 (0.80), tanh 0.80 (0.81).
 * Subnormal arguments and results are numbers like others.
 *
 * Special values as in C99 Annex F: signed zeros keep their sign under log1p, expm1 and tanh; log(+-0) and log1p(-1)
 * are -inf; logarithms of less are NaN; NaN gives NaN, always the same quiet one. log_sigmoid(+inf) is -0.
 *
 * Reads: n elements of x. Writes: n elements of y, of the same type.
 * Aliases: y may be exactly x. No other overlap.
 * Threads: up to num_threads, or the caller's runner.
 * Errors: XENT_INVALID_ARGUMENT (a function or dtype that is none, n negative, a pointer that is null with n > 0 or not
 *   aligned to its elements, bad options), XENT_SIZE_OVERFLOW, XENT_OVERLAP, XENT_VERSION_MISMATCH, XENT_RUNNER_FAILED.
 *   options may be NULL (the defaults).
 * Since: 0.1 */
XENT_API xent_status xent_map(xent_function function, xent_dtype dtype, const void* x, void* y, int64_t n,
                              const xent_map_options* options);

#ifdef __cplusplus
}
#endif

#endif /* XENT_XENT_H_ */
