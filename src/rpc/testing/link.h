// For tests: a server and a channel in one thread, joined by a socket pair.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <utility>

#include "base/async.h"
#include "http/byte_stream.h"
#include "rpc/client.h"
#include "rpc/server.h"

namespace cleanroom::rpc {

// Both ends of a fresh unix socket pair.
inline std::pair<std::unique_ptr<http::ByteStream>, std::unique_ptr<http::ByteStream>> StreamPair(
    asio::io_context& io) {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) std::abort();
  return {http::AdoptSocket(io.get_executor(), fds[0]),
          http::AdoptSocket(io.get_executor(), fds[1])};
}

class TestLink {
 public:
  explicit TestLink(const Router& router, ServerOptions options = {},
                    ChannelOptions channel_options = {})
      : server_(router, options, nullptr), scope_(io_.get_executor()) {
    auto [near, far] = StreamPair(io_);
    scope_.Spawn(server_.Serve(std::move(far)));
    channel_ = Channel::Create(std::move(near), std::move(channel_options));
  }
  ~TestLink() {
    Run(CloseAll());
    EXPECT_EQ(scope_.size(), 0U);
  }

  // Runs the task to its end, with everything else meanwhile.
  void Run(Awaitable<void> task) {
    bool done = false;
    asio::co_spawn(io_, std::move(task), [&done](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);
      done = true;
    });
    while (!done) {
      if (io_.run_one_for(std::chrono::seconds(60)) == 0) {
        ADD_FAILURE() << "nothing happens any more";
        std::abort();
      }
      if (io_.stopped()) io_.restart();
    }
  }

  Channel& channel() { return *channel_; }
  asio::io_context& io() { return io_; }
  const Server& server() const { return server_; }
  TaskScope& scope() { return scope_; }

 private:
  Awaitable<void> CloseAll() {
    co_await channel_->Close();
    co_await scope_.Join();
  }

  asio::io_context io_;
  Server server_;
  TaskScope scope_;
  std::unique_ptr<Channel> channel_;
};

}  // namespace cleanroom::rpc
