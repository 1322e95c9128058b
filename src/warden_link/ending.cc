#include "warden_link/ending.h"

#include <string>
#include <string_view>

namespace cleanroom::warden_link {
namespace {

// The one text that is taken apart: what earlier releases wrote, "code: text".
Error FromText(std::string_view text) {
  const size_t colon = text.find(": ");
  const auto code =
      colon == std::string_view::npos ? std::nullopt : ParseErrorCode(text.substr(0, colon));
  if (!code) return {ErrorCode::kUnavailable, std::string(text)};
  return {*code, std::string(text.substr(colon + 2))};
}

}  // namespace

void SetWhy(const Error& why, pb::WardenState& state) {
  state.set_code(std::string(ToString(why.code())));
  state.set_message(why.message());
}

pb::ExecutionEnd LostCommand(const Error& why) {
  pb::ExecutionEnd end;
  end.set_cause(pb::ExecutionEnd::CAUSE_LOST);
  end.set_exit_code(1);
  end.set_code(std::string(ToString(why.code())));
  end.set_message(why.message());
  return end;
}

std::optional<Error> WhyEnded(const pb::WardenState& state) {
  if (!state.code().empty()) return Error(ErrorCodeFromString(state.code()), state.message());
  if (!state.reason().empty()) return FromText(state.reason());
  return std::nullopt;
}

std::optional<Error> WhyLost(const pb::ExecutionEnd& end) {
  if (!end.code().empty()) return Error(ErrorCodeFromString(end.code()), end.message());
  if (end.cause() == pb::ExecutionEnd::CAUSE_LOST) return FromText(end.message());
  return std::nullopt;
}

}  // namespace cleanroom::warden_link
