#include "doors/wire/http2_inspector.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "doors/wire/hpack_decoder.h"
#include "doors/wire/http2_frame.h"
#include "doors/wire/http2_request.h"
#include "doors/wire/http_syntax.h"

namespace cleanroom::doors::wire {
namespace {

constexpr size_t kDefaultTable = 4096;  // RFC 9113 6.5.2

// What one SETTINGS frame of the server says of the header table: the least and the last size.
struct TableSizes {
  bool any = false;
  size_t least = 0;
  size_t last = 0;

  void Add(size_t size) {
    least = any ? std::min(least, size) : size;
    last = size;
    any = true;
  }
};

// Watches the server's frames.
struct ServerSide {
  std::string header;     // of the present frame, as far as it came
  uint32_t left = 0;      // of its payload
  bool in_block = false;  // a header block goes on in the next frame
  bool in_settings = false;
  bool settings_seen = false;
  std::string setting;  // an identifier and its value, as far as they came
  TableSizes sizes;
  std::deque<TableSizes> unacknowledged;

  void Feed(std::string_view bytes);
  void StartFrame();
  void EndFrame();
  void FeedSettings(std::string_view bytes);
};

void ServerSide::Feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (left > 0) {
      const size_t count = std::min<size_t>(left, bytes.size());
      if (in_settings) FeedSettings(bytes.substr(0, count));
      bytes.remove_prefix(count);
      left -= static_cast<uint32_t>(count);
      if (left == 0) EndFrame();
      continue;
    }
    const size_t count = std::min(Http2Frame::kHeader - header.size(), bytes.size());
    header.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
    if (header.size() == Http2Frame::kHeader) StartFrame();
  }
}

void ServerSide::StartFrame() {
  const Http2Frame frame = Http2Frame::Parse(header);
  header.clear();
  left = frame.length;
  in_settings = frame.type == Http2Frame::kSettings && !frame.Has(Http2Frame::kAck);
  sizes = {};
  setting.clear();
  if (frame.type == Http2Frame::kHeaders || frame.type == Http2Frame::kPushPromise ||
      frame.type == Http2Frame::kContinuation) {
    in_block = !frame.Has(Http2Frame::kEndHeaders);
  }
  if (left == 0) EndFrame();
}

void ServerSide::FeedSettings(std::string_view bytes) {
  constexpr size_t kSetting = 6;
  constexpr size_t kHeaderTableSize = 1;
  for (const char c : bytes) {
    setting += c;
    if (setting.size() < kSetting) continue;
    auto at = [this](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(setting[i])); };
    if ((at(0) << 8 | at(1)) == kHeaderTableSize) {
      sizes.Add(at(2) << 24 | at(3) << 16 | at(4) << 8 | at(5));
    }
    setting.clear();
  }
}

void ServerSide::EndFrame() {
  if (!in_settings) return;
  settings_seen = true;
  // One more than may be: the client's side then ends the connection.
  if (unacknowledged.size() <= Http2Inspector::kMaxSettings) unacknowledged.push_back(sizes);
}

// A field that no table keeps: RFC 7541 6.2.2. Both are shorter than 127 bytes.
std::string LiteralField(std::string_view name, std::string_view value) {
  std::string out(1, '\0');
  out += static_cast<char>(name.size());
  out += name;
  out += static_cast<char>(value.size());
  out += value;
  return out;
}

}  // namespace

struct Http2Inspector::State {
  enum class Phase : uint8_t {
    kPreface,
    kFrame,      // its header
    kPadLength,  // the first byte of padded DATA
    kPass,       // left bytes of a payload that passes
    kBlock,      // left bytes of a payload that is part of a header block
    kEnded
  };

  explicit State(Check check) : check(std::move(check)) {}

  void Run(std::string_view bytes, Step& step);
  void StartFrame(Step& step);
  void StartBlockFrame(Step& step);
  void EndBlockFrame(Step& step);
  void FinishBlock(Step& step);
  void End(Outcome outcome, uint32_t on_stream, std::string_view why, Step& step);
  // What is wrong with the present frame where it stands.
  std::string_view Misplaced() const;
  void Acknowledged();

  Check check;
  Phase phase = Phase::kPreface;
  Outcome outcome = Outcome::kGoOn;
  uint32_t stream = 0;
  std::string host, problem;

  bool settings_seen = false;
  uint32_t last_stream = 0;
  std::string header;  // of the present frame (or the preface), as far as it came
  Http2Frame frame;
  uint32_t left = 0;
  // Of the header block that waits for its end: its HEADERS frame, all its frames as they came, and
  // what they carry of it.
  bool in_block = false;
  Http2Frame block_frame;
  std::string block;
  size_t payload_begin = 0;  // of the present frame in it
  size_t payloads = 0;       // bytes
  size_t continuations = 0;
  std::string fragments;
  HpackDecoder hpack;
  ServerSide server;
};

