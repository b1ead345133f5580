// Wrappers that turn vectors into the library's views, and a status into an exception.
#include "training_loss.h"

#include <fmt/format.h>

#include "errors.h"
#include "xent/xent.h"

namespace xent_command {
namespace {

constexpr double kGamma = 2;

void Require(xent_status status) {
  if (status == XENT_OK) return;
  throw RunError(fmt::format("the loss cannot be computed ({}): {}", xent_status_name(status), xent_last_error()));
}

double* Resized(std::vector<double>* gradient, size_t size) {
  if (gradient == nullptr) return nullptr;
  gradient->resize(size);
  return gradient->data();
}

// mean of sum_j (p_j - y_j)^2, p the softmax.
double SquaredErrorOfSoftmax(const xent_logits& x, const std::vector<int32_t>& labels, int32_t threads,
                             double* gradient) {
  xent_softmax_options options = xent_softmax_options_default();
  options.num_threads = threads;
  const size_t rows = static_cast<size_t>(x.outer);
  const size_t classes = static_cast<size_t>(x.classes);
  std::vector<double> p(rows * classes), upstream(rows * classes);
  Require(xent_softmax(&x, &options, p.data()));
  double sum = 0;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t j = 0; j < classes; ++j) {
      const double error = p[r * classes + j] - (static_cast<size_t>(labels[r]) == j ? 1 : 0);
      sum += error * error;
      upstream[r * classes + j] = 2 * error / static_cast<double>(rows);
    }
  }
  if (gradient != nullptr) {
    const xent_logits probabilities = xent_logits_rows(p.data(), XENT_F64, x.outer, x.classes);
    Require(xent_softmax_backward(&probabilities, &options, upstream.data(), gradient));
  }
  return sum / static_cast<double>(rows);
}

// mean of (p - y)^2, p the sigmoid.
double SquaredErrorOfSigmoid(const std::vector<double>& logits, const std::vector<int32_t>& targets, int32_t threads,
                             double* gradient) {
  xent_map_options options = xent_map_options_default();
  options.num_threads = threads;
  const size_t n = logits.size();
  std::vector<double> p(n);
  Require(xent_map(XENT_SIGMOID, XENT_F64, logits.data(), p.data(), static_cast<int64_t>(n), &options));
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const double error = p[i] - targets[i];
    sum += error * error;
    if (gradient != nullptr) gradient[i] = 2 * error * p[i] * (1 - p[i]) / static_cast<double>(n);
  }
  return sum / static_cast<double>(n);
}

}  // namespace

double SoftmaxLoss(Objective objective, const std::vector<double>& logits, const std::vector<int32_t>& labels,
                   int64_t classes, int32_t threads, std::vector<double>* gradient) {
  const xent_logits x = xent_logits_rows(logits.data(), XENT_F64, static_cast<int64_t>(labels.size()), classes);
  double* const written = Resized(gradient, logits.size());
  if (objective == Objective::kSquaredError) return SquaredErrorOfSoftmax(x, labels, threads, written);
  const xent_targets y = xent_targets_labels(labels.data(), XENT_I32);
  xent_softmax_options options = xent_softmax_options_default();
  options.num_threads = threads;
  if (objective == Objective::kFocal) options.focal_gamma = kGamma;
  double loss = 0;
  xent_softmax_outputs out = xent_softmax_outputs_none();
  out.total = &loss;
  out.gradient = written;
  Require(xent_softmax_cross_entropy(&x, &y, &options, &out));
  return loss;
}

double SigmoidLoss(Objective objective, const std::vector<double>& logits, const std::vector<int32_t>& targets,
                   int32_t threads, std::vector<double>* gradient) {
  double* const written = Resized(gradient, logits.size());
  if (objective == Objective::kSquaredError) return SquaredErrorOfSigmoid(logits, targets, threads, written);
  const xent_logits x = xent_logits_rows(logits.data(), XENT_F64, static_cast<int64_t>(logits.size()), 1);
  const xent_targets t = xent_targets_labels(targets.data(), XENT_I32);
  xent_binary_options options = xent_binary_options_default();
  options.num_threads = threads;
  if (objective == Objective::kFocal) options.focal_gamma = kGamma;
  double loss = 0;
  xent_binary_outputs out = xent_binary_outputs_none();
  out.total = &loss;
  out.gradient = written;
  Require(xent_sigmoid_cross_entropy(&x, &t, &options, &out));
  return loss;
}

}  // namespace xent_command
