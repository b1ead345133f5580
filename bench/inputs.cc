// Normal deviates come from a table, picked by a linear congruential generator: 16 million of them in a blink.
#include "inputs.h"

#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>

namespace xent_bench {
namespace {

constexpr const char* kNames[] = {"normal", "wide", "ascending", "confident", "neg-inf", "neg-1e4"};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint32_t Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33);
  }

 private:
  uint64_t state_;
};

const std::vector<float>& NormalTable() {
  static const std::vector<float> table = [] {
    std::vector<float> values(size_t{1} << 16);
    std::mt19937_64 engine(1);
    std::normal_distribution<float> normal;
    for (float& value : values) value = normal(engine);
    return values;
  }();
  return table;
}

// To nearest, ties to even. The inputs here are finite or -inf.
uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

uint16_t ToF16(float value) {
  const uint32_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(static_cast<double>(value));
  if (magnitude >= 65520) return static_cast<uint16_t>(sign | 0x7c00);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  if (magnitude == 0 || exponent < -13) {
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, 24))));
  }
  const auto mantissa = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, 11 - exponent)));
  return static_cast<uint16_t>(sign | (static_cast<uint32_t>(exponent + 14) * 1024 + mantissa - 1024));
}

float FromF16(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa != 0 ? std::numeric_limits<float>::quiet_NaN() : sign * HUGE_VALF;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

void Store(xent_dtype dtype, float value, int64_t i, void* logits) {
  if (dtype == XENT_F32) static_cast<float*>(logits)[i] = value;
  if (dtype == XENT_F64) static_cast<double*>(logits)[i] = static_cast<double>(value);
  if (dtype == XENT_BF16) static_cast<uint16_t*>(logits)[i] = ToBf16(value);
  if (dtype == XENT_F16) static_cast<uint16_t*>(logits)[i] = ToF16(value);
}

float Draw(Inputs inputs, int64_t j, const Shape& shape, int64_t label, float normal) {
  const float place = static_cast<float>(j + 1) / static_cast<float>(shape.classes);
  if (inputs == Inputs::kWide) return 30 * normal;
  if (inputs == Inputs::kAscending) return -20 + 40 * place;
  if (inputs == Inputs::kConfident) return j == label ? normal + 20 : normal;
  if (inputs == Inputs::kNegInf && j % 3 == 0 && j != label) return -HUGE_VALF;
  if (inputs == Inputs::kNeg1e4 && j % 3 == 0 && j != label) return -1e4f;
  return 4 * normal;
}

}  // namespace

bool ParseInputs(const std::string& name, Inputs* inputs) {
  for (int i = 0; i < static_cast<int>(std::size(kNames)); ++i) {
    if (name == kNames[i]) {
      *inputs = static_cast<Inputs>(i);
      return true;
    }
  }
  return false;
}

bool ParseDtype(const std::string& name, Dtype* dtype) {
  for (const Dtype& candidate : kDtypes) {
    if (name == candidate.name) {
      *dtype = candidate;
      return true;
    }
  }
  return false;
}

const char* InputsName(Inputs inputs) { return kNames[static_cast<int>(inputs)]; }

std::vector<int64_t> MakeLabels(const Shape& shape) {
  std::vector<int64_t> labels(static_cast<size_t>(shape.rows));
  Random random(2);
  for (int64_t& label : labels) label = static_cast<int64_t>(random.Next() % static_cast<uint64_t>(shape.classes));
  return labels;
}

void FillLogits(const Shape& shape, xent_dtype dtype, Inputs inputs, const int64_t* labels, void* logits) {
  const std::vector<float>& table = NormalTable();
  Random random(3);
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t j = 0; j < shape.classes; ++j) {
      const float normal = table[random.Next() % table.size()];
      Store(dtype, Draw(inputs, j, shape, labels[r], normal), r * shape.classes + j, logits);
    }
  }
}

double LoadAsDouble(const void* data, xent_dtype dtype, int64_t i) {
  if (dtype == XENT_F32) return static_cast<double>(static_cast<const float*>(data)[i]);
  if (dtype == XENT_F64) return static_cast<const double*>(data)[i];
  const uint16_t half = static_cast<const uint16_t*>(data)[i];
  if (dtype == XENT_F16) return static_cast<double>(FromF16(half));
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return static_cast<double>(value);
}

}  // namespace xent_bench