void Http2Inspector::State::End(Outcome why_outcome, uint32_t on_stream, std::string_view why,
                                Step& step) {
  phase = Phase::kEnded;
  outcome = step.outcome = why_outcome;
  stream = on_stream;
  problem = why;
  block.clear();
  fragments.clear();
}

void Http2Inspector::State::Run(std::string_view bytes, Step& step) {
  while (!bytes.empty() && phase != Phase::kEnded) {
    if (phase == Phase::kPass || phase == Phase::kBlock) {
      const size_t count = std::min<size_t>(left, bytes.size());
      (phase == Phase::kPass ? step.forward : block).append(bytes.substr(0, count));
      bytes.remove_prefix(count);
      left -= static_cast<uint32_t>(count);
      if (left > 0) continue;
      if (phase == Phase::kBlock) {
        EndBlockFrame(step);
      } else {
        phase = Phase::kFrame;
      }
      continue;
    }
    const size_t wanted = phase == Phase::kPreface     ? kHttp2Preface.size()
                          : phase == Phase::kPadLength ? Http2Frame::kHeader + 1
                                                       : Http2Frame::kHeader;
    const size_t count = std::min(wanted - header.size(), bytes.size());
    header.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
    if (phase == Phase::kPreface && !kHttp2Preface.starts_with(header)) {
      return End(Outcome::kMalformed, 0, "no HTTP/2 preface", step);
    }
    if (header.size() < wanted) continue;
    if (phase == Phase::kFrame) {
      StartFrame(step);
      continue;
    }
    if (phase == Phase::kPadLength) {
      if (static_cast<uint8_t>(header.back()) >= frame.length) {
        return End(Outcome::kMalformed, 0, "HTTP/2 padding longer than its frame", step);
      }
      left = frame.length - 1;
    }
    step.forward += header;
    header.clear();
    phase = phase == Phase::kPadLength && left > 0 ? Phase::kPass : Phase::kFrame;
  }
  if (phase == Phase::kEnded) step.outcome = outcome;
}

std::string_view Http2Inspector::State::Misplaced() const {
  if (const std::string_view why = frame.ClientProblem(); !why.empty()) return why;
  if (in_block != (frame.type == Http2Frame::kContinuation) ||
      (in_block && frame.stream != block_frame.stream)) {
    return "an HTTP/2 frame within a header block, or a CONTINUATION outside of one";
  }
  if (!settings_seen && (frame.type != Http2Frame::kSettings || frame.Has(Http2Frame::kAck))) {
    return "HTTP/2 that does not begin with SETTINGS";
  }
  if (frame.type == Http2Frame::kData || frame.type == Http2Frame::kRstStream ||
      (frame.type == Http2Frame::kWindowUpdate && frame.stream % 2 == 1)) {
    // Even numbers are the server's.
    if (frame.stream % 2 == 1 && frame.stream > last_stream) {
      return "an HTTP/2 frame for a stream that is not open";
    }
  }
  if (frame.type == Http2Frame::kSettings && frame.Has(Http2Frame::kAck) &&
      server.unacknowledged.empty()) {
    return "HTTP/2 SETTINGS acknowledged that the server did not send";
  }
  if (server.unacknowledged.size() > kMaxSettings) {
    return "an HTTP/2 client that does not acknowledge SETTINGS";
  }
  return {};
}

void Http2Inspector::State::Acknowledged() {
  const TableSizes sizes = server.unacknowledged.front();
  server.unacknowledged.pop_front();
  if (!sizes.any) return;
  hpack.SetTableSize(sizes.least);
  hpack.SetTableSize(sizes.last);
}

void Http2Inspector::State::StartFrame(Step& step) {
  frame = Http2Frame::Parse(header);
  if (const std::string_view why = Misplaced(); !why.empty()) {
    return End(Outcome::kMalformed, 0, why, step);
  }
  if (frame.type == Http2Frame::kSettings) {
    settings_seen = true;
    if (frame.Has(Http2Frame::kAck)) Acknowledged();
  }
  if (frame.type == Http2Frame::kHeaders || frame.type == Http2Frame::kContinuation) {
    return StartBlockFrame(step);
  }
  if (frame.type == Http2Frame::kData && frame.Has(Http2Frame::kPadded)) {
    phase = Phase::kPadLength;
    return;
  }
  step.forward += header;
  header.clear();
  left = frame.length;
  phase = left > 0 ? Phase::kPass : Phase::kFrame;
}

void Http2Inspector::State::StartBlockFrame(Step& step) {
  if (frame.type == Http2Frame::kHeaders) {
    in_block = true;
    block_frame = frame;
    payloads = continuations = 0;
  } else if (++continuations > kMaxContinuations) {
    return End(Outcome::kMalformed, 0, "an HTTP/2 header block in too many frames", step);
  }
  payloads += frame.length;
  if (payloads > kMaxHeaderBlock) {
    return End(Outcome::kMalformed, 0, "an HTTP/2 header block larger than 64 KiB", step);
  }
  block += header;
  header.clear();
  payload_begin = block.size();
  left = frame.length;
  phase = Phase::kBlock;
  if (left == 0) EndBlockFrame(step);
}

