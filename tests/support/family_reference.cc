// The formulas of the specification, as they are written there; see family.h.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/family.h"
#include "support/ulp.h"

#if __LDBL_MANT_DIG__ < 113
#include <quadmath.h>
#endif

namespace xent_test {
namespace {

const Quad kQuadInfinity = static_cast<Quad>(std::numeric_limits<double>::infinity());

Quad AbsOf(Quad x) { return x < 0 ? -x : x; }
bool IsFinite(Quad x) { return x > -kQuadInfinity && x < kQuadInfinity; }
Quad PowerOf(Quad base, Quad exponent) { return base > 0 ? ExpOf(exponent * LogOf(base)) : exponent > 0 ? 0 : 1; }
Quad TanhOf(Quad x) {
  const Quad e = ExpOf(-2 * AbsOf(x));
  const Quad y = (1 - e) / (1 + e);
  return x < 0 ? -y : y;
}

struct Effective {
  std::vector<Quad> z, slope;
};

// z = c tanh(scale x / c), or scale x; and dz/dx.
Effective EffectiveLogits(const Family& family, const std::vector<Quad>& x) {
  Effective result;
  const Quad scale = static_cast<Quad>(family.options.scale);
  const Quad cap = static_cast<Quad>(family.options.softcap);
  for (const Quad value : x) {
    const Quad scaled = scale * value;
    const bool is_capped = cap > 0 && IsFinite(value);
    const Quad tanh = is_capped ? TanhOf(scaled / cap) : 0;
    // 1 - tanh^2 has no digits near the cap.
    const Quad e = is_capped ? ExpOf(-2 * AbsOf(scaled / cap)) : 1;
    result.z.push_back(is_capped ? cap * tanh : scaled);
    result.slope.push_back(is_capped ? scale * 4 * e / ((1 + e) * (1 + e)) : scale);
  }
  return result;
}

bool IsIgnored(const Family& family, int64_t row) {
  if (!family.row_mask.empty() && family.row_mask[static_cast<size_t>(row)] == 0) return true;
  if (family.kind == XENT_TARGET_DENSE) return false;
  const int64_t n = std::max<int64_t>(family.per_row, 1);
  for (int64_t i = 0; i < n; ++i) {
    if (family.labels[static_cast<size_t>(row * n + i)] != family.options.ignore_index) return false;
  }
  return true;
}

int64_t LabelOf(const Family& family, int64_t row) {
  return family.kind == XENT_TARGET_LABELS ? family.labels[static_cast<size_t>(row)] : -1;
}

// q_j, not smoothed.
std::vector<Quad> PlainTarget(const Family& family, int64_t row) {
  std::vector<Quad> q(static_cast<size_t>(family.classes), Quad(0));
  if (family.kind == XENT_TARGET_LABELS) {
    q[static_cast<size_t>(LabelOf(family, row))] = 1;
  } else if (family.kind == XENT_TARGET_DENSE) {
    for (int64_t j = 0; j < family.classes; ++j) {
      const int64_t at = (row / family.inner * family.classes + j) * family.inner + row % family.inner;
      q[static_cast<size_t>(j)] = static_cast<Quad>(family.dense.At(at));
    }
  } else {
    std::vector<bool> named(q.size(), false);
    Quad sum = 0;
    for (int64_t i = row * family.per_row; i < (row + 1) * family.per_row; ++i) {
      const int64_t label = family.labels[static_cast<size_t>(i)];
      if (label == family.options.ignore_index) continue;
      q[static_cast<size_t>(label)] += static_cast<Quad>(family.weights.At(i));
      named[static_cast<size_t>(label)] = true;
      sum += static_cast<Quad>(family.weights.At(i));
    }
    const auto others = std::count(named.begin(), named.end(), false);
    for (size_t j = 0; j < q.size() && family.rest == XENT_REST_SPREAD && sum < 1; ++j) {
      if (!named[j]) q[j] = (1 - sum) / static_cast<Quad>(others);
    }
  }
  return q;
}

std::vector<Quad> TargetOf(const Family& family, int64_t row, const std::vector<Quad>& z) {
  std::vector<Quad> u = PlainTarget(family, row);
  const Quad eps = static_cast<Quad>(family.options.label_smoothing);
  const int64_t label = LabelOf(family, row);
  const auto is_live = [&](size_t j) { return family.options.live_classes == 0 || z[j] > -kQuadInfinity; };
  int64_t live = 0;
  for (size_t j = 0; j < z.size(); ++j) live += is_live(j);
  for (size_t j = 0; j < u.size(); ++j) {
    if (eps > 0 && family.options.smoothing == XENT_SMOOTHING_UNIFORM) {
      u[j] = (1 - eps) * u[j] + (is_live(j) ? eps / static_cast<Quad>(live) : 0);
    } else if (eps > 0) {
      const bool is_label = static_cast<int64_t>(j) == label;
      u[j] = is_label ? 1 - eps : is_live(j) && live > 1 ? eps / static_cast<Quad>(live - 1) : 0;
    }
    u[j] *= static_cast<Quad>(family.class_weight.At(static_cast<int64_t>(j)));
  }
  return u;
}

// All that the objective of a row is made of.
struct Parts {
  std::vector<Quad> z, slope, p, u;
  Quad lse = 0, cross = 0, entropy = 0, factor = 1;
  int64_t largest = 0;
};

Parts PartsOf(const Family& family, int64_t row, const std::vector<Quad>& x) {
  Parts parts;
  const Effective effective = EffectiveLogits(family, x);
  parts.z = effective.z;
  parts.slope = effective.slope;
  parts.u = TargetOf(family, row, parts.z);
  parts.largest = std::max_element(x.begin(), x.end()) - x.begin();
  const Quad max = parts.z[static_cast<size_t>(parts.largest)];
  Quad sum = 0;
  for (const Quad z : parts.z) sum += z > -kQuadInfinity ? ExpOf(z - max) : 0;
  parts.lse = max + LogOf(sum);
  for (size_t j = 0; j < parts.z.size(); ++j) {
    const bool exists = parts.z[j] > -kQuadInfinity;
    parts.p.push_back(exists ? ExpOf(parts.z[j] - parts.lse) : 0);
    if (parts.u[j] > 0) parts.cross += exists ? parts.u[j] * (parts.lse - parts.z[j]) : kQuadInfinity;
    if (exists) parts.entropy -= parts.p[j] * (parts.z[j] - parts.lse);
  }
  const int64_t label = LabelOf(family, row);
  const Quad gamma = static_cast<Quad>(family.options.focal_gamma);
  if (gamma > 0) {
    Quad others = 0;  // 1 - p_y
    for (size_t j = 0; j < parts.p.size(); ++j) others += static_cast<int64_t>(j) == label ? 0 : parts.p[j];
    parts.factor = PowerOf(others, gamma);
  }
  return parts;
}

Quad SlopeOf(const Family& family, int64_t row, Quad denominator) {
  const Quad divisor = family.options.reduction == XENT_REDUCTION_MEAN ? denominator : 1;
  if (divisor == 0) return 0;
  return static_cast<Quad>(family.row_weight.At(row)) * static_cast<Quad>(family.options.upstream) / divisor *
         static_cast<Quad>(family.row_upstream.At(row));
}

std::vector<Quad> LogitsOf(const Family& family, int64_t row) {
  std::vector<Quad> x;
  for (int64_t j = 0; j < family.classes; ++j) x.push_back(static_cast<Quad>(family.Logit(row, j)));
  return x;
}

void AddGradient(const Family& family, int64_t row, const Parts& parts, Quad denominator, FamilyRow* result) {
  const Quad s = SlopeOf(family, row, denominator);
  const Quad of_lse = static_cast<Quad>(family.lse_upstream.At(row, 0));
  const Quad of_entropy = static_cast<Quad>(family.entropy_upstream.At(row, 0));
  const Quad beta = static_cast<Quad>(family.options.entropy_weight);
  const Quad lambda = static_cast<Quad>(family.options.z_loss);
  const Quad gamma = static_cast<Quad>(family.options.focal_gamma);
  const int64_t label = LabelOf(family, row);
  const Quad lse_size = result->lse_size;
  Quad all = 0;
  for (const Quad u : parts.u) all += u;
  Quad others = 0;
  for (size_t j = 0; j < parts.p.size(); ++j) others += static_cast<int64_t>(j) == label ? 0 : parts.p[j];
  const Quad p_y = label >= 0 ? parts.p[static_cast<size_t>(label)] : 0;
  const Quad bend = gamma > 0 && p_y > 0 && others > 0 ? gamma * PowerOf(others, gamma - 1) * p_y * parts.cross : 0;
  for (size_t j = 0; j < parts.z.size(); ++j) {
    const bool is_label = static_cast<int64_t>(j) == label;
    const Quad p = parts.p[j];
    // p - 1 where it is the label's, without its rounding.
    const Quad below_one = is_label ? -others : p;
    Quad rest = 0;  // the targets of others
    for (size_t i = 0; i < parts.u.size(); ++i) rest += i == j ? 0 : parts.u[i];
    const Quad missing = 1 - p;
    const Quad of_cross = p * rest - parts.u[j] * (is_label ? others : missing);
    const Quad of_h = p > 0 ? -p * (parts.z[j] - parts.lse + parts.entropy) : 0;
    const Quad h_size = p > 0 ? p * (AbsOf(parts.z[j] - parts.lse) + parts.entropy) : 0;
    const Quad element = s * (parts.factor * of_cross + bend * below_one + 2 * lambda * parts.lse * p - beta * of_h) +
                         of_lse * p + of_entropy * of_h;
    const Quad size = AbsOf(s) * (parts.factor * (p * rest + parts.u[j] * (is_label ? others : missing)) +
                                  bend * AbsOf(below_one) + 2 * lambda * lse_size * p + AbsOf(beta) * h_size) +
                      AbsOf(of_lse) * p + AbsOf(of_entropy) * h_size;
    // A target that is not the row's mark is subtracted as it is.
    const Quad plain = AbsOf(s) * parts.factor * (p * all + parts.u[j]);
    const bool is_mark = family.kind == XENT_TARGET_LABELS ? is_label : static_cast<int64_t>(j) == parts.largest;
    result->gradient.push_back(element * parts.slope[j]);
    result->gradient_size.push_back((is_mark ? size : std::max(size, plain)) * parts.slope[j]);
  }
}

FamilyRow RowOf(const Family& family, int64_t row, Quad denominator) {
  FamilyRow result;
  const std::vector<Quad> x = LogitsOf(family, row);
  result.gradient.assign(x.size(), Quad(0));
  result.gradient_size = result.gradient;
  const bool all_masked = std::all_of(x.begin(), x.end(), [](Quad value) { return value == -kQuadInfinity; });
  const bool is_bad = std::any_of(x.begin(), x.end(), [](Quad value) { return !(value < kQuadInfinity); });
  if (IsIgnored(family, row) || family.row_weight.At(row) == 0) return result;
  if (all_masked && family.options.masked_row == XENT_MASKED_ROW_ZERO) {
    result.lse = -kQuadInfinity;
    return result;
  }
  result.is_read = true;
  const bool is_flat = SlopeOf(family, row, denominator) == 0 && family.lse_upstream.At(row, 0) == 0 &&
                       family.entropy_upstream.At(row, 0) == 0;
  result.is_nan = is_bad || all_masked;
  if (result.is_nan) {
    if (!is_flat) result.gradient.clear();
    return result;
  }
  const Parts parts = PartsOf(family, row, x);
  const Quad v = static_cast<Quad>(family.row_weight.At(row));
  const Quad max = parts.z[static_cast<size_t>(parts.largest)];
  result.lse_size = std::max({AbsOf(max), AbsOf(parts.lse - max), AbsOf(parts.lse)});
  // An lse near 0 is as accurate as its parts are.
  const Quad of_lse = 2 * v * static_cast<Quad>(family.options.z_loss) * AbsOf(parts.lse) * result.lse_size;
  result.z_loss_size = of_lse;
  result.z_loss = v * static_cast<Quad>(family.options.z_loss) * parts.lse * parts.lse;
  const Quad of_entropy = v * static_cast<Quad>(family.options.entropy_weight) * parts.entropy;
  const Quad of_cross = parts.factor > 0 && parts.cross > 0 ? v * parts.factor * parts.cross : 0;
  result.loss = of_cross + result.z_loss - of_entropy;
  result.loss_size = of_cross + of_lse + AbsOf(of_entropy);
  result.lse = parts.lse;
  result.entropy = parts.entropy;
  result.argmax = parts.largest;
  for (const Quad z : parts.z) result.largest_z = std::max(result.largest_z, z > -kQuadInfinity ? AbsOf(z) : 0);
  if (LabelOf(family, row) >= 0) {
    const size_t label = static_cast<size_t>(LabelOf(family, row));
    result.probability = parts.p[label];
    result.nll = parts.z[label] > -kQuadInfinity ? parts.lse - parts.z[label] : kQuadInfinity;
  }
  if (is_flat) return result;
  result.has_gradient = IsFinite(parts.cross) || family.options.focal_gamma == 0;
  result.gradient.clear();
  result.gradient_size.clear();
  result.p = parts.p;
  AddGradient(family, row, parts, denominator, &result);
  return result;
}

Quad UnitsOf(Quad size, Format format) {
  return IsFinite(size) ? static_cast<Quad>(Ulp(static_cast<long double>(size), format)) : 1;
}

// What the results of a row are held to.
class Judge {
 public:
  Judge(const Family& family, int64_t row) : family_(family), row_(row), format_(FormatOf(RowType(family.dtype))) {}

