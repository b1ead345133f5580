// One line that is overwritten in place: carriage return, text, erase to the end of the line.
#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <utility>

namespace xent_command {
namespace {

using Seconds = std::chrono::duration<double>;

// Nothing until the first second has passed: an estimate from less would only flicker.
std::string TimeLeft(double elapsed, double share) {
  if (elapsed < 1 || share <= 0) return "";
  const int64_t left = std::llround(elapsed * (1 - share) / share);
  return left < 60 ? fmt::format(", {} s left", left) : fmt::format(", {}:{:02} min left", left / 60, left % 60);
}

}  // namespace

Progress::Progress(std::string title, int64_t total)
    : title_(std::move(title)),
      total_(total),
      enabled_(isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()) {}

void Progress::Update(int64_t done) {
  constexpr int64_t kWidth = 40;
  constexpr std::chrono::milliseconds kInterval(100);
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  const double share = static_cast<double>(done) / static_cast<double>(total_);
  const int64_t filled = static_cast<int64_t>(share * kWidth);
  fmt::print(stderr, "\r{} [{:#<{}}{:.<{}}] {:3.0f} %{}\x1b[K", title_, "", filled, "", kWidth - filled, share * 100,
             TimeLeft(Seconds(now - start_).count(), share));
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
