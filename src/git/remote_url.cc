#include "git/remote_url.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/printable.h"

namespace cleanroom::git {
namespace {

constexpr size_t kMaxUrlBytes = 2048;

std::unexpected<Error> Refuse(std::string message) {
  return Err(Error(ErrorCode::kInvalidArgument, std::move(message))
                 .Remedy("Name the repository as https://HOST/PATH or ssh://[USER@]HOST/PATH"));
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return out;
}

bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsHostName(std::string_view host) {
  return !host.empty() && host.size() <= 253 && IsAlnum(host.front()) &&
         host.find("..") == std::string_view::npos && std::ranges::all_of(host, [](char c) {
           return IsAlnum(c) || c == '-' || c == '.' || c == '_';
         });
}

bool IsUser(std::string_view user) {
  return !user.empty() && user.size() <= 64 && user.front() != '-' &&
         std::ranges::all_of(user,
                             [](char c) { return IsAlnum(c) || c == '-' || c == '.' || c == '_'; });
}

bool IsV6(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

uint16_t DefaultPort(Scheme scheme) {
  switch (scheme) {
    case Scheme::kHttps:
      return 443;
    case Scheme::kHttp:
      return 80;
    case Scheme::kSsh:
      return 22;
    case Scheme::kFile:
      break;
  }
  return 0;
}

std::string_view Name(Scheme scheme) {
  switch (scheme) {
    case Scheme::kHttps:
      return "https";
    case Scheme::kHttp:
      return "http";
    case Scheme::kSsh:
      return "ssh";
    case Scheme::kFile:
      break;
  }
  return "file";
}

// "%2e" is a dot to a server, so it is one here.
std::string WithPlainDots(std::string_view segment) {
  std::string out;
  for (size_t i = 0; i < segment.size(); ++i) {
    if (segment[i] == '%' && i + 2 < segment.size() && segment[i + 1] == '2' &&
        (segment[i + 2] == 'e' || segment[i + 2] == 'E')) {
      out += '.';
      i += 2;
    } else {
      out += segment[i];
    }
  }
  return out;
}

}  // namespace

class UrlParser {
 public:
  UrlParser(std::string_view text, const UrlRules& rules) : text_(text), rules_(rules) {}

  Result<RemoteUrl> Parse() {
    CR_TRY(CheckBytes());
    CR_TRY(Split());
    CR_TRY(CheckPath());
    Compose();
    return std::move(out_);
  }

 private:
  Result<void> CheckBytes() const {
    if (text_.empty()) return Refuse("the repository's URL is empty");
    if (text_.size() > kMaxUrlBytes)
      return Refuse(fmt::format("the repository's URL is longer than {} bytes", kMaxUrlBytes));
    for (const char c : text_) {
      if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '\\' || c == '"' || c == '<')
        return Refuse("the repository's URL has a control character, a space, a quote or a '\\'");
    }
    if (PrintableLength(text_) == 0 || EscapeUnprintable(text_) != text_)
      return Refuse("the repository's URL has characters that cannot be shown");
    if (text_.front() == '-')
      return Refuse("the repository's URL begins with '-', which git would take for an option");
    return {};
  }

  Result<void> Split() {
    if (const size_t at = text_.find("://"); at != std::string_view::npos) {
      CR_TRY(SetScheme(Lower(text_.substr(0, at))));
      const std::string_view rest = text_.substr(at + 3);
      const size_t slash = std::min(rest.find('/'), rest.size());
      path_ = rest.substr(slash);
      return out_.scheme_ == Scheme::kFile ? CheckNoAuthority(rest.substr(0, slash))
                                           : Authority(rest.substr(0, slash));
    }
    if (text_.find("::") != std::string_view::npos && text_.find('[') == std::string_view::npos) {
      return Refuse(
          fmt::format("the repository's URL names a git remote helper ('{}::'), which "
                      "could run anything",
                      text_.substr(0, std::min<size_t>(text_.find("::"), 40))));
    }
    const size_t colon = text_.find(':');
    if (text_.front() == '/' || text_.front() == '.' || text_.front() == '~' ||
        colon == std::string_view::npos || text_.find('/') < colon) {
      if (rules_.paths == LocalPaths::kAllowed && text_.front() == '/') {
        out_.scheme_ = Scheme::kFile;
        path_ = text_;
        return {};
      }
      return Refuse("the repository is named by a path on this machine, not by a URL");
    }
    return ScpForm();
  }

  // [USER@]HOST:PATH. For the user "git", whose servers keep repositories and nothing else, a relative
  // path and an absolute one are the same repository.
  Result<void> ScpForm() {
    out_.scheme_ = Scheme::kSsh;
    size_t colon = text_.find(':');
    if (const size_t bracket = text_.find("]:"); bracket != std::string_view::npos)
      colon = bracket + 1;
    scp_ = true;
    path_ = text_.substr(colon + 1);
    if (path_.starts_with('-'))
      return Refuse("the repository's path begins with '-', which ssh would take for an option");
    return Authority(text_.substr(0, colon));
  }

