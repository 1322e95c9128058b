// For tests: a peer that sends raw bytes to a server under test and collects what comes back.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/async.h"
#include "http/byte_stream.h"

namespace cleanroom::http {

class TestPeer {
 public:
  using Serve = std::function<Awaitable<void>(std::unique_ptr<ByteStream>)>;
  using Enough = std::function<bool(const std::string&)>;

  explicit TestPeer(const Serve& serve) : scope_(io_.get_executor()) {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) std::abort();
    near_ = AdoptSocket(io_.get_executor(), fds[0]);
    scope_.Spawn(serve(AdoptSocket(io_.get_executor(), fds[1])));
  }
  ~TestPeer() { Close(); }

  // Sends, and reads until `enough` or the server closes.
  std::string Exchange(std::string bytes, Enough enough) {
    TaskScope talk(io_.get_executor());
    std::string received;
    talk.Spawn(Send(near_.get(), std::move(bytes)));
    talk.Spawn(Receive(near_.get(), &received, std::move(enough)));
    RunUntil([&] { return talk.size() == 0; });
    return received;
  }
  std::string ExchangeToEnd(std::string bytes) {
    return Exchange(std::move(bytes), [](const std::string&) { return false; });
  }

  // Closes this end and waits for the server to notice.
  void Close() {
    near_->Close();
    RunUntil([this] { return scope_.size() == 0; });
  }
  bool server_ended() const { return scope_.size() == 0; }

  // Runs the server for so long.
  void RunFor(std::chrono::milliseconds time) {
    const auto limit = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < limit) {
      if (io_.stopped()) io_.restart();
      if (io_.run_one_until(limit) == 0 && io_.stopped() && scope_.size() == 0) return;
    }
  }

  void RunUntil(const std::function<bool()>& condition) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      if (io_.stopped()) io_.restart();
      io_.run_one_for(std::chrono::seconds(1));
      if (std::chrono::steady_clock::now() > limit) {
        ADD_FAILURE() << "the server is stuck";
        std::abort();
      }
    }
  }

 private:
  static Awaitable<void> Send(ByteStream* stream, std::string bytes) {
    (void)co_await stream->Write(std::as_bytes(std::span(bytes)));
  }
  static Awaitable<void> Receive(ByteStream* stream, std::string* received, Enough enough) {
    std::array<std::byte, 4096> buffer{};
    while (!enough(*received)) {
      auto size = co_await stream->Read(buffer);
      if (!size || *size == 0) co_return;
      received->append(reinterpret_cast<const char*>(buffer.data()), *size);
    }
  }

  asio::io_context io_;
  TaskScope scope_;
  std::unique_ptr<ByteStream> near_;
};

}  // namespace cleanroom::http
