// A whole connection: hostile bytes into the RPC server (either version of HTTP), which must end
// when they do.
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/async.h"
#include "cleanroom/v1/error.pb.h"
#include "http/byte_stream.h"
#include "rpc/server.h"

namespace {

using namespace cleanroom;  // NOLINT

// Gives the input piece by piece, then ends; swallows what is written.
class InputStream final : public http::ByteStream {
 public:
  InputStream(asio::any_io_executor executor, std::string input)
      : executor_(std::move(executor)), input_(std::move(input)) {}

  Awaitable<Result<size_t>> Read(std::span<std::byte> buffer) override {
    co_await asio::post(executor_, asio::use_awaitable);
    if (closed_) co_return Err(ErrorCode::kUnavailable, "closed");
    const size_t size = std::min({buffer.size(), input_.size() - offset_, size_t{997}});
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
  asio::any_io_executor executor_;
  std::string input_;
  size_t offset_ = 0;
  bool closed_ = false;
};

Awaitable<Result<v1::ErrorDetail>> Echo(v1::ErrorDetail request) { co_return request; }

Awaitable<Result<void>> Talk(rpc::Reader<v1::ErrorDetail>& in, rpc::Writer<v1::ErrorDetail>& out) {
  while (true) {
    CR_CO_TRY_ASSIGN(auto message, co_await in.Next());
    if (!message) co_return Result<void>();
    CR_CO_TRY(co_await out.Write(*message));
  }
}

rpc::Router MakeRouter() {
  rpc::Router router;
  router.Unary<v1::ErrorDetail, v1::ErrorDetail>(
      "/t/Echo",
      [](rpc::CallContext&, v1::ErrorDetail request) { return Echo(std::move(request)); });
  router.Bidi<v1::ErrorDetail, v1::ErrorDetail>(
      "/t/Talk", [](rpc::CallContext&, rpc::Reader<v1::ErrorDetail>& in,
                    rpc::Writer<v1::ErrorDetail>& out) { return Talk(in, out); });
  return router;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const rpc::Router router = MakeRouter();
  rpc::ServerOptions options;
  options.max_message_bytes = 4096;
  options.max_streams = 8;
  options.max_header_bytes = 4096;
  const rpc::Server server(router, options, nullptr);
  asio::io_context io;
  TaskScope scope(io.get_executor());
  scope.Spawn(server.Serve(std::make_unique<InputStream>(
      io.get_executor(), std::string(reinterpret_cast<const char*>(data), size))));
  io.run();
  if (scope.size() != 0) std::abort();  // something still waits, and nothing will come
  return 0;
}
