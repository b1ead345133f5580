// Copies are spread over whole pages; their number is odd, so that two parties that take turns both meet every copy.
#include "workload.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "xent/xent.h"

namespace xent_bench {
namespace {

// Copies `lines` cache lines to every slot, each thread its part of a slot: so a page is first touched by the thread
// that a static partition of the rows gives it to.
void CopyToSlots(const char* master, size_t bytes, size_t stride, size_t begin, size_t end, int threads, char* ring) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int part = 0; part < threads; ++part) {
    const size_t lines = bytes / kLine, count = static_cast<size_t>(threads), i = static_cast<size_t>(part);
    const size_t first = lines * i / count * kLine, last = lines * (i + 1) / count * kLine;
    for (size_t slot = begin; slot < end; ++slot) {
      char* const to = ring + slot * stride + first;
      if (master != nullptr) std::memcpy(to, master + first, last - first);
      if (master == nullptr) std::memset(to, 0, last - first);
    }
  }
}

std::string GotAndWanted(const std::string& what, double got, double want) {
  char numbers[80];
  std::snprintf(numbers, sizeof(numbers), " is %.9g, should be %.9g", got, want);
  return what + numbers;
}

}  // namespace

const char* ModeName(Mode mode) {
  static const char* const kNames[] = {"loss", "gradient", "gradient_in_place"};
  return kNames[static_cast<int>(mode)];
}

Workload::Workload(const Case& c) : case_(c) {
  const size_t size = static_cast<size_t>(xent_dtype_size(c.dtype.value));
  logit_bytes_ = RoundUp(static_cast<size_t>(elements()) * size, kLine);
  label_bytes_ = RoundUp(static_cast<size_t>(c.shape.rows) * sizeof(int64_t), kLine);
  const size_t slot_bytes = logit_bytes_ + label_bytes_;
  // One line more than whole pages: copies do not all start in the same cache set.
  stride_ = RoundUp(slot_bytes, 4096) + kLine;
  const size_t moved = c.mode == Mode::kGradient ? 2 * stride_ : stride_;
  slots_ = c.footprint == 0 ? 1 : std::max<size_t>(3, (c.footprint + moved - 1) / moved) | 1;

  label_values_ = MakeLabels(c.shape);
  master_ = Allocate(slot_bytes);
  std::memset(master_.get(), 0, slot_bytes);
  FillLogits(c.shape, c.dtype.value, c.inputs, label_values_.data(), master_.get());
  std::memcpy(master_.get() + logit_bytes_, label_values_.data(), label_values_.size() * sizeof(int64_t));

  logits_ = Allocate(slots_ * stride_, c.huge_pages);
  CopyToSlots(master_.get(), slot_bytes, stride_, 0, slots_, c.threads, logits_.get());
  if (c.mode != Mode::kGradient) return;
  gradient_ = Allocate(slots_ * stride_, c.huge_pages);
  CopyToSlots(nullptr, slot_bytes, stride_, 0, slots_, c.threads, gradient_.get());
}

double Workload::FloorBytes() const {
  const double logits = static_cast<double>(elements()) * xent_dtype_size(case_.dtype.value);
  const double labels = static_cast<double>(case_.shape.rows) * sizeof(int64_t);
  return (case_.mode == Mode::kLoss ? logits : 2 * logits) + labels;
}

char* Workload::Gradient(size_t slot) const {
  return case_.mode == Mode::kGradient ? gradient_.get() + slot * stride_ : Logits(slot);
}

void Workload::Call(size_t slot) {
  const xent_logits logits = xent_logits_rows(Logits(slot), case_.dtype.value, case_.shape.rows, case_.shape.classes);
  const xent_targets labels = xent_targets_labels(Logits(slot) + logit_bytes_, XENT_I64);
  xent_softmax_options options = xent_softmax_options_default();
  options.num_threads = case_.threads;
  xent_softmax_outputs out = xent_softmax_outputs_none();
  out.total = &loss_;
  if (case_.mode != Mode::kLoss) out.gradient = Gradient(slot);
  if (xent_softmax_cross_entropy(&logits, &labels, &options, &out) != XENT_OK) {
    throw std::runtime_error(xent_last_error());
  }
}

RoofJob Workload::Job(size_t slot) const {
  const char* const labels = Logits(slot) + logit_bytes_;
  switch (case_.mode) {
    case Mode::kLoss:
      return {Traffic::kRead, Logits(slot), nullptr, logit_bytes_ + label_bytes_, nullptr, 0};
    case Mode::kGradient:
      return {Traffic::kCopy, Logits(slot), Gradient(slot), logit_bytes_, labels, label_bytes_};
    default:
      return {Traffic::kInPlace, Logits(slot), Logits(slot), logit_bytes_, labels, label_bytes_};
  }
}

void Workload::Restore(size_t begin, size_t end) {
  if (case_.mode != Mode::kGradientInPlace) return;
  CopyToSlots(master_.get(), logit_bytes_, stride_, begin, end, case_.threads, logits_.get());
}

// The gradient of one row, for a mean over all rows, from the master copy.
std::vector<double> Workload::ReferenceRow(int64_t row, double* loss) const {
  const int64_t classes = case_.shape.classes;
  std::vector<double> values(static_cast<size_t>(classes));
  for (int64_t j = 0; j < classes; ++j) {
    values[static_cast<size_t>(j)] = LoadAsDouble(master_.get(), case_.dtype.value, row * classes + j);
  }
  const double max = *std::max_element(values.begin(), values.end());
  const size_t label = static_cast<size_t>(label_values_[static_cast<size_t>(row)]);
  const double label_value = values[label] - max;
  double sum = 0;
  for (double& value : values) sum += value = std::exp(value - max);
  *loss = std::log(sum) - label_value;
  for (double& value : values) value /= sum * static_cast<double>(case_.shape.rows);
  values[label] -= 1 / static_cast<double>(case_.shape.rows);
  return values;
}

std::string Workload::CheckGradient(const std::vector<double>& first_row) {
  // Relative to the largest possible element: a little more than one rounding of bf16.
  const double bound = 0.005 / static_cast<double>(case_.shape.rows);
  for (int64_t j = 0; j < case_.shape.classes; ++j) {
    const double got = LoadAsDouble(Gradient(0), case_.dtype.value, j);
    const double want = first_row[static_cast<size_t>(j)];
    if (!(std::fabs(got - want) <= bound + 1e-7)) {
      return GotAndWanted("gradient element " + std::to_string(j) + " of row 0", got, want);
    }
  }
  return "";
}

std::string Workload::Check() {
  Call(0);
  double want = 0;
  std::vector<double> first_row;
  for (int64_t row = 0; row < case_.shape.rows; ++row) {
    double loss = 0;
    std::vector<double> gradient = ReferenceRow(row, &loss);
    want += loss / static_cast<double>(case_.shape.rows);
    if (row == 0) first_row = std::move(gradient);
  }
  std::string wrong;
  if (!(std::fabs(loss_ - want) <= 1e-5 * std::fabs(want) + 1e-12)) {
    wrong = GotAndWanted("the loss", loss_, want);
  } else if (case_.mode != Mode::kLoss) {
    wrong = CheckGradient(first_row);
  }
  Restore(0, 1);
  return wrong;
}

}  // namespace xent_bench
