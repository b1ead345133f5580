// A progress bar with the time left, on standard error, if that is a terminal; else nothing at all.
#ifndef XENT_TOOLS_PROGRESS_H_
#define XENT_TOOLS_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace xent_command {

class Progress {
 public:
  Progress(std::string title, int64_t total);
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Redraws, but only some ten times a second.
  void Update(int64_t done);

  // Takes the bar away, so that something else can be printed; the next update may bring it back.
  void Clear();

 private:
  std::string title_;
  int64_t total_;
  bool enabled_;
  std::chrono::steady_clock::time_point start_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace xent_command

#endif  // XENT_TOOLS_PROGRESS_H_
