// Words, arguments and calls; see functions.h.
#include "support/functions.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "support/hard_cases.h"
#include "support/inputs.h"

namespace xent_test {
namespace {

constexpr unsigned char kPattern = 0xA5;

int MantissaBits(xent_dtype dtype) { return FormatOf(dtype).precision - 1; }

// The words up to `steps` steps from `value`, and the same with the other sign.
void AddAround(xent_dtype dtype, double value, uint64_t steps, std::vector<uint64_t>* words) {
  const uint64_t middle = WordOf(dtype, std::fabs(value));
  for (uint64_t word = middle - std::min(steps, middle); word <= middle + steps; ++word) {
    if (word > InfinityOf(dtype)) break;
    words->push_back(word);
    words->push_back(word | SignOf(dtype));
  }
}

// Where e^x overflows, becomes subnormal and vanishes, and where 1 + e^-x, e^x - 1 and tanh saturate, in ln 2.
std::vector<double> ThresholdsInLn2(Format format) {
  const double precision = format.precision;
  const double least = format.min_exponent - format.precision + 1;
  return {format.max_exponent + 1.0,
          -(format.min_exponent + 0.0),
          -least,
          1 - least,
          precision - 1,
          precision,
          precision + 1,
          (precision + 2) / 2,
          0.5,
          1,
          1.5};
}

// Ends of the reductions and changes of plan: sqrt(1/2) and what the logarithm uses near it, 1/2 and 1, the arguments
// that are their own results, and those far out that are treated apart (40, 60 and 80; 89 and 104 in f32; 746 in f64).
constexpr double kTurns[] = {0x1.6a09e667f3bcdp-1,
                             0x1.64p-1,
                             0x1.64p-2,
                             0x1.921fp-2,
                             0.5,
                             0.25,
                             1,
                             2,
                             4,
                             0x1p-54,
                             0x1p-53,
                             0x1p-24,
                             0x1p-16,
                             10,
                             40,
                             60,
                             80,
                             89,
                             104,
                             700,
                             745,
                             746,
                             710,
                             0x1p20,
                             1e30,
                             0x1p64};

// Exponentials so close to the middle of two doubles that the last bit of ln 2's second part tells (one in 2e7 is).
constexpr double kWitnesses[] = {0x1.60635aeaa8bbp+9,  0x1.600f1c511a9ecp+9, 0x1.5c98c87ddc1b5p+9,
                                 0x1.5f08feb8e1af8p+9, 0x1.5f4762972e8f6p+9, 0x1.620052ced6af8p+9};

void AddNans(xent_dtype dtype, std::vector<uint64_t>* words) {
  const uint64_t infinity = InfinityOf(dtype);
  const uint64_t quiet = uint64_t{1} << (MantissaBits(dtype) - 1);
  for (const uint64_t payload : {uint64_t{1}, quiet - 1, quiet, quiet | 1, quiet | (quiet >> 1), 2 * quiet - 1}) {
    words->push_back(infinity | payload);
    words->push_back(infinity | payload | SignOf(dtype));
  }
}

// A word of `random` bits; kinds 1 to 3 are multiples of a power of two, symmetric around zero.
uint64_t RandomWord(xent_dtype dtype, int64_t kind, Random* random) {
  constexpr int kExponents[] = {0, 10, 6, 1};
  const uint64_t bits = random->Bits();
  if (kind == 0) return bits >> (64 - 8 * SizeOf(dtype));
  const double integer = static_cast<double>(static_cast<int64_t>(bits >> 11) - (int64_t{1} << 52));
  return WordOf(dtype, std::ldexp(integer, kExponents[kind] - 52));
}

void AddEveryExponent(xent_dtype dtype, std::vector<uint64_t>* words) {
  const uint64_t one = uint64_t{1} << MantissaBits(dtype);
  const uint64_t mantissas[] = {0,       1,           one / 16,    one / 8 * 3, one / 5 * 2,   one / 2 - 1,
                                one / 2, one / 3 * 2, one / 4 * 3, one / 7 * 6, one / 16 * 15, one - 1};
  for (uint64_t exponent = 0; exponent < InfinityOf(dtype); exponent += one) {
    for (const uint64_t mantissa : mantissas) {
      words->push_back(exponent | mantissa);
      words->push_back(exponent | mantissa | SignOf(dtype));
    }
  }
}

}  // namespace

std::string NameOf(xent_function function, xent_dtype dtype) {
  return std::string(xent_function_name(function)) + " of " + TypeName(dtype);
}

uint64_t Word(const void* data, xent_dtype dtype, int64_t i) {
  if (dtype == XENT_F64) return LoadAs<uint64_t>(data, i);
  return dtype == XENT_F32 ? LoadAs<uint32_t>(data, i) : LoadAs<uint16_t>(data, i);
}

void SetWord(void* data, xent_dtype dtype, int64_t i, uint64_t word) {
  if (dtype == XENT_F64) return StoreAs(data, i, word);
  if (dtype == XENT_F32) return StoreAs(data, i, static_cast<uint32_t>(word));
  StoreAs(data, i, static_cast<uint16_t>(word));
}

uint64_t WordOf(xent_dtype dtype, double value) {
  uint64_t memory = 0;
  SetElement(&memory, dtype, 0, value);
  return Word(&memory, dtype, 0);
}

uint64_t InfinityOf(xent_dtype dtype) {
  const Format format = FormatOf(dtype);
  return static_cast<uint64_t>(2 * format.max_exponent + 1) << MantissaBits(dtype);
}

uint64_t CanonicalNanOf(xent_dtype dtype) { return InfinityOf(dtype) | (uint64_t{1} << (MantissaBits(dtype) - 1)); }

int64_t RankOf(xent_dtype dtype, uint64_t word) {
  const int64_t magnitude = static_cast<int64_t>(word & ~SignOf(dtype));
  return (word & SignOf(dtype)) != 0 ? -1 - magnitude : magnitude;
}

Bytes ArrayOf(xent_dtype dtype, const std::vector<uint64_t>& words) {
  Bytes array(words.size() * SizeOf(dtype));
  for (size_t i = 0; i < words.size(); ++i) SetWord(array.data(), dtype, static_cast<int64_t>(i), words[i]);
  return array;
}

Bytes Repeated(const Bytes& pattern, size_t bytes, size_t offset) {
  Bytes array(bytes, offset);
  for (size_t i = 0; i < bytes; i += pattern.size()) {
    std::memcpy(array.data() + i, pattern.data(), std::min(pattern.size(), bytes - i));
  }
  return array;
}

Bytes Mapped(xent_function function, xent_dtype dtype, const Bytes& x, const xent_map_options* options, size_t offset) {
  Bytes y(x.size(), offset, kPattern);
  const xent_status status = xent_map(function, dtype, x.data(), y.data(), CountOf(x, dtype), options);
  EXPECT_EQ(status, XENT_OK) << NameOf(function, dtype) << ": " << xent_last_error();
  return y;
}

std::string FirstDifference(xent_dtype dtype, const Bytes& x, const Bytes& got, const Bytes& wanted) {
  if (got.size() != wanted.size()) return "different sizes";
  if (got.size() == 0 || std::memcmp(got.data(), wanted.data(), got.size()) == 0) return "";
  int64_t i = 0;
  while (Word(got.data(), dtype, i) == Word(wanted.data(), dtype, i)) ++i;
  std::ostringstream text;
  text << "element " << i << ", x = " << std::hexfloat << Element(x.data(), dtype, i) << ": "
       << Element(got.data(), dtype, i) << " (" << std::hex << Word(got.data(), dtype, i) << "), should be "
       << Element(wanted.data(), dtype, i) << " (" << Word(wanted.data(), dtype, i) << ")";
  return text.str();
}

std::vector<uint64_t> SpecialWords(xent_dtype dtype) {
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  const uint64_t one = uint64_t{1} << MantissaBits(dtype);
  std::vector<uint64_t> words;
  for (const uint64_t magnitude : {uint64_t{0}, uint64_t{1}, uint64_t{2}, one / 2, one - 1, one, one + 1,
                                   InfinityOf(dtype) - 1, InfinityOf(dtype)}) {
    words.push_back(magnitude);
    words.push_back(magnitude | SignOf(dtype));
  }
  AddNans(dtype, &words);
  for (const double threshold : ThresholdsInLn2(FormatOf(dtype))) AddAround(dtype, threshold * kLn2, 4, &words);
  for (const double turn : kTurns) AddAround(dtype, turn, 3, &words);
  return words;
}

std::vector<uint64_t> RandomWords(xent_dtype dtype, int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<uint64_t> words;
  for (int64_t i = 0; i < count; ++i) words.push_back(RandomWord(dtype, i % 4, &random));
  return words;
}

Bytes RecordedArguments(xent_dtype dtype) {
  std::vector<uint64_t> words;
  if (SizeOf(dtype) == 2) {
    for (uint64_t word = 0; word < 65536; ++word) words.push_back(word);
    return ArrayOf(dtype, words);
  }
  words = SpecialWords(dtype);
  AddEveryExponent(dtype, &words);
  for (const HardCase& hard : kHardCases) {
    if (dtype == XENT_F32) words.push_back(hard.x);
  }
  for (const double witness : kWitnesses) words.push_back(WordOf(dtype, witness));
  const std::vector<uint64_t> random = RandomWords(dtype, 20000, 1);
  words.insert(words.end(), random.begin(), random.end());
  return ArrayOf(dtype, words);
}

}  // namespace xent_test
