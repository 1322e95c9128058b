#include "workspace/remote_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace cleanroom::workspace {
namespace {

constexpr size_t kMaxUrlBytes = 2048;

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool IsScheme(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '-' || c == '.';
  });
}

uint16_t DefaultPort(std::string_view scheme) {
  if (scheme == "https") return 443;
  if (scheme == "http") return 80;
  if (scheme == "ssh") return 22;
  return scheme == "git" ? 9418 : 0;
}

// Where git's short form of ssh has its colon: before any '/'.
std::optional<size_t> ShortFormColon(std::string_view text) {
  const size_t bracket = text.find(']');
  const size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  if (text.substr(0, colon).contains('/')) return std::nullopt;
  return colon;
}

// "[user@]host[:port]".
Result<void> ReadAuthority(std::string_view text, RemoteUrl& out) {
  if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = text.substr(0, at);
    const std::string_view name = user.substr(0, user.find(':'));
    if (out.scheme == "ssh") out.user = name;
    out.had_credentials = out.scheme != "ssh" || name.size() != user.size();
    text.remove_prefix(at + 1);
  }
  const size_t bracket = text.starts_with('[') ? text.find(']') : 0;
  const size_t colon = bracket == std::string_view::npos ? bracket : text.find(':', bracket);
  if (colon != std::string_view::npos) {
    const std::string_view port = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (!port.empty() && (error != std::errc() || end != port.data() + port.size()))
      return Err(ErrorCode::kInvalidArgument, "the port of the remote's URL is no number");
    text = text.substr(0, colon);
  }
  if (out.port == DefaultPort(out.scheme)) out.port = 0;
  out.host = Lower(text);
  if (out.host.empty() || out.host.starts_with('-') || out.user.starts_with('-'))
    return Err(ErrorCode::kInvalidArgument, "the remote's URL names no host");
  return {};
}

}  // namespace

bool IsRemoteUrl(std::string_view text) {
  return text.contains("://") || text.contains("::") || text.starts_with('/') ||
         text.starts_with('.') || ShortFormColon(text).has_value();
}

Result<RemoteUrl> RemoteUrl::Parse(std::string_view text) {
  RemoteUrl out;
  if (text.empty() || text.size() > kMaxUrlBytes || text.starts_with('-') ||
      std::ranges::any_of(
          text, [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 127; })) {
    return Err(
        ErrorCode::kInvalidArgument,
        "the remote's URL is empty, longer than 2048 bytes, or has characters that none has");
  }
  if (const size_t end = text.find("://"); end != std::string_view::npos) {
    if (!IsScheme(text.substr(0, end)))
      return Err(ErrorCode::kInvalidArgument, "the remote's URL has no scheme that git knows");
    out.scheme = Lower(text.substr(0, end));
    if (out.scheme == "git+ssh" || out.scheme == "ssh+git") out.scheme = "ssh";
    text.remove_prefix(end + 3);
    const size_t slash = std::min(text.find('/'), text.size());
    if (out.scheme != "file") CR_TRY(ReadAuthority(text.substr(0, slash), out));
    out.path = text.substr(slash);
  } else if (text.contains("::")) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("the remote is one that git runs a program for, '{}::…'",
                           text.substr(0, std::min<size_t>(text.find("::"), 40))));
  } else if (const auto colon = ShortFormColon(text)) {
    out.scheme = "ssh";
    // The short form has no port: what stands behind its colon is the path.
    CR_TRY(ReadAuthority(text.substr(0, *colon), out));
    out.path = text.substr(*colon + 1);
  } else {
    out.scheme = "file";
    out.path = text;
  }
  if (out.path.find_first_not_of('/') == std::string::npos)
    return Err(ErrorCode::kInvalidArgument, "the remote's URL names no repository, only a host");
  return out;
}

std::string RemoteUrl::ToString() const {
  if (scheme == "file") return path;
  const std::string who = user.empty() ? "" : user + "@";
  if (!path.starts_with('/')) return fmt::format("{}{}:{}", who, host, path);
  return fmt::format("{}://{}{}{}{}", scheme, who, host, port == 0 ? "" : fmt::format(":{}", port),
                     path);
}

std::string RemoteUrl::Identity() const {
  std::string_view rest = path;
  while (rest.starts_with('/')) rest.remove_prefix(1);
  while (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.ends_with(".git") && rest != ".git") rest.remove_suffix(4);
  return fmt::format("{}{}/{}", host, port == 0 ? "" : fmt::format(":{}", port), rest);
}

}  // namespace cleanroom::workspace
