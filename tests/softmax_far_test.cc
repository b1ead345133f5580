// Logits far apart in long rows: chunks with anchors of their own, a label that is the only class, a log-sum-exp far
// from the other classes, an upstream near the end of the range; and calls after the thread's memory has gone.
#include <gtest/gtest.h>
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "support/every_isa.h"
#include "xent/xent.h"

namespace xent_test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Row {
  std::vector<double> logits;
  int64_t label;
  double upstream = 1.0;
  const double* lse_in = nullptr;
  double loss = 0.0;
  double lse = 0.0;
  std::vector<double> gradient;

  void Run() {
    gradient.assign(logits.size(), 77.0);
    const xent_logits x = xent_logits_rows(logits.data(), XENT_F64, 1, static_cast<int64_t>(logits.size()));
    const xent_targets targets = xent_targets_labels(&label, XENT_I64);
    xent_softmax_options options = xent_softmax_options_default();
    options.upstream = upstream;
    options.lse = lse_in;
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.gradient = gradient.data();
    if (lse_in == nullptr) {
      outputs.total = &loss;
      outputs.lse = &lse;
    }
    ASSERT_EQ(xent_softmax_cross_entropy(&x, &targets, &options, &outputs), XENT_OK) << xent_last_error();
  }
};

// First half at one value, second half at another.
Row TwoLevels(double first, double second, int64_t label) {
  Row row;
  row.logits.assign(4096, first);
  for (size_t j = 2048; j < 4096; ++j) row.logits[j] = second;
  row.label = label;
  return row;
}

TEST(FarChunks, OneThatVanishesDoesNotTakeTheOtherWithIt) {
  const double levels[][2] = {{1000, 1e6}, {-1e6, -1000}, {1e6, 1000}, {500, 1e6}, {0, -1e9}, {3000, 1e300}};
  ForEveryIsa([&](const std::string& isa) {
    for (const auto& level : levels) {
      for (const int64_t label : {0, 4000}) {
        SCOPED_TRACE(isa + ": " + std::to_string(level[0]) + " and " + std::to_string(level[1]));
        Row row = TwoLevels(level[0], level[1], label);
        row.Run();
        const double top = std::max(level[0], level[1]);
        const double log_count = std::log(2048.0);
        EXPECT_DOUBLE_EQ(row.lse, top + log_count);
        EXPECT_DOUBLE_EQ(row.loss, (top - row.logits[static_cast<size_t>(label)]) + log_count);
        const size_t likely = level[0] > level[1] ? 1 : 4095;
        EXPECT_DOUBLE_EQ(row.gradient[likely], 1.0 / 2048);
        EXPECT_EQ(row.gradient[4096 - likely], 0.0);
      }
    }
  });
}

TEST(FarLabel, AloneAmongMaskedClassesLeavesThemAtZero) {
  ForEveryIsa([&](const std::string& isa) {
    for (const double logit : {-100.0, -450.0, -3500.0, -1e9, 3500.0}) {
      for (const size_t classes : {8, 2048, 4096}) {
        SCOPED_TRACE(isa + ": label at " + std::to_string(logit) + " of " + std::to_string(classes));
        Row row;
        row.logits.assign(classes, -kInfinity);
        row.logits[7] = logit;
        row.label = 7;
        row.Run();
        EXPECT_EQ(row.loss, 0.0);
        EXPECT_EQ(row.lse, logit);
        EXPECT_EQ(row.gradient, std::vector<double>(classes, 0.0));
        row.lse_in = &logit;
        row.Run();
        EXPECT_EQ(row.gradient, std::vector<double>(classes, 0.0));
      }
    }
  });
}

TEST(FarLabel, LeadsByAnyDistanceInTheBackwardCallFromLse) {
  for (const double mask : {-1e5, -6e5, -1e9, -1e300}) {
    Row row;
    row.logits.assign(6, mask);
    row.logits[2] = 3.5;
    row.label = 2;
    const double lse = 3.5;
    row.lse_in = &lse;
    row.Run();
    EXPECT_EQ(row.gradient, std::vector<double>(6, 0.0)) << mask;
  }
}

TEST(Upstream, NearTheEndOfTheRangeKeepsTheLabelsGradientFinite) {
  for (const double upstream : {1e150, 1e250, 1e300}) {
    Row row;
    row.logits = {350.0, 350.5};
    row.label = 1;
    row.upstream = upstream;
    row.Run();
    EXPECT_NEAR(row.gradient[1] / upstream, -row.gradient[0] / upstream, 1e-14) << upstream;
    EXPECT_NEAR(row.gradient[0] / upstream, 1.0 / (1.0 + std::exp(0.5)), 1e-14) << upstream;
  }
}

// Its destructor runs after those of thread-local objects made later, the library's among them.
struct CallsAtTheEnd {
  ~CallsAtTheEnd() {
    Row row = TwoLevels(1.0, 2.0, 0);
    row.Run();
    *loss = row.loss;
  }
  double* loss = nullptr;
};

TEST(ThreadEnd, CallsOfLateDestructorsDoNotTouchFreedMemory) {
  double late = 0.0;
  Row row = TwoLevels(1.0, 2.0, 0);
  std::thread([&] {
    thread_local CallsAtTheEnd at_the_end;
    at_the_end.loss = &late;
    row.Run();
  }).join();
  EXPECT_EQ(late, row.loss);
}

TEST(Fork, ChildOfAProcessWhoseOwnOpenMpRanIsNotLeftWaiting) {
  int threads = 0;
#pragma omp parallel num_threads(2) reduction(+ : threads)
  threads += 1;
  ASSERT_GE(threads, 1);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    std::vector<float> logits(64 * 4096, 0.5f);
    const std::vector<int64_t> labels(64, 3);
    const xent_logits x = xent_logits_rows(logits.data(), XENT_F32, 64, 4096);
    const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
    double loss = 0.0;
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.total = &loss;
    _exit(xent_softmax_cross_entropy(&x, &targets, nullptr, &outputs) == XENT_OK && loss > 8.0 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

}  // namespace
}  // namespace xent_test
