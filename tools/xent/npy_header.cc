// Reads "\x93NUMPY", two version bytes, a little-endian length (2 bytes in version 1, 4 in 2 and 3) and a Python dict
// literal with exactly the keys 'descr', 'fortran_order' and 'shape', in any order and with any white space.
#include "npy_header.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>

#include "errors.h"

namespace xent_command {
namespace {

constexpr size_t kMaxRank = 64;
constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;
constexpr size_t kAlignment = 64;

char NativeOrder() {
  const uint16_t one = 1;
  uint8_t first;
  std::memcpy(&first, &one, 1);
  return first == 1 ? '<' : '>';
}

// Text from a file, fit for a message: short, and nothing that a terminal would act on.
std::string Printable(std::string_view text) {
  constexpr size_t kLongest = 32;
  std::string result(text.substr(0, kLongest));
  for (char& c : result) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text.size() > kLongest ? result + "..." : result;
}

// The dict literal. Every step checks that a character is left before it looks at one.
class DictParser {
 public:
  DictParser(const std::string& subject, std::string_view text) : subject_(subject), text_(text) {}

  void Parse(NpyHeader* header) {
    Expect('{');
    while (!Accept('}')) {
      ParseEntry(header);
      if (!Accept(',')) {
        Expect('}');
        break;
      }
    }
    SkipSpace();
    if (at_ != text_.size()) Fail(fmt::format("has text after the dict of its .npy header, at byte {} of it", at_));
    RequireKey(seen_type_, "descr");
    RequireKey(seen_order_, "fortran_order");
    RequireKey(seen_shape_, "shape");
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const { throw RunError(subject_ + " " + what); }

  void RequireKey(bool seen, const char* key) const {
    if (!seen) Fail(fmt::format("has no key '{}' in its .npy header", key));
  }

  void SkipSpace() {
    while (at_ < text_.size() && std::strchr(" \t\n\r\f\v", text_[at_]) != nullptr && text_[at_] != '\0') ++at_;
  }

  bool Accept(char wanted) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void Expect(char wanted) {
    if (!Accept(wanted))
      Fail(fmt::format("has a damaged .npy header: '{}' is missing at byte {} of its dict", wanted, at_));
  }

  void ParseEntry(NpyHeader* header) {
    const std::string_view key = ParseString();
    Expect(':');
    if (key == "descr") {
      MarkSeen(&seen_type_, key);
      header->type = ParseType();
    } else if (key == "fortran_order") {
      MarkSeen(&seen_order_, key);
      header->fortran_order = ParseBool();
    } else if (key == "shape") {
      MarkSeen(&seen_shape_, key);
      header->shape = ParseShape();
    } else {
      Fail(fmt::format("has the unknown key '{}' in its .npy header", Printable(key)));
    }
  }

  void MarkSeen(bool* seen, std::string_view key) const {
    if (*seen) Fail(fmt::format("has the key '{}' twice in its .npy header", key));
    *seen = true;
  }

  // A quoted string without escapes: nothing that this reader accepts needs one.
  std::string_view ParseString() {
    SkipSpace();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') {
      Fail(fmt::format("has a damaged .npy header: a quoted string is missing at byte {} of its dict", at_));
    }
    const size_t begin = at_ + 1;
    const size_t end = text_.find(quote, begin);
    if (end == std::string_view::npos) Fail("has a damaged .npy header: a string in its dict does not end");
    at_ = end + 1;
    return text_.substr(begin, end - begin);
  }

  NpyType ParseType() {
    SkipSpace();
    if (at_ < text_.size() && (text_[at_] == '[' || text_[at_] == '(' || text_[at_] == '{')) {
      Fail("has structured elements; this command reads plain numbers, so save one field of it");
    }
    const std::string_view text = ParseString();
    size_t at = 0;
    NpyType type;
    type.order = NativeOrder();
    if (at < text.size() && std::strchr("<>|=", text[at]) != nullptr && text[at] != '\0') type.order = text[at++];
    if (type.order == '=') type.order = NativeOrder();
    if (at < text.size()) type.kind = text[at++];
    if (type.kind == 'O') {
      Fail("holds pickled Python objects (dtype object), which this command never reads; save it as plain numbers");
    }
    const size_t digits = text.size() - at;
    bool valid = digits >= 1 && digits <= 9 && std::strchr("fiubcV", type.kind) != nullptr && type.kind != '\0';
    for (; valid && at < text.size(); ++at) {
      valid = text[at] >= '0' && text[at] <= '9';
      type.size = type.size * 10 + (text[at] - '0');
    }
    if (!valid) Fail(fmt::format("has elements '{}', which this command does not read", Printable(text)));
    return type;
  }

  bool ParseBool() {
    SkipSpace();
    for (const std::string_view word : {"True", "False"}) {
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return word == "True";
      }
    }
    Fail("has a damaged .npy header: 'fortran_order' is neither True nor False");
  }

