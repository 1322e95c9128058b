// docker's config file and the answers of credential helpers: what is accepted can stand in a
// header and in a program's name.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "registry/docker_config.h"

namespace {

void CheckLine(std::string_view text) {
  if (std::ranges::any_of(text, [](char c) { return c == '\r' || c == '\n'; })) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::registry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto config = ParseDockerConfig(text)) {
    for (const auto& [key, auth] : config->auths) {
      CheckLine(auth.identity_token.Reveal());
      CheckLine(auth.registry_token.Reveal());
      if (KeyCovers(key, "registry.example:5000", "team/app") >
          std::string_view("registry.example:5000/team/app").size())
        __builtin_trap();
    }
    for (const auto& [key, helper] : config->cred_helpers) {
      if (helper.empty() || helper.find('/') != std::string::npos) __builtin_trap();
    }
    if (config->creds_store.find('/') != std::string::npos) __builtin_trap();
  }
  if (const auto answer = ParseHelperAnswer(text)) CheckLine(answer->username);
  return 0;
}
