// What crosses from room 1 to room 2: a checked call, in the library's own terms.
#ifndef XENT_LIB_TASK_H_
#define XENT_LIB_TASK_H_

#include <cstdint>

#include "lib/kernels.h"
#include "lib/strided.h"
#include "xent/xent.h"

namespace xent {

// An array x[o][j][i] with rows (o, i), row r = o * inner + i, of classes j.
struct Matrix {
  const void* data;
  Dtype dtype;
  int64_t rows;
  int64_t classes;
  int64_t inner;
  int64_t outer_stride;  // in elements, as are the next two
  int64_t class_stride;
  int64_t inner_stride;

  int64_t ElementBytes() const { return dtype == Dtype::kF64 ? 8 : dtype == Dtype::kF32 ? 4 : 2; }
  // Arithmetic is in f64 for f64 logits, else in f32; row outputs have the same type.
  bool IsDouble() const { return dtype == Dtype::kF64; }
  // Whether the classes of a row lie side by side, and rows at equal distances.
  bool HasPlainRows() const { return inner == 1 && class_stride == 1; }
  // The first element of a row.
  int64_t Offset(int64_t row) const {
    return inner == 1 ? row * outer_stride : row / inner * outer_stride + row % inner * inner_stride;
  }
  const char* Row(int64_t row) const { return static_cast<const char*>(data) + Offset(row) * ElementBytes(); }
};

struct Labels {
  const void* data;
  xent_dtype dtype;
  int64_t ignore_index;
};

// A row is a class (labels), a weight for each class (dense), or `per_row` classes with weights (sparse).
struct Targets {
  xent_target_kind kind;
  Labels labels;  // of labels and sparse targets
  Matrix dense;
  int64_t per_row;
  const void* weights;
  xent_rest rest;
};

// What a pass over the targets found.
struct TargetCount {
  int64_t ignored;
  int64_t first_invalid;  // index of a label; -1: none
  int64_t invalid_value;
  double weight;  // the sum over the other rows of row weight times the label's class weight
};

// What goes to where the gradient is.
enum class Product : int32_t { kGradient, kProbabilities, kLogProbabilities };

// The kind of targets of a task without any.
constexpr xent_target_kind kNoTargets = 0;

struct SoftmaxTask {
  Product product = Product::kGradient;
  void* token_log_probability = nullptr;  // of each of the sparse targets' classes
  Matrix logits;
  Targets targets;
  TargetCount count;
  xent_softmax_options options;
  xent_softmax_outputs outputs;
  Matrix gradient;

  int64_t Counted() const { return logits.rows - count.ignored; }
  bool HasLabels() const { return targets.kind == XENT_TARGET_LABELS; }
  // Element of one of the caller's arrays with an element per row or class; `otherwise` if there is none.
  double RowValue(const void* array, int64_t index, double otherwise) const {
    if (array == nullptr) return otherwise;
    return logits.IsDouble() ? static_cast<const double*>(array)[index] : static_cast<const float*>(array)[index];
  }
  // What a mean divides by.
  double Denominator() const {
    if (options.denominator == XENT_DENOMINATOR_GIVEN) return options.denominator_value;
    return options.denominator == XENT_DENOMINATOR_ROWS ? static_cast<double>(Counted()) : count.weight;
  }
};

// Rows whose classes come a slice at a time.
struct StreamTask {
  SoftmaxTask whole;  // labels, options and outputs; its logits have no data
  Matrix slice;
  int64_t first_class;
  RowState* states;
  double* label_logits;
  Matrix gradient;  // of the slice
};

struct BinaryTask {
  BinaryForm form;
  Strided inputs;
  Strided targets;  // dense ones
  Labels labels;    // data is null: targets are dense
  Strided gradient;
  Dtype dtype;         // of the inputs
  Dtype target_dtype;  // of dense targets
  Dtype gradient_dtype;
  int64_t ignored;        // of labels, or if CountBinaryTargets had to count them
  int64_t first_invalid;  // index of a label; -1: none
  int64_t invalid_value;
  xent_binary_options options;
  xent_binary_outputs outputs;

  bool IsDouble() const { return dtype == Dtype::kF64; }
  bool HasLabels() const { return labels.data != nullptr; }
  double Denominator() const {
    if (options.denominator == XENT_ELEMENTS_GIVEN) return options.denominator_value;
    return static_cast<double>(inputs.Count() - (options.denominator == XENT_ELEMENTS_COUNTED ? ignored : 0));
  }
};

struct CategoricalTask {
  SoftmaxTask rows;
  Given given;
  xent_log_rule log_rule;
  double epsilon;
  int64_t* outside;
};

struct InformationTask {
  Measure measure;
  bool has_q;
  SoftmaxTask p;  // what is read, how it is scaled, and where its gradient goes
  SoftmaxTask q;
  double unit;  // 1 / log(base)
  xent_information_options options;
  xent_information_outputs outputs;
};

struct EnsembleTask {
  SoftmaxTask samples;  // row r of sample m is row m * rows + r
  int64_t count;
  int64_t rows;
  double unit;
  xent_information_options options;
  xent_ensemble_outputs outputs;
};

struct JointTask {
  Matrix table;
  double unit;
  double* values;
  xent_joint_measure gradient_of;
  Matrix gradient;
};

struct MapTask {
  Function function;
  Dtype dtype;
  const char* x;
  char* y;
  int64_t n;
  int64_t element;  // bytes
  xent_map_options options;
};

}  // namespace xent

#endif  // XENT_LIB_TASK_H_