  std::vector<int64_t> ParseShape() {
    std::vector<int64_t> shape;
    Expect('(');
    while (!Accept(')')) {
      if (shape.size() == kMaxRank) Fail(fmt::format("has more than {} dimensions", kMaxRank));
      shape.push_back(ParseSize());
      if (Accept(',')) continue;
      Expect(')');
      if (shape.size() == 1) Fail("has a damaged .npy header: 'shape' is not a tuple");
      break;
    }
    return shape;
  }

  int64_t ParseSize() {
    SkipSpace();
    const size_t begin = at_;
    int64_t size = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(size, int64_t{10}, &size) ||
          __builtin_add_overflow(size, int64_t{text_[at_] - '0'}, &size)) {
        Fail("has a dimension in its 'shape' that is too large");
      }
    }
    if (at_ == begin) Fail("has a damaged .npy header: a dimension in its 'shape' is not a whole number from 0 up");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;
    return size;
  }

  const std::string& subject_;
  std::string_view text_;
  size_t at_ = 0;
  bool seen_type_ = false;
  bool seen_order_ = false;
  bool seen_shape_ = false;
};

// The extent of the dict: where it starts and how long it says it is.
std::string_view DictText(const std::string& subject, const uint8_t* bytes, size_t size) {
  if (size >= 2 && bytes[0] == 'P' && bytes[1] == 'K') {
    throw RunError(subject + " is a .npz archive; save the one array that is wanted with numpy.save");
  }
  if (size < kMagicSize + 4 || std::memcmp(bytes, kMagic, kMagicSize) != 0) {
    throw RunError(subject + " is not a .npy file: it does not begin as one");
  }
  const unsigned major = bytes[6];
  const unsigned minor = bytes[7];
  if (major < 1 || major > 3 || minor != 0) {
    throw RunError(fmt::format("{} has .npy version {}.{}; versions 1.0, 2.0 and 3.0 are read", subject, major, minor));
  }
  const size_t length_size = major == 1 ? 2 : 4;
  const size_t start = kMagicSize + 2 + length_size;
  if (size < start) throw RunError(subject + " ends within its .npy header");
  size_t length = 0;
  for (size_t i = length_size; i-- > 0;) length = length << 8 | bytes[kMagicSize + 2 + i];
  if (length > kMaxNpyHeader - start) {
    throw RunError(
        fmt::format("{} has a .npy header of {} bytes; at most {} are read", subject, length, kMaxNpyHeader - start));
  }
  if (length > size - start) throw RunError(subject + " ends within its .npy header");
  return std::string_view(reinterpret_cast<const char*>(bytes) + start, length);
}

void SetSizes(const std::string& subject, NpyHeader* header) {
  bool empty = false;
  for (const int64_t dimension : header->shape) empty = empty || dimension == 0;
  header->elements = empty ? 0 : 1;
  if (empty) return;
  bool overflow = false;
  for (const int64_t dimension : header->shape) {
    overflow = overflow || __builtin_mul_overflow(header->elements, dimension, &header->elements);
  }
  int64_t bytes = 0;
  overflow = overflow || __builtin_mul_overflow(header->elements, header->type.size, &bytes);
  if (overflow || static_cast<uint64_t>(bytes) > SIZE_MAX / 2) {
    throw RunError(subject + " has a 'shape' whose size in bytes does not fit the address space");
  }
  header->data_size = static_cast<size_t>(bytes);
}

}  // namespace

std::string NpyType::Text() const { return fmt::format("{}{}{}", order, kind, size); }

bool NpyType::IsNative() const { return size <= 1 || order == '|' || order == NativeOrder(); }

NpyHeader ParseNpyHeader(const std::string& subject, const uint8_t* bytes, size_t size) {
  const std::string_view text = DictText(subject, bytes, size);
  NpyHeader header;
  DictParser(subject, text).Parse(&header);
  header.data_offset = static_cast<size_t>(reinterpret_cast<const uint8_t*>(text.data()) - bytes) + text.size();
  SetSizes(subject, &header);
  return header;
}

std::string MakeNpyHeader(char kind, int64_t size, const std::vector<int64_t>& shape) {
  std::string tuple;
  for (const int64_t dimension : shape) tuple += fmt::format("{}, ", dimension);
  if (shape.size() > 1) tuple.resize(tuple.size() - 2);
  if (shape.size() == 1) tuple.pop_back();
  const char order = size == 1 || kind == 'V' ? '|' : NativeOrder();
  std::string dict =
      fmt::format("{{'descr': '{}{}{}', 'fortran_order': False, 'shape': ({}), }}", order, kind, size, tuple);
  const size_t start = kMagicSize + 4;
  while ((start + dict.size() + 1) % kAlignment != 0) dict += ' ';
  dict += '\n';
  std::string header(kMagic, kMagicSize);
  header += {'\x01', '\x00', static_cast<char>(dict.size() & 0xff), static_cast<char>(dict.size() >> 8)};
  return header + dict;
}

}  // namespace xent_command
