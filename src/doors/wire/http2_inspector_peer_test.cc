// Http2Inspector between a client and a server that nghttp2 speaks for.
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "doors/wire/http2_inspector.h"

namespace cleanroom::doors::wire {
namespace {

using Outcome = Http2Inspector::Outcome;
using Fields = std::map<std::string, std::string>;

// One end of a connection; keeps what it received of each stream.
class Peer {
 public:
  struct Stream {
    Fields fields;
    std::string body;
    bool ended = false;
  };

  enum class Side { kClient, kServer };
  Peer(Side side, const std::vector<nghttp2_settings_entry>& settings) : side_(side) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
    if (side == Side::kClient) {
      nghttp2_session_client_new(&session_, callbacks, this);
    } else {
      nghttp2_session_server_new(&session_, callbacks, this);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, 0, settings.data(), settings.size());
  }
  ~Peer() { nghttp2_session_del(session_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  int32_t Request(const std::string& authority, std::string body = "", Fields trailers = {},
                  const Fields& more = {}) {
    Fields fields = more;
    fields.insert({{":method", body.empty() ? "GET" : "POST"},
                   {":scheme", "http"},
                   {":path", "/some/path?x=y"},
                   {":authority", authority},
                   {"user-agent", "test"}});
    auto values = Values(fields);
    sources_.push_back({this, std::move(body), std::move(trailers)});
    nghttp2_data_provider data{.source = {.ptr = &sources_.back()}, .read_callback = Read};
    return nghttp2_submit_request(session_, nullptr, values.data(), values.size(),
                                  sources_.back().body.empty() ? nullptr : &data, nullptr);
  }

  std::string Out() {
    std::string out;
    const uint8_t* data = nullptr;
    for (ssize_t n = 0; (n = nghttp2_session_mem_send(session_, &data)) > 0;) {
      out.append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
    }
    return out;
  }
  void In(std::string_view bytes) {
    const auto taken = nghttp2_session_mem_recv(
        session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    EXPECT_EQ(taken, static_cast<ssize_t>(bytes.size()))
        << nghttp2_strerror(static_cast<int>(taken));
  }

  std::map<int32_t, Stream> streams;
  bool goaway = false;

 private:
  struct Source {
    Peer* peer;
    std::string body;
    Fields trailers;
    size_t at = 0;
  };

  static std::vector<nghttp2_nv> Values(const Fields& fields) {
    std::vector<nghttp2_nv> out;  // pseudo-header fields sort first
    for (const auto& [name, value] : fields) {
      out.push_back({.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                     .value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
                     .namelen = name.size(),
                     .valuelen = value.size(),
                     .flags = NGHTTP2_NV_FLAG_NONE});
    }
    return out;
  }

  static ssize_t Read(nghttp2_session* session, int32_t id, uint8_t* out, size_t size,
                      uint32_t* flags, nghttp2_data_source* source, void* /*user*/) {
    auto& from = *static_cast<Source*>(source->ptr);
    const size_t count = std::min(size, from.body.size() - from.at);
    std::copy_n(from.body.data() + from.at, count, out);
    from.at += count;
    if (from.at < from.body.size()) return static_cast<ssize_t>(count);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!from.trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      auto values = Values(from.trailers);
      nghttp2_submit_trailer(session, id, values.data(), values.size());
    }
    return static_cast<ssize_t>(count);
  }

  static int OnHeader(nghttp2_session* /*session*/, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t /*flags*/,
                      void* user) {
    static_cast<Peer*>(user)
        ->streams[frame->hd.stream_id]
        .fields[std::string(reinterpret_cast<const char*>(name), name_size)]
        .assign(reinterpret_cast<const char*>(value), value_size);
    return 0;
  }
  static int OnData(nghttp2_session* /*session*/, uint8_t /*flags*/, int32_t id,
                    const uint8_t* data, size_t size, void* user) {
    static_cast<Peer*>(user)->streams[id].body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    auto& self = *static_cast<Peer*>(user);
    if (frame->hd.type == NGHTTP2_GOAWAY) self.goaway = true;
    const bool ends =
        frame->hd.type <= NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!ends) return 0;
    self.streams[frame->hd.stream_id].ended = true;
    if (self.side_ == Side::kServer) {
      const Fields fields{{":status", "200"}, {"server", "test"}};
      auto values = Values(fields);
      nghttp2_submit_response(session, frame->hd.stream_id, values.data(), values.size(), nullptr);
    }
    return 0;
  }

  Side side_;
  nghttp2_session* session_ = nullptr;
  std::list<Source> sources_;
};

// A client and a server with the inspector in between, which gets `step` bytes at a time.
class Connection {
 public:
  Connection(size_t step, const std::vector<nghttp2_settings_entry>& client_settings,
             const std::vector<nghttp2_settings_entry>& server_settings)
      : client(Peer::Side::kClient, client_settings),
        server(Peer::Side::kServer, server_settings),
        inspector([](std::string_view host, uint16_t) { return !host.starts_with("bad"); }),
        step_(step) {}

