#include "warden/guest_agent.h"

#include <cstdint>
#include <cstdlib>
#include <utility>

#include "cleanroom/internal/v1/guest.rpc.h"
#include "warden/machine_setup.h"

namespace cleanroom::warden {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kMaxRelease = 128;
// That a guest's clock may differ from the host's by.
constexpr std::chrono::nanoseconds kClockTolerance = milliseconds(10);
// For the next piece of a file.
constexpr milliseconds kFileLimit{30'000};

}  // namespace

Awaitable<Result<std::string>> GiveIdentity(std::shared_ptr<rpc::Channel> agent,
                                            pb::ConfigureRequest identity,
                                            steady_clock::time_point deadline) {
  const rpc::CallOptions options{.deadline = deadline};
  const pb::GuestStub guest(*agent);
  auto answer = co_await guest.Configure(std::move(identity), options);
  if (!answer) co_return Err(std::move(answer).error());
  // What the request took to arrive, which is long where all code is run for the first time, is
  // missing from the guest's clock.
  const int64_t late = answer->wall_clock_ns() > 0 ? WallClockNs() - answer->wall_clock_ns() : 0;
  if (std::abs(late) > kClockTolerance.count()) {
    pb::AdjustClockRequest adjust;
    adjust.set_offset_ns(late);
    auto adjusted = co_await guest.AdjustClock(adjust, options);
    if (!adjusted) co_return Err(std::move(adjusted).error().Context("setting the guest's clock"));
  }
  co_return answer->kernel_release().substr(0, kMaxRelease);
}

Awaitable<Result<void>> MountLayers(std::shared_ptr<rpc::Channel> agent, pb::MountRequest request,
                                    steady_clock::time_point deadline) {
  const rpc::CallOptions options{.deadline = deadline};
  auto mounted = co_await pb::GuestStub(*agent).Mount(std::move(request), options);
  if (!mounted) co_return Err(std::move(mounted).error());
  co_return Result<void>();
}

Awaitable<Result<void>> CopyFile(std::shared_ptr<rpc::Channel> agent, pb::ReadFileRequest request,
                                 rpc::Writer<pb::FileChunk>& out) {
  int64_t left = request.max_bytes();
  auto stream = co_await pb::GuestStub(*agent).ReadFile(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  while (true) {
    auto chunk = co_await WithDeadline(stream->Next(), steady_clock::now() + kFileLimit,
                                       "the guest did not send the file, or more of it, in time");
    if (!chunk) co_return Err(std::move(chunk).error());
    if (!*chunk) co_return Result<void>();
    left -= static_cast<int64_t>((*chunk)->data().size());
    if (left < 0)
      co_return Err(ErrorCode::kResourceExhausted,
                    "the guest sent more of the file than was asked for");
    auto told = co_await out.Write(**chunk);
    if (!told) co_return told;
  }
}

Awaitable<bool> AskToShutDown(std::shared_ptr<rpc::Channel> agent,
                              steady_clock::time_point deadline) {
  const rpc::CallOptions options{.deadline = deadline};
  auto asked = co_await pb::GuestStub(*agent).Shutdown({}, options);
  co_return asked.has_value();
}

}  // namespace cleanroom::warden
