#include "sandbox/rehearsal.h"

#include <utility>

namespace cleanroom::sandbox {

namespace pb = ::cleanroom::internal::v1;

Awaitable<Result<void>> Rehearse(std::shared_ptr<rpc::Channel> agent, pb::ConfigureRequest identity,
                                 std::chrono::steady_clock::time_point deadline) {
  const rpc::CallOptions options{.deadline = deadline};
  identity.set_rehearsal(true);
  auto answer = co_await agent->Call<pb::ConfigureResponse>(
      "/cleanroom.internal.v1.GuestService/Configure", std::move(identity), options);
  if (!answer) co_return Err(std::move(answer).error());
  auto call = co_await agent->Open<pb::ExecInput, pb::ExecOutput>(
      "/cleanroom.internal.v1.GuestService/Exec", rpc::Shape::kBidi, options);
  if (!call) co_return Err(std::move(call).error());
  pb::ExecInput start;
  start.mutable_start()->add_argv("/bin/sh");
  start.mutable_start()->add_argv("-c");
  start.mutable_start()->add_argv("true; /bin/true");
  auto sent = co_await call->Write(start);
  CR_CO_TRY(sent);
  for (;;) {
    auto output = co_await call->Next();
    if (!output) co_return Err(std::move(output).error());
    if (!*output) co_return Result<void>();
  }
}

}  // namespace cleanroom::sandbox
