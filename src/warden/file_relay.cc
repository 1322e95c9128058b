#include "warden/file_relay.h"

#include <chrono>
#include <utility>

#include "cleanroom/internal/v1/guest.rpc.h"
#include "rpc/relay.h"

namespace cleanroom::warden {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// For a look at one path, or the next piece of a stream.
constexpr milliseconds kPieceLimit{60'000};
// For a whole tree to be removed, or what was sent to be done with.
constexpr milliseconds kWorkLimit{1'800'000};
constexpr int64_t kMaxWalked = 1'000'001;  // the start as well

// Passes a stream of the guest's on. `left` is what it may still send, counted by `count`.
template <typename Request, typename Answer, typename Count>
Awaitable<Result<void>> PassOn(rpc::ClientStream<Request, Answer> stream, rpc::Writer<Answer>& out,
                               int64_t left, Count count) {
  for (;;) {
    auto next = co_await WithDeadline(stream.Next(), steady_clock::now() + kPieceLimit,
                                      "the guest did not send what was asked for in time");
    if (!next) co_return Err(std::move(next).error());
    if (!*next) co_return Result<void>();
    left -= count(**next);
    if (left < 0) {
      co_return Err(ErrorCode::kResourceExhausted, "the guest sent more than was asked for");
    }
    auto written = co_await out.Write(**next);
    if (!written) co_return written;
  }
}

template <typename Input, typename Answer>
Awaitable<Result<Answer>> Send(rpc::ClientStream<Input, Answer> stream, rpc::Reader<Input>& in) {
  const rpc::InputSource<Input> next = [&in] { return in.Next(); };
  auto answer =
      co_await rpc::SendAll(std::move(stream), next, {.write = kPieceLimit, .answer = kWorkLimit});
  co_return answer;
}

int64_t CountInfos(const pb::PathInfos& infos) { return infos.infos_size(); }
int64_t CountBytes(const pb::ArchiveChunk& chunk) {
  return static_cast<int64_t>(chunk.data().size());
}

}  // namespace

FileRelay::FileRelay(std::shared_ptr<rpc::Channel> agent, GuestWatch& watch)
    : agent_(std::move(agent)), watch_(watch) {
  watch_.Begin();
}

FileRelay::~FileRelay() { watch_.End(); }

Awaitable<Result<pb::PathInfo>> FileRelay::Stat(pb::StatPathRequest request) {
  return pb::GuestStub(*agent_).StatPath(std::move(request),
                                         {.deadline = steady_clock::now() + kPieceLimit});
}

Awaitable<Result<pb::RemovePathResult>> FileRelay::Remove(pb::RemovePathRequest request) {
  return pb::GuestStub(*agent_).RemovePath(std::move(request),
                                           {.deadline = steady_clock::now() + kWorkLimit});
}

Awaitable<Result<void>> FileRelay::Walk(pb::WalkTreeRequest request,
                                        rpc::Writer<pb::PathInfos>& out) {
  auto stream = co_await pb::GuestStub(*agent_).WalkTree(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  auto passed = co_await PassOn(std::move(*stream), out, kMaxWalked, CountInfos);
  co_return passed;
}

Awaitable<Result<void>> FileRelay::Archive(pb::ArchivePathsRequest request,
                                           rpc::Writer<pb::ArchiveChunk>& out) {
  const int64_t limit = request.max_bytes();
  auto stream = co_await pb::GuestStub(*agent_).ArchivePaths(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  auto passed = co_await PassOn(std::move(*stream), out, limit, CountBytes);
  co_return passed;
}

Awaitable<Result<pb::WriteFileResult>> FileRelay::Write(rpc::Reader<pb::WriteFileInput>& in) {
  auto stream = co_await pb::GuestStub(*agent_).WriteFile();
  if (!stream) co_return Err(std::move(stream).error());
  auto answer = co_await Send(std::move(*stream), in);
  co_return answer;
}

Awaitable<Result<pb::ExtractArchiveResult>> FileRelay::Extract(
    rpc::Reader<pb::ExtractArchiveInput>& in) {
  auto stream = co_await pb::GuestStub(*agent_).ExtractArchive();
  if (!stream) co_return Err(std::move(stream).error());
  auto answer = co_await Send(std::move(*stream), in);
  co_return answer;
}

}  // namespace cleanroom::warden
