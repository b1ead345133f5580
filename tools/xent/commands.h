// The subcommands and what can be asked of them. Options have been checked one by one when a Run function is called;
// it writes to standard output, and throws UsageError or RunError.
#ifndef XENT_TOOLS_COMMANDS_H_
#define XENT_TOOLS_COMMANDS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "xent/xent.h"

namespace xent_command {

// 0 threads stand for the library's own choice, here and below.
struct LossOptions {
  std::string logits;
  std::optional<std::string> labels;  // one of these two
  std::optional<std::string> targets;
  int64_t axis = -1;
  std::optional<std::string> class_weight;
  std::optional<std::string> row_weight;
  std::optional<std::string> row_mask;
  xent_softmax_options settings = xent_softmax_options_default();  // without arrays and threads
  std::optional<std::string> row_loss;
  std::optional<std::string> lse;
  std::optional<std::string> gradient;
  std::optional<std::string> probability;
  std::optional<std::string> log_probability;
  std::optional<std::string> entropy;
  std::optional<std::string> argmax;
  std::optional<std::string> isa;
  int64_t threads = 0;
  bool bf16 = false;
};

struct BinaryOptions {
  std::string inputs;
  std::string targets;
  bool from_probabilities = false;
  int64_t axis = -1;
  xent_binary_options settings = xent_binary_options_default();  // without arrays and threads
  std::optional<std::string> class_weight;
  std::optional<std::string> row_weight;
  std::optional<std::string> element_weight;
  std::optional<std::string> class_pos_weight;
  std::optional<double> ignored;
  std::optional<std::string> loss;
  std::optional<std::string> gradient;
  std::optional<std::string> isa;
  int64_t threads = 0;
  bool bf16 = false;
};

struct InformationOptions {
  std::string measure;
  std::string p;
  std::optional<std::string> q;
  std::string p_given = "probabilities";
  std::optional<std::string> q_given;  // as p's
  int64_t axis = -1;
  xent_information_options settings = xent_information_options_default();  // without threads
  std::optional<std::string> rows;
  std::optional<std::string> gradient;
  std::optional<std::string> q_gradient;
  std::optional<std::string> isa;
  int64_t threads = 0;
};

struct MapOptions {
  std::string function;
  std::string in;
  std::string out;
  std::optional<std::string> isa;
  int64_t threads = 0;
  bool bf16 = false;
};

struct TrainOptions {
  std::string problem;
  std::string loss = "cross-entropy";
  int64_t steps = 0;         // 0: the default of the problem
  double learning_rate = 0;  // 0: the default of the problem
  int64_t every = 100;
  int64_t threads = 0;
  bool predictions = false;
};

// 0 samples: the default number. 0 bins: no curve.
struct UlpOptions {
  std::string function;
  xent_dtype dtype = XENT_F32;
  std::optional<std::string> isa;  // "all": every instruction set that the machine supports
  bool exhaustive = false;
  int64_t samples = 0;
  int64_t seed = 1;
  int64_t curve = 0;
  int64_t threads = 0;
};

extern const char kBinaryHelp[];
extern const char kInfoHelp[];
extern const char kInformationHelp[];
extern const char kLossHelp[];
extern const char kMapHelp[];
extern const char kTrainHelp[];
extern const char kUlpHelp[];

void RunBinary(const BinaryOptions& options, bool json);
void RunInfo(bool json);
void RunInformation(const InformationOptions& options, bool json);
void RunLoss(const LossOptions& options, bool json);
void RunMap(const MapOptions& options, bool json);
void RunTrain(TrainOptions options, bool json);
void RunUlp(const UlpOptions& options, bool json);

}  // namespace xent_command

#endif  // XENT_TOOLS_COMMANDS_H_
