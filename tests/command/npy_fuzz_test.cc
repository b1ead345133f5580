// The .npy reader on damaged files: thousands of mutations of good headers, always the same ones. Headers lie flush
// against a page that cannot be read, so that one byte read too far ends the test. What is refused must be refused
// with one sentence; what is accepted must be consistent with itself.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "errors.h"
#include "npy_array.h"
#include "npy_header.h"

namespace xent_command {
namespace {

// Bytes whose end is the end of readable memory.
class GuardedBytes {
 public:
  GuardedBytes() {
    void* memory = mmap(nullptr, kSize + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(static_cast<char*>(memory) + kSize, page_, PROT_NONE) != 0) std::abort();
    memory_ = static_cast<uint8_t*>(memory);
  }
  ~GuardedBytes() { munmap(memory_, kSize + page_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  const uint8_t* Set(const std::string& bytes) {
    uint8_t* begin = memory_ + kSize - bytes.size();
    std::memcpy(begin, bytes.data(), bytes.size());
    return begin;
  }

 private:
  static constexpr size_t kSize = size_t{1} << 18;
  const size_t page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  uint8_t* memory_;
};

std::string File(int major, const std::string& dict) {
  std::string file = "\x93NUMPY";
  file += {static_cast<char>(major), '\0'};
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) file += static_cast<char>(dict.size() >> (8 * i) & 0xff);
  return file + dict;
}

const char* const kDicts[] = {
    "{'descr': '<i8', 'fortran_order': False, 'shape': (12,), }",
    "{\"shape\":(2,3),\"descr\":\"<f2\",\"fortran_order\":True}",
    "{'fortran_order': False, 'descr': '|V2', 'shape': (4L, 6L)}",
};

std::vector<std::string> GoodHeaders() {
  return {
      MakeNpyHeader('f', 4, {3, 5}),
      MakeNpyHeader('u', 1, {7}),
      MakeNpyHeader('f', 8, {0, 9}),
      File(1, kDicts[0]),
      File(2, kDicts[1]),
      File(3, " { 'fortran_order' : False ,\n'shape' : ( 4L , 6L , ) , 'descr' : '|V2' } \n"),
      File(1, "{'descr': [('x', '<f4'), ('y', '<f4')], 'fortran_order': False, 'shape': (3,), }"),
      File(1, "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4), }"),
      File(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (), }"),
  };
}

const char* const kTokens[] = {"'descr'",
                               "\"shape\"",
                               "'fortran_order'",
                               "'<f4'",
                               "'|O'",
                               "True",
                               "False",
                               "(",
                               ")",
                               "{",
                               "}",
                               ":",
                               ",",
                               "'",
                               "\"",
                               "\\",
                               "9223372036854775807",
                               "0",
                               "-1",
                               "L",
                               "1e9",
                               "None",
                               "[",
                               "99999999999999999999",
                               " "};

class Mutator {
 public:
  std::string Mutate(std::string bytes) {
    const size_t changes = 1 + Below(4);
    for (size_t i = 0; i < changes; ++i) Change(&bytes);
    return bytes;
  }

 private:
  size_t Below(size_t bound) { return static_cast<size_t>(random_() % bound); }

  void Change(std::string* bytes) {
    const size_t at = Below(bytes->size() + 1);
    switch (Below(6)) {
      case 0:
        if (at < bytes->size()) (*bytes)[at] = static_cast<char>(Below(256));
        break;
      case 1:
        bytes->resize(at);
        break;
      case 2:
        bytes->erase(at, Below(8));
        break;
      case 3:
        bytes->insert(at, bytes->substr(Below(bytes->size() + 1), Below(24)));
        break;
      case 4:
        bytes->insert(at, kTokens[Below(std::size(kTokens))]);
        break;
      default:
        if (bytes->size() > 11) (*bytes)[6 + Below(6)] = static_cast<char>(Below(256));
    }
  }

