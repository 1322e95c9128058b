#include "guest/serve/prime.h"

#include <sys/random.h>

#include <charconv>
#include <chrono>
#include <memory>
#include <string>

#include "base/text_coding.h"
#include "guest_link/devices.h"
#include "guest_link/rehearsal/rehearsal.h"
#include "http/byte_stream.h"
#include "os/socket.h"
#include "rpc/client.h"

namespace cleanroom::guest {
namespace {

// A shell that does not end has this long.
constexpr std::chrono::seconds kLimit(5);

// A name as long as a sandbox's, which is then written over it.
constexpr const char* kNobody = "00000000000000000000000000";
constexpr size_t kEntropyBytes = 64;

internal::v1::ConfigureRequest Nobody(internal::v1::PrepareRequest prepared) {
  internal::v1::ConfigureRequest request;
  request.set_hostname(kNobody);
  std::string& entropy = *request.mutable_entropy();
  entropy.resize(kEntropyBytes);
  (void)!getrandom(entropy.data(), entropy.size(), 0);
  request.set_wall_clock_ns(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                std::chrono::system_clock::now().time_since_epoch())
                                .count());
  *request.mutable_prepare() = std::move(prepared);
  return request;
}

}  // namespace

Result<std::optional<internal::v1::PrepareRequest>> ReadPrepareOption(std::string_view line) {
  while (!line.empty()) {
    const size_t end = line.find_first_of(" \n");
    const std::string_view word = line.substr(0, end);
    if (word.starts_with(guest_link::kPrepareOption)) {
      const auto bytes = HexDecode(word.substr(guest_link::kPrepareOption.size()));
      internal::v1::PrepareRequest request;
      if (!bytes || bytes->empty() || !request.ParseFromString(*bytes)) {
        return Err(ErrorCode::kInvalidArgument,
                   std::string("the kernel's command line has no message behind ")
                       .append(guest_link::kPrepareOption));
      }
      return request;
    }
    if (end == std::string_view::npos) break;
    line.remove_prefix(end + 1);
  }
  return std::nullopt;
}

Awaitable<void> Prime(const rpc::Server& server, internal::v1::PrepareRequest prepared) {
  const auto executor = co_await asio::this_coro::executor;
  auto pair = os::SocketPair();
  if (!pair) co_return;
  TaskScope serving(executor);
  serving.Spawn(server.Serve(http::AdoptSocket(executor, pair->first.release())));
  const std::shared_ptr<rpc::Channel> agent =
      rpc::Channel::Create(http::AdoptSocket(executor, pair->second.release()), {});
  // What fails is not in memory then: copies are slower, and as good.
  (void)co_await guest_link::Rehearse(agent, Nobody(std::move(prepared)),
                                      std::chrono::steady_clock::now() + kLimit);
  co_await agent->Close();
  co_await serving.Join();
}

}  // namespace cleanroom::guest
