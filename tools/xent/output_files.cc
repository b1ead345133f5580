// Temporary files are named .xent-PROCESS-NUMBER.tmp. SIGINT, SIGTERM and SIGHUP remove them before they end the
// process: their names stand in fixed buffers, because a signal handler may use nothing else.
#include "output_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "errors.h"
#include "npy_header.h"

namespace xent_command {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxFiles = 8;
char temporary_names[kMaxFiles][PATH_MAX];

constexpr int kDeadlySignals[] = {SIGINT, SIGTERM, SIGHUP};

// While one lives, deadly signals wait: a file is never there without its name being remembered.
class SignalsWait {
 public:
  SignalsWait() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal_number : kDeadlySignals) sigaddset(&signals, signal_number);
    pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~SignalsWait() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;

 private:
  sigset_t before_;
};

void RemoveAndDie(int signal_number) {
  for (const auto& name : temporary_names) {
    if (name[0] != '\0') unlink(name);
  }
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void Remember(size_t slot, const std::string& name) {
  if (slot >= kMaxFiles || name.size() >= PATH_MAX) return;
  if (slot == 0) {
    for (const int signal_number : kDeadlySignals) {
      if (signal(signal_number, RemoveAndDie) == SIG_IGN) signal(signal_number, SIG_IGN);
    }
  }
  std::memcpy(temporary_names[slot] + 1, name.c_str() + 1, name.size());
  std::atomic_signal_fence(std::memory_order_seq_cst);
  temporary_names[slot][0] = name[0];
}

void Forget(size_t slot) {
  if (slot < kMaxFiles) temporary_names[slot][0] = '\0';
}

[[noreturn]] void FailWithErrno(const std::string& what) {
  throw RunError(fmt::format("{}: {}", what, std::strerror(errno)));
}

// The path itself, with its folder and links resolved as far as they exist.
fs::path Resolve(const std::string& path) {
  std::error_code error;
  const fs::path resolved = fs::weakly_canonical(fs::absolute(path, error), error);
  return error ? fs::path(path) : resolved;
}

bool SameFile(const std::string& a, const std::string& b) {
  std::error_code error;
  return (fs::equivalent(a, b, error) && !error) || Resolve(a) == Resolve(b);
}

int CreateTemporary(const std::string& subject, const fs::path& folder, std::string* name) {
  for (int number = 0;; ++number) {
    *name = (folder / fmt::format(".xent-{}-{}.tmp", getpid(), number)).string();
    const int file = open(name->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0) return file;
    if (errno != EEXIST) FailWithErrno(fmt::format("{} cannot be created in \"{}\"", subject, folder.string()));
  }
}

void WriteAll(const std::string& subject, int file, const char* bytes, size_t size) {
  constexpr size_t kMost = size_t{1} << 30;
  while (size > 0) {
    const ssize_t done = write(file, bytes, size < kMost ? size : kMost);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) FailWithErrno(subject + " cannot be written");
    bytes += done;
    size -= static_cast<size_t>(done);
  }
}

// Makes a rename last: a folder is synchronised like a file. Not every file system can, and nothing is lost then.
void SyncFolder(const fs::path& folder) {
  const int file = open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  fsync(file);
  close(file);
}

}  // namespace

void RefuseSharedPaths(const std::vector<NamedPath>& inputs, const std::vector<NamedPath>& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NamedPath& output = outputs[i];
    if (output.path.empty()) throw UsageError(output.argument + " is \"\"; it must be the path of a file to write");
    std::vector<NamedPath> others = inputs;
    others.insert(others.end(), outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(i));
    for (const NamedPath& other : others) {
      if (!SameFile(output.path, other.path)) continue;
      throw UsageError(fmt::format("{} \"{}\" is the same file as {} \"{}\"", output.argument, output.path,
                                   other.argument, other.path));
    }
  }
}

void* OutputFiles::Add(const NamedPath& output, char kind, int64_t size, const std::vector<int64_t>& shape) {
  File file;
  file.subject = fmt::format("{} \"{}\"", output.argument, output.path);
  const fs::path path = Resolve(output.path);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) throw RunError(file.subject + " is not a regular file");
  file.path = path.string();
  file.header = MakeNpyHeader(kind, size, shape);
  int64_t bytes = size;
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(bytes, dimension, &bytes)) throw RunError(file.subject + " would be too large");
  }
  file.elements_size = static_cast<size_t>(bytes);
  file.elements.reset(new char[file.elements_size + 1]);
  files_.reserve(files_.size() + 1);
  const SignalsWait wait;
  file.descriptor = CreateTemporary(file.subject, path.parent_path(), &file.temporary);
  // The file that it replaces may be private.
  if (fs::exists(status)) fchmod(file.descriptor, static_cast<mode_t>(status.permissions() & fs::perms::mask));
  Remember(files_.size(), file.temporary);
  files_.push_back(std::move(file));
  return files_.back().elements.get();
}

void OutputFiles::Write(const File& file) {
  WriteAll(file.subject, file.descriptor, file.header.data(), file.header.size());
  WriteAll(file.subject, file.descriptor, file.elements.get(), file.elements_size);
  if (fsync(file.descriptor) != 0) FailWithErrno(file.subject + " cannot be brought to the disk");
}

void OutputFiles::Commit() {
  for (const File& file : files_) Write(file);
  for (size_t i = 0; i < files_.size(); ++i) {
    File& file = files_[i];
    if (std::rename(file.temporary.c_str(), file.path.c_str()) != 0) FailWithErrno(file.subject + " cannot be renamed");
    Forget(i);
    file.temporary.clear();
    SyncFolder(fs::path(file.path).parent_path());
  }
}

OutputFiles::~OutputFiles() {
  for (size_t i = 0; i < files_.size(); ++i) {
    close(files_[i].descriptor);
    if (files_[i].temporary.empty()) continue;
    unlink(files_[i].temporary.c_str());
    Forget(i);
  }
}

}  // namespace xent_command
