// Calls, roofs and the check of softmax workloads; see softmax_workload.h.
#include "softmax_workload.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "machine.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

size_t LogitBytes(const SoftmaxCase& c) {
  const size_t elements = static_cast<size_t>(c.shape.rows * c.shape.classes);
  return RoundUp(elements * static_cast<size_t>(xent_dtype_size(c.dtype.value)), kLine);
}

size_t LabelBytes(const SoftmaxCase& c) { return RoundUp(static_cast<size_t>(c.shape.rows) * sizeof(int64_t), kLine); }

}  // namespace

const char* ModeName(Mode mode) {
  static const char* const kNames[] = {"loss", "gradient", "gradient_in_place"};
  return kNames[static_cast<int>(mode)];
}

const Variant kVariants[] = {
    {"plain", [](const SoftmaxArrays&, xent_softmax_options*, xent_targets*, xent_softmax_outputs*) {}},
    {"weights",
     [](const SoftmaxArrays& a, xent_softmax_options* o, xent_targets*, xent_softmax_outputs*) {
       o->class_weight = a.class_weight;
       o->row_weight = a.row_weight;
     }},
    {"z_loss",
     [](const SoftmaxArrays&, xent_softmax_options* o, xent_targets*, xent_softmax_outputs*) { o->z_loss = 1e-4; }},
    {"focal",
     [](const SoftmaxArrays&, xent_softmax_options* o, xent_targets*, xent_softmax_outputs*) { o->focal_gamma = 2; }},
    {"smoothing", [](const SoftmaxArrays&, xent_softmax_options* o, xent_targets*,
                     xent_softmax_outputs*) { o->label_smoothing = 0.1; }},
    {"argmax", [](const SoftmaxArrays& a, xent_softmax_options*, xent_targets*,
                  xent_softmax_outputs* out) { out->argmax = a.argmax; }},
    {"scale",
     [](const SoftmaxArrays&, xent_softmax_options* o, xent_targets*, xent_softmax_outputs*) { o->scale = 0.7; }},
    {"softcap",
     [](const SoftmaxArrays&, xent_softmax_options* o, xent_targets*, xent_softmax_outputs*) { o->softcap = 30; }},
    {"entropy", [](const SoftmaxArrays& a, xent_softmax_options*, xent_targets*,
                   xent_softmax_outputs* out) { out->entropy = a.row_values; }},
    {"entropy_weight", [](const SoftmaxArrays&, xent_softmax_options* o, xent_targets*,
                          xent_softmax_outputs*) { o->entropy_weight = 0.01; }},
    {"dense", [](const SoftmaxArrays& a, xent_softmax_options*, xent_targets* t,
                 xent_softmax_outputs*) { *t = xent_targets_dense(a.dense, a.dense_dtype); }},
    {nullptr, nullptr},
};

const Variant* FindVariant(const std::string& name) {
  for (const Variant* variant = kVariants; variant->name != nullptr; ++variant) {
    if (name == variant->name) return variant;
  }
  return nullptr;
}

SoftmaxWorkload::SoftmaxWorkload(const SoftmaxCase& c)
    : case_(c),
      logit_bytes_(LogitBytes(c)),
      label_bytes_(LabelBytes(c)),
      label_values_(MakeLabels(c.shape)),
      ring_({logit_bytes_ + label_bytes_, c.mode == Mode::kGradient, c.footprint, c.threads, c.huge_pages}) {
  FillLogits(c.shape, c.dtype.value, c.inputs, label_values_.data(), ring_.master());
  std::memcpy(ring_.master() + logit_bytes_, label_values_.data(), label_values_.size() * sizeof(int64_t));
  ring_.Spread();
  if (IsPlain()) return;
  const size_t rows = static_cast<size_t>(c.shape.rows);
  const size_t classes = static_cast<size_t>(c.shape.classes);
  class_weight_.resize(classes);
  row_weight_.resize(rows);
  row_values_.resize(rows);
  argmax_.resize(rows);
  dense_.assign(c.variant == FindVariant("dense") ? rows * classes : 0, 1.0f / static_cast<float>(classes));
  const auto fill = [&](std::vector<double>* values) {
    if (c.dtype.value == XENT_F64) {
      std::fill(values->begin(), values->end(), 0.5);
    } else {
      std::fill_n(reinterpret_cast<float*>(values->data()), values->size(), 0.5f);
    }
  };
  fill(&class_weight_);
  fill(&row_weight_);
}

double SoftmaxWorkload::FloorBytes() const {
  const double logits = static_cast<double>(elements()) * xent_dtype_size(case_.dtype.value);
  const double labels = static_cast<double>(case_.shape.rows) * sizeof(int64_t);
  return (case_.mode == Mode::kLoss ? logits : 2 * logits) + labels;
}

char* SoftmaxWorkload::Gradient(size_t slot) const {
  return case_.mode == Mode::kGradient ? ring_.Output(slot) : ring_.Input(slot);
}

