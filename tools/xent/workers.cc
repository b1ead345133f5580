// A thread that cannot be created ends the run, but only after those that could be have ended.
#include "workers.h"

#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "errors.h"

namespace xent_command {
namespace {

class Threads {
 public:
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }
  template <typename Function>
  void Start(Function function) {
    threads_.emplace_back(function);
  }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace

void RunWorkers(int64_t count, const std::function<void(int64_t worker)>& work) {
  std::vector<std::exception_ptr> errors(static_cast<size_t>(count));
  const auto guarded = [&](int64_t worker) {
    try {
      work(worker);
    } catch (...) {
      errors[static_cast<size_t>(worker)] = std::current_exception();
    }
  };
  try {
    Threads threads;
    for (int64_t worker = 1; worker < count; ++worker) threads.Start([&guarded, worker] { guarded(worker); });
    guarded(0);
  } catch (const std::system_error&) {
    throw RunError("a thread cannot be created; --threads asks for fewer");
  }
  for (const std::exception_ptr& error : errors) {
    if (error != nullptr) std::rethrow_exception(error);
  }
}

}  // namespace xent_command
