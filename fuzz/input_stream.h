// InputStream: the peer of a connection that says what the fuzzer says, piece by piece, then
// nothing more, and swallows what is written to it.
#pragma once

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "base/async.h"
#include "http/byte_stream.h"

namespace cleanroom::fuzz {

class InputStream final : public http::ByteStream {
 public:
  // `turns`: of the event loop before the peer says anything.
  InputStream(asio::any_io_executor executor, std::string input, int turns = 0)
      : executor_(std::move(executor)), input_(std::move(input)), turns_(turns) {}

  Awaitable<Result<size_t>> Read(std::span<std::byte> buffer) override {
    for (; turns_ > 0; --turns_) co_await asio::post(executor_, asio::use_awaitable);
    co_await asio::post(executor_, asio::use_awaitable);
    if (closed_) co_return Err(ErrorCode::kUnavailable, "closed");
    const size_t size = std::min({buffer.size(), input_.size() - offset_, kPiece});
    for (size_t i = 0; i < size; ++i) buffer[i] = static_cast<std::byte>(input_[offset_ + i]);
    offset_ += size;
    co_return size;
  }
  Awaitable<Result<void>> Write(std::span<const std::byte>) override {
    co_await asio::post(executor_, asio::use_awaitable);
    if (closed_) co_return Err(ErrorCode::kUnavailable, "closed");
    co_return Result<void>();
  }
  void Close() override { closed_ = true; }
  asio::any_io_executor executor() override { return executor_; }

 private:
  static constexpr size_t kPiece = 997;

  asio::any_io_executor executor_;
  std::string input_;
  size_t offset_ = 0;
  int turns_;
  bool closed_ = false;
};

}  // namespace cleanroom::fuzz