void Http2Inspector::State::EndBlockFrame(Step& step) {
  constexpr size_t kPriorityFields = 5;
  std::string_view payload = std::string_view(block).substr(payload_begin);
  if (frame.type == Http2Frame::kHeaders) {
    size_t padding = 0;
    if (frame.Has(Http2Frame::kPadded)) {
      padding = static_cast<uint8_t>(payload[0]);
      payload.remove_prefix(1);
    }
    const size_t fields = frame.Has(Http2Frame::kHasPriority) ? kPriorityFields : 0;
    if (payload.size() < fields + padding) {
      return End(Outcome::kMalformed, 0, "HTTP/2 padding longer than its frame", step);
    }
    payload = payload.substr(fields, payload.size() - fields - padding);
  }
  fragments += payload;
  phase = Phase::kFrame;
  if (frame.Has(Http2Frame::kEndHeaders)) FinishBlock(step);
}

void Http2Inspector::State::FinishBlock(Step& step) {
  const uint32_t id = block_frame.stream;
  const bool is_new = id > last_stream;
  Http2Request request(is_new ? Http2Request::Kind::kRequest : Http2Request::Kind::kTrailers);
  if (!is_new && !block_frame.Has(Http2Frame::kEndStream)) {
    return End(Outcome::kMalformed, 0, "HTTP/2 trailers that do not end their stream", step);
  }
  if (!hpack.Decode(fragments, request)) {
    return End(Outcome::kMalformed, 0,
               request.problem().empty() ? "an HTTP/2 header block that cannot be decoded"
                                         : request.problem(),
               step);
  }
  last_stream = std::max(last_stream, id);
  const uint32_t concerned = is_new ? id : 0;
  switch (request.Finish()) {
    case Http2Request::Verdict::kMalformed:
      return End(Outcome::kMalformed, concerned, request.problem(), step);
    case Http2Request::Verdict::kUnsupported:
      return End(Outcome::kUnsupported, concerned, request.problem(), step);
    case Http2Request::Verdict::kNoHost:
      return End(Outcome::kNoHost, concerned, request.problem(), step);
    case Http2Request::Verdict::kGood:
      break;
  }
  if (is_new) {
    host = request.authority().host;
    if (!check(host, request.authority().port)) {
      return End(Outcome::kRefused, id, "the host is not allowed", step);
    }
  }
  step.forward += block;
  block.clear();
  fragments.clear();
  in_block = false;
}

Http2Inspector::Http2Inspector(Check check) : state_(std::make_unique<State>(std::move(check))) {
  state_->hpack.SetTableSize(kDefaultTable);
}
Http2Inspector::~Http2Inspector() = default;

Http2Inspector::Step Http2Inspector::FromClient(std::string_view bytes) {
  Step step;
  state_->Run(bytes, step);
  return step;
}

void Http2Inspector::FromServer(std::string_view bytes) { state_->server.Feed(bytes); }

uint32_t Http2Inspector::stream() const { return state_->stream; }
bool Http2Inspector::at_server_boundary() const {
  const ServerSide& server = state_->server;
  return server.header.empty() && server.left == 0 && !server.in_block;
}
const std::string& Http2Inspector::host() const { return state_->host; }
const std::string& Http2Inspector::problem() const { return state_->problem; }

std::string Http2Inspector::Refusal(std::string_view reason_code, std::string_view body) const {
  constexpr std::string_view kNoError("\0\0\0\0", 4);
  constexpr std::string_view kProtocolError("\0\0\0\1", 4);
  const uint32_t id = state_->stream;
  body = body.substr(0, kMaxBody);
  std::string out;
  if (!state_->server.settings_seen) out += Http2Frame::Write(Http2Frame::kSettings, 0, 0, {});
  if (id != 0) {
    // First the table is emptied: a client that announced a smaller one waits to be told so (RFC
    // 7541 4.2), and none has use for it any more.
    std::string fields = "\x20";
    fields +=
        "\x08\x03"
        "403";  // :status, by its index
    fields += LiteralField("content-type", "text/plain; charset=utf-8");
    fields += LiteralField("x-cleanroom-reason-code", reason_code.substr(0, 100));
    out += Http2Frame::Write(Http2Frame::kHeaders, Http2Frame::kEndHeaders, id, fields);
    out += Http2Frame::Write(Http2Frame::kData, Http2Frame::kEndStream, id, body);
  }
  std::string goaway;
  for (const int shift : {24, 16, 8, 0}) {
    goaway += static_cast<char>(state_->last_stream >> shift & 0xff);
  }
  goaway += id != 0 ? kNoError : kProtocolError;
  if (id == 0) goaway += body;
  out += Http2Frame::Write(Http2Frame::kGoaway, 0, 0, goaway);
  return out;
}

}  // namespace cleanroom::doors::wire
