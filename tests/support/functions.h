// Calls of xent_map with memory of their own, and the arguments that functions are tried on. Arguments are words, the
// bits of elements, made from integers and exact arithmetic: the same on every machine.
#ifndef XENT_TESTS_SUPPORT_FUNCTIONS_H_
#define XENT_TESTS_SUPPORT_FUNCTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "support/storage.h"
#include "xent/xent.h"

namespace xent_test {

constexpr xent_function kFunctions[] = {XENT_EXP,     XENT_LOG,         XENT_LOG1P,    XENT_EXPM1,
                                        XENT_SIGMOID, XENT_LOG_SIGMOID, XENT_SOFTPLUS, XENT_TANH};

// Calls check(function, storage type) for every pair of them.
template <typename Check>
void ForEveryFunctionAndType(Check check) {
  for (const xent_function function : kFunctions) {
    for (const xent_dtype dtype : kStorageTypes) check(function, dtype);
  }
}

// "exp of f32", for messages.
std::string NameOf(xent_function function, xent_dtype dtype);

inline int64_t CountOf(const Bytes& array, xent_dtype dtype) {
  return static_cast<int64_t>(array.size() / SizeOf(dtype));
}

// The bits of an element.
uint64_t Word(const void* data, xent_dtype dtype, int64_t i);
void SetWord(void* data, xent_dtype dtype, int64_t i, uint64_t word);

// The bits of a number in a storage type (rounded where it has to be), and of numbers that every type has.
uint64_t WordOf(xent_dtype dtype, double value);
uint64_t InfinityOf(xent_dtype dtype);
uint64_t CanonicalNanOf(xent_dtype dtype);
inline uint64_t SignOf(xent_dtype dtype) { return uint64_t{1} << (8 * SizeOf(dtype) - 1); }
inline bool IsNan(xent_dtype dtype, uint64_t word) { return (word & ~SignOf(dtype)) > InfinityOf(dtype); }

// The element's place in the order of numbers: monotonic functions never lower it. -0 and 0 are neighbours.
int64_t RankOf(xent_dtype dtype, uint64_t word);

Bytes ArrayOf(xent_dtype dtype, const std::vector<uint64_t>& words);

// Pattern repeated until the array has `bytes`, `offset` bytes behind a 64-byte boundary.
Bytes Repeated(const Bytes& pattern, size_t bytes, size_t offset = 0);

// f of all of x, in new memory `offset` bytes behind a 64-byte boundary. A call that fails is a test failure.
Bytes Mapped(xent_function function, xent_dtype dtype, const Bytes& x, const xent_map_options* options = nullptr,
             size_t offset = 0);

// "" if the arrays have the same bits, else the first element in which they differ, with its argument.
std::string FirstDifference(xent_dtype dtype, const Bytes& x, const Bytes& got, const Bytes& wanted);

// Zeros, subnormal numbers, the ends of the range, infinities, NaN with several payloads, and the neighbourhoods of all
// arguments at which some function overflows, underflows, saturates, or changes its way of computing; of both signs.
std::vector<uint64_t> SpecialWords(xent_dtype dtype);

// `count` words, a quarter each of any bits, and of numbers in (-1024, 1024), (-64, 64) and (-2, 2).
std::vector<uint64_t> RandomWords(xent_dtype dtype, int64_t count, uint64_t seed);

// The input set of the hash on record. bf16 and f16: every word. Else the special words, every exponent with twelve
// mantissas and both signs, arguments that are hard to round, and 20000 random words.
Bytes RecordedArguments(xent_dtype dtype);

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_FUNCTIONS_H_
