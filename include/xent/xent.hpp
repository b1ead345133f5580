// xent for C++17: typed views, errors as exceptions. A thin layer over xent.h with no behaviour of its own; the
// contracts are written there.
//
//     std::vector<float> logits(rows * classes), gradient(rows * classes);
//     std::vector<int64_t> labels(rows);
//     xent::SoftmaxOutputs<float> outputs;
//     outputs.gradient = gradient;
//     double loss = xent::SoftmaxCrossEntropy(xent::Logits<float>(logits, rows, classes), labels, {}, outputs);
#ifndef XENT_XENT_HPP_
#define XENT_XENT_HPP_

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "xent/xent.h"

namespace xent {

// A call that failed: its status, and the library's sentence as what().
class Error : public std::runtime_error {
 public:
  Error(xent_status status, const std::string& sentence)
      : std::runtime_error(std::string(xent_status_name(status)) + ": " + sentence), status_(status) {}
  xent_status status() const noexcept { return status_; }

 private:
  xent_status status_;
};

inline void ThrowIfFailed(xent_status status) {
  if (status != XENT_OK) throw Error(status, xent_last_error());
}

// 2-byte storage types: words to hold, no arithmetic.
struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

// Integers by their size and sign, so that long and long long both have a type.
template <class T>
constexpr xent_dtype IntegerDtype() {
  static_assert(std::is_integral_v<T> && !(sizeof(T) == 8 && std::is_unsigned_v<T>),
                "labels are u8 to u32 and i8 to i64");
  if (sizeof(T) == 1) return std::is_signed_v<T> ? XENT_I8 : XENT_U8;
  if (sizeof(T) == 2) return std::is_signed_v<T> ? XENT_I16 : XENT_U16;
  if (sizeof(T) == 4) return std::is_signed_v<T> ? XENT_I32 : XENT_U32;
  return XENT_I64;
}

template <class T>
struct DtypeOf : std::integral_constant<xent_dtype, IntegerDtype<T>()> {};
template <>
struct DtypeOf<float> : std::integral_constant<xent_dtype, XENT_F32> {};
template <>
struct DtypeOf<double> : std::integral_constant<xent_dtype, XENT_F64> {};
template <>
struct DtypeOf<BFloat16> : std::integral_constant<xent_dtype, XENT_BF16> {};
template <>
struct DtypeOf<Float16> : std::integral_constant<xent_dtype, XENT_F16> {};

// The type of a row's loss and log-sum-exp.
template <class T>
using RowType = std::conditional_t<std::is_same_v<T, double>, double, float>;

// A run of elements in memory that belongs to somebody else; made from anything with data() and size().
template <class T>
class View {
 public:
  constexpr View() noexcept = default;
  constexpr View(T* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <class Container,
            class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<Container&>().data()), T*>>>
  constexpr View(Container&& container) noexcept : data_(container.data()), size_(container.size()) {}

  constexpr T* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

// A matrix of logits, rows row_stride elements apart.
template <class T>
class Logits {
 public:
  Logits(View<const T> elements, int64_t rows, int64_t classes) : Logits(elements, rows, classes, classes) {}
  Logits(View<const T> elements, int64_t rows, int64_t classes, int64_t row_stride)
      : matrix_(xent_logits_strided(elements.data(), DtypeOf<T>::value, rows, classes, row_stride)),
        size_(elements.size()) {}

  const xent_logits& matrix() const noexcept { return matrix_; }
  int64_t rows() const noexcept { return matrix_.outer; }
  // Elements that a buffer of this shape must have; negative sizes are left to the library to report.
  std::size_t extent() const noexcept {
    if (matrix_.outer <= 0 || matrix_.classes <= 0 || matrix_.outer_stride < 0) return 0;
    return static_cast<std::size_t>(matrix_.outer - 1) * static_cast<std::size_t>(matrix_.outer_stride) +
           static_cast<std::size_t>(matrix_.classes);
  }
  std::size_t size() const noexcept { return size_; }

 private:
  xent_logits matrix_;
  std::size_t size_;
};

// The options of xent.h with their defaults.
struct SoftmaxOptions : xent_softmax_options {
  SoftmaxOptions() : xent_softmax_options(xent_softmax_options_default()) {}
};

// What is to be computed: views that are left empty are not.
template <class T>
struct SoftmaxOutputs {
  View<RowType<T>> row_loss;
  View<RowType<T>> lse;
  View<T> gradient;
  View<xent_row_state> row_state;
  int64_t* counted = nullptr;
  int64_t* ignored = nullptr;
};

namespace internal {
template <class T>
T* DataOfSize(View<T> view, std::size_t size, const char* name) {
  if (view.data() != nullptr && view.size() < size) {
    throw Error(XENT_INVALID_ARGUMENT, std::string(name) + " has " + std::to_string(view.size()) + " elements; " +
                                           std::to_string(size) + " are needed");
  }
  return view.data();
}
}  // namespace internal

// Targets that have a number for every class: the shape of the logits, without gaps.
template <class U>
class DenseTargets {
 public:
  explicit DenseTargets(View<const U> elements) : elements_(elements) {}
  const View<const U>& elements() const noexcept { return elements_; }

