// The named distributions. Each function fills one row and may choose the label; it starts out as a random class.
// What a distribution is for stands in tests/README.md, under its name.
#include "support/inputs.h"

#include <algorithm>
#include <limits>

#include "support/storage.h"

namespace xent_test {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

template <typename Draw>
void Each(Row row, Draw draw) {
  for (double& x : row.x) x = draw();
}

void Normal(Random& random, Row row) {
  Each(row, [&] { return random.Normal(); });
}

void Wide10(Random& random, Row row) {
  Each(row, [&] { return 10 * random.Normal(); });
}

void Wide30(Random& random, Row row) {
  Each(row, [&] { return 30 * random.Normal(); });
}

void Uniform(Random& random, Row row) {
  Each(row, [&] { return random.Uniform(-5, 5); });
}

void Ascending(Random& random, Row row) {
  const double step = random.Uniform(0, 60) / static_cast<double>(row.classes());
  double x = random.Uniform(-40, 0);
  Each(row, [&] { return x += step; });
}

void Descending(Random& random, Row row) {
  Ascending(random, row);
  std::reverse(row.x.begin(), row.x.end());
}

void Constant(Random& random, Row row) {
  const double x = 10 * random.Normal();
  Each(row, [&] { return x; });
}

double LargestOther(Row row) {
  double largest = -std::numeric_limits<double>::max();
  for (int64_t j = 0; j < row.classes(); ++j) {
    if (j != row.label) largest = std::max(largest, row.x[static_cast<size_t>(j)]);
  }
  return row.classes() == 1 ? 0 : largest;
}

double& LabelLogit(Row row) { return row.x[static_cast<size_t>(row.label)]; }

void Confident(Random& random, Row row) {
  Normal(random, row);
  LabelLogit(row) = LargestOther(row) + random.Uniform(0, row.underflow * 1.15);
}

void Trailing(Random& random, Row row) {
  Normal(random, row);
  LabelLogit(row) = LargestOther(row) - std::pow(10.0, random.Uniform(-4, 4));
}

// The label holds about as much probability as all others together: both forms of the loss meet here.
void Balanced(Random& random, Row row) {
  Normal(random, row);
  double sum = 0;
  for (int64_t j = 0; j < row.classes(); ++j) sum += j == row.label ? 0 : std::exp(row.x[static_cast<size_t>(j)]);
  LabelLogit(row) = std::log(std::max(sum, 0.1)) + 0.01 * random.Normal();
}

// The label shares the largest logit, or misses it by the last bit.
void NearTie(Random& random, Row row) {
  Wide10(random, row);
  const double largest = LargestOther(row);
  const int64_t kind = random.Below(3);
  LabelLogit(row) = kind == 0 ? largest : largest * (1 + (kind == 1 ? 1 : -1) * 0x1p-23);
}

void OffsetUp(Random& random, Row row) {
  const double offset = std::min(1e8, row.largest * 0.9);
  Each(row, [&] { return offset + 10 * random.Normal(); });
}

void OffsetDown(Random& random, Row row) {
  OffsetUp(random, row);
  for (double& x : row.x) x = -x;
}

void VeryNegative(Random& random, Row row) {
  const double offset = -random.Uniform(1000, 30000);
  Each(row, [&] { return offset + 3 * random.Normal(); });
}

void Gaps(Random& random, Row row) {
  Each(row, [&] { return 1.1e4 * static_cast<double>(random.Below(4) - 2) + random.Normal(); });
}

// A few equal leaders; all others are so far below that their probabilities straddle the smallest normal number.
void Underflow(Random& random, Row row) {
  const double largest = 5 * random.Normal();
  Each(row, [&] { return random.Below(8) == 0 ? largest : largest - row.underflow - random.Uniform(-12, 8); });
}

void Straddle(Random& random, Row row, double low, double high) {
  const double sign = random.Sign();
  const bool both = random.Below(2) == 0;
  Each(row, [&] { return (both ? random.Sign() : sign) * random.Uniform(low, high); });
}

void Near50(Random& random, Row row) { Straddle(random, row, 20, 50); }
void Near355(Random& random, Row row) { Straddle(random, row, 345, 365); }
void Near256(Random& random, Row row) { Straddle(random, row, 250, 260); }
void Near2048(Random& random, Row row) { Straddle(random, row, 2040, 2060); }

// Odd multiples of ln(2)/2, give or take a few bits: where rounding to an integer exponent changes its mind.
void Breakpoints(Random& random, Row row) {
  Each(row, [&] {
    const double multiple = static_cast<double>(2 * random.Below(40) - 39);
    return multiple * 0.34657359027997264 * (1 + static_cast<double>(random.Below(9) - 4) * 0x1p-23);
  });
}

void Tiny(Random& random, Row row) {
  Each(row, [&] {
    const int64_t kind = random.Below(4);
    if (kind == 0) return random.Sign() * 0.0;
    return random.Sign() * std::pow(10.0, random.Uniform(kind == 1 ? -320 : kind == 2 ? -45 : -9, -1));
  });
}

void Masked(Random& random, Row row) {
  Wide10(random, row);
  for (int64_t j = 0; j < row.classes(); ++j) {
    if (j != row.label && random.Below(2) == 0) row.x[static_cast<size_t>(j)] = kMinusInfinity;
  }
}

// Masked by numbers: far below, or about as far as plain logits hide: the label's too, all others, or all.
void MaskedByNumbers(Random& random, Row row) {
  Each(row, [&] { return random.Uniform(-44, 44); });
  const int64_t kind = random.Below(6);
  for (int64_t j = 0; j < row.classes(); ++j) {
    const bool is_label = j == row.label;
    const bool is_masked = kind == 0 || (kind == 1 && !is_label) || (random.Below(2) == 0 && (kind == 2 || !is_label));
    if (!is_masked) continue;
    const double places[] = {-1e4, -std::min(1e9, row.largest), -random.Uniform(145, 155), -random.Uniform(1095, 1105)};
    row.x[static_cast<size_t>(j)] = places[kind == 5 ? 0 : random.Below(4)];
  }
}

void LabelMasked(Random& random, Row row) {
  Wide10(random, row);
  if (row.classes() > 1) LabelLogit(row) = kMinusInfinity;
}

void LeadingMasked(Random& random, Row row) {
  Wide10(random, row);
  const int64_t block = random.Below(row.classes());
  for (int64_t j = 0; j < block; ++j) row.x[static_cast<size_t>(j)] = kMinusInfinity;
  row.label = block + random.Below(row.classes() - block);
}

void Huge(Random& random, Row row) {
  Each(row, [&] {
    const int64_t kind = random.Below(5);
    if (kind == 0) return random.Normal();
    if (kind == 1) return random.Sign() * row.largest;
    return random.Sign() * std::min(kind == 2 ? 1e30 : 3e38, row.largest) * random.Uniform(0.5, 1);
  });
}

void Mixed(Random& random, Row row) {
  constexpr void (*kParts[])(Random&, Row) = {Normal, Wide30, Near50, Near256, Tiny, Masked, VeryNegative, Breakpoints};
  constexpr int64_t kCount = 8;
  std::vector<double> parts[kCount];
  for (int64_t p = 0; p < kCount; ++p) {
    parts[p].resize(row.x.size());
    kParts[p](random, Row{parts[p], row.label, row.largest, row.underflow});
  }
  for (int64_t j = 0; j < row.classes();) {
    const std::vector<double>& part = parts[random.Below(kCount)];
    const int64_t end = std::min(row.classes(), j + 1 + random.Below(40));
    for (; j < end; ++j) row.x[static_cast<size_t>(j)] = part[static_cast<size_t>(j)];
  }
}

// Long stretches that live far from each other, or nowhere.
void Patchwork(Random& random, Row row) {
  constexpr double kPlaces[] = {0, 20, -20, 60, -60, 300, -300, 300.5, 3000, -3000, 50000, -50000, kMinusInfinity};
  for (int64_t j = 0; j < row.classes();) {
    const double place = kPlaces[random.Below(13)];
    const int64_t end = std::min(row.classes(), j + 1 + random.Below(row.classes() / 3 + 1));
    for (; j < end; ++j) row.x[static_cast<size_t>(j)] = place + random.Normal();
  }
  if (!std::isfinite(LabelLogit(row))) LabelLogit(row) = random.Normal();
}

}  // namespace

