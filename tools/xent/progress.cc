// One line that is overwritten in place: carriage return, text, erase to the end of the line.
#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace xent_command {

Progress::Progress(std::string title, int64_t total)
    : title_(std::move(title)), total_(total), enabled_(isatty(STDERR_FILENO) == 1) {}

void Progress::Update(int64_t done) {
  constexpr int64_t kWidth = 40;
  constexpr std::chrono::milliseconds kInterval(100);
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  const double share = static_cast<double>(done) / static_cast<double>(total_);
  const int64_t filled = static_cast<int64_t>(share * kWidth);
  fmt::print(stderr, "\r{} [{:#<{}}{:.<{}}] {:3.0f} %\x1b[K", title_, "", filled, "", kWidth - filled, share * 100);
  std::fflush(stderr);
  shown_ = true;
}

void Progress::Clear() {
  if (!shown_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace xent_command
