// Text that is not UTF-8 cannot stand in JSON; its bad bytes are replaced rather than refused.
#include "json_output.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

namespace xent_command {

struct JsonObject::Content {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
};

std::string NumberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return fmt::format("{}", value);
}

void ExplainBadNumber(const char* result, double value, const char* causes) {
  if (!std::isnan(value) && value != -std::numeric_limits<double>::infinity()) return;
  fmt::print(stderr, "xent: {} is {}: {}\n", result, NumberText(value), causes);
}

JsonObject::JsonObject() : content_(std::make_unique<Content>()) {}
JsonObject::~JsonObject() = default;
JsonObject::JsonObject(JsonObject&&) noexcept = default;

void JsonObject::SetNumber(const char* key, double value) {
  if (std::isfinite(value)) {
    content_->object[key] = value;
  } else {
    SetText(key, NumberText(value));
  }
}

void JsonObject::SetInteger(const char* key, int64_t value) { content_->object[key] = value; }
void JsonObject::SetBool(const char* key, bool value) { content_->object[key] = value; }
void JsonObject::SetText(const char* key, const std::string& value) { content_->object[key] = value; }
void JsonObject::SetNull(const char* key) { content_->object[key] = nullptr; }
void JsonObject::SetIntegers(const char* key, const std::vector<int32_t>& values) { content_->object[key] = values; }
void JsonObject::SetIntegers(const char* key, const std::vector<int64_t>& values) { content_->object[key] = values; }

void JsonObject::SetObjects(const char* key, const std::vector<JsonObject>& values) {
  nlohmann::ordered_json& list = content_->object[key] = nlohmann::ordered_json::array();
  for (const JsonObject& value : values) list.push_back(value.content_->object);
}

void JsonObject::Print() const {
  constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
  fmt::print("{}\n", content_->object.dump(2, ' ', false, kReplace));
}

}  // namespace xent_command