  // |result - exact| <= units ULP of size, and `slack` on top.
  bool Check(const char* what, int64_t column, double result, Quad exact, Quad size, Quad units, Quad slack) {
    bool holds;
    if (!IsFinite(exact)) {
      holds = static_cast<Quad>(result) == exact;
    } else {
      const Quad least = static_cast<Quad>(std::ldexp(1.0L, format_.min_exponent - format_.precision + 1));
      const Quad allowed = units * UnitsOf(size, format_) + slack + least;
      const Quad error = AbsOf(static_cast<Quad>(result) - exact);
      holds = error <= allowed;  // not NaN
    }
    if (!holds && ++failures_ <= 3) {
      ADD_FAILURE() << what << " of row " << row_ << ", class " << column << " is " << result << "; exact "
                    << static_cast<double>(exact) << ", error "
                    << static_cast<double>((static_cast<Quad>(result) - exact) / UnitsOf(size, format_))
                    << " ULP of its terms, allowed " << static_cast<double>(units) << "\n"
                    << DescribeFamily(family_);
    }
    return holds;
  }

  bool IsClean() const { return failures_ == 0; }

 private:
  const Family& family_;
  int64_t row_;
  Format format_;
  int failures_ = 0;
};

bool ExpectRow(const Family& family, int64_t row, const FamilyRow& exact, const FamilyResults& results) {
  Judge judge(family, row);
  const bool is_double = family.dtype == XENT_F64;
  const bool is_plain = family.kind == XENT_TARGET_LABELS && family.options.label_smoothing == 0;
  // Scaled logits are rounded to double.
  const bool is_scaled = family.options.scale != 1 || family.options.softcap != 0;
  const Quad scaled =
      is_scaled && is_double ? (4 * exact.largest_z + 2) * (1 + static_cast<Quad>(family.options.focal_gamma)) : 0;
  const Quad focal = 2 * static_cast<Quad>(family.options.focal_gamma);
  const Quad loss_units = (is_double ? (is_plain ? 4 : 6) : is_plain ? 3 : 4) + focal + scaled;
  // e^(-2t) of a slope has the rounding errors of t, times t.
  Quad steepest = 0;
  for (int64_t j = 0; j < family.classes && is_double && family.options.softcap != 0; ++j) {
    const double t = family.options.scale * std::fabs(family.Logit(row, j)) / family.options.softcap;
    if (std::isfinite(t)) steepest = std::max(steepest, static_cast<Quad>(t));
  }
  const Quad gradient_units = (is_double ? 8 : 4) + focal + scaled + 4 * steepest;
  // The reference itself: about 2^-112 of what it subtracts.
  const Quad noise = static_cast<Quad>(1e-31) * (1 + exact.largest_z);
  const auto row_of = [&](const Bytes& array) { return results.Row(array, family, row); };
  const double entropy = family.wants_classes ? row_of(results.entropy) : exact.is_nan ? NAN : 0;
  const int64_t argmax = family.wants_classes ? results.argmax[static_cast<size_t>(row)] : exact.argmax;
  if (!exact.is_read) {
    const bool zero = row_of(results.row_loss) == 0 && row_of(results.lse) == static_cast<double>(exact.lse) &&
                      entropy == 0 && argmax == -1;
    EXPECT_TRUE(zero) << "row " << row << " is not read\n" << DescribeFamily(family);
  } else if (exact.is_nan) {
    const bool nan =
        std::isnan(row_of(results.row_loss)) && std::isnan(row_of(results.lse)) && std::isnan(entropy) && argmax == -1;
    EXPECT_TRUE(nan) << "row " << row << " is NaN; loss " << row_of(results.row_loss) << ", lse " << row_of(results.lse)
                     << ", entropy " << entropy << ", argmax " << argmax << "\n"
                     << DescribeFamily(family);
  } else {
    judge.Check("loss", -1, row_of(results.row_loss), exact.loss, exact.loss_size, loss_units, noise);
    judge.Check("lse", -1, row_of(results.lse), exact.lse, exact.lse_size, (is_double ? 3 : 1) + scaled, noise);
    if (family.wants_classes)
      judge.Check("entropy", -1, entropy, exact.entropy, exact.entropy, (is_double ? 6 : 4) + scaled, noise);
    if (family.kind == XENT_TARGET_LABELS) {
      const Quad units = (is_double ? 8 : 4) + scaled;
      judge.Check("probability", -1, row_of(results.probability), exact.probability, exact.probability, units, noise);
      judge.Check("log probability", -1, row_of(results.log_probability), -exact.nll, exact.nll, units, noise);
    }
    EXPECT_EQ(argmax, exact.argmax) << DescribeFamily(family);
  }
  const Format stored = FormatOf(family.gradient_dtype);
  for (int64_t j = 0; j < family.classes && exact.has_gradient; ++j) {
    const double result = results.GradientAt(family, row, j);
    if (exact.gradient.empty()) {
      EXPECT_TRUE(std::isnan(result)) << "gradient of row " << row << " is NaN\n" << DescribeFamily(family);
      continue;
    }
    const Quad value = exact.gradient[static_cast<size_t>(j)];
    const Quad size = exact.gradient_size[static_cast<size_t>(j)];
    Quad slack = noise * (1 + size);
    if (stored.precision < 24) slack += static_cast<Quad>(Ulp(static_cast<long double>(value), stored)) / 2 * 1.01;
    // Probabilities below the smallest normal number may count as 0.
    const Quad least = static_cast<Quad>(std::ldexp(1.0L, is_double ? -1022 : -126));
    const Quad p = exact.p.empty() ? 1 : exact.p[static_cast<size_t>(j)];
    slack += 64 * least + (p < 2 * least ? size : 0);
    judge.Check("gradient", j, result, value, size, gradient_units, slack);
  }
  return judge.IsClean();
}

}  // namespace

#if __LDBL_MANT_DIG__ >= 113
Quad ExpOf(Quad x) { return std::exp(x); }
Quad LogOf(Quad x) { return std::log(x); }
#else
Quad ExpOf(Quad x) { return expq(x); }
Quad LogOf(Quad x) { return logq(x); }
#endif

FamilyReference ReferenceOf(const Family& family) {
  FamilyReference reference;
  Quad weight = 0;
  for (int64_t r = 0; r < family.rows(); ++r) {
    if (IsIgnored(family, r)) {
      ++reference.ignored;
      continue;
    }
    ++reference.counted;
    const int64_t label = LabelOf(family, r);
    weight +=
        static_cast<Quad>(family.row_weight.At(r)) * static_cast<Quad>(label >= 0 ? family.class_weight.At(label) : 1);
  }
  reference.denominator = weight;
  if (family.options.denominator == XENT_DENOMINATOR_ROWS) reference.denominator = static_cast<Quad>(reference.counted);
  if (family.options.denominator == XENT_DENOMINATOR_GIVEN) {
    reference.denominator = static_cast<Quad>(family.options.denominator_value);
  }
  for (int64_t r = 0; r < family.rows(); ++r) {
    const FamilyRow row = RowOf(family, r, reference.denominator);
    reference.sum += row.is_nan ? static_cast<Quad>(std::numeric_limits<double>::quiet_NaN()) : row.loss;
    reference.sum_size += row.loss_size;
    reference.z_loss += row.z_loss;
    reference.z_loss_size += row.z_loss_size;
    reference.correct += row.argmax >= 0 && row.argmax == LabelOf(family, r);
    reference.rows.push_back(row);
  }
  reference.total = reference.sum;
  if (family.options.reduction == XENT_REDUCTION_MEAN) {
    const double empty =
        family.options.empty_mean == XENT_EMPTY_MEAN_ZERO ? 0.0 : std::numeric_limits<double>::quiet_NaN();
    reference.total = reference.denominator == 0 ? static_cast<Quad>(empty) : reference.sum / reference.denominator;
  }
  return reference;
}

Quad RowObjective(const Family& family, int64_t row, const std::vector<Quad>& x, Quad denominator) {
  const Parts parts = PartsOf(family, row, x);
  const Quad loss = parts.factor * parts.cross + static_cast<Quad>(family.options.z_loss) * parts.lse * parts.lse -
                    static_cast<Quad>(family.options.entropy_weight) * parts.entropy;
  return SlopeOf(family, row, denominator) * loss + static_cast<Quad>(family.lse_upstream.At(row, 0)) * parts.lse +
         static_cast<Quad>(family.entropy_upstream.At(row, 0)) * parts.entropy;
}

bool ExpectFamily(const Family& family, const FamilyReference& reference, const FamilyResults& results) {
  bool is_well = results.status == XENT_OK;
  for (int64_t r = 0; r < family.rows() && is_well; ++r) {
    is_well = ExpectRow(family, r, reference.rows[static_cast<size_t>(r)], results);
  }
  const auto check = [&](const char* what, double result, Quad exact, Quad size) {
    if (!(exact == exact)) {
      EXPECT_TRUE(std::isnan(result)) << what << " is " << result << "\n" << DescribeFamily(family);
      return;
    }
    if (!IsFinite(exact)) {
      EXPECT_EQ(result, static_cast<double>(exact)) << what << "\n" << DescribeFamily(family);
      return;
    }
    const Quad units = family.dtype == XENT_F64 ? static_cast<Quad>(0x1p-44) : static_cast<Quad>(0x1p-20);
    EXPECT_LE(static_cast<double>(AbsOf(static_cast<Quad>(result) - exact)), static_cast<double>(units * size) + 1e-30)
        << what << " is " << result << "; exact " << static_cast<double>(exact) << "\n"
        << DescribeFamily(family);
  };
  check("sum", results.sum, reference.sum, reference.sum_size);
  const bool is_mean = family.options.reduction == XENT_REDUCTION_MEAN && reference.denominator != 0;
  check("total", results.total, reference.total,
        is_mean ? reference.sum_size / reference.denominator : reference.sum_size);
  check("denominator", results.denominator, reference.denominator, reference.denominator);
  EXPECT_EQ(results.counted, reference.counted) << DescribeFamily(family);
  EXPECT_EQ(results.ignored, reference.ignored) << DescribeFamily(family);
  const bool counts_correct = family.kind == XENT_TARGET_LABELS && family.wants_classes;
  EXPECT_EQ(counts_correct ? results.correct : reference.correct, reference.correct) << DescribeFamily(family);
  const bool has_nan =
      std::any_of(reference.rows.begin(), reference.rows.end(), [](const FamilyRow& row) { return row.is_nan; });
  if (!has_nan) check("z_loss", results.z_loss, reference.z_loss, reference.z_loss_size);
  return is_well && !testing::Test::HasFailure();
}

}  // namespace xent_test
