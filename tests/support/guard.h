// Memory beside which nothing may be touched. GuardedBytes lie flush against an unreadable page, before or behind them;
// a touch ends the process with a line that says what was being tested. Canaries are the softer kind: bytes around a
// buffer that must keep their value.
#ifndef XENT_TESTS_SUPPORT_GUARD_H_
#define XENT_TESTS_SUPPORT_GUARD_H_

#include <cstddef>
#include <string>
#include <vector>

namespace xent_test {

// Notes what is being tested, for the report of a fault. The first call installs the report.
void NoteForFault(const std::string& what);

// Whole pages, readable and writable until Forbid is called on some of them.
class Pages {
 public:
  explicit Pages(size_t count);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  static size_t PageSize();
  unsigned char* data() const { return data_; }
  // No access to `count` pages from page `first` on.
  void Forbid(size_t first, size_t count);
  void Allow(size_t first, size_t count);

 private:
  size_t count_;
  unsigned char* data_;
};

enum class Edge { kBegin, kEnd };

// `size` bytes that start right behind an unreadable page, or end right before one. The other end has one too, at the
// next page boundary; what lies between is filled with 0x5A and checked by Intact().
class GuardedBytes {
 public:
  GuardedBytes(size_t size, Edge edge);

  unsigned char* data() { return data_; }
  size_t size() const { return size_; }
  bool Intact() const;

 private:
  size_t size_;
  size_t inner_;  // bytes between the unreadable pages
  Pages pages_;
  unsigned char* data_;
};

// `size` bytes at `offset` from a 64-byte boundary, with 64 canaries and more on both sides.
class CanaryBytes {
 public:
  CanaryBytes(size_t size, size_t offset);

  unsigned char* data() { return data_; }
  bool Intact() const;

 private:
  size_t size_;
  std::vector<unsigned char> memory_;
  unsigned char* data_;
};

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_GUARD_H_