 private:
  View<const U> elements_;
};

namespace internal {
template <class T>
double CrossEntropy(const Logits<T>& logits, const xent_targets& targets, const SoftmaxOptions& options,
                    const SoftmaxOutputs<T>& wanted) {
  const std::size_t rows = logits.rows() > 0 ? static_cast<std::size_t>(logits.rows()) : 0;
  DataOfSize(View<const T>(static_cast<const T*>(logits.matrix().data), logits.size()), logits.extent(), "logits");
  double total = 0.0;
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  if (options.lse == nullptr) outputs.total = &total;
  outputs.row_loss = DataOfSize(wanted.row_loss, rows, "row_loss");
  outputs.lse = DataOfSize(wanted.lse, rows, "lse");
  outputs.gradient = DataOfSize(wanted.gradient, logits.extent(), "gradient");
  outputs.row_state = DataOfSize(wanted.row_state, rows, "row_state");
  outputs.counted = wanted.counted;
  outputs.ignored = wanted.ignored;
  ThrowIfFailed(xent_softmax_cross_entropy(&logits.matrix(), &targets, &options, &outputs));
  return total;
}
}  // namespace internal

// The reduced loss; see xent_softmax_cross_entropy. Throws Error.
template <class T, class LabelView>
double SoftmaxCrossEntropy(const Logits<T>& logits, const LabelView& labels, const SoftmaxOptions& options = {},
                           const SoftmaxOutputs<T>& wanted = {}) {
  using Label = std::remove_cv_t<std::remove_pointer_t<decltype(labels.data())>>;
  const std::size_t rows = logits.rows() > 0 ? static_cast<std::size_t>(logits.rows()) : 0;
  const Label* const data = internal::DataOfSize(View<const Label>(labels), rows, "labels");
  return internal::CrossEntropy(logits, xent_targets_labels(data, DtypeOf<Label>::value), options, wanted);
}

// The same for dense targets.
template <class T, class U>
double SoftmaxCrossEntropy(const Logits<T>& logits, const DenseTargets<U>& targets, const SoftmaxOptions& options = {},
                           const SoftmaxOutputs<T>& wanted = {}) {
  const std::size_t rows = logits.rows() > 0 ? static_cast<std::size_t>(logits.rows()) : 0;
  const std::size_t classes = rows > 0 ? static_cast<std::size_t>(logits.matrix().classes) : 0;
  const U* const data = internal::DataOfSize(targets.elements(), rows * classes, "targets");
  return internal::CrossEntropy(logits, xent_targets_dense(data, DtypeOf<U>::value), options, wanted);
}

// The options of the binary losses with their defaults.
struct BinaryOptions : xent_binary_options {
  BinaryOptions() : xent_binary_options(xent_binary_options_default()) {}
};

// What is to be computed: views that are left empty are not.
template <class T>
struct BinaryOutputs {
  View<RowType<T>> loss;
  View<T> gradient;
  int64_t* counted = nullptr;
  int64_t* ignored = nullptr;
  int64_t* outside = nullptr;  // of probabilities
};

namespace internal {
// A target for each element: integers are labels, anything else is dense.
template <class T, class TargetView, class Function>
double BinaryCrossEntropy(Function function, const Logits<T>& inputs, const TargetView& targets,
                          const BinaryOptions& options, const BinaryOutputs<T>& wanted) {
  using U = std::remove_cv_t<std::remove_pointer_t<decltype(targets.data())>>;
  const std::size_t rows = inputs.rows() > 0 ? static_cast<std::size_t>(inputs.rows()) : 0;
  const std::size_t elements = rows > 0 ? rows * static_cast<std::size_t>(inputs.matrix().classes) : 0;
  DataOfSize(View<const T>(static_cast<const T*>(inputs.matrix().data), inputs.size()), inputs.extent(), "inputs");
  const U* const data = DataOfSize(View<const U>(targets), elements, "targets");
  const xent_targets t = std::is_integral_v<U> ? xent_targets_labels(data, DtypeOf<U>::value)
                                               : xent_targets_dense(data, DtypeOf<U>::value);
  double total = 0.0;
  xent_binary_outputs outputs = xent_binary_outputs_none();
  outputs.total = &total;
  outputs.loss = DataOfSize(wanted.loss, elements, "loss");
  outputs.gradient = DataOfSize(wanted.gradient, inputs.extent(), "gradient");
  outputs.counted = wanted.counted;
  outputs.ignored = wanted.ignored;
  outputs.outside = wanted.outside;
  ThrowIfFailed(function(&inputs.matrix(), &t, &options, &outputs));
  return total;
}
}  // namespace internal

// The reduced loss of logits; see xent_sigmoid_cross_entropy. Throws Error.
template <class T, class TargetView>
double SigmoidCrossEntropy(const Logits<T>& logits, const TargetView& targets, const BinaryOptions& options = {},
                           const BinaryOutputs<T>& wanted = {}) {
  return internal::BinaryCrossEntropy(xent_sigmoid_cross_entropy, logits, targets, options, wanted);
}

// The same of probabilities; see xent_binary_cross_entropy.
template <class T, class TargetView>
double BinaryCrossEntropy(const Logits<T>& probabilities, const TargetView& targets, const BinaryOptions& options = {},
                          const BinaryOutputs<T>& wanted = {}) {
  return internal::BinaryCrossEntropy(xent_binary_cross_entropy, probabilities, targets, options, wanted);
}

// The options of xent_map with their defaults.
struct MapOptions : xent_map_options {
  MapOptions() : xent_map_options(xent_map_options_default()) {}
};

// y[i] = f(x[i]) for every element of x; see xent_map. y may be x. Throws Error.
template <class X, class Y>
void Map(xent_function function, const X& x, Y&& y, const MapOptions& options = {}) {
  using T = std::remove_cv_t<std::remove_pointer_t<decltype(x.data())>>;
  const View<const T> from(x);
  T* const to = internal::DataOfSize(View<T>(y), from.size(), "y");
  ThrowIfFailed(xent_map(function, DtypeOf<T>::value, from.data(), to, static_cast<int64_t>(from.size()), &options));
}

}  // namespace xent

#endif  // XENT_XENT_HPP_
