// JSON for standard output. Numbers have the fewest digits that read back to the same bits; JSON has no NaN and no
// infinities, so they become the strings "NaN", "Infinity" and "-Infinity". Only json_output.cc includes the JSON
// library, which takes long to compile.
#ifndef XENT_TOOLS_JSON_OUTPUT_H_
#define XENT_TOOLS_JSON_OUTPUT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace xent_command {

// A number as text, for output without --json: the same digits and the same strings.
std::string NumberText(double value);

// Says on standard error what may be the cause if a result, "the loss", is NaN or -infinity: no good input makes these.
void ExplainBadNumber(const char* result, double value, const char* causes);

// Keys in the order in which they are set.
class JsonObject {
 public:
  JsonObject();
  ~JsonObject();
  JsonObject(JsonObject&&) noexcept;

  void SetNumber(const char* key, double value);
  void SetInteger(const char* key, int64_t value);
  void SetBool(const char* key, bool value);
  void SetText(const char* key, const std::string& value);
  void SetNull(const char* key);
  void SetIntegers(const char* key, const std::vector<int32_t>& values);
  void SetIntegers(const char* key, const std::vector<int64_t>& values);
  void SetObjects(const char* key, const std::vector<JsonObject>& values);

  void Print() const;

 private:
  struct Content;
  std::unique_ptr<Content> content_;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_JSON_OUTPUT_H_