  Result<void> SetScheme(const std::string& name) {
    if (name == "https") {
      out_.scheme_ = Scheme::kHttps;
    } else if (name == "ssh") {
      out_.scheme_ = Scheme::kSsh;
    } else if (name == "http") {
      if (rules_.http == PlainHttp::kRefused) {
        return Err(Error(ErrorCode::kInvalidArgument,
                         "the repository's URL is http://, which nothing protects on the way")
                       .Remedy("Use https://, or have the operator allow http for the host"));
      }
      out_.scheme_ = Scheme::kHttp;
    } else if (name == "file" && rules_.paths == LocalPaths::kAllowed) {
      out_.scheme_ = Scheme::kFile;
    } else if (name == "git") {
      return Refuse("the repository's URL is git://, which neither authenticates nor encrypts");
    } else {
      return Refuse(fmt::format("the repository's URL has the scheme '{}', which is not supported",
                                name.substr(0, 40)));
    }
    return {};
  }

  static Result<void> CheckNoAuthority(std::string_view authority) {
    if (authority.empty()) return {};
    return Refuse("a file:// URL has no host");
  }

  Result<void> Authority(std::string_view text) {
    if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
      user_ = text.substr(0, at);
      text = text.substr(at + 1);
      const bool web = out_.scheme_ != Scheme::kSsh;
      // Never shown: it may be a secret, also where it is the user (a token).
      if (user_.find(':') != std::string_view::npos) {
        return Err(Error(ErrorCode::kInvalidArgument,
                         "the repository's URL contains a password, which would end up in records")
                       .Remedy("Leave it out, and configure a git credential helper for the user "
                               "that runs cleanroomd"));
      }
      if (!web && !IsUser(user_)) return Refuse("the repository's URL has a malformed user name");
    }
    return HostAndPort(text);
  }

  Result<void> HostAndPort(std::string_view text) {
    std::string_view port;
    if (text.starts_with('[')) {
      const size_t end = text.find(']');
      if (end == std::string_view::npos || !IsV6(std::string(text.substr(1, end - 1))))
        return Refuse("the repository's URL has a malformed IPv6 address");
      out_.host_ = Lower(text.substr(1, end - 1));
      const std::string_view rest = text.substr(end + 1);
      if (!rest.empty() && rest.front() != ':')
        return Refuse("the repository's URL has something behind its IPv6 address");
      port = rest.empty() ? rest : rest.substr(1);
    } else {
      const size_t colon = std::min(text.find(':'), text.size());
      out_.host_ = Lower(text.substr(0, colon));
      if (out_.host_.ends_with('.')) out_.host_.pop_back();
      port = colon == text.size() ? std::string_view() : text.substr(colon + 1);
      if (!IsHostName(out_.host_))
        return Refuse(fmt::format("the repository's URL has no proper host: '{}'",
                                  EscapeUnprintable(text.substr(0, 80))));
    }
    out_.port_ = DefaultPort(out_.scheme_);
    if (port.empty()) return {};
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out_.port_);
    if (error != std::errc() || end != port.data() + port.size() || out_.port_ == 0)
      return Refuse("the repository's URL has a malformed port");
    return {};
  }

  Result<void> CheckPath() {
    std::string clean;
    for (size_t begin = 0; begin < path_.size();) {
      const size_t end = std::min(path_.find('/', begin), path_.size());
      const std::string_view segment = path_.substr(begin, end - begin);
      begin = end + 1;
      if (segment.empty()) continue;
      const std::string plain = WithPlainDots(segment);
      if (plain == "." || plain == "..")
        return Refuse("the repository's path has a '.' or '..' segment");
      if (segment.starts_with('-') && clean.empty())
        return Refuse("the repository's path begins with '-'");
      if (out_.scheme_ != Scheme::kSsh && segment.find_first_of("?#") != std::string_view::npos)
        return Refuse("the repository's URL has a query or a fragment");
      clean += "/" + std::string(segment);
    }
    if (clean.empty() || clean == "/.git") return Refuse("the repository's URL has no path");
    out_.path_ = clean;
    return {};
  }

  void Compose() {
    if (out_.scheme_ == Scheme::kFile) {
      out_.identity_ = "file://" + out_.path_;
      out_.fetch_url_ = out_.origin_ = out_.path_;
      return;
    }
    const bool v6 = out_.host_.find(':') != std::string::npos;
    const std::string host = v6 ? "[" + out_.host_ + "]" : out_.host_;
    const std::string port =
        out_.port_ == DefaultPort(out_.scheme_) ? std::string() : fmt::format(":{}", out_.port_);
    const bool ssh = out_.scheme_ == Scheme::kSsh;
    const std::string user = ssh && !user_.empty() ? std::string(user_) + "@" : std::string();
    std::string_view path = out_.path_;
    if (path.ends_with(".git") && path.size() > 5) path.remove_suffix(4);
    // "/~" keeps a path below a user's home from looking like one from the root.
    const std::string_view home = scp_ && !path_.starts_with('/') && user_ != "git" ? "/~" : "";
    out_.identity_ =
        fmt::format("{}://{}{}{}{}{}", Name(out_.scheme_), user, host, port, home, path);
    if (scp_) {
      // As given: a path below the user's home has no other spelling.
      out_.fetch_url_ = out_.origin_ = fmt::format("{}{}:{}", user, host, path_);
      return;
    }
    out_.fetch_url_ =
        fmt::format("{}://{}{}{}{}", Name(out_.scheme_), user, host, port, out_.path_);
    out_.origin_ = out_.fetch_url_;
  }

  std::string_view text_;
  const UrlRules& rules_;
  std::string_view user_, path_;
  bool scp_ = false;
  RemoteUrl out_;
};

Result<RemoteUrl> RemoteUrl::Parse(std::string_view text, const UrlRules& rules) {
  return UrlParser(text, rules).Parse();
}

}  // namespace cleanroom::git
