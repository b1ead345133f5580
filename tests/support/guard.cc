// Guard pages by mmap and mprotect, canaries, and the report of a fault; see guard.h.
#include "support/guard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace xent_test {
namespace {

constexpr unsigned char kCanary = 0x5A;

char fault_note[512] = "";

void ReportFault(int) {
  constexpr char kText[] = "\nmemory was touched that must not be: ";
  ssize_t written = write(STDERR_FILENO, kText, sizeof(kText) - 1);
  written += write(STDERR_FILENO, fault_note, std::strlen(fault_note));
  written += write(STDERR_FILENO, "\n", 1);
  _exit(written > 0 ? 66 : 67);
}

size_t PagesFor(size_t bytes) { return (bytes + Pages::PageSize() - 1) / Pages::PageSize(); }

bool AreCanaries(const unsigned char* begin, const unsigned char* end) {
  return std::all_of(begin, end, [](unsigned char byte) { return byte == kCanary; });
}

}  // namespace

void NoteForFault(const std::string& what) {
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_handler = ReportFault;
    return sigaction(SIGSEGV, &action, nullptr) == 0 && sigaction(SIGBUS, &action, nullptr) == 0;
  }();
  EXPECT_TRUE(installed);
  std::strncpy(fault_note, what.c_str(), sizeof(fault_note) - 1);
}

Pages::Pages(size_t count) : count_(count) {
  void* memory = mmap(nullptr, count * PageSize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  data_ = static_cast<unsigned char*>(memory);
}

Pages::~Pages() { munmap(data_, count_ * PageSize()); }

size_t Pages::PageSize() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

void Pages::Forbid(size_t first, size_t count) {
  if (mprotect(data_ + first * PageSize(), count * PageSize(), PROT_NONE) != 0) std::abort();
}

void Pages::Allow(size_t first, size_t count) {
  if (mprotect(data_ + first * PageSize(), count * PageSize(), PROT_READ | PROT_WRITE) != 0) std::abort();
}

GuardedBytes::GuardedBytes(size_t size, Edge edge)
    : size_(size), inner_(PagesFor(size) * Pages::PageSize()), pages_(PagesFor(size) + 2) {
  unsigned char* first = pages_.data() + Pages::PageSize();
  std::memset(first, kCanary, inner_);
  pages_.Forbid(0, 1);
  pages_.Forbid(PagesFor(size) + 1, 1);
  data_ = edge == Edge::kBegin ? first : first + inner_ - size;
}

bool GuardedBytes::Intact() const {
  const unsigned char* first = pages_.data() + Pages::PageSize();
  return AreCanaries(first, data_) && AreCanaries(data_ + size_, first + inner_);
}

CanaryBytes::CanaryBytes(size_t size, size_t offset) : size_(size), memory_(size + offset + 192, kCanary) {
  const size_t misaligned = reinterpret_cast<uintptr_t>(memory_.data()) % 64;
  data_ = memory_.data() + (64 - misaligned) + 64 + offset;
}

bool CanaryBytes::Intact() const {
  return AreCanaries(memory_.data(), data_) && AreCanaries(data_ + size_, memory_.data() + memory_.size());
}

}  // namespace xent_test
