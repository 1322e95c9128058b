#include "doors/wire/http1_head.h"

#include <algorithm>
#include <array>
#include <utility>

namespace cleanroom::doors::wire {
namespace {

std::unexpected<Http1Fault> Malformed(std::string_view problem) {
  return std::unexpected(Http1Fault{Http1Fault::Kind::kMalformed, std::string(problem)});
}
std::unexpected<Http1Fault> Unsupported(std::string_view problem) {
  return std::unexpected(Http1Fault{Http1Fault::Kind::kUnsupported, std::string(problem)});
}

// The next line, without its CRLF. Every line of a head has one: the inspector cut it there.
std::string_view TakeLine(std::string_view& text) {
  const size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(text.size(), line.size() + 2));
  return line;
}

struct Field {
  std::string_view name, value;
};

std::expected<Field, Http1Fault> ParseField(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) {
    return Malformed(
        "an HTTP field whose name is no token (a space before the colon, a folded line)");
  }
  const Field field{line.substr(0, colon), TrimSpace(line.substr(colon + 1))};
  if (!IsFieldValue(field.value)) return Malformed("a control character in an HTTP field");
  return field;
}

// Whether a server that takes `_` for `-` (CGI does) reads the name as `wanted`.
bool LooksLike(std::string_view name, std::string_view wanted) {
  std::string dashed(name);
  std::ranges::replace(dashed, '_', '-');
  return SameIgnoringCase(dashed, wanted);
}

// The next item of a comma-separated list, which may be empty; none when the list is over.
std::optional<std::string_view> TakeItem(std::string_view& list, bool& more) {
  if (!std::exchange(more, false)) return std::nullopt;
  const size_t comma = list.find(',');
  const std::string_view item = TrimSpace(list.substr(0, comma));
  more = comma != std::string_view::npos;
  list.remove_prefix(more ? comma + 1 : list.size());
  return item;
}

// The name of a protocol in Upgrade, without its version.
std::string_view ProtocolName(std::string_view item) { return item.substr(0, item.find('/')); }

bool IsHttp2Offer(std::string_view item) { return SameIgnoringCase(ProtocolName(item), "h2c"); }

constexpr std::string_view kHttp2Settings = "http2-settings";

struct Target {
  std::string_view method;
  std::string_view text;
  bool http_1_0 = false;
};

std::expected<Target, Http1Fault> ParseRequestLine(std::string_view line) {
  constexpr std::string_view kVersion = "HTTP/1.";
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return Malformed("an HTTP request line that is not method, target and version");
  }
  Target out;
  out.method = line.substr(0, first);
  out.text = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsToken(out.method)) return Malformed("an HTTP method that is no token");
  if (!IsRequestTarget(out.text)) {
    return Malformed("an HTTP target with a space, a `#` or a character that is not ASCII");
  }
  const bool is_version = version.size() == 8 && version.starts_with("HTTP/") &&
                          version[5] >= '0' && version[5] <= '9' && version[6] == '.' &&
                          version[7] >= '0' && version[7] <= '9';
  if (!is_version) return Malformed("an HTTP version that is none");
  if (!version.starts_with(kVersion) || version[7] > '1') {
    return Unsupported("an HTTP version other than 1.0 and 1.1");
  }
  out.http_1_0 = version[7] == '0';
  if (out.method == "CONNECT") return Unsupported("the HTTP method CONNECT");
  return out;
}

// The host of an absolute-form target; none for the other forms.
std::expected<std::optional<Authority>, Http1Fault> ParseTarget(const Target& target) {
  if (target.text.starts_with('/')) return std::nullopt;
  if (target.text == "*" && target.method == "OPTIONS") return std::nullopt;
  const size_t scheme_end = target.text.find("://");
  const std::string_view scheme = target.text.substr(0, scheme_end);
  if (scheme_end == std::string_view::npos ||
      !(SameIgnoringCase(scheme, "http") || SameIgnoringCase(scheme, "https"))) {
    return Malformed("an HTTP target that is neither a path nor an http URL");
  }
  const std::string_view rest = target.text.substr(scheme_end + 3);
  auto authority = ParseAuthority(rest.substr(0, rest.find_first_of("/?")));
  if (!authority) return Malformed("an HTTP target whose host is not host[:port]");
  return authority;
}

class HeadReader {
 public:
  // The fault, if the field is one.
  std::optional<Http1Fault> Add(const Field& field);
  // What all fields together say.
  std::expected<Http1Head, Http1Fault> Finish(const Target& target) const;

 private:
  std::optional<Http1Fault> AddUpgrade(std::string_view value);

  Http1Head head_;
  bool host_seen_ = false;
  bool length_seen_ = false;
};