const std::vector<Distribution>& Distributions() {
  static const std::vector<Distribution> kDistributions = {
      {"normal", Normal},
      {"wide_10", Wide10},
      {"wide_30", Wide30},
      {"uniform", Uniform},
      {"ascending", Ascending},
      {"descending", Descending},
      {"constant", Constant},
      {"confident", Confident},
      {"trailing", Trailing},
      {"balanced", Balanced},
      {"near_tie", NearTie},
      {"offset_up", OffsetUp},
      {"offset_down", OffsetDown},
      {"very_negative", VeryNegative},
      {"gaps", Gaps},
      {"underflow", Underflow},
      {"near_50", Near50},
      {"near_256", Near256},
      {"near_355", Near355},
      {"near_2048", Near2048},
      {"breakpoints", Breakpoints},
      {"tiny", Tiny},
      {"masked", Masked},
      {"masked_by_numbers", MaskedByNumbers},
      {"label_masked", LabelMasked},
      {"leading_masked", LeadingMasked},
      {"huge", Huge},
      {"mixed", Mixed},
      {"patchwork", Patchwork},
  };
  return kDistributions;
}

const Distribution* FindDistribution(const std::string& name) {
  for (const Distribution& distribution : Distributions()) {
    if (distribution.name == name) return &distribution;
  }
  return nullptr;
}

int64_t FillRow(const Distribution& distribution, xent_dtype dtype, int64_t classes, uint64_t seed, void* logits,
                int64_t first) {
  const Format format = FormatOf(dtype);
  Random random(seed);
  std::vector<double> x(static_cast<size_t>(classes));
  int64_t label = random.Below(classes);
  const double largest = std::ldexp(2 - std::ldexp(2.0, -format.precision), format.max_exponent);
  distribution.fill(random, Row{x, label, largest, RowType(dtype) == XENT_F64 ? 708.4 : 87.3});
  for (int64_t j = 0; j < classes; ++j) {
    double value = x[static_cast<size_t>(j)];
    if (std::isfinite(value)) value = std::clamp(value, -largest, largest);
    SetElement(logits, dtype, first + j, value);
  }
  return label;
}

}  // namespace xent_test
