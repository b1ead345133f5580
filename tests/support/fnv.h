// FNV-1a (Fowler, Noll, Vo 1991), 64 bits: short enough to be written here, and any byte that differs shows.
#ifndef XENT_TESTS_SUPPORT_FNV_H_
#define XENT_TESTS_SUPPORT_FNV_H_

#include <cstddef>
#include <cstdint>

#include "support/storage.h"

namespace xent_test {

class Fnv {
 public:
  void Add(const void* data, size_t size) {
    for (size_t i = 0; i < size; ++i) hash_ = (hash_ ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001B3u;
  }
  void Add(const Bytes& bytes) { Add(bytes.data(), bytes.size()); }
  uint64_t hash() const { return hash_; }

 private:
  uint64_t hash_ = 0xCBF29CE484222325u;
};

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_FNV_H_
