// Output files that appear whole or not at all: elements are gathered in memory, written to temporary files in the
// same folders, brought to the disk, and renamed only when every one of them is complete.
#ifndef XENT_TOOLS_OUTPUT_FILES_H_
#define XENT_TOOLS_OUTPUT_FILES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace xent_command {

// Throws UsageError if an output is the same file as an input or as another output, or is empty. The pairs are the
// command-line argument and its path.
struct NamedPath {
  std::string argument;
  std::string path;
};
void RefuseSharedPaths(const std::vector<NamedPath>& inputs, const std::vector<NamedPath>& outputs);

class OutputFiles {
 public:
  OutputFiles() = default;
  ~OutputFiles();  // removes the temporary files of what was not committed
  OutputFiles(const OutputFiles&) = delete;
  OutputFiles& operator=(const OutputFiles&) = delete;

  // Creates the temporary file, so that a folder that cannot be written is found early. Returns the elements, to be
  // filled in by the caller before Commit; not null. An existing path that is not a regular file is refused.
  void* Add(const NamedPath& output, char kind, int64_t size, const std::vector<int64_t>& shape);

  // Writes everything, then renames everything.
  void Commit();

 private:
  struct File {
    std::string subject;    // the argument and the path, as messages name them
    std::string path;       // with symbolic links followed
    std::string temporary;  // "" once it has been renamed
    int descriptor;
    std::string header;
    std::unique_ptr<char[]> elements;
    size_t elements_size;
  };

  static void Write(const File& file);

  std::vector<File> files_;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_OUTPUT_FILES_H_
