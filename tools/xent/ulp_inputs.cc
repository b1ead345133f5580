// Random numbers are hashes of the seed and the index (splitmix64), so that they need no state.
#include "ulp_inputs.h"

#include <cmath>
#include <iterator>

#include "number_format.h"

namespace xent_command {
namespace {

constexpr double kHalfLn2 = 0x1.62e42fefa39efp-2;

// Of either sign: where the functions reach what they tend to, overflow, underflow or become subnormal (of each type),
// where reductions and polynomials change over, and the floats whose log or expm1 lies so close to the middle of two
// floats that the kernels treat them alone.
constexpr double kThresholds[] = {
    0.5,
    1.0,
    0x1.64p-1,
    0x1.6a09e667f3bcdp-1,
    0x1.6a09e667f3bcdp0,
    0x1p-54,
    0x1p-28,
    0x1p-16,
    8.6643,
    9.0109,
    11.0904,
    16.6355,
    17.3287,
    19.0615,
    22.0,
    36.7368,
    37.42995,
    37.5,
    38.1231,
    40.0,
    87.33655,
    88.72284,
    103.97208,
    708.39642,
    709.78271,
    745.13322,
    0x1.b121a6p+76,
    0x1.84a5bap-4,
};
constexpr uint64_t kThresholdCount = std::size(kThresholds);

struct Interval {
  double low;
  double high;
};
constexpr int kIntervals = 3;

// Where the function is not trivial: near, all of it, and where results are subnormal or arguments large.
struct Domain {
  xent_function function;
  Interval intervals[kIntervals];
};

constexpr Domain kDomains[] = {
    {XENT_EXP, {{-1, 1}, {-746, 710}, {-746, -707}}},    {XENT_LOG, {{0.5, 2}, {0, 16}, {0, 1e6}}},
    {XENT_LOG1P, {{-1, 1}, {-1, 16}, {-0.01, 0.01}}},    {XENT_EXPM1, {{-1, 1}, {-40, 40}, {-40, 710}}},
    {XENT_SIGMOID, {{-2, 2}, {-45, 45}, {-746, -707}}},  {XENT_LOG_SIGMOID, {{-2, 2}, {-45, 45}, {707, 746}}},
    {XENT_SOFTPLUS, {{-2, 2}, {-45, 45}, {-746, -707}}}, {XENT_TANH, {{-1, 1}, {-20, 20}, {-0.1, 0.1}}},
};

uint64_t Hash(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

uint64_t HashAt(uint64_t seed, uint64_t i) { return Hash(Hash(seed) + i); }

// 0 <= result < range, from the upper bits of a hash.
uint64_t Below(uint64_t range, uint64_t hash) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(hash) * range >> 64);
}

int64_t Between(int64_t least, int64_t most, uint64_t hash) {
  return least + static_cast<int64_t>(Below(static_cast<uint64_t>(most - least) + 1, hash));
}

double InDomain(xent_function function, uint64_t hash) {
  const Domain* domain = kDomains;
  while (domain->function != function) ++domain;
  const Interval& interval = domain->intervals[hash % kIntervals];
  const double share = static_cast<double>(Hash(hash) >> 11) * 0x1p-53;
  return interval.low + (interval.high - interval.low) * share;
}

// A multiple of ln(2)/2, a power of two or a threshold. The two former are small every other time.
double Threshold(uint64_t hash) {
  const bool is_small = (hash >> 8 & 1) != 0;
  const uint64_t other = Hash(hash);
  const double sign = (hash >> 9 & 1) != 0 ? -1 : 1;
  switch (hash % 3) {
    case 0:
      return static_cast<double>(is_small ? Between(-120, 120, other) : Between(-2152, 2049, other)) * kHalfLn2;
    case 1:
      return sign * std::ldexp(1.0, static_cast<int>(is_small ? Between(-60, 10, other) : Between(-1074, 1023, other)));
    default:
      return sign * kThresholds[Below(kThresholdCount, other)];
  }
}

uint64_t NearThreshold(uint64_t hash) {
  constexpr int64_t kFarthest = 300;
  const uint64_t bits = BitCast<uint64_t>(Threshold(hash));
  const int64_t step = Between(-kFarthest, kFarthest, Hash(hash ^ 1));
  return (bits << 1) < uint64_t{2 * kFarthest} ? bits + static_cast<uint64_t>(std::abs(step))
                                               : bits + static_cast<uint64_t>(step);
}

int BitsOf(xent_dtype dtype) { return 8 * xent_dtype_size(dtype); }

}  // namespace

InputSet::InputSet(const InputPlan& plan) : plan_(plan), bits_(BitsOf(plan.dtype)) {
  exhaustive_ = plan.exhaustive || (bits_ < 63 && plan.samples >= int64_t{1} << bits_);
  samples_ = exhaustive_ ? int64_t{1} << bits_ : plan.samples;
  if (exhaustive_) return;
  AddExponentEnds();
  AddThresholds();
}

void InputSet::AddExponentEnds() {
  const int mantissa = plan_.dtype == XENT_F64 ? 52 : plan_.dtype == XENT_F32 ? 23 : plan_.dtype == XENT_F16 ? 10 : 7;
  const uint64_t ones = (uint64_t{1} << mantissa) - 1;
  for (uint64_t field = 0; field < uint64_t{1} << (bits_ - mantissa); ++field) {
    for (const uint64_t rest : {uint64_t{0}, uint64_t{1}, ones - 1, ones}) fixed_.push_back(field << mantissa | rest);
  }
}

template <typename Format>
void InputSet::AddAround(double value) {
  constexpr int kSteps = 16;
  const typename Format::Bits middle = Format::Round(value);
  for (int step = -kSteps; step <= kSteps; ++step) {
    fixed_.push_back(static_cast<typename Format::Bits>(middle + static_cast<typename Format::Bits>(step)));
  }
}

void InputSet::AddThresholds() {
  for (const double value : kThresholds) {
    for (const double signed_value : {value, -value}) {
      if (plan_.dtype == XENT_F64) AddAround<F64>(signed_value);
      if (plan_.dtype == XENT_F32) AddAround<F32>(signed_value);
      if (plan_.dtype == XENT_BF16) AddAround<BF16>(signed_value);
      if (plan_.dtype == XENT_F16) AddAround<F16>(signed_value);
    }
  }
}

uint64_t InputSet::SampleAt(int64_t i) const {
  if (i < static_cast<int64_t>(fixed_.size())) return fixed_[static_cast<size_t>(i)];
  const uint64_t sample = static_cast<uint64_t>(i) - fixed_.size();
  const uint64_t hash = HashAt(plan_.seed, sample);
  if (plan_.dtype == XENT_F64) {
    if (sample % 3 == 0) return hash;
    return sample % 3 == 1 ? BitCast<uint64_t>(InDomain(plan_.function, hash)) : NearThreshold(hash);
  }
  const uint64_t patterns = uint64_t{1} << bits_;
  const auto start = [&](uint64_t part) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(part) * patterns / static_cast<uint64_t>(samples_));
  };
  return start(sample) + Below(start(sample + 1) - start(sample), hash);
}

}  // namespace xent_command
