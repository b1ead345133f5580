// xent_worker: the library, and the roofs of the machine, as one of the parties of tools/compare. It reads a request
// per line, words separated by tabs, and answers each with a line of JSON:
//
//   about                 which library runs here
//   prepare NAME=VALUE... makes a case, checks its answer, and tries how many calls a sample needs
//   run xent, run roof    touches all pages, which hosts of virtual machines take away from those who wait; then one
//                         untimed sample, and one that is timed, again if it was interrupted: seconds of a call
//   drop                  frees the case
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "binary_workload.h"
#include "function_workload.h"
#include "machine.h"
#include "roofs.h"
#include "softmax_workload.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

using Fields = std::map<std::string, std::string>;

constexpr double kColdSampleSeconds = 200e-6;  // shorter calls are timed in batches of about so long
constexpr double kWarmSampleSeconds = 2e-3;
constexpr double kMostCalls = 1e5;
constexpr int kTries = 3;  // of a sample, until one was not interrupted; as in peers/worker.py

std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream stream(line);
  for (std::string word; std::getline(stream, word, '\t');) words.push_back(word);
  return words;
}

Fields ParseFields(const std::vector<std::string>& words) {
  Fields fields;
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string::npos) throw std::runtime_error("'" + words[i] + "' is not NAME=VALUE");
    fields[words[i].substr(0, equals)] = words[i].substr(equals + 1);
  }
  return fields;
}

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + "\"";
}

// The file that the library was loaded from, by the system's own list; "" where there is no such list.
std::string LibraryPath() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t slash = line.find('/');
    if (slash != std::string::npos && line.find("/libxent.so", slash) != std::string::npos) return line.substr(slash);
  }
  return "";
}

std::vector<int64_t> ParseShape(const std::string& text) {
  std::vector<int64_t> sizes;
  std::istringstream stream(text);
  for (std::string size; std::getline(stream, size, 'x');) sizes.push_back(std::stoll(size));
  return sizes;
}

xent_function FunctionNamed(const std::string& name) {
  for (xent_function function = 1; xent_function_name(function) != nullptr; ++function) {
    if (name == xent_function_name(function)) return function;
  }
  throw std::runtime_error("'" + name + "' is not a function");
}

class Worker {
 public:
  explicit Worker(int threads) : threads_(threads), pinned_(PinThreads(threads)) {}

  std::string Answer(const std::string& line) {
    const std::vector<std::string> words = Words(line);
    if (words.empty()) throw std::runtime_error("an empty request");
    if (words[0] == "about") return About();
    if (words[0] == "prepare") return Prepare(ParseFields(words));
    if (words[0] == "run" && words.size() == 2) return Run(words[1]);
    if (words[0] == "drop") {
      workload_.reset();
      return "{}";
    }
    throw std::runtime_error("'" + words[0] + "' is not a request");
  }

 private:
  std::string About() const {
    return "{\"version\": " + Quoted(xent_build_info()) + ", \"isa\": " + Quoted(xent_isa_chosen()) +
           ", \"library\": " + Quoted(LibraryPath()) + ", \"pinned\": " + (pinned_ ? "true" : "false") + "}";
  }

  std::string Prepare(const Fields& fields) {
    const bool warm = fields.at("warm") == "1";
    const size_t footprint = warm ? 0 : std::stoull(fields.at("footprint"));
    workload_.reset();
    workload_ = Make(fields, footprint);
    next_ = 0;
    const std::string wrong = workload_->Check();
    if (!wrong.empty()) return "{\"wrong\": {\"xent\": " + Quoted(wrong) + "}, \"forms\": []}";
    const bool wants_roof = fields.at("roof") == "1";
    if (wants_roof && roofs_ == nullptr) {
      const std::vector<Traffic> traffics = {Traffic::kRead, Traffic::kCopy};
      roofs_ = std::make_unique<Roofs>(threads_, footprint / 2, false, traffics);
    }
    Seconds(false, 1);
    const double wanted = (warm ? kWarmSampleSeconds : kColdSampleSeconds) / Seconds(false, 1);
    const double most = warm ? kMostCalls : std::max(1.0, static_cast<double>(workload_->slots()) / 4);
    calls_ = static_cast<int64_t>(std::min(std::max(1.0, std::ceil(wanted)), most));
    char numbers[160];
    std::snprintf(numbers, sizeof(numbers),
                  "\"calls\": %lld, \"slots\": %zu, \"elements\": %lld, \"floor_bytes\": %.0f",
                  static_cast<long long>(calls_), workload_->slots(), static_cast<long long>(workload_->elements()),
                  workload_->FloorBytes());
    return std::string("{\"forms\": [") + (wants_roof ? "\"roof\", " : "") + "\"xent\"], \"wrong\": {}, " + numbers +
           (wants_roof ? ", \"roofs\": " + DescribedRoofs() : "") + "}";
  }

