// ServerExchange: one request and its response, whichever version of HTTP carries them. What a
// handler of requests is written against.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/async.h"
#include "base/result.h"
#include "http/message.h"

namespace cleanroom::http {

class ServerExchange {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr TimePoint kNever = TimePoint::max();

  virtual ~ServerExchange() = default;

  virtual const RequestHead& request() const = 0;
  // Whether the caller can receive trailers (HTTP/2).
  virtual bool carries_trailers() const = 0;
  // Appends what has arrived of the body to `out`, waiting for at least one byte; false at its end.
  // kCanceled: the caller gave up or the connection is gone. kInvalidArgument: the body is
  // malformed.
  // `wanted`: how many bytes it takes for the caller to have any use of them. Fewer may come, but
  // where the connection can it waits for them, so that few wake-ups bring a large message.
  // kDeadlineExceeded when it waits and nothing comes until `deadline`.
  virtual Awaitable<Result<bool>> ReadBody(std::string& out, size_t wanted = 1,
                                           TimePoint deadline = kNever) = 0;

  // Queues the head; kEnd when there is neither body nor trailers. Once.
  virtual void SendHead(int status, const Headers& headers, Ending ending) = 0;
  // Queues body bytes, waiting while too many are queued. kCanceled as for ReadBody.
  virtual Awaitable<Result<void>> SendBody(std::string data) = 0;
  // Ends the response. Trailers are left out where the connection cannot carry them.
  virtual void Finish(const Headers& trailers) = 0;
  // Ends it as a failure that the peer can see, for when the response cannot be completed.
  virtual void Abort() = 0;
};

// Answers one request. Runs as a task that is cancelled when the caller gives up; a response that
// it leaves unfinished is aborted. The exchange lives until the task has ended.
using ExchangeHandler = std::function<Awaitable<void>(ServerExchange&)>;

}  // namespace cleanroom::http