  std::mt19937_64 random_{20240607};
};

void ExpectOneSentence(const std::string& message, const std::string& subject) {
  EXPECT_EQ(message.rfind(subject + " ", 0), 0u) << message;
  EXPECT_LT(message.size(), subject.size() + 160) << message;
  for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << message;
}

void ExpectConsistent(const NpyHeader& header, size_t size) {
  EXPECT_LE(header.data_offset, size);
  EXPECT_NE(header.type.kind, 'O');
  EXPECT_GE(header.type.size, 0);
  long double elements = 1;
  for (const int64_t dimension : header.shape) {
    EXPECT_GE(dimension, 0);
    elements *= static_cast<long double>(dimension);
  }
  EXPECT_EQ(elements, static_cast<long double>(header.elements));
  EXPECT_EQ(elements * static_cast<long double>(header.type.size), static_cast<long double>(header.data_size));
}

TEST(NpyHeader, DamagedHeadersAreRefusedOrConsistent) {
  constexpr int kMutations = 30000;
  GuardedBytes memory;
  Mutator mutator;
  const std::vector<std::string> good = GoodHeaders();
  int accepted = 0;
  for (int i = 0; i < kMutations && !HasFailure(); ++i) {
    SCOPED_TRACE("mutation " + std::to_string(i));
    const std::string bytes = mutator.Mutate(good[static_cast<size_t>(i) % good.size()]);
    try {
      ExpectConsistent(ParseNpyHeader("FILE", memory.Set(bytes), bytes.size()), bytes.size());
      ++accepted;
    } catch (const RunError& error) {
      ExpectOneSentence(error.what(), "FILE");
    }
  }
  EXPECT_GT(accepted, kMutations / 100) << "the mutations are too coarse to test what is accepted";
  EXPECT_LT(accepted, kMutations / 2) << "the mutations are too fine to test what is refused";
}

TEST(NpyHeader, EveryPrefixOfAGoodFileIsRefused) {
  GuardedBytes memory;
  for (const std::string& bytes : GoodHeaders()) {
    for (size_t size = 0; size < bytes.size(); ++size) {
      const std::string prefix = bytes.substr(0, size);
      EXPECT_THROW(ParseNpyHeader("FILE", memory.Set(prefix), size), RunError) << size << " bytes";
    }
  }
}

TEST(NpyHeader, EveryPrefixOfADictIsRefused) {
  GuardedBytes memory;
  for (const std::string dict : kDicts) {
    for (size_t size = 0; size < dict.size(); ++size) {
      const std::string bytes = File(2, dict.substr(0, size));
      EXPECT_THROW(ParseNpyHeader("FILE", memory.Set(bytes), bytes.size()), RunError) << dict.substr(0, size);
    }
    const std::string whole = File(2, dict);
    EXPECT_NO_THROW(ParseNpyHeader("FILE", memory.Set(whole), whole.size())) << dict;
  }
}

TEST(NpyHeader, WhatIsWrittenReadsBack) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{}, {0}, {1}, {3, 4}, {INT64_MAX}, {0, INT64_MAX, INT64_MAX}, {1, 2, 3, 4, 5}}) {
    const std::string bytes = MakeNpyHeader('f', 1, shape);
    const NpyHeader header = ParseNpyHeader("FILE", reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    EXPECT_EQ(header.shape, shape);
    EXPECT_EQ(header.type.kind, 'f');
    EXPECT_FALSE(header.fortran_order);
    EXPECT_EQ(header.data_offset, bytes.size());
    EXPECT_EQ(bytes.size() % 64, 0u);
  }
}

TEST(NpyHeader, SizesThatOverflowAreRefused) {
  for (const char* shape : {"(9223372036854775807, 2)", "(4294967296, 4294967296)", "(9223372036854775808,)",
                            "(2305843009213693952,)", "(99999999999999999999999999,)"}) {
    const std::string bytes =
        File(1, std::string("{'descr': '<f4', 'fortran_order': False, 'shape': ") + shape + ", }");
    EXPECT_THROW(ParseNpyHeader("FILE", reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()), RunError)
        << shape;
  }
}

TEST(NpyArray, DamagedFilesAreRefusedOrReadable) {
  constexpr int kMutations = 3000;
  const std::string path = testing::TempDir() + "xent-npy-fuzz-" + std::to_string(getpid()) + ".npy";
  const std::vector<std::string> good = {
      MakeNpyHeader('f', 4, {3, 5}) + std::string(60, 'x'),
      File(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }") + std::string(24, 'y')};
  Mutator mutator;
  int accepted = 0;
  for (int i = 0; i < kMutations && !HasFailure(); ++i) {
    SCOPED_TRACE("mutation " + std::to_string(i));
    const std::string bytes = mutator.Mutate(good[static_cast<size_t>(i) % good.size()]);
    std::remove(path.c_str());
    std::FILE* file = std::fopen(path.c_str(), "wb");
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    ASSERT_EQ(std::fclose(file), 0);
    try {
      const NpyArray array("FILE", path);
      const NpyHeader& header = array.header();
      ASSERT_EQ(header.data_offset + header.data_size, bytes.size());
      EXPECT_EQ(std::memcmp(array.data(), bytes.data() + header.data_offset, header.data_size), 0);
      ++accepted;
    } catch (const RunError& error) {
      ExpectOneSentence(error.what(), "FILE \"" + path + "\"");
    }
  }
  std::remove(path.c_str());
  EXPECT_GT(accepted, kMutations / 100);
}

}  // namespace
}  // namespace xent_command
