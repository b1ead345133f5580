// Every function that computes, called by a thread whose rounding mode is another and which flushes subnormal numbers:
// the same bits, and the thread keeps what it had set. (process_test tries one of them in more ways.)
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "support/guest.h"
#include "support/inputs.h"

namespace xent_test {
namespace {

#if defined(__x86_64__)
constexpr int64_t kRows = 12;
constexpr int64_t kClasses = 33;
constexpr size_t kElements = static_cast<size_t>(kRows * kClasses);

using Floats = std::vector<float>;

// What a call gave, and whether it succeeded.
struct Outcome {
  xent_status status = XENT_INVALID_ARGUMENT;
  Floats floats = Floats(2 * kElements);
  std::vector<double> doubles = std::vector<double>(8);
  std::vector<xent_row_state> states = std::vector<xent_row_state>(kRows);
};

bool SameBits(const Outcome& a, const Outcome& b) {
  return std::memcmp(a.floats.data(), b.floats.data(), a.floats.size() * sizeof(float)) == 0 &&
         std::memcmp(a.doubles.data(), b.doubles.data(), a.doubles.size() * sizeof(double)) == 0 &&
         std::memcmp(a.states.data(), b.states.data(), a.states.size() * sizeof(xent_row_state)) == 0;
}

// Logits whose gaps make subnormal probabilities; probabilities; labels; states.
class Environment : public testing::Test {
 protected:
  void SetUp() override {
    Random random(7);
    for (float& x : logits_) x = static_cast<float>(30 * random.Normal());
    for (size_t r = 0; r < kRows; ++r) labels_[r] = static_cast<int64_t>(r * 5 % kClasses);
    for (float& t : targets_) t = static_cast<float>(random.Uniform(0.0, 1.0));
    ASSERT_EQ(xent_softmax(&rows_, nullptr, probabilities_.data()), XENT_OK);
    outputs_.row_state = states_.data();
    ASSERT_EQ(xent_softmax_cross_entropy(&rows_, &by_label_, nullptr, &outputs_), XENT_OK);
    ASSERT_EQ(xent_softmax_begin(kRows, running_.data(), label_logits_.data()), XENT_OK);
    ASSERT_EQ(xent_softmax_push(&rows_, 0, &by_label_, nullptr, running_.data(), label_logits_.data()), XENT_OK);
  }

  void ExpectSameBits(const std::function<void(Outcome*)>& call) {
    Outcome wanted;
    call(&wanted);
    ASSERT_EQ(wanted.status, XENT_OK) << xent_last_error();
    for (const unsigned rounding : kRounding) {
      const Outcome outcome = UnderControlWord(kMasks | rounding | kFlushToZero | kDenormalsAreZero, [&] {
        Outcome made;
        call(&made);
        return made;
      });
      EXPECT_EQ(outcome.status, XENT_OK);
      EXPECT_TRUE(SameBits(outcome, wanted)) << "rounding " << rounding;
    }
  }

