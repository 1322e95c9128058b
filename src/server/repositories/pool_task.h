// Blocking work on a pool that can be given up, and whose progress is told where its caller lives.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "base/async.h"
#include "server/progress_mailbox.h"

namespace cleanroom::server {

// What the work is given.
struct PoolControl {
  std::stop_token stop;
  std::function<void(ProgressUpdate)> progress;  // from any thread
};

namespace internal {

template <typename T>
struct PoolOutcome {
  explicit PoolOutcome(asio::any_io_executor executor) : changed(std::move(executor)) {}
  Notifier changed;
  std::optional<Result<T>> outcome;
};

template <typename T>
Awaitable<void> FillOutcome(BlockingPool& pool, std::function<Result<T>()> work,
                            std::shared_ptr<PoolOutcome<T>> out) {
  auto outcome = co_await pool.Run(work);
  out->outcome.emplace(std::move(outcome));
  out->changed.NotifyAll();
}

}  // namespace internal

// Runs the work on the pool. When the task is cancelled the work is asked to stop, and is waited
// for; its outcome is then an error of its own, or, where it came too late, the outcome.
template <typename T>
Awaitable<Result<T>> RunStoppable(BlockingPool& pool,
                                  std::function<Result<T>(const PoolControl&)> work,
                                  ProgressFn progress) {
  const auto executor = co_await asio::this_coro::executor;
  const auto mailbox = std::make_shared<ProgressMailbox>(executor, std::move(progress));
  std::stop_source stop;
  const PoolControl control{.stop = stop.get_token(), .progress = [mailbox](ProgressUpdate update) {
                              mailbox->Put(std::move(update));
                            }};
  const auto out = std::make_shared<internal::PoolOutcome<T>>(executor);
  TaskScope scope(executor);
  std::function<Result<T>()> bound = [work = std::move(work), control] { return work(control); };
  scope.Spawn(internal::FillOutcome<T>(pool, std::move(bound), out));
  while (!out->outcome) {
    co_await out->changed.Wait();
    const bool cancelled = co_await Cancelled();
    if (!cancelled) continue;
    stop.request_stop();
    co_await asio::this_coro::reset_cancellation_state();
  }
  mailbox->Close();
  co_await scope.Join();
  co_return *std::move(out->outcome);
}

}  // namespace cleanroom::server
