// A whole connection: hostile bytes into the RPC server (either version of HTTP), which must end
// when they do.
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/async.h"
#include "cleanroom/v1/error.pb.h"
#include "fuzz/input_stream.h"
#include "rpc/server.h"

namespace {

using namespace cleanroom;  // NOLINT

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
  scope.Spawn(server.Serve(std::make_unique<fuzz::InputStream>(
      io.get_executor(), std::string(reinterpret_cast<const char*>(data), size))));
  io.run();
  if (scope.size() != 0) std::abort();  // something still waits, and nothing will come
  return 0;
}
