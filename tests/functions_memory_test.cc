// xent_map touches nothing outside its arrays: they lie flush against unreadable pages at both ends, and between
// canaries where they are larger than the cache and written past it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/functions.h"
#include "support/guard.h"

namespace xent_test {
namespace {

// Every tail of four vectors of 16 lanes and of a step of 32 elements, and around a block of 4096.
std::vector<int64_t> Lengths() {
  std::vector<int64_t> lengths;
  for (int64_t n = 0; n <= 67; ++n) lengths.push_back(n);
  for (const int64_t n : {95, 96, 97, 127, 129, 4095, 4096, 4097, 8193}) lengths.push_back(n);
  return lengths;
}

void CheckBesideUnreadablePages(const std::string& isa, xent_dtype dtype, int64_t n, Edge edge) {
  const Bytes x = ArrayOf(dtype, RandomWords(dtype, n, 9));
  GuardedBytes from(x.size(), edge);
  GuardedBytes to(x.size(), edge);
  for (const xent_function function : kFunctions) {
    NoteForFault(isa + ", " + NameOf(function, dtype) + ", " + std::to_string(n) + " elements" +
                 (edge == Edge::kBegin ? ", begin of the arrays" : ", end of the arrays"));
    const Bytes wanted = Mapped(function, dtype, x);
    if (n > 0) std::memcpy(from.data(), x.data(), x.size());
    ASSERT_EQ(xent_map(function, dtype, from.data(), to.data(), n, nullptr), XENT_OK) << xent_last_error();
    ASSERT_EQ(xent_map(function, dtype, from.data(), from.data(), n, nullptr), XENT_OK) << xent_last_error();
    ASSERT_TRUE(from.Intact() && to.Intact()) << isa << ", " << NameOf(function, dtype) << ", " << n << " elements";
    if (n == 0) continue;
    ASSERT_EQ(std::memcmp(to.data(), wanted.data(), x.size()), 0) << NameOf(function, dtype) << ", " << n;
    ASSERT_EQ(std::memcmp(from.data(), wanted.data(), x.size()), 0) << NameOf(function, dtype) << ", " << n;
  }
}

TEST(FunctionMemory, NothingBesideTheArraysIsTouched) {
  ForEveryIsa([](const std::string& isa) {
    for (const xent_dtype dtype : kStorageTypes) {
      for (const int64_t n : Lengths()) {
        for (const Edge edge : {Edge::kBegin, Edge::kEnd}) {
          CheckBesideUnreadablePages(isa, dtype, n, edge);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  });
}

// Bytes from which on results go past the cache: half of the last level, 8 MiB where the machine does not tell.
// Enormous caches are not filled.
size_t LargeBytes() {
  const int64_t cache = LastLevelCacheBytes();
  return static_cast<size_t>(std::min<int64_t>(cache > 0 ? cache / 2 : 8 << 20, int64_t{400} << 20));
}

// Two large arrays that all checks use, since touching new memory would take most of their time. Arguments repeat with
// a period that no vector, block or cache line divides, so that any element that is lost, doubled or put elsewhere
// shows; results lie between canaries.
class LargeArrays {
 public:
  explicit LargeArrays(xent_dtype dtype, size_t bytes = LargeBytes() + 4096 - 64)
      : dtype_(dtype),
        size_(bytes),
        pattern_(ArrayOf(dtype, RandomWords(dtype, 10007, 10))),
        x_(Repeated(pattern_, bytes, 2 * SizeOf(dtype))),
        y_(bytes + 192) {}

  // Results `offset` bytes behind a 64-byte boundary.
  void Check(xent_function function, size_t offset, const std::string& isa) {
    const std::string note = isa + ", " + NameOf(function, dtype_) + ", " + std::to_string(size_) + " bytes, offset " +
                             std::to_string(offset);
    NoteForFault(note);
    SCOPED_TRACE(note);
    constexpr unsigned char kCanary = 0x5A;
    std::memset(y_.data(), kCanary, y_.size());
    unsigned char* const y = y_.data() + 64 + offset;
    ASSERT_EQ(xent_map(function, dtype_, x_.data(), y, CountOf(x_, dtype_), nullptr), XENT_OK) << xent_last_error();
    ExpectPattern(Mapped(function, dtype_, pattern_), y);
    for (unsigned char* at = y_.data(); at < y; ++at) ASSERT_EQ(*at, kCanary);
    for (unsigned char* at = y + size_; at < y_.data() + y_.size(); ++at) ASSERT_EQ(*at, kCanary);
  }

  void CheckInPlace(xent_function function) {
    NoteForFault(NameOf(function, dtype_) + ", in place");
    ASSERT_EQ(xent_map(function, dtype_, x_.data(), x_.data(), CountOf(x_, dtype_), nullptr), XENT_OK);
    ExpectPattern(Mapped(function, dtype_, pattern_), x_.data());
  }

 private:
  void ExpectPattern(const Bytes& wanted, const unsigned char* y) const {
    for (size_t i = 0; i < size_; i += wanted.size()) {
      ASSERT_EQ(std::memcmp(y + i, wanted.data(), std::min(wanted.size(), size_ - i)), 0)
          << "elements from " << i / SizeOf(dtype_);
    }
  }

  xent_dtype dtype_;
  size_t size_;
  Bytes pattern_;
  Bytes x_;
  Bytes y_;
};

TEST(FunctionMemory, ArraysLargerThanTheCacheAreWrittenWholeAtEveryOffsetByEveryFunction) {
  LargeArrays arrays(XENT_F32);
  for (size_t offset = 0; offset < 64; offset += 4) arrays.Check(kFunctions[offset / 4 % 8], offset, xent_isa_chosen());
}

// How results are written depends on the type and the width of a vector; offsets in turn.
TEST(FunctionMemory, ArraysLargerThanTheCacheAreWrittenWholeForEveryTypeAndInstructionSet) {
  size_t turn = 0;
  for (const xent_dtype dtype : kStorageTypes) {
    LargeArrays arrays(dtype);
    ForEveryIsa([&](const std::string& isa) {
      arrays.Check(XENT_EXP, ++turn * 3 % (64 / SizeOf(dtype)) * SizeOf(dtype), isa);
    });
  }
}

TEST(FunctionMemory, ArraysAroundHalfOfTheCacheAreWrittenWhole) {
  for (const size_t bytes : {LargeBytes() - 4, LargeBytes()}) {
    LargeArrays(XENT_F32, bytes).Check(XENT_SIGMOID, 4, xent_isa_chosen());
  }
}

TEST(FunctionMemory, ArraysLargerThanTheCacheMayBeInPlace) { LargeArrays(XENT_F32).CheckInPlace(XENT_TANH); }

}  // namespace
}  // namespace xent_test