void SoftmaxWorkload::Call(size_t slot) {
  const Shape& shape = case_.shape;
  const xent_logits logits = shape.inner == 1
                                 ? xent_logits_rows(ring_.Input(slot), case_.dtype.value, shape.rows, shape.classes)
                                 : xent_logits_channels(ring_.Input(slot), case_.dtype.value, shape.rows / shape.inner,
                                                        shape.classes, shape.inner);
  xent_targets labels = xent_targets_labels(ring_.Input(slot) + logit_bytes_, XENT_I64);
  xent_softmax_options options = xent_softmax_options_default();
  options.num_threads = case_.threads;
  xent_softmax_outputs out = xent_softmax_outputs_none();
  out.total = &loss_;
  if (case_.mode != Mode::kLoss) out.gradient = Gradient(slot);
  const SoftmaxArrays arrays = {class_weight_.data(), row_weight_.data(), dense_.data(), XENT_F32,
                                row_values_.data(),   argmax_.data()};
  case_.variant->set(arrays, &options, &labels, &out);
  if (xent_softmax_cross_entropy(&logits, &labels, &options, &out) != XENT_OK) {
    throw std::runtime_error(xent_last_error());
  }
}

RoofJob SoftmaxWorkload::Job(size_t slot) const {
  const char* const labels = ring_.Input(slot) + logit_bytes_;
  switch (case_.mode) {
    case Mode::kLoss:
      return {Traffic::kRead, ring_.Input(slot), nullptr, logit_bytes_ + label_bytes_, nullptr, 0};
    case Mode::kGradient:
      return {Traffic::kCopy, ring_.Input(slot), Gradient(slot), logit_bytes_, labels, label_bytes_};
    default:
      return {Traffic::kInPlace, ring_.Input(slot), ring_.Input(slot), logit_bytes_, labels, label_bytes_};
  }
}

void SoftmaxWorkload::Restore(size_t begin, size_t end) {
  if (OverwritesInput()) ring_.Restore(logit_bytes_, begin, end);
}

// The gradient of one row, for a mean over all rows, from the master copy.
std::vector<double> SoftmaxWorkload::ReferenceRow(int64_t row, double* loss) const {
  const int64_t classes = case_.shape.classes;
  std::vector<double> values(static_cast<size_t>(classes));
  for (int64_t j = 0; j < classes; ++j) {
    values[static_cast<size_t>(j)] = LoadAsDouble(ring_.master(), case_.dtype.value, Index(row, j));
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

std::string SoftmaxWorkload::CheckGradient(const std::vector<double>& first_row) {
  // Relative to the largest possible element: a little more than one rounding of bf16.
  const double bound = 0.005 / static_cast<double>(case_.shape.rows);
  for (int64_t j = 0; j < case_.shape.classes; ++j) {
    const double got = LoadAsDouble(Gradient(0), case_.dtype.value, Index(0, j));
    const double want = first_row[static_cast<size_t>(j)];
    if (!(std::fabs(got - want) <= bound + 1e-7)) {
      return GotAndWanted("gradient element " + std::to_string(j) + " of row 0", got, want);
    }
  }
  return "";
}

// Variants are judged by the tests; here, that they gave a number.
std::string SoftmaxWorkload::Check() {
  Call(0);
  if (!IsPlain()) {
    Restore(0, 1);
    return std::isfinite(loss_) ? "" : "the loss is not finite";
  }
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

std::string SoftmaxWorkload::Size() const {
  const Shape& shape = case_.shape;
  if (shape.inner == 1) return std::to_string(shape.rows) + " x " + std::to_string(shape.classes);
  return std::to_string(shape.rows / shape.inner) + " x " + std::to_string(shape.classes) + " x " +
         std::to_string(shape.inner);
}

std::string SoftmaxWorkload::JsonFields() const {
  return "\"rows\": " + std::to_string(case_.shape.rows) + ", \"classes\": " + std::to_string(case_.shape.classes) +
         ", \"inner\": " + std::to_string(case_.shape.inner) + ", \"mode\": \"" + ModeName(case_.mode) +
         "\", \"variant\": \"" + case_.variant->name + "\"";
}

Shape FitToCache(const Shape& shape, xent_dtype dtype, Mode mode, int threads) {
  const size_t row = static_cast<size_t>(shape.classes) * static_cast<size_t>(xent_dtype_size(dtype)) *
                         (mode == Mode::kGradient ? 2 : 1) +
                     sizeof(int64_t);
  const size_t rows = SecondLevelCacheBytes() / 2 * static_cast<size_t>(threads) / row;
  Shape fitting = shape;
  fitting.rows = std::max<int64_t>(1, std::min(shape.rows, static_cast<int64_t>(rows)));
  if (shape.inner > 1) fitting.inner = fitting.rows;
  return fitting;
}

}  // namespace xent_bench
