// Nothing is mapped before the header is parsed and the file's length is known to match it. A file that another
// process cuts short while it is mapped ends this process with SIGBUS: that is what mapping means.
#include "npy_array.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "errors.h"

namespace xent_command {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int file) : file_(file) {}
  ~FileDescriptor() {
    if (file_ >= 0) close(file_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return file_; }

 private:
  int file_;
};

std::vector<uint8_t> ReadStart(const std::string& subject, int file, size_t size) {
  std::vector<uint8_t> bytes(std::min(size, kMaxNpyHeader));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = pread(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw RunError(fmt::format("{} cannot be read: {}", subject, std::strerror(errno)));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

void RefuseLayout(const std::string& subject, const NpyHeader& header, size_t file_size) {
  if (header.fortran_order && header.shape.size() > 1) {
    throw RunError(subject + " is in Fortran order; save numpy.ascontiguousarray(array) instead");
  }
  if (!header.type.IsNative()) {
    throw RunError(
        fmt::format("{} has elements '{}', whose byte order is not this machine's; save "
                    "array.astype(array.dtype.newbyteorder('='))",
                    subject, header.type.Text()));
  }
  const size_t rest = file_size - header.data_offset;
  if (rest != header.data_size) {
    throw RunError(fmt::format("{} holds {} bytes after its header; its shape and type call for {}", subject, rest,
                               header.data_size));
  }
}

}  // namespace

void Unmap::operator()(void* bytes) const { munmap(bytes, size); }

NpyArray::NpyArray(const std::string& argument, const std::string& path)
    : subject_(fmt::format("{} \"{}\"", argument, path)) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw RunError(fmt::format("{} cannot be opened: {}", subject_, std::strerror(errno)));
  struct stat status;
  if (fstat(file.get(), &status) != 0) {
    throw RunError(fmt::format("{} cannot be examined: {}", subject_, std::strerror(errno)));
  }
  if (!S_ISREG(status.st_mode)) throw RunError(subject_ + " is not a regular file");
  const size_t size = static_cast<size_t>(status.st_size);
  const std::vector<uint8_t> start = ReadStart(subject_, file.get(), size);
  header_ = ParseNpyHeader(subject_, start.data(), start.size());
  RefuseLayout(subject_, header_, size);
  Map(file.get(), size);
}

void NpyArray::Map(int file, size_t size) {
  void* bytes = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (bytes == MAP_FAILED) throw RunError(fmt::format("{} cannot be mapped: {}", subject_, std::strerror(errno)));
  mapping_ = std::unique_ptr<void, Unmap>(bytes, Unmap{size});
  const char* elements = static_cast<const char*>(bytes) + header_.data_offset;
  const size_t alignment = header_.type.size >= 8 ? 8 : static_cast<size_t>(std::max<int64_t>(header_.type.size, 1));
  if (header_.data_offset % alignment != 0) {
    copy_.reset(new char[header_.data_size + 1]);
    std::memcpy(copy_.get(), elements, header_.data_size);
    elements = copy_.get();
  }
  data_ = elements;
}

}  // namespace xent_command
