// From long work to the stream of one call: its progress as it comes, then its outcome.
//
// Only the newest progress is kept, so a caller that reads slowly misses steps and holds nothing
// up. When the caller goes away, the work is cancelled.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "base/async.h"
#include "rpc/service.h"
#include "server/convert.h"
#include "server/launch/launch_resources.h"

namespace cleanroom::server {

// What one call has heard of the work and has not passed on yet.
template <typename T>
struct Heard {
  explicit Heard(asio::any_io_executor executor) : changed(std::move(executor)) {}
  Notifier changed;
  std::optional<ProgressUpdate> progress;
  std::optional<Result<T>> outcome;
};

// What the work is given to tell its progress to.
template <typename T>
ProgressFn HearProgress(std::shared_ptr<Heard<T>> heard) {
  return [heard](ProgressUpdate update) {
    heard->progress = std::move(update);
    heard->changed.NotifyAll();
  };
}

template <typename T>
Awaitable<void> HearOutcome(Awaitable<Result<T>> work, std::shared_ptr<Heard<T>> heard) {
  auto outcome = co_await std::move(work);
  heard->outcome.emplace(std::move(outcome));
  heard->changed.NotifyAll();
}

// Runs the work to its end. `Event` has a field `progress`. canceled when nobody listens any more.
template <typename Event, typename T>
Awaitable<Result<T>> Relay(Awaitable<Result<T>> work, std::shared_ptr<Heard<T>> heard,
                           rpc::Writer<Event>& out) {
  const auto executor = co_await asio::this_coro::executor;
  TaskScope scope(executor);
  scope.Spawn(HearOutcome(std::move(work), heard));
  Result<void> told;
  while (told && !heard->outcome) {
    if (heard->progress) {
      Event event;
      *event.mutable_progress() = ToMessage(*std::exchange(heard->progress, std::nullopt));
      told = co_await out.Write(event);
      continue;
    }
    co_await heard->changed.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) told = Err(ErrorCode::kCanceled, "the caller no longer waits");
  }
  scope.Cancel();
  co_await scope.Join();
  if (!told) co_return Err(std::move(told).error());
  co_return *std::move(heard->outcome);
}

}  // namespace cleanroom::server
