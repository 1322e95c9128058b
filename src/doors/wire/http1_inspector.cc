#include "doors/wire/http1_inspector.h"

#include <algorithm>
#include <utility>

#include "doors/wire/http1_head.h"

namespace cleanroom::doors::wire {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

void Http1Inspector::End(Outcome outcome, std::string_view problem, Step& step) {
  phase_ = Phase::kEnded;
  ended_ = step.outcome = outcome;
  problem_ = problem;
  wants_response_ = false;
  lines_.clear();
  held_.clear();
}

Http1Inspector::Step Http1Inspector::FromClient(std::string_view bytes) {
  Step step;
  Run(bytes, step);
  return step;
}

void Http1Inspector::Run(std::string_view bytes, Step& step) {
  auto pass = [&](size_t count) {
    step.forward.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
  };
  while (!bytes.empty() && phase_ != Phase::kEnded) {
    switch (phase_) {
      case Phase::kHead:
        RunHead(bytes, step);
        break;
      case Phase::kTrailers:
        RunTrailers(bytes, step);
        break;
      case Phase::kBody:
      case Phase::kChunk: {
        const auto count = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
        pass(count);
        left_ -= count;
        if (left_ > 0) break;
        if (phase_ == Phase::kBody) {
          EndRequest();
        } else {
          phase_ = Phase::kChunkCr;
        }
        break;
      }
      case Phase::kHeld:
        if (bytes.size() > kMaxHeld - held_.size()) {
          return End(Outcome::kMalformed,
                     "more than 64 KiB sent before the server answered an upgrade", step);
        }
        held_.append(bytes);
        return;
      case Phase::kTunnel:
        pass(bytes.size());
        break;
      default:
        RunChunkLine(bytes[0], step);
        if (phase_ != Phase::kEnded) pass(1);
        break;
    }
  }
  if (phase_ == Phase::kTunnel) step.outcome = Outcome::kTunnel;
  if (phase_ == Phase::kEnded) step.outcome = ended_;
}

bool Http1Inspector::TakeLine(std::string_view& bytes, size_t limit, Step& step) {
  const size_t end = bytes.find('\n');
  const size_t count = end == std::string_view::npos ? bytes.size() : end + 1;
  if (count > limit - lines_.size()) {
    End(Outcome::kMalformed, "an HTTP head or trailer that is too long", step);
    return false;
  }
  lines_.append(bytes.substr(0, count));
  bytes.remove_prefix(count);
  if (end == std::string_view::npos) return false;
  const size_t length = lines_.size() - line_begin_;
  const std::string_view line = std::string_view(lines_).substr(line_begin_);
  if (!line.ends_with("\r\n") || line.find('\r') != length - 2) {
    End(Outcome::kMalformed, "a CR or LF by itself in an HTTP head", step);
    return false;
  }
  line_begin_ = lines_.size();
  return length == 2;
}

void Http1Inspector::RunHead(std::string_view& bytes, Step& step) {
  if (!TakeLine(bytes, kMaxHead, step)) return;
  if (lines_.size() == blank_ + 2) {  // a blank line before the request: RFC 9112 2.2
    blank_ += 2;
    return;
  }
  const auto head = ParseHttp1Head(std::string_view(lines_).substr(blank_), kMaxHeaders);
  if (!head) {
    return End(head.error().kind == Http1Fault::Kind::kUnsupported ? Outcome::kUnsupported
                                                                   : Outcome::kMalformed,
               head.error().problem, step);
  }
  if (!head->host) return End(Outcome::kNoHost, "an HTTP request without a Host", step);
  host_ = head->host->host;
  if (head->upgrade && requests_ > 0) {
    return End(Outcome::kUnsupported, "an upgrade that is not the first request", step);
  }
  if (!check_(host_, head->host->port)) {
    return End(Outcome::kRefused, "the host is not allowed", step);
  }
  ++requests_;
  if (head->offers_http2) {
    step.forward += lines_.substr(0, blank_);
    step.forward += WithoutHttp2Offer(std::string_view(lines_).substr(blank_));
  } else {
    step.forward += lines_;
  }
  lines_.clear();
  line_begin_ = blank_ = 0;
  if (head->upgrade) {
    upgrade_ = Upgrade::kAsked;
    wants_response_ = true;
  }
  left_ = head->length;
  chunk_line_ = 0;
  phase_ = head->chunked ? Phase::kChunkSize : Phase::kBody;
  if (!head->chunked && left_ == 0) EndRequest();
}

void Http1Inspector::RunTrailers(std::string_view& bytes, Step& step) {
  if (!TakeLine(bytes, kMaxTrailers, step)) return;
  const auto trailers = ParseHttp1Trailers(lines_, kMaxHeaders);
  if (!trailers) return End(Outcome::kMalformed, trailers.error().problem, step);
  step.forward += lines_;
  lines_.clear();
  line_begin_ = 0;
  EndRequest();
}

// One byte of what stands between chunks: RFC 9112 7.1.
void Http1Inspector::RunChunkLine(char c, Step& step) {
  constexpr size_t kMaxDigits = 15;
  auto bad = [&] { End(Outcome::kMalformed, "a chunk that is not of its form", step); };
  const auto byte = static_cast<unsigned char>(c);
  if (++chunk_line_ > kMaxChunkLine) return bad();
  switch (phase_) {
    case Phase::kChunkSize:
      if (const int digit = HexDigit(c); digit >= 0) {
        if (chunk_line_ > kMaxDigits) return bad();
        left_ = left_ << 4 | static_cast<uint64_t>(digit);
        return;
      }
      if (chunk_line_ == 1) return bad();
      [[fallthrough]];
    case Phase::kChunkSpace:
      if (c == ' ' || c == '\t') {
        phase_ = Phase::kChunkSpace;
      } else if (c == ';') {
        phase_ = Phase::kChunkExtension;
      } else if (c == '\r' && phase_ == Phase::kChunkSize) {
        phase_ = Phase::kChunkSizeEnd;
      } else {
        bad();
      }
      return;
    case Phase::kChunkExtension:
      if (c == '\r') {
        phase_ = Phase::kChunkSizeEnd;
      } else if (c != '\t' && (byte < 0x20 || byte >= 0x7f)) {
        bad();
      }
      return;
    case Phase::kChunkSizeEnd:
      if (c != '\n') return bad();
      phase_ = left_ == 0 ? Phase::kTrailers : Phase::kChunk;
      chunk_line_ = 0;
      return;
    case Phase::kChunkCr:
      if (c != '\r') return bad();
      phase_ = Phase::kChunkLf;
      return;
    default:  // kChunkLf
      if (c != '\n') return bad();
      phase_ = Phase::kChunkSize;
      chunk_line_ = 0;
      return;
  }
}

void Http1Inspector::EndRequest() {
  switch (upgrade_) {
    case Upgrade::kNone:
      phase_ = Phase::kHead;
      break;
    case Upgrade::kAsked:
      phase_ = Phase::kHeld;
      break;
    case Upgrade::kSwitched:
      phase_ = Phase::kTunnel;
      break;
  }
}

int Http1Inspector::Status(std::string_view line) {
  constexpr size_t kDigits = 9;  // after "HTTP/1.1 "
  if (!line.starts_with("HTTP/1.") || line.size() < kDigits + 3 || line[kDigits - 1] != ' ' ||
      (line.size() > kDigits + 3 && line[kDigits + 3] != ' ')) {
    return 0;
  }
  const auto status = ParseLength(line.substr(kDigits, 3));
  return status && *status >= 100 && *status <= 999 ? static_cast<int>(*status) : 0;
}

Http1Inspector::Step Http1Inspector::FromServer(std::string_view bytes) {
  constexpr int kSwitching = 101;
  Step step;
  int status = 0;
  while (wants_response_ && !bytes.empty() && status == 0) {
    const size_t end = bytes.find('\n');
    const size_t count = end == std::string_view::npos ? bytes.size() : end + 1;
    response_head_ += count;
    response_.append(bytes.substr(0, std::min(count, kMaxHead)));
    bytes.remove_prefix(count);
    if (response_head_ > kMaxHead) {
      End(Outcome::kMalformed, "an answer to an upgrade with a head that is too long", step);
      return step;
    }
    if (end == std::string_view::npos) break;
    std::string_view line = response_;
    line.remove_suffix(line.ends_with("\r\n") ? 2 : 1);
    if (skipping_interim_) {
      skipping_interim_ = !line.empty();
    } else {
      status = Status(line);
      if (status == 0) {
        End(Outcome::kMalformed, "an answer to an upgrade that is not HTTP/1", step);
        return step;
      }
      if (status < 200 && status != kSwitching) {
        skipping_interim_ = true;
        status = 0;
      }
    }
    response_.clear();
  }
  if (status != 0) {
    wants_response_ = false;
    upgrade_ = status == kSwitching ? Upgrade::kSwitched : Upgrade::kNone;
    if (phase_ == Phase::kHeld) {
      EndRequest();
      const std::string held = std::exchange(held_, {});
      Run(held, step);
    }
  }
  if (phase_ == Phase::kEnded) step.outcome = ended_;
  if (phase_ == Phase::kTunnel) step.outcome = Outcome::kTunnel;
  return step;
}

}  // namespace cleanroom::doors::wire