  Floats logits_ = Floats(kElements);
  Floats probabilities_ = Floats(kElements);
  Floats targets_ = Floats(kElements);
  std::vector<int64_t> labels_ = std::vector<int64_t>(kRows);
  std::vector<xent_row_state> states_ = std::vector<xent_row_state>(kRows);
  std::vector<xent_row_state> running_ = std::vector<xent_row_state>(kRows);
  std::vector<double> label_logits_ = std::vector<double>(kRows);
  xent_logits rows_ = xent_logits_rows(logits_.data(), XENT_F32, kRows, kClasses);
  xent_logits distributions_ = xent_logits_rows(probabilities_.data(), XENT_F32, kRows, kClasses);
  xent_targets by_label_ = xent_targets_labels(labels_.data(), XENT_I64);
  xent_targets dense_ = xent_targets_dense(targets_.data(), XENT_F32);
  xent_softmax_outputs outputs_ = xent_softmax_outputs_none();
};

TEST_F(Environment, OfTheCallerDoesNotReachSoftmaxBackward) {
  ExpectSameBits([&](Outcome* made) {
    xent_softmax_options options = xent_softmax_options_default();
    options.row_state = states_.data();
    xent_softmax_outputs out = xent_softmax_outputs_none();
    out.gradient = made->floats.data();
    made->status = xent_softmax_cross_entropy(&rows_, &by_label_, &options, &out);
  });
}

TEST_F(Environment, OfTheCallerDoesNotReachSlicesOfClasses) {
  ExpectSameBits([&](Outcome* made) {
    made->doubles.resize(kRows);
    xent_softmax_begin(kRows, made->states.data(), made->doubles.data());
    made->status = xent_softmax_push(&rows_, 0, &by_label_, nullptr, made->states.data(), made->doubles.data());
  });
  ExpectSameBits([&](Outcome* made) {
    made->states = running_;
    made->doubles = label_logits_;
    made->status =
        xent_softmax_merge(kRows, states_.data(), label_logits_.data(), made->states.data(), made->doubles.data());
  });
  ExpectSameBits([&](Outcome* made) {
    xent_softmax_outputs out = xent_softmax_outputs_none();
    out.total = made->doubles.data();
    out.row_loss = made->floats.data();
    made->status = xent_softmax_finish(kRows, kClasses, XENT_F32, running_.data(), label_logits_.data(), &by_label_,
                                       nullptr, &out);
  });
  ExpectSameBits([&](Outcome* made) {
    made->status = xent_softmax_push_gradient(&rows_, 0, kClasses, running_.data(), label_logits_.data(), &by_label_,
                                              nullptr, made->floats.data());
  });
}

TEST_F(Environment, OfTheCallerDoesNotReachFunctionsOfLogits) {
  using Function = xent_status (*)(const xent_logits*, const xent_softmax_options*, void*);
  for (const Function function : {&xent_logsumexp, &xent_softmax, &xent_log_softmax}) {
    ExpectSameBits([&](Outcome* made) { made->status = function(&rows_, nullptr, made->floats.data()); });
  }
  using Backward = xent_status (*)(const xent_logits*, const xent_softmax_options*, const void*, void*);
  for (const Backward backward : {&xent_logsumexp_backward, &xent_softmax_backward, &xent_log_softmax_backward}) {
    ExpectSameBits([&](Outcome* made) {
      made->status = backward(&distributions_, nullptr, targets_.data(), made->floats.data());
    });
  }
  ExpectSameBits([&](Outcome* made) {
    made->status = xent_token_logprob(&rows_, labels_.data(), XENT_I64, 1, nullptr, made->floats.data(),
                                      made->floats.data() + kElements);
  });
}

TEST_F(Environment, OfTheCallerDoesNotReachBinaryAndCategoricalLosses) {
  ExpectSameBits([&](Outcome* made) {
    xent_binary_outputs out = xent_binary_outputs_none();
    out.total = made->doubles.data();
    out.gradient = made->floats.data();
    made->status = xent_sigmoid_cross_entropy(&rows_, &dense_, nullptr, &out);
  });
  ExpectSameBits([&](Outcome* made) {
    xent_binary_outputs out = xent_binary_outputs_none();
    out.total = made->doubles.data();
    out.gradient = made->floats.data();
    made->status = xent_binary_cross_entropy(&distributions_, &dense_, nullptr, &out);
  });
  ExpectSameBits([&](Outcome* made) {
    xent_softmax_outputs out = xent_softmax_outputs_none();
    out.total = made->doubles.data();
    out.gradient = made->floats.data();
    made->status = xent_categorical_cross_entropy(&distributions_, XENT_PROBABILITIES, &dense_, XENT_LOG_EXACT, 0.0,
                                                  nullptr, &out, nullptr);
  });
}

TEST_F(Environment, OfTheCallerDoesNotReachMeasures) {
  xent_information_options of_logits = xent_information_options_default();
  of_logits.p_given = XENT_LOGITS;
  ExpectSameBits([&](Outcome* made) {
    xent_information_outputs out = xent_information_outputs_none();
    out.total = made->doubles.data();
    out.p_gradient = made->floats.data();
    made->status = xent_information(XENT_ENTROPY, &rows_, nullptr, &of_logits, &out);
  });
  ExpectSameBits([&](Outcome* made) {
    const xent_logits samples = xent_logits_samples(logits_.data(), XENT_F32, 3, kRows / 3, kClasses);
    xent_ensemble_outputs out = xent_ensemble_outputs_none();
    out.totals = made->doubles.data();
    out.expected_entropy = made->floats.data();
    made->status = xent_ensemble_information(&samples, &of_logits, &out);
  });
  ExpectSameBits([&](Outcome* made) {
    const xent_logits table = xent_logits_rows(targets_.data(), XENT_F32, kRows, kClasses);
    made->status =
        xent_joint_information(&table, 2.0, made->doubles.data(), XENT_MUTUAL_INFORMATION, made->floats.data());
  });
}
#endif

}  // namespace
}  // namespace xent_test
