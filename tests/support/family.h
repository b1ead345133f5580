// A call of the softmax family with any targets, options, layout and outputs; and what it must give: the formulas of
// the specification in 113-bit arithmetic, term by term as they are written. (Careful forms would repeat the library's
// own ideas. 113 bits hold a confident row of any lead up to 40.)
#ifndef XENT_TESTS_SUPPORT_FAMILY_H_
#define XENT_TESTS_SUPPORT_FAMILY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "support/inputs.h"
#include "support/storage.h"
#include "xent/xent.h"

namespace xent_test {

#if __LDBL_MANT_DIG__ >= 113
using Quad = long double;
#else
__extension__ typedef __float128 Quad;
#endif

Quad ExpOf(Quad x);
Quad LogOf(Quad x);

// An array of the caller's; the values are those that the type can hold.
struct Numbers {
  void Set(xent_dtype type, std::vector<double> wanted);
  const void* data() const { return values.empty() ? nullptr : bytes.data(); }
  double At(int64_t i, double otherwise = 1) const {
    return values.empty() ? otherwise : values[static_cast<size_t>(i)];
  }

  std::vector<double> values;  // empty: not given
  xent_dtype dtype = XENT_F32;
  Bytes bytes;
};

struct Layout {
  int64_t At(int64_t outer, int64_t j, int64_t inner) const {
    return outer * outer_stride + j * class_stride + inner * inner_stride;
  }
  int64_t outer_stride;
  int64_t class_stride;
  int64_t inner_stride;
};

struct Family {
  int64_t rows() const { return outer * inner; }
  double Logit(int64_t row, int64_t j) const { return Element(logits.data(), dtype, Index(layout, row, j)); }
  void SetLogit(int64_t row, int64_t j, double value) {
    SetElement(logits.data(), dtype, Index(layout, row, j), value);
  }
  int64_t Index(const Layout& where, int64_t row, int64_t j) const { return where.At(row / inner, j, row % inner); }
  int64_t Elements(const Layout& where) const { return 1 + where.At(outer - 1, classes - 1, inner - 1); }
  // Gives the logits room, in this layout.
  void Place(const Layout& where);
  void SetLabels(xent_dtype type, std::vector<int64_t> values);

  xent_dtype dtype = XENT_F32;
  int64_t outer = 0;
  int64_t classes = 0;
  int64_t inner = 1;
  Layout layout = {};
  Bytes logits;

  xent_target_kind kind = XENT_TARGET_LABELS;
  std::vector<int64_t> labels;  // of labels; of sparse targets per_row for each row
  xent_dtype label_type = XENT_I64;
  Bytes label_bytes;
  int64_t per_row = 0;
  xent_rest rest = XENT_REST_DROP;
  Numbers weights;  // sparse [rows][per_row]
  Numbers dense;    // [outer][classes][inner]

  Numbers class_weight;
  Numbers row_weight;
  Numbers row_upstream;
  Numbers lse_upstream;
  Numbers entropy_upstream;
  std::vector<uint8_t> row_mask;
  xent_softmax_options options = xent_softmax_options_default();  // without the arrays
  Layout gradient_layout = {};
  xent_dtype gradient_dtype = XENT_F32;
  bool in_place = false;
  bool wants_classes = true;  // entropy, argmax and correct, which no plain call has
};

struct FamilyResults {
  double GradientAt(const Family& family, int64_t row, int64_t j) const {
    return Element(gradient.data(), family.gradient_dtype, family.Index(family.gradient_layout, row, j));
  }
  double Row(const Bytes& array, const Family& family, int64_t row) const {
    return Element(array.data(), RowType(family.dtype), row);
  }

  xent_status status = -1;
  double total = 0, sum = 0, denominator = 0, z_loss = 0;
  int64_t counted = 0, ignored = 0, correct = 0;
  Bytes row_loss, lse, entropy, probability, log_probability, gradient;
  std::vector<int64_t> argmax;
};

// Makes the call with every output that its targets allow. Bytes of the gradient that are not elements keep a pattern,
// which is checked.
FamilyResults RunFamily(const Family& family);

// A row and what its terms add up to if none is negative: the measure of errors where terms cancel.
struct FamilyRow {
  bool is_read = false;
  bool is_nan = false;
  bool has_gradient = true;  // an infinite loss times a focal factor has none
  Quad loss = 0, loss_size = 0, lse = 0, lse_size = 0, entropy = 0, z_loss = 0, z_loss_size = 0;
  Quad probability = 0, nll = 0;
  int64_t argmax = -1;
  Quad largest_z = 0;  // |z|
  std::vector<Quad> gradient, gradient_size;
  std::vector<Quad> p;
};

struct FamilyReference {
  std::vector<FamilyRow> rows;
  Quad sum = 0, sum_size = 0, z_loss = 0, z_loss_size = 0, denominator = 0, total = 0;
  int64_t counted = 0, ignored = 0, correct = 0;
};

FamilyReference ReferenceOf(const Family& family);

// The objective's part of one row, upstream * loss / denominator + ..., of other logits: for differences.
Quad RowObjective(const Family& family, int64_t row, const std::vector<Quad>& x, Quad denominator);

// A random call: few rows and classes, everything else as `random` wants it. `chance` is asked for each option, always
// in the same order, whether it is set; or each is with that likelihood.
constexpr int kOptions = 14;
Family RandomFamily(Random* random, const std::function<bool()>& chance);
Family RandomFamily(Random* random, double likelihood);

// Test failures for everything that is out of its bounds, a few at most. Returns whether all is well.
bool ExpectFamily(const Family& family, const FamilyReference& reference, const FamilyResults& results);

// All that is set, for a failure's message.
std::string DescribeFamily(const Family& family);

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_FAMILY_H_
