// Arrays whose element type is known only at run time, as the C ABI sees them: size, name, number format, and reading
// and writing one element. Bytes is memory at a chosen distance from a 64-byte boundary.
#ifndef XENT_TESTS_SUPPORT_STORAGE_H_
#define XENT_TESTS_SUPPORT_STORAGE_H_

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <vector>

#include "support/half.h"
#include "support/ulp.h"
#include "xent/xent.h"

namespace xent_test {

constexpr xent_dtype kStorageTypes[] = {XENT_F32, XENT_F64, XENT_BF16, XENT_F16};
constexpr xent_dtype kLabelTypes[] = {XENT_U8, XENT_I8, XENT_U16, XENT_I16, XENT_I32, XENT_U32, XENT_I64};

inline const char* TypeName(xent_dtype dtype) {
  switch (dtype) {
    case XENT_F32:
      return "f32";
    case XENT_F64:
      return "f64";
    case XENT_BF16:
      return "bf16";
    case XENT_F16:
      return "f16";
    case XENT_U8:
      return "u8";
    case XENT_I8:
      return "i8";
    case XENT_U16:
      return "u16";
    case XENT_I16:
      return "i16";
    case XENT_I32:
      return "i32";
    case XENT_U32:
      return "u32";
    case XENT_I64:
      return "i64";
  }
  return "unknown";
}

inline Format FormatOf(xent_dtype dtype) {
  switch (dtype) {
    case XENT_F64:
      return kFormatF64;
    case XENT_BF16:
      return kFormatBf16;
    case XENT_F16:
      return kFormatF16;
  }
  return kFormatF32;
}

// The type of row losses and log-sum-exps, and of the arithmetic.
inline xent_dtype RowType(xent_dtype dtype) { return dtype == XENT_F64 ? XENT_F64 : XENT_F32; }

inline size_t SizeOf(xent_dtype dtype) { return static_cast<size_t>(xent_dtype_size(dtype)); }

template <typename T>
T LoadAs(const void* data, int64_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T>
void StoreAs(void* data, int64_t i, T value) {
  std::memcpy(static_cast<char*>(data) + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

inline double Element(const void* data, xent_dtype dtype, int64_t i) {
  switch (dtype) {
    case XENT_F64:
      return LoadAs<double>(data, i);
    case XENT_BF16:
      return static_cast<double>(FloatFromBf16(LoadAs<uint16_t>(data, i)));
    case XENT_F16:
      return static_cast<double>(FloatFromF16(LoadAs<uint16_t>(data, i)));
  }
  return static_cast<double>(LoadAs<float>(data, i));
}

inline void SetElement(void* data, xent_dtype dtype, int64_t i, double value) {
  switch (dtype) {
    case XENT_F64:
      StoreAs(data, i, value);
      return;
    case XENT_BF16:
      StoreAs(data, i, Bf16FromFloat(static_cast<float>(value)));
      return;
    case XENT_F16:
      StoreAs(data, i, F16FromFloat(static_cast<float>(value)));
      return;
  }
  StoreAs(data, i, static_cast<float>(value));
}

// Writes label `value` as element i of an array of `dtype`, which must be able to hold it.
inline void SetLabel(void* data, xent_dtype dtype, int64_t i, int64_t value) {
  switch (dtype) {
    case XENT_U8:
      StoreAs(data, i, static_cast<uint8_t>(value));
      return;
    case XENT_I8:
      StoreAs(data, i, static_cast<int8_t>(value));
      return;
    case XENT_U16:
      StoreAs(data, i, static_cast<uint16_t>(value));
      return;
    case XENT_I16:
      StoreAs(data, i, static_cast<int16_t>(value));
      return;
    case XENT_I32:
      StoreAs(data, i, static_cast<int32_t>(value));
      return;
    case XENT_U32:
      StoreAs(data, i, static_cast<uint32_t>(value));
      return;
  }
  StoreAs(data, i, value);
}

// The last-level cache of a core in bytes, as Linux tells it; else as sysconf does, which adds up all caches of some
// packages. 0: unknown.
inline int64_t LastLevelCacheBytes() {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
  int64_t kibibytes = 0;
  if (file >> kibibytes && kibibytes > 0 && file.get() == 'K') return kibibytes * 1024;
  return std::max<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), 0);
}

// A size in bytes that the last-level cache cannot hold, as long as that is not enormous.
inline int64_t BytesBeyondTheCache() {
  return std::clamp<int64_t>(LastLevelCacheBytes() / 4 * 3, int64_t{20} << 20, int64_t{400} << 20);
}

// `size` bytes that start `offset` bytes after a 64-byte boundary, filled with `fill`.
class Bytes {
 public:
  explicit Bytes(size_t size = 0, size_t offset = 0, unsigned char fill = 0)
      : size_(size), offset_(offset), memory_(size + offset + 64, fill) {}
  Bytes(const Bytes& other) : Bytes(other.size_, other.offset_) {
    std::copy(other.data(), other.data() + other.size_, data());
  }
  Bytes(Bytes&&) = default;  // a moved vector keeps its memory, and so the alignment
  Bytes& operator=(Bytes other) {
    size_ = other.size_;
    offset_ = other.offset_;
    memory_.swap(other.memory_);
    return *this;
  }

  size_t size() const { return size_; }
  unsigned char* data() { return memory_.data() + Start(); }
  const unsigned char* data() const { return memory_.data() + Start(); }

 private:
  size_t Start() const { return offset_ + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64; }

  size_t size_;
  size_t offset_;
  std::vector<unsigned char> memory_;
};

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_STORAGE_H_