  // Until both are silent, or the inspector ended it.
  Outcome Run() {
    for (bool busy = true; busy;) {
      const std::string up = client.Out();
      std::string passed;
      for (size_t at = 0; at < up.size(); at += step_) {
        const auto result = inspector.FromClient(std::string_view(up).substr(at, step_));
        passed += result.forward;
        if (result.outcome != Outcome::kGoOn) {
          server.In(passed);
          return result.outcome;
        }
      }
      EXPECT_EQ(passed, up);
      server.In(passed);
      const std::string down = server.Out();
      for (size_t at = 0; at < down.size(); at += step_) {
        inspector.FromServer(std::string_view(down).substr(at, step_));
      }
      client.In(down);
      busy = !up.empty() || !down.empty();
    }
    return Outcome::kGoOn;
  }

  Peer client, server;
  Http2Inspector inspector;

 private:
  size_t step_;
};

TEST(Http2InspectorPeerTest, RealPeersNoticeNothing) {
  const Fields large{{"x-large", std::string(40'000, 'l')}};
  for (const uint32_t table : {0U, 100U, 4096U, 65'536U, 1U << 20}) {
    for (const size_t step : {size_t{1}, size_t{7}, size_t{1} << 20}) {
      Connection connection(step, {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100}},
                            {{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, table}});
      for (int round = 0; round < 3; ++round) {
        const auto plain = connection.client.Request("a.example:8080");
        const auto posted =
            connection.client.Request("b.example", std::string(50'000, 'x'), {{"checksum", "1"}});
        const auto big = connection.client.Request("c.example", "", {}, large);
        ASSERT_EQ(connection.Run(), Outcome::kGoOn) << connection.inspector.problem();
        auto& seen = connection.server.streams;
        EXPECT_EQ(seen[plain].fields[":authority"], "a.example:8080");
        EXPECT_EQ(seen[posted].body.size(), 50'000U);
        EXPECT_EQ(seen[posted].fields["checksum"], "1");
        EXPECT_EQ(seen[big].fields["x-large"], large.at("x-large"));
        for (const auto id : {plain, posted, big}) {
          EXPECT_TRUE(connection.client.streams[id].ended);
          EXPECT_EQ(connection.client.streams[id].fields[":status"], "200");
        }
        EXPECT_TRUE(connection.inspector.at_server_boundary());
      }
      EXPECT_EQ(connection.inspector.host(), "c.example");
    }
  }
}

TEST(Http2InspectorPeerTest, ARefusalReachesTheClient) {
  for (const uint32_t client_table : {0U, 4096U, 65'536U}) {
    for (const int before : {0, 2}) {
      Connection connection(5, {{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, client_table}}, {});
      for (int i = 0; i < before; ++i) connection.client.Request("a.example");
      if (before > 0) {
        ASSERT_EQ(connection.Run(), Outcome::kGoOn);
      }
      const auto refused = connection.client.Request("bad.example");
      ASSERT_EQ(connection.Run(), Outcome::kRefused);
      EXPECT_EQ(connection.inspector.stream(), static_cast<uint32_t>(refused));
      EXPECT_EQ(connection.inspector.host(), "bad.example");
      EXPECT_FALSE(connection.server.streams.contains(refused));
      ASSERT_TRUE(connection.inspector.at_server_boundary());
      connection.client.In(connection.inspector.Refusal("host_not_allowed", "no such host"));
      const auto& stream = connection.client.streams[refused];
      EXPECT_EQ(stream.fields, (Fields{{":status", "403"},
                                       {"content-type", "text/plain; charset=utf-8"},
                                       {"x-cleanroom-reason-code", "host_not_allowed"}}));
      EXPECT_EQ(stream.body, "no such host");
      EXPECT_TRUE(stream.ended);
      EXPECT_TRUE(connection.client.goaway);
    }
  }
}

TEST(Http2InspectorPeerTest, ARefusedConnectionIsToldSo) {
  Connection connection(5, {}, {});
  ASSERT_EQ(connection.Run(), Outcome::kGoOn);
  ASSERT_EQ(connection.inspector.FromClient(std::string(9, '\xff')).outcome, Outcome::kMalformed);
  connection.client.In(connection.inspector.Refusal("malformed", "no such frame"));
  EXPECT_TRUE(connection.client.goaway);
}

}  // namespace
}  // namespace cleanroom::doors::wire