std::optional<Http1Fault> HeadReader::Add(const Field& field) {
  auto fault = [](std::string_view problem) { return Malformed(problem).error(); };
  if (SameIgnoringCase(field.name, "host")) {
    if (std::exchange(host_seen_, true)) return fault("more than one Host");
    if (field.value.empty()) return std::nullopt;
    head_.host = ParseAuthority(field.value);
    if (!head_.host) return fault("a Host that is not host[:port]");
  } else if (LooksLike(field.name, "content-length")) {
    const auto length = ParseLength(field.value);
    if (std::exchange(length_seen_, true) || field.name.contains('_') || !length) {
      return fault("a Content-Length that is no number, or more than one");
    }
    head_.length = *length;
  } else if (LooksLike(field.name, "transfer-encoding")) {
    if (head_.chunked || field.name.contains('_') || !SameIgnoringCase(field.value, "chunked")) {
      return fault("a Transfer-Encoding other than `chunked`, or more than one");
    }
    head_.chunked = true;
  } else if (SameIgnoringCase(field.name, kHttp2Settings)) {
    head_.offers_http2 = true;
  } else if (SameIgnoringCase(field.name, "upgrade")) {
    return AddUpgrade(field.value);
  }
  return std::nullopt;
}

// What is upgraded to is not looked at, so it must be a protocol that names no other host.
std::optional<Http1Fault> HeadReader::AddUpgrade(std::string_view value) {
  bool more = true;
  while (const auto item = TakeItem(value, more)) {
    if (IsHttp2Offer(*item)) {
      head_.offers_http2 = true;
      continue;
    }
    for (const std::string_view refused : {"h2", "http", "tls"}) {
      if (SameIgnoringCase(ProtocolName(*item), refused)) {
        return Unsupported("an upgrade to TLS or another HTTP").error();
      }
    }
    if (!item->empty()) head_.upgrade = true;
  }
  return std::nullopt;
}

std::expected<Http1Head, Http1Fault> HeadReader::Finish(const Target& target) const {
  if (head_.chunked && (length_seen_ || target.http_1_0)) {
    return Malformed("Transfer-Encoding with Content-Length or in HTTP/1.0");
  }
  const auto authority = ParseTarget(target);
  if (!authority) return std::unexpected(authority.error());
  if (*authority && head_.host && !(*authority)->SameAs(*head_.host)) {
    return Malformed("an HTTP target that names another host than Host");
  }
  return head_;
}

}  // namespace

std::expected<Http1Head, Http1Fault> ParseHttp1Head(std::string_view head, size_t max_fields) {
  const auto target = ParseRequestLine(TakeLine(head));
  if (!target) return std::unexpected(target.error());
  HeadReader reader;
  for (size_t count = 0;; ++count) {
    const std::string_view line = TakeLine(head);
    if (line.empty()) break;
    if (count == max_fields) return Malformed("too many fields in an HTTP head");
    const auto field = ParseField(line);
    if (!field) return std::unexpected(field.error());
    if (auto fault = reader.Add(*field)) return std::unexpected(*std::move(fault));
  }
  return reader.Finish(*target);
}

std::string WithoutHttp2Offer(std::string_view head) {
  // An offer is all that Upgrade says, or stands beside other protocols, which stay.
  std::string_view rest = head;
  std::string out(TakeLine(rest));
  out += "\r\n";
  bool upgrades = false;
  for (std::string_view fields = rest; !fields.empty() && !upgrades;) {
    const auto field = ParseField(TakeLine(fields));
    if (!field || !SameIgnoringCase(field->name, "upgrade")) continue;
    std::string_view list = field->value;
    bool more = true;
    while (const auto item = TakeItem(list, more)) {
      upgrades = upgrades || (!item->empty() && !IsHttp2Offer(*item));
    }
  }
  const auto gone = [upgrades](std::string_view name, std::string_view item) {
    if (SameIgnoringCase(name, "upgrade")) return IsHttp2Offer(item);
    return SameIgnoringCase(item, kHttp2Settings) ||
           (!upgrades && SameIgnoringCase(item, "upgrade"));
  };
  while (!rest.empty()) {
    const std::string_view line = TakeLine(rest);
    const auto field = ParseField(line);
    if (field && SameIgnoringCase(field->name, kHttp2Settings)) continue;
    const bool list_field = field && (SameIgnoringCase(field->name, "upgrade") ||
                                      SameIgnoringCase(field->name, "connection"));
    if (!list_field) {
      out.append(line).append("\r\n");
      continue;
    }
    std::string kept;
    std::string_view list = field->value;
    bool more = true;
    while (const auto item = TakeItem(list, more)) {
      if (item->empty() || gone(field->name, *item)) continue;
      kept.append(kept.empty() ? "" : ", ").append(*item);
    }
    if (!kept.empty()) out.append(field->name).append(": ").append(kept).append("\r\n");
  }
  return out;
}

std::expected<void, Http1Fault> ParseHttp1Trailers(std::string_view trailers, size_t max_fields) {
  static constexpr std::array<std::string_view, 5> kRefused{
      "host", "content-length", "transfer-encoding", "connection", "upgrade"};
  for (size_t count = 0;; ++count) {
    const std::string_view line = TakeLine(trailers);
    if (line.empty()) return {};
    if (count == max_fields) return Malformed("too many fields in an HTTP trailer");
    const auto field = ParseField(line);
    if (!field) return std::unexpected(field.error());
    for (const std::string_view name : kRefused) {
      if (LooksLike(field->name, name)) {
        return Malformed("an HTTP trailer with a field that belongs in the head");
      }
    }
  }
}

}  // namespace cleanroom::doors::wire
