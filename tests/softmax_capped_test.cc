// Softcapped rows of f32 lanes, whose exponentials and slopes are computed in f32 where that suffices: against their
// formulas, on both sides of what it suffices for; and their bits.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "support/every_isa.h"
#include "support/family.h"
#include "support/inputs.h"

namespace xent_test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Shape {
  int64_t rows;
  int64_t classes;
};

// Logits of N(0, spread), every 11th of every third row at -inf, labels anywhere; some lead.
Family CappedFamily(xent_dtype dtype, Shape shape, double cap, double spread, uint64_t seed) {
  Random random(seed);
  Family family;
  family.dtype = family.gradient_dtype = dtype;
  family.outer = shape.rows;
  family.classes = shape.classes;
  family.Place({shape.classes, 1, 1});
  family.gradient_layout = family.layout;
  family.wants_classes = false;
  std::vector<int64_t> labels;
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t j = 0; j < shape.classes; ++j) {
      family.SetLogit(r, j, r % 3 == 2 && j % 11 == 4 ? -kInfinity : spread * random.Normal());
    }
    const int64_t label = random.Below(shape.classes) / 11 * 11;
    if (r % 2 == 1) family.SetLogit(r, label, 3 * spread);
    labels.push_back(label);
  }
  family.SetLabels(XENT_I64, labels);
  family.options.softcap = cap;
  return family;
}

void ExpectOnEveryIsa(const Family& family) {
  const FamilyReference reference = ReferenceOf(family);
  ForEveryIsa([&](const std::string&) { ExpectFamily(family, reference, RunFamily(family)); });
}

class SoftmaxCapped : public testing::TestWithParam<xent_dtype> {};

TEST_P(SoftmaxCapped, LossesAndGradientsAreWithinTheirBounds) {
  uint64_t seed = 0;
  for (const Shape& shape : {Shape{4, 191}, {4, 192}, {4, 257}, {2, 700}, {2, 2500}}) {
    for (const double cap : {0.5, 29.7, 36.0, 37.0}) {
      for (const double spread : {0.01, 1.0, 20.0, 200.0}) {
        for (const double scale : {1.0, 0.3}) {
          if (scale != 1.0 && cap != 29.7) continue;
          Family family = CappedFamily(GetParam(), shape, cap, spread, ++seed);
          family.options.scale = scale;
          SCOPED_TRACE(testing::Message() << shape.classes << " classes, cap " << cap << ", " << spread << " N(0, 1)");
          ExpectOnEveryIsa(family);
          if (HasFailure()) return;
        }
      }
    }
  }
}

// What options make of a row is the same.
TEST_P(SoftmaxCapped, OptionsAreTheirFormulas) {
  for (const double upstream : {1.0, -3.0, 1e-30, 1e25}) {
    Family family = CappedFamily(GetParam(), {9, 250}, 30, 12, 7);
    family.options.upstream = GetParam() == XENT_F16 ? std::copysign(1.0, upstream) : upstream;
    family.options.z_loss = 0.01;
    family.options.focal_gamma = 2;
    ExpectOnEveryIsa(family);
    family.options.focal_gamma = 0;
    family.options.reduction = XENT_REDUCTION_NONE;
    family.in_place = true;
    ExpectOnEveryIsa(family);
    if (HasFailure()) return;
  }
}

TEST_P(SoftmaxCapped, RowsThatAreNoNumbersAreNaNAndNoOthers) {
  for (const double bad : {kInfinity, std::nan("")}) {
    Family family = CappedFamily(GetParam(), {6, 200}, 30, 5, 9);
    family.SetLogit(1, 17, bad);
    family.SetLogit(4, 199, bad);
    for (int64_t j = 0; j < family.classes; ++j) family.SetLogit(3, j, -kInfinity);
    ExpectOnEveryIsa(family);
  }
}

// 0: equal bytes in all rows.
int DifferingRows(const Family& family, const FamilyResults& a, const FamilyResults& b) {
  int differing = 0;
  for (int64_t r = 0; r < family.rows(); ++r) {
    bool same = a.Row(a.row_loss, family, r) == b.Row(b.row_loss, family, r);
    for (int64_t j = 0; j < family.classes; ++j) {
      same = same && a.GradientAt(family, r, j) == b.GradientAt(family, r, j);
    }
    differing += !same;
  }
  return differing;
}

TEST_P(SoftmaxCapped, BitsDependOnTheRowAlone) {
  Family family = CappedFamily(GetParam(), {700, 300}, 30, 8, 11);
  family.options.reduction = XENT_REDUCTION_NONE;
  family.options.num_threads = 1;
  for (int64_t j = 0; j < family.classes; ++j) family.SetLogit(5, j, 1000.0 * static_cast<double>(j % 7));  // in f64
  const FamilyResults one = RunFamily(family);
  for (const int32_t threads : {2, 3, 7}) {
    family.options.num_threads = threads;
    EXPECT_EQ(DifferingRows(family, one, RunFamily(family)), 0) << threads << " threads";
  }
  for (const std::string& isa : SupportedIsas()) {
    if (!HasFma(isa) || !HasFma(xent_isa_chosen())) continue;
    const IsaCap cap(isa);
    EXPECT_EQ(DifferingRows(family, one, RunFamily(family)), 0) << isa;
  }
  for (const int64_t row : {0, 4, 5, 6, 699}) {
    Family alone = CappedFamily(GetParam(), {1, 300}, 30, 8, 1);
    alone.options.reduction = XENT_REDUCTION_NONE;
    for (int64_t j = 0; j < family.classes; ++j) alone.SetLogit(0, j, family.Logit(row, j));
    alone.SetLabels(XENT_I64, {family.labels[static_cast<size_t>(row)]});
    const FamilyResults of_alone = RunFamily(alone);
    EXPECT_EQ(of_alone.Row(of_alone.row_loss, alone, 0), one.Row(one.row_loss, family, row)) << row;
    for (int64_t j = 0; j < family.classes; ++j) {
      ASSERT_EQ(of_alone.GradientAt(alone, 0, j), one.GradientAt(family, row, j)) << row << ", " << j;
    }
  }
}

// What a thread calls when it ends: after the library has given the thread's scratch memory back.
struct LastCall {
  ~LastCall() { *results = RunFamily(*family); }
  const Family* family;
  FamilyResults* results;
};

TEST_P(SoftmaxCapped, BitsDoNotDependOnScratchMemory) {
  Family family = CappedFamily(GetParam(), {5, 3000}, 30, 8, 13);
  family.options.num_threads = 1;
  FamilyResults usual, last;
  std::thread([&] {
    thread_local LastCall call;  // made first, so that it goes last
    call.family = &family;
    call.results = &last;
    usual = RunFamily(family);
  }).join();
  EXPECT_EQ(DifferingRows(family, usual, last), 0);
}

INSTANTIATE_TEST_SUITE_P(Storage, SoftmaxCapped, testing::Values(XENT_F32, XENT_BF16, XENT_F16),
                         [](const testing::TestParamInfo<xent_dtype>& storage) { return TypeName(storage.param); });

}  // namespace
}  // namespace xent_test
