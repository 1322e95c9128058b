// Coroutines: the one alias, the scope that owns running tasks, waiting, deadlines and blocking
// work.
//
// Rules that GCC 12 and Asio make necessary (proved in async_test.cc under ASan):
//  - coroutines are named functions or members; a spawned one takes its arguments by value;
//  - no capturing lambda is a coroutine;
//  - one named await per statement, never in a condition or a larger expression (`if (co_await f())`
//    crashes): `const bool x = co_await f(); if (x) ...`;
//  - no lambda stands in the statement that awaits: name it first, for a temporary with captures is
//    destroyed twice (scripts/check-coroutines looks for this rule and the one above);
//  - every co_spawn happens inside a TaskScope, which cancels and joins.
// Errors travel as Result; Asio operations are awaited with kAwait, which yields (error_code,
// value). Everything here belongs to one io_context run by one thread, unless said otherwise.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/result.h"

namespace cleanroom {

namespace asio = boost::asio;

template <typename T>
using Awaitable = asio::awaitable<T>;

// Completion token: `auto [error, n] = co_await socket.async_read_some(buffer, kAwait);`
inline constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

// Wakes every coroutine that waits. Level-free: a notification without a waiter is lost, so waiters
// check their condition in a loop, before and after.
class Notifier {
 public:
  explicit Notifier(asio::any_io_executor executor);
  void NotifyAll();
  // Returns after the next NotifyAll, or at once when the task is cancelled (check Cancelled()).
  Awaitable<void> Wait();
  // Like Wait, but at most until `deadline`. False when the deadline passed first.
  Awaitable<bool> WaitUntil(std::chrono::steady_clock::time_point deadline);

 private:
  asio::any_io_executor executor_;
  std::list<asio::steady_timer*> waiters_;
};

// True when the running task was asked to stop (TaskScope::Cancel, or the losing side of a
// deadline).
Awaitable<bool> Cancelled();

// Waits. Returns early, with kCanceled, when the task is cancelled.
Awaitable<Result<void>> SleepFor(std::chrono::steady_clock::duration duration);

// Owns the tasks spawned into it. Join (after Cancel, if they would not end by themselves) must
// have returned before the scope is destroyed; destroying it earlier aborts, because the tasks may
// still use what their owner is about to free.
class TaskScope {
 public:
  explicit TaskScope(asio::any_io_executor executor);
  ~TaskScope();
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

  // Starts the task; on the executor's thread it runs to its first wait within this call. An
  // exception that leaves it is a bug and aborts the process.
  void Spawn(Awaitable<void> task);
  // Asks every running task to stop: pending Asio operations end with operation_aborted, now and
  // later.
  void Cancel();
  // Waits until no task runs.
  Awaitable<void> Join();
  size_t size() const;
  asio::any_io_executor executor() const { return executor_; }

 private:
  struct State;
  asio::any_io_executor executor_;
  std::shared_ptr<State> state_;
};

namespace internal {
// Awaitable operators start children with throw_if_cancelled on; Results want it off.
template <typename T>
Awaitable<T> Quiet(Awaitable<T> inner) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_return co_await std::move(inner);
}
Awaitable<void> SleepUntil(std::chrono::steady_clock::time_point deadline);
}  // namespace internal

// Runs `work` but at most until `deadline`; then cancels it and answers kDeadlineExceeded, with
// `what` saying what was waited for.
template <typename T>
Awaitable<Result<T>> WithDeadline(Awaitable<Result<T>> work,
                                  std::chrono::steady_clock::time_point deadline,
                                  std::string what) {
  using boost::asio::experimental::awaitable_operators::operator||;
  auto both = internal::Quiet(std::move(work)) || internal::SleepUntil(deadline);
  auto first = co_await std::move(both);
  if (first.index() == 1) {
    co_return Err(ErrorCode::kDeadlineExceeded, what);
  }
  co_return std::get<0>(std::move(first));
}

// A bounded pool of threads for work that blocks: hashing, unpacking, SQLite, waiting for a
// process.
class BlockingPool {
 public:
  explicit BlockingPool(size_t threads);
  ~BlockingPool();  // waits for running work

  // Runs `work` on a pool thread and resumes the caller on its own executor. The work cannot be
  // cancelled: the caller waits for it even when its task is. It is moved from, and must be a named
  // variable of the caller: GCC 12 destroys a temporary with captures twice in a co_await
  // expression.
  template <typename F, typename T = std::invoke_result_t<F>>
  Awaitable<T> Run(F& work) {
    auto home = co_await asio::this_coro::executor;
    std::optional<T> out;
    auto done = std::make_shared<asio::steady_timer>(home, asio::steady_timer::time_point::max());
    asio::post(pool_, [&out, done, home, work = std::move(work)]() mutable {
      T value = work();
      asio::post(home, [&out, done, value = std::make_shared<T>(std::move(value))] {
        out.emplace(std::move(*value));
        done->cancel();
      });
    });
    while (!out) {
      co_await asio::this_coro::reset_cancellation_state();
      auto [error] = co_await done->async_wait(kAwait);
      (void)error;
    }
    co_return std::move(*out);
  }

 private:
  asio::thread_pool pool_;
};

}  // namespace cleanroom
