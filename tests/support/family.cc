// Making calls, at random and one by one; see family.h.
#include "support/family.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <sstream>

namespace xent_test {
namespace {

constexpr unsigned char kPattern = 0x5A;

// Strides of the dimensions in a random order of nesting, with gaps.
Layout RandomLayout(Random* random, int64_t outer, int64_t classes, int64_t inner) {
  Layout layout = {};
  struct Dimension {
    int64_t size;
    int64_t* stride;
  };
  Dimension order[] = {{outer, &layout.outer_stride}, {classes, &layout.class_stride}, {inner, &layout.inner_stride}};
  for (int i = 2; i > 0; --i) std::swap(order[i], order[random->Below(i + 1)]);
  int64_t span = 1;
  for (const Dimension& dimension : order) {
    *dimension.stride = span + (random->Below(3) == 0 ? random->Below(4) : 0);
    span += (dimension.size - 1) * *dimension.stride;
  }
  return layout;
}

void FillLogits(Random* random, Family* family) {
  const double spread = random->Below(3) == 0 ? 12.0 : 2.0;
  for (int64_t r = 0; r < family->rows(); ++r) {
    const double offset = random->Below(4) == 0 ? random->Uniform(-60, 60) : 0.0;
    const double lead = random->Below(3) == 0 ? random->Uniform(0, 30) : 0.0;
    const int64_t leader = random->Below(family->classes);
    for (int64_t j = 0; j < family->classes; ++j) {
      const double value = offset + spread * random->Normal() + (j == leader ? lead : 0.0);
      family->SetLogit(r, j, random->Below(40) == 0 ? -std::numeric_limits<double>::infinity() : value);
    }
    if (random->Below(60) == 0) family->SetLogit(r, 0, std::numeric_limits<double>::quiet_NaN());
    if (random->Below(60) == 0) {
      for (int64_t j = 0; j < family->classes; ++j) family->SetLogit(r, j, -std::numeric_limits<double>::infinity());
    }
  }
}

std::vector<double> Positive(Random* random, int64_t n, double largest) {
  std::vector<double> values(static_cast<size_t>(n));
  for (double& value : values) value = random->Below(8) == 0 ? 0.0 : random->Uniform(0.01, largest);
  return values;
}

std::vector<double> Signed(Random* random, int64_t n) {
  std::vector<double> values(static_cast<size_t>(n));
  for (double& value : values) value = random->Below(6) == 0 ? 0.0 : random->Normal();
  return values;
}

void FillTargets(Random* random, Family* family) {
  constexpr xent_dtype kTypes[] = {XENT_I64, XENT_I32, XENT_U8, XENT_I16};
  const xent_dtype type = kTypes[random->Below(family->classes > 255 ? 2 : 4)];
  const int64_t kind = random->Below(5);
  family->kind = kind == 3 ? XENT_TARGET_DENSE : kind == 4 ? XENT_TARGET_SPARSE : XENT_TARGET_LABELS;
  family->options.ignore_index = random->Below(2) == 0 ? 0 : 100;
  if (family->kind == XENT_TARGET_DENSE) {
    constexpr xent_dtype kReals[] = {XENT_F32, XENT_F64, XENT_BF16, XENT_F16};
    family->dense.Set(kReals[random->Below(4)], Positive(random, family->rows() * family->classes, 1.5));
    return;
  }
  family->per_row = family->kind == XENT_TARGET_SPARSE ? 1 + random->Below(3) : 0;
  const int64_t n = family->rows() * std::max<int64_t>(family->per_row, 1);
  std::vector<int64_t> labels(static_cast<size_t>(n));
  for (int64_t& label : labels) {
    label = random->Below(6) == 0 ? family->options.ignore_index : random->Below(family->classes);
  }
  family->SetLabels(type, labels);
  if (family->kind != XENT_TARGET_SPARSE) return;
  family->rest = random->Below(2) == 0 ? XENT_REST_DROP : XENT_REST_SPREAD;
  family->weights.Set(RowType(family->dtype), Positive(random, n, 0.6));
}

void FillOptions(Random* random, const std::function<bool()>& chance, Family* family) {
  xent_softmax_options& options = family->options;
  const xent_dtype type = RowType(family->dtype);
  const bool has_labels = family->kind == XENT_TARGET_LABELS;
  options.reduction = static_cast<xent_reduction>(random->Below(3));
  options.empty_mean = static_cast<xent_empty_mean>(random->Below(2));
  options.denominator = static_cast<xent_denominator>(random->Below(3));
  if (options.denominator == XENT_DENOMINATOR_GIVEN) options.denominator_value = random->Uniform(0.5, 20);
  options.masked_row = static_cast<xent_masked_row>(random->Below(2));
  if (chance()) options.upstream = random->Uniform(-3, 3);
  if (chance()) family->class_weight.Set(type, Positive(random, family->classes, 2));
  if (chance()) family->row_weight.Set(type, Positive(random, family->rows(), 2));
  if (chance()) {
    family->row_mask.resize(static_cast<size_t>(family->rows()));
    for (uint8_t& kept : family->row_mask) kept = static_cast<uint8_t>(random->Below(3));
  }
  if (chance()) options.scale = random->Uniform(0.2, 3);
  if (chance()) options.softcap = random->Uniform(5, 60);
  if (chance()) options.label_smoothing = random->Below(5) == 0 ? 1.0 : random->Uniform(0, 0.6);
  if (has_labels) options.smoothing = static_cast<xent_smoothing>(random->Below(2));
  if (chance()) options.live_classes = 1;
  if (chance()) options.z_loss = random->Uniform(1e-4, 0.1);
  if (chance()) options.entropy_weight = random->Uniform(-0.5, 0.5);
  const bool has_focal = chance();
  if (has_labels && has_focal) options.focal_gamma = random->Below(4) == 0 ? 1.0 : random->Uniform(0.1, 4);
  if (chance()) family->row_upstream.Set(type, Signed(random, family->rows()));
  if (chance()) family->lse_upstream.Set(type, Signed(random, family->rows()));
  if (chance()) family->entropy_upstream.Set(type, Signed(random, family->rows()));
}

}  // namespace

void Numbers::Set(xent_dtype type, std::vector<double> wanted) {
  values = std::move(wanted);
  dtype = type;
  bytes = Bytes(values.size() * SizeOf(type) + 64);
  for (size_t i = 0; i < values.size(); ++i) {
    SetElement(bytes.data(), type, static_cast<int64_t>(i), values[i]);
    values[i] = Element(bytes.data(), type, static_cast<int64_t>(i));
  }
}

void Family::Place(const Layout& where) {
  layout = where;
  logits = Bytes(static_cast<size_t>(Elements(where)) * SizeOf(dtype), 0, kPattern);
}

void Family::SetLabels(xent_dtype type, std::vector<int64_t> values) {
  labels = std::move(values);
  label_type = type;
  label_bytes = Bytes(labels.size() * SizeOf(type) + 8);
  for (size_t i = 0; i < labels.size(); ++i) SetLabel(label_bytes.data(), type, static_cast<int64_t>(i), labels[i]);
}

FamilyResults RunFamily(const Family& family) {
  FamilyResults results;
  const size_t n = static_cast<size_t>(family.rows());
  const size_t row_bytes = n * SizeOf(RowType(family.dtype));
  for (Bytes* array :
       {&results.row_loss, &results.lse, &results.entropy, &results.probability, &results.log_probability}) {
    *array = Bytes(row_bytes, 0, kPattern);
  }
  results.argmax.resize(n);
  const size_t gradient_bytes =
      static_cast<size_t>(family.Elements(family.gradient_layout)) * SizeOf(family.gradient_dtype);
  results.gradient = family.in_place ? family.logits : Bytes(gradient_bytes, 0, kPattern);

  xent_logits x = {};
  x.data = family.in_place ? results.gradient.data() : family.logits.data();
  x.dtype = family.dtype;
  x.outer = family.outer;
  x.classes = family.classes;
  x.inner = family.inner;
  x.outer_stride = family.layout.outer_stride;
  x.class_stride = family.layout.class_stride;
  x.inner_stride = family.layout.inner_stride;
  xent_targets targets = xent_targets_labels(family.label_bytes.data(), family.label_type);
  if (family.kind == XENT_TARGET_DENSE) {
    targets = xent_targets_dense(family.dense.data(), family.dense.dtype);
  } else if (family.kind == XENT_TARGET_SPARSE) {
    targets = xent_targets_sparse(family.label_bytes.data(), family.label_type, family.weights.data(), family.per_row,
                                  family.rest);
  }
  xent_softmax_options options = family.options;
  options.class_weight = family.class_weight.data();
  options.row_weight = family.row_weight.data();
  options.row_upstream = family.row_upstream.data();
  options.lse_upstream = family.lse_upstream.data();
  options.entropy_upstream = family.entropy_upstream.data();
  options.row_mask = family.row_mask.empty() ? nullptr : family.row_mask.data();
  xent_softmax_outputs out = xent_softmax_outputs_none();
  out.total = &results.total;
  out.sum = &results.sum;
  out.denominator = &results.denominator;
  out.z_loss = &results.z_loss;
  out.counted = &results.counted;
  out.ignored = &results.ignored;
  out.row_loss = results.row_loss.data();
  out.lse = results.lse.data();
  out.entropy = family.wants_classes ? results.entropy.data() : nullptr;
  out.argmax = family.wants_classes ? results.argmax.data() : nullptr;
  if (family.kind == XENT_TARGET_LABELS) {
    out.probability = results.probability.data();
    out.log_probability = results.log_probability.data();
    out.correct = family.wants_classes ? &results.correct : nullptr;
  }
  out.gradient = results.gradient.data();
  out.gradient_dtype = family.gradient_dtype;
  out.gradient_outer_stride = family.gradient_layout.outer_stride;
  out.gradient_class_stride = family.gradient_layout.class_stride;
  out.gradient_inner_stride = family.gradient_layout.inner_stride;
  results.status = xent_softmax_cross_entropy(&x, &targets, &options, &out);
  EXPECT_EQ(results.status, XENT_OK) << xent_last_error() << "\n" << DescribeFamily(family);

  Bytes left = results.gradient;
  for (int64_t r = 0; r < family.rows(); ++r) {
    for (int64_t j = 0; j < family.classes; ++j) {
      const size_t size = SizeOf(family.gradient_dtype);
      std::memset(left.data() + static_cast<size_t>(family.Index(family.gradient_layout, r, j)) * size, kPattern, size);
    }
  }
  const bool is_untouched =
      std::all_of(left.data(), left.data() + left.size(), [](unsigned char byte) { return byte == kPattern; });
  EXPECT_TRUE(is_untouched) << "something beside the gradient was written\n" << DescribeFamily(family);
  return results;
}

Family RandomFamily(Random* random, double likelihood) {
  return RandomFamily(random, [&] { return random->Uniform(0, 1) < likelihood; });
}

Family RandomFamily(Random* random, const std::function<bool()>& chance) {
  Family family;
  constexpr int64_t kManyClasses[] = {1, 2, 3, 31, 32, 33, 257, 600};
  family.dtype = kStorageTypes[random->Below(4)];
  family.classes = random->Below(12) == 0 ? kManyClasses[random->Below(8)] : 1 + random->Below(9);
  const bool is_large = family.classes > 40;
  family.outer = 1 + random->Below(is_large ? 2 : 4);
  family.inner = random->Below(2) == 0 ? 1 : 1 + random->Below(3);
  const Layout plain = {family.classes, 1, 1};
  const bool is_plain = family.inner == 1 && random->Below(2) == 0;
  family.Place(is_plain ? plain : RandomLayout(random, family.outer, family.classes, family.inner));
  FillLogits(random, &family);
  FillTargets(random, &family);
  FillOptions(random, chance, &family);
  family.in_place = random->Below(3) == 0;
  family.wants_classes = random->Below(2) == 0;
  const bool same = family.in_place || is_plain || random->Below(2) == 0;
  family.gradient_layout = same ? family.layout : RandomLayout(random, family.outer, family.classes, family.inner);
  const bool is_half = family.dtype == XENT_BF16 || family.dtype == XENT_F16;
  family.gradient_dtype = is_half && !family.in_place && random->Below(2) == 0 ? XENT_F32 : family.dtype;
  return family;
}

std::string DescribeFamily(const Family& family) {
  std::ostringstream text;
  const xent_softmax_options& o = family.options;
  text << TypeName(family.dtype) << " [" << family.outer << ", " << family.classes << ", " << family.inner
       << "], strides " << family.layout.outer_stride << " " << family.layout.class_stride << " "
       << family.layout.inner_stride << ", target kind " << family.kind << ", rest " << family.rest << ", ignore_index "
       << o.ignore_index << ", reduction " << o.reduction << ", denominator " << o.denominator << " "
       << o.denominator_value << ", upstream " << o.upstream << ", scale " << o.scale << ", softcap " << o.softcap
       << ", smoothing " << o.label_smoothing << " (" << o.smoothing << "), live " << o.live_classes << ", z_loss "
       << o.z_loss << ", entropy_weight " << o.entropy_weight << ", focal " << o.focal_gamma << ", masked "
       << o.masked_row << ", in place " << family.in_place << ", classes " << family.wants_classes;
  const auto list = [&](const char* name, const Numbers& numbers) {
    if (numbers.values.empty() || numbers.values.size() > 60) return;
    text << "\n" << name << ":";
    for (const double value : numbers.values) text << " " << value;
  };
  list("class_weight", family.class_weight);
  list("row_weight", family.row_weight);
  list("row_upstream", family.row_upstream);
  list("lse_upstream", family.lse_upstream);
  list("entropy_upstream", family.entropy_upstream);
  list("dense", family.dense);
  list("weights", family.weights);
  text << "\nlabels:";
  for (const int64_t label : family.labels) text << " " << label;
  for (int64_t r = 0; r < family.rows() && family.rows() * family.classes <= 60; ++r) {
    text << "\nlogits of row " << r << ":";
    for (int64_t j = 0; j < family.classes; ++j) text << " " << family.Logit(r, j);
  }
  return text.str();
}

}  // namespace xent_test
