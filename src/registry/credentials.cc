#include "registry/credentials.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "os/process.h"
#include "os/scratch.h"

namespace cleanroom::registry {
namespace {

// How docker's own tools name Docker Hub to a helper.
constexpr std::string_view kDockerHubUrl = "https://index.docker.io/v1/";

// "credentials not found in native keychain": the protocol's way to say that there are none.
bool SaysNone(std::string_view output) { return output.contains("credentials not found"); }

Result<Credentials> AskHelper(const std::string& name, const std::string& server,
                              std::chrono::milliseconds timeout) {
  const std::string program = "docker-credential-" + name;
  const std::string by_hand =
      fmt::format("try `echo {} | {} get` as the daemon's user", server, program);
  os::RunOptions options{.input = server + "\n", .timeout = timeout, .max_output = 256u << 10};
  options.spawn.parent_death_signal = SIGKILL;
  options.spawn.new_session = true;
  const Result<os::Output> output = os::Run({program, "get"}, options);
  if (!output) {
    if (output.error().code() == ErrorCode::kNotFound) {
      return Err(ErrorCode::kFailedPrecondition,
                 fmt::format("the credential helper {} is not in the daemon's PATH", program));
    }
    return Err(Error(output.error()).Context("the credential helper"));
  }
  if (!output->status.ok()) {
    if (SaysNone(output->out)) return Credentials();
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("the credential helper {} {}; {}", program, output->status.ToString(),
                           by_hand));
  }
  Result<Credentials> answer = ParseHelperAnswer(output->out);
  if (!answer) {
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("the credential helper {}: {}; {}", program, answer.error().message(),
                           by_hand));
  }
  return answer;
}

template <typename Map>
Map::const_iterator BestEntry(const Map& map, const ImageRef& ref) {
  auto best = map.end();
  size_t covered = 0;
  for (auto it = map.begin(); it != map.end(); ++it) {
    const size_t covers = KeyCovers(it->first, ref.registry, ref.repository);
    if (covers > covered) {
      covered = covers;
      best = it;
    }
  }
  return best;
}

Result<FoundCredentials> LookInto(const std::filesystem::path& file,
                                  const CredentialOptions& options, const ImageRef& ref) {
  CR_TRY_ASSIGN(const std::string text, os::ReadFile(file, kMaxDockerConfigBytes));
  CR_TRY_ASSIGN(const DockerConfig config, ParseDockerConfig(text));
  const auto helper = BestEntry(config.cred_helpers, ref);
  const std::string& name =
      helper != config.cred_helpers.end() ? helper->second : config.creds_store;
  FoundCredentials out;
  if (!name.empty()) {
    out.source = "docker-credential-" + name;
    const std::string server =
        ref.registry == kDockerHub ? std::string(kDockerHubUrl) : ref.registry;
    CR_TRY_ASSIGN(out.credentials, AskHelper(name, server, options.helper_timeout));
    if (!out.credentials.empty()) return out;
  }
  const auto auth = BestEntry(config.auths, ref);
  if (auth != config.auths.end()) {
    out.source = file.string();
    out.credentials = auth->second;
  }
  return out;
}

}  // namespace

Result<FoundCredentials> FindCredentials(const CredentialOptions& options, const ImageRef& ref) {
  for (const std::filesystem::path& file : options.files) {
    Result<FoundCredentials> found = LookInto(file, options, ref);
    if (found && !found->credentials.empty()) return found;
    if (found || found.error().code() == ErrorCode::kNotFound) continue;
    return Err(std::move(found).error().Context(file.string()));
  }
  return FoundCredentials();
}

}  // namespace cleanroom::registry
