#include "base/async.h"

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "base/check.h"

namespace cleanroom {

Notifier::Notifier(asio::any_io_executor executor) : executor_(std::move(executor)) {}

void Notifier::NotifyAll() {
  for (asio::steady_timer* waiter : waiters_)
    waiter->expires_at(asio::steady_timer::time_point::min());
}

Awaitable<void> Notifier::Wait() {
  co_await WaitUntil(std::chrono::steady_clock::time_point::max());
}

Awaitable<bool> Notifier::WaitUntil(std::chrono::steady_clock::time_point deadline) {
  // Asio aborts what is pending when a task is cancelled, but not what the task begins after that.
  const auto state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none) {
    co_return deadline > std::chrono::steady_clock::now();
  }
  asio::steady_timer timer(executor_, deadline);
  const auto place = waiters_.insert(waiters_.end(), &timer);
  auto [error] = co_await timer.async_wait(kAwait);
  const bool notified = timer.expiry() == asio::steady_timer::time_point::min();
  waiters_.erase(place);
  (void)error;
  co_return notified || deadline > std::chrono::steady_clock::now();
}

Awaitable<bool> Cancelled() {
  const auto state = co_await asio::this_coro::cancellation_state;
  co_return state.cancelled() != asio::cancellation_type::none;
}

Awaitable<Result<void>> SleepFor(std::chrono::steady_clock::duration duration) {
  const auto state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none) {
    co_return Err(ErrorCode::kCanceled, "cancelled while waiting");
  }
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, duration);
  auto [error] = co_await timer.async_wait(kAwait);
  if (error) co_return Err(ErrorCode::kCanceled, "cancelled while waiting");
  co_return Result<void>();
}

namespace internal {

Awaitable<void> SleepUntil(std::chrono::steady_clock::time_point deadline) {
  co_await asio::this_coro::throw_if_cancelled(false);
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, deadline);
  auto [error] = co_await timer.async_wait(kAwait);
  (void)error;
}

namespace {

// An error in a coroutine travels as Result; whatever else leaves it is a bug.
[[noreturn]] void AbortOn(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cleanroom: bug: exception left a task: %s\n", error.what());
  } catch (...) {
    std::fprintf(stderr, "cleanroom: bug: exception left a task\n");
  }
  std::abort();
}

}  // namespace
}  // namespace internal

struct TaskScope::State {
  explicit State(const asio::any_io_executor& executor) : idle(executor) {}
  std::list<asio::cancellation_signal> running;
  Notifier idle;
};

TaskScope::TaskScope(asio::any_io_executor executor)
    : executor_(std::move(executor)), state_(std::make_shared<State>(executor_)) {}

TaskScope::~TaskScope() {
  CR_CHECK(state_->running.empty(), "a TaskScope is joined before it is destroyed");
}

void TaskScope::Spawn(Awaitable<void> task) {
  auto state = state_;
  const auto signal = state->running.emplace(state->running.end());
  asio::co_spawn(executor_, internal::Quiet(std::move(task)),
                 asio::bind_cancellation_slot(signal->slot(),
                                              [state, signal](const std::exception_ptr& failure) {
                                                if (failure) internal::AbortOn(failure);
                                                state->running.erase(signal);
                                                if (state->running.empty()) state->idle.NotifyAll();
                                              }));
}

void TaskScope::Cancel() {
  // A handler that runs inside emit() may end tasks, so walk a list that cannot lose its next
  // element.
  for (auto it = state_->running.begin(); it != state_->running.end();) {
    auto current = it++;
    current->emit(asio::cancellation_type::terminal);
  }
}

Awaitable<void> TaskScope::Join() {
  while (!state_->running.empty()) {
    co_await asio::this_coro::reset_cancellation_state();
    co_await state_->idle.Wait();
  }
}

size_t TaskScope::size() const { return state_->running.size(); }

BlockingPool::BlockingPool(size_t threads) : pool_(threads) {}
BlockingPool::~BlockingPool() { pool_.join(); }

}  // namespace cleanroom
