#include "guest_link/rehearsal/rehearsal.h"

#include <utility>

#include "cleanroom/internal/v1/guest.rpc.h"

namespace cleanroom::guest_link {
namespace {

namespace pb = ::cleanroom::internal::v1;
using TimePoint = std::chrono::steady_clock::time_point;

constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
// Is there: the agent writes its files into it.
constexpr const char* kFolder = "/etc";

// With all that an owner may say.
pb::ConfigureRequest InDetail(pb::ConfigureRequest identity) {
  identity.set_rehearsal(true);
  identity.add_env(kPath);
  identity.add_env("LANG=C");
  identity.set_workdir(kFolder);
  return identity;
}

// A shell, which starts another process.
pb::ExecStart Shell() {
  pb::ExecStart start;
  start.add_argv("/bin/sh");
  start.add_argv("-c");
  start.add_argv("true; /bin/true");
  start.set_stdin(true);
  return start;
}

// A program that is looked for, with all that an owner may say of it.
pb::ExecStart Program() {
  pb::ExecStart start;
  start.add_argv("true");
  start.add_env("TERM=dumb");
  start.set_workdir("/");
  start.set_user("0");
  start.mutable_window()->set_rows(1);
  start.mutable_window()->set_columns(1);
  start.set_execution_id("rehearsal");
  return start;
}

// Whether the command's end finds more input announced, as an owner's does, or none.
enum class Input { kOpen, kEnded };

Awaitable<Result<void>> Run(std::shared_ptr<rpc::Channel> agent, pb::ExecStart start, Input input,
                            TimePoint deadline) {
  const rpc::CallOptions options{.deadline = deadline};
  auto call = co_await pb::GuestStub(*agent).Exec(options);
  if (!call) co_return Err(std::move(call).error());
  pb::ExecInput first;
  *first.mutable_start() = std::move(start);
  auto sent = co_await call->Write(first);
  CR_CO_TRY(sent);
  if (input == Input::kEnded) sent = co_await call->CloseWrite();
  CR_CO_TRY(sent);
  for (;;) {
    auto output = co_await call->Next();
    if (!output) co_return Err(std::move(output).error());
    if (!*output) co_return Result<void>();
  }
}

}  // namespace

Awaitable<Result<void>> Rehearse(std::shared_ptr<rpc::Channel> agent, pb::ConfigureRequest identity,
                                 TimePoint deadline) {
  const rpc::CallOptions options{.deadline = deadline};
  const pb::GuestStub guest(*agent);
  auto answer = co_await guest.Configure(InDetail(std::move(identity)), options);
  if (!answer) co_return Err(std::move(answer).error());
  pb::AdjustClockRequest adjust;
  adjust.set_offset_ns(1);
  auto adjusted = co_await guest.AdjustClock(adjust, options);
  if (!adjusted) co_return Err(std::move(adjusted).error());
  auto ran = co_await Run(agent, Shell(), Input::kEnded, deadline);
  CR_CO_TRY(ran);
  ran = co_await Run(agent, Program(), Input::kOpen, deadline);
  co_return ran;
}

}  // namespace cleanroom::guest_link
