// What a warden reads of its guest: a whole HTTP/2 connection of hostile frames, as the answers to
// a command and to a call. It must end when they do.
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.rpc.h"
#include "fuzz/input_stream.h"
#include "rpc/client.h"

namespace {

using namespace cleanroom;  // NOLINT
namespace pb = internal::v1;

constexpr size_t kMaxMessage = 4096;
// Until both calls have been sent: before that, their answers would be violations of HTTP/2.
constexpr int kTurns = 20;

Awaitable<void> RunCommand(rpc::Channel& guest) {
  auto opened = co_await pb::GuestStub(guest).Exec();
  if (!opened) co_return;
  pb::ExecInput start;
  start.mutable_start()->add_argv("true");
  auto sent = co_await opened->Write(start);
  (void)sent;
  while (true) {
    auto next = co_await opened->Next();
    if (!next || !*next) co_return;
    if ((*next)->stdout().size() > kMaxMessage) std::abort();
  }
}

Awaitable<void> Configure(rpc::Channel& guest) {
  pb::ConfigureRequest request;
  request.set_hostname("sandbox");
  auto answer = co_await pb::GuestStub(guest).Configure(std::move(request));
  (void)answer;
}

Awaitable<void> Converse(rpc::Channel& guest, TaskScope& calls) {
  calls.Spawn(RunCommand(guest));
  calls.Spawn(Configure(guest));
  co_await calls.Join();
  co_await guest.Close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  asio::io_context io;
  rpc::ChannelOptions options;
  options.max_message_bytes = kMaxMessage;
  const auto guest = rpc::Channel::Create(
      std::make_unique<fuzz::InputStream>(
          io.get_executor(), std::string(reinterpret_cast<const char*>(data), size), kTurns),
      options);
  TaskScope calls(io.get_executor());
  TaskScope scope(io.get_executor());
  scope.Spawn(Converse(*guest, calls));
  io.run();
  if (scope.size() != 0) std::abort();  // something still waits, and nothing will come
  return 0;
}
