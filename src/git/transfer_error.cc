#include "git/transfer_error.h"

#include <fmt/format.h>

#include <array>

namespace cleanroom::git {
namespace {

struct Sign {
  std::string_view text;
  TransferTrouble trouble;
};

// The first that is found counts, so what is more telling stands further up.
constexpr auto kSigns = std::to_array<Sign>({
    {"No space left on device", TransferTrouble::kDiskFull},
    {"File too large", TransferTrouble::kTooBig},
    {"died of signal 25", TransferTrouble::kTooBig},
    {"exceeds maximum allowed size", TransferTrouble::kTooBig},
    {"terminal prompts disabled", TransferTrouble::kAuthentication},
    {"could not read Username", TransferTrouble::kAuthentication},
    {"could not read Password", TransferTrouble::kAuthentication},
    {"Authentication failed", TransferTrouble::kAuthentication},
    {"Permission denied (", TransferTrouble::kAuthentication},
    {"Too many authentication failures", TransferTrouble::kAuthentication},
    {"returned error: 401", TransferTrouble::kAuthentication},
    {"returned error: 403", TransferTrouble::kAuthentication},
    {"server certificate", TransferTrouble::kCertificate},
    {"SSL certificate problem", TransferTrouble::kCertificate},
    {"certificate subject name", TransferTrouble::kCertificate},
    {"Host key verification failed", TransferTrouble::kCertificate},
    {"Operation too slow", TransferTrouble::kSlow},
    {"not our ref", TransferTrouble::kNoSuchObject},
    {"couldn't find remote ref", TransferTrouble::kNoSuchObject},
    {"Server does not allow request for unadvertised object", TransferTrouble::kNoSuchObject},
    {"' not allowed", TransferTrouble::kNotAllowed},
    {"returned error: 30", TransferTrouble::kRedirect},
    {"Could not resolve host", TransferTrouble::kUnreachable},
    {"Couldn't connect to server", TransferTrouble::kUnreachable},
    {"Failed to connect", TransferTrouble::kUnreachable},
    {"Connection refused", TransferTrouble::kUnreachable},
    {"Connection timed out", TransferTrouble::kUnreachable},
    {"No route to host", TransferTrouble::kUnreachable},
    {"Network is unreachable", TransferTrouble::kUnreachable},
    {"returned error: 50", TransferTrouble::kUnreachable},
    {"early EOF", TransferTrouble::kCut},
    {"unexpected disconnect", TransferTrouble::kCut},
    {"hung up unexpectedly", TransferTrouble::kCut},
    {"RPC failed", TransferTrouble::kCut},
    {"Connection reset", TransferTrouble::kCut},
    {"Empty reply from server", TransferTrouble::kCut},
    {"transfer closed with", TransferTrouble::kCut},
    {"invalid index-pack output", TransferTrouble::kCut},
    {"expected flush after", TransferTrouble::kCut},
    {"bad line length", TransferTrouble::kCut},
    {"Repository not found", TransferTrouble::kNotFound},
    {"returned error: 404", TransferTrouble::kNotFound},
    {"' not found", TransferTrouble::kNotFound},
    {"/' not found", TransferTrouble::kNotFound},
    {"does not appear to be a git repository", TransferTrouble::kNotFound},
    {"does not exist", TransferTrouble::kNotFound},
    {"No such file or directory", TransferTrouble::kNotFound},
    {"Could not read from remote repository", TransferTrouble::kUnreachable},
});

struct Meaning {
  ErrorCode code;
  std::string what;
  std::string remedy;
};

Meaning MeaningOf(TransferTrouble trouble, const RemoteUrl& url) {
  const bool ssh = url.scheme() == Scheme::kSsh;
  switch (trouble) {
    case TransferTrouble::kNotFound:
      return {ErrorCode::kNotFound,
              "there is no such repository, or it is hidden from cleanroomd's user",
              "Check the URL; for a private repository configure access for the user that runs "
              "cleanroomd"};
    case TransferTrouble::kAuthentication:
      return {
          ErrorCode::kUnauthenticated, fmt::format("{} wants other credentials", url.host()),
          ssh ? fmt::format("Give the user that runs cleanroomd an ssh key that {} knows, by an "
                            "ssh agent or in its ~/.ssh",
                            url.host())
              : fmt::format("Configure a git credential helper for {} for the user that runs "
                            "cleanroomd, as in: git config --global credential.helper store",
                            url.host())};
    case TransferTrouble::kUnreachable:
      return {ErrorCode::kUnavailable, fmt::format("{} cannot be reached", url.host()),
              "Check the network and the proxy settings of cleanroomd"};
    case TransferTrouble::kCertificate:
      return {
          ErrorCode::kFailedPrecondition,
          fmt::format("{} could not prove that it is {}", url.host(), url.host()),
          ssh ? fmt::format("Compare its host key and add it to the known_hosts of the user that "
                            "runs cleanroomd: ssh-keyscan {}{}",
                            url.port() == 22 ? "" : fmt::format("-p {} ", url.port()), url.host())
              : "Install the server's certification authority on the machine of cleanroomd"};
    case TransferTrouble::kCut:
      return {ErrorCode::kUnavailable, fmt::format("{} cut the connection, twice", url.host()),
              "Try again later"};
    case TransferTrouble::kSlow:
      return {ErrorCode::kUnavailable,
              fmt::format("{} sent next to nothing for too long", url.host()), "Try again later"};
    case TransferTrouble::kTooBig:
      return {ErrorCode::kResourceExhausted, "the repository is larger than a mirror may be",
              "Have the operator raise the limit on mirrors"};
    case TransferTrouble::kDiskFull:
      return {ErrorCode::kResourceExhausted, "the disk of cleanroomd is full",
              "Make room, as with: cleanroom system prune"};
    case TransferTrouble::kNoSuchObject:
      return {ErrorCode::kNotFound, "the commit is not there",
              "Push the commit, or take local work along with --copy-in"};
    case TransferTrouble::kRedirect:
    case TransferTrouble::kNotAllowed:
      return {ErrorCode::kUpstreamError, fmt::format("{} leads elsewhere", url.host()),
              "Name the repository by the URL that it leads to"};
    case TransferTrouble::kOther:
      break;
  }
  return {ErrorCode::kUpstreamError, "git failed", ""};
}

}  // namespace

TransferTrouble ClassifyTransfer(std::string_view stderr_text) {
  for (const Sign& sign : kSigns) {
    if (stderr_text.find(sign.text) != std::string_view::npos) return sign.trouble;
  }
  return TransferTrouble::kOther;
}

Error TransferError(TransferTrouble trouble, const RemoteUrl& url, std::string_view stderr_text) {
  Meaning meaning = MeaningOf(trouble, url);
  std::string message = fmt::format("fetch {}: {}", url.origin(), meaning.what);
  if (!stderr_text.empty()) message += fmt::format(" ({})", stderr_text);
  Error error(meaning.code, std::move(message));
  if (meaning.remedy.empty()) return error;
  return std::move(error).Remedy(std::move(meaning.remedy));
}

}  // namespace cleanroom::git