  std::string DescribedRoofs() const {
    return "[" + Quoted(roofs_->Describe(Traffic::kRead)) + ", " + Quoted(roofs_->Describe(Traffic::kCopy)) + "]";
  }

  std::unique_ptr<Workload> Make(const Fields& fields, size_t footprint) const {
    const std::vector<int64_t> sizes = ParseShape(fields.at("shape"));
    const bool fits_cache = fields.at("fit") == "1";
    const std::string& kind = fields.at("kind");
    const std::string& output = fields.at("output");
    Dtype dtype;
    if (!ParseDtype(fields.at("dtype"), &dtype)) throw std::runtime_error("unknown dtype");
    if (kind == "map") {
      const int64_t n = fits_cache ? FitToCache(sizes.at(0), dtype.value, threads_) : sizes.at(0);
      return std::make_unique<FunctionWorkload>(
          FunctionCase{FunctionNamed(output), dtype, n, threads_, false, footprint});
    }
    if (kind == "sigmoid") {
      return std::make_unique<BinaryWorkload>(
          BinaryCase{BinaryKind::kSigmoid, output == "gradient", dtype, sizes.at(0), threads_, false, footprint});
    }
    int64_t inner = 1;
    for (size_t i = 2; i < sizes.size(); ++i) inner *= sizes[i];
    Shape shape = {"", sizes.at(0) * inner, sizes.at(1), "", inner};
    const Mode mode = output == "gradient" ? Mode::kGradient : Mode::kLoss;
    if (fits_cache) shape = FitToCache(shape, dtype.value, mode, threads_);
    return std::make_unique<SoftmaxWorkload>(
        SoftmaxCase{FindVariant("plain"), shape, dtype, mode, Inputs::kNormal, threads_, false, footprint});
  }

  // A byte of each page of the ring.
  void TouchPages() const {
    constexpr size_t kPage = 4096;
    const auto touch = [](const char* from, size_t bytes) {
      for (size_t i = 0; from != nullptr && i < bytes; i += kPage) {
        (void)*static_cast<const volatile char*>(from + i);
      }
    };
    for (size_t slot = 0; slot < workload_->slots(); ++slot) {
      const RoofJob job = workload_->Job(slot);
      touch(job.from, job.bytes);
      touch(job.to, job.traffic == Traffic::kRead ? 0 : job.bytes);
      touch(job.also_from, job.also_bytes);
    }
  }

  // A call takes so long, on copies of the data that follow each other round the ring.
  double Seconds(bool roof, int64_t calls) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < calls; ++i) {
      if (roof) roofs_->Run(workload_->Job(next_));
      if (!roof) workload_->Call(next_);
      next_ = next_ + 1 < workload_->slots() ? next_ + 1 : 0;
    }
    return SecondsSince(start) / static_cast<double>(calls);
  }

  std::string Run(const std::string& form) {
    if (workload_ == nullptr) throw std::runtime_error("nothing is prepared");
    const bool roof = form == "roof";
    if (roof && roofs_ == nullptr) throw std::runtime_error("no roof is prepared");
    TouchPages();
    Seconds(roof, calls_);
    bool quiet = true;
    char answer[64];
    std::snprintf(answer, sizeof(answer), "{\"seconds\": %.9g}",
                  SampleQuietly([&] { return Seconds(roof, calls_); }, &quiet, kTries));
    return answer;
  }

  int threads_;
  bool pinned_;
  std::unique_ptr<Roofs> roofs_;
  std::unique_ptr<Workload> workload_;
  size_t next_ = 0;
  int64_t calls_ = 1;
};

int Main(int threads) {
  Worker worker(threads);
  for (std::string line; std::getline(std::cin, line);) {
    std::string answer;
    try {
      answer = worker.Answer(line);
    } catch (const std::exception& error) {
      answer = "{\"failed\": " + Quoted(error.what()) + "}";
    }
    std::cout << answer << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace xent_bench

int main(int argc, char** argv) {
  const int threads = argc == 2 ? std::atoi(argv[1]) : 0;
  if (threads < 1) {
    std::fprintf(stderr, "usage: xent_worker THREADS; requests come from standard input (see worker.cc)\n");
    return 2;
  }
  return xent_bench::Main(threads);
}
