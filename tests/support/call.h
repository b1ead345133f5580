// A complete call whose buffers all lie in one arena, far from each other, so that a test can spoil one argument, make
// the call, and see that not one byte of the arena has changed.
#ifndef XENT_TESTS_SUPPORT_CALL_H_
#define XENT_TESTS_SUPPORT_CALL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "support/storage.h"
#include "xent/xent.h"

namespace xent_test {

// Which inputs a call has besides logits and targets. A saved lse allows fewer outputs. kFull: every array that can be
// given and every output, of labels, or of dense or sparse targets.
enum class CallMode { kPlain, kWithRowState, kWithLse, kFull, kFullDense, kFullSparse };

// A buffer of a call, under the name that messages give it.
struct CallBuffer {
  const char* begin() const { return LoadAs<const char*>(pointer, 0); }
  void MoveTo(const char* place) const { StoreAs(pointer, 0, place); }

  std::string name;
  void* pointer;  // where the call keeps the buffer's address
  int64_t bytes;
  int64_t alignment;
  bool is_output;
};

class Call {
 public:
  static constexpr int64_t kRows = 3;
  static constexpr int64_t kClasses = 5;
  static constexpr int64_t kRowStride = 7;
  static constexpr int64_t kPerRow = 2;

  Call(xent_dtype storage, xent_dtype label_type, CallMode mode);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  xent_status Make() const { return xent_softmax_cross_entropy(logits_at, targets_at, options_at, outputs_at); }

  // Every buffer that the call has.
  std::vector<CallBuffer> Buffers();

  Bytes& arena() { return arena_; }

  // The structs, and the pointers to them that Make() passes on.
  xent_logits logits;
  xent_targets targets;
  xent_softmax_options options;
  xent_softmax_outputs outputs;
  xent_parallel_runner runner;
  const xent_logits* logits_at = &logits;
  const xent_targets* targets_at = &targets;
  const xent_softmax_options* options_at = &options;
  const xent_softmax_outputs* outputs_at = &outputs;

 private:
  void* Buffer(int64_t index);
  void PlaceOutputs();
  void SaveForward();
  void GiveEverything();

  CallMode mode_;
  Bytes arena_;
};

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_CALL_H_
