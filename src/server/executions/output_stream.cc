// Streams of output: the half of Executions that replays and follows (executions.h).
#include <fmt/format.h>

#include <algorithm>

#include "base/id.h"
#include "cleanroom/internal/v1/warden.rpc.h"
#include "server/executions/executions.h"
#include "server/network/network_decision.h"
#include "warden_link/spool.h"

namespace cleanroom::server {
namespace {

// Read from a kept file in one visit to the pool.
constexpr size_t kBatchBytes = 1U << 20;

// Refusals of an exit; what a warden sends beyond is not passed on.
constexpr int kMaxRefused = 64;

using Batch = std::vector<warden_link::Frame>;

// Frames from the offset on; empty at the end of the record. `files`: the places where the record
// may lie, tried in order, because it moves when its sandbox ends.
Result<Batch> ReadBatch(const std::vector<std::string>& files, int64_t offset) {
  for (const std::string& file : files) {
    auto reader = warden_link::SpoolReader::Open(file, offset);
    if (!reader && reader.error().code() == ErrorCode::kNotFound) continue;
    if (!reader) return Err(std::move(reader).error());
    Batch batch;
    for (size_t bytes = 0; bytes < kBatchBytes;) {
      CR_TRY_ASSIGN(auto frame, reader->Next());
      if (!frame) break;
      bytes += frame->payload.size() + sizeof(warden_link::Frame);
      batch.push_back(std::move(*frame));
    }
    return batch;
  }
  return Batch();
}

}  // namespace

// Where one stream stands.
struct Executions::Cursor {
  SandboxId sandbox_id;
  ExecutionId id;
  std::string image_ref;
  std::string image_digest;
  Follow follow = Follow::kNo;
  int64_t offset = warden_link::kSpoolStart;
  bool first = true;
  bool ended = false;      // the end on record was passed
  pb::ExecutionEnd end{};  // which was this

  // An event with everything but its payload. Only the first carries the image.
  v1::ExecutionStreamEvent Event(store::ExecutionStatus status, int64_t time_us) {
    v1::ExecutionStreamEvent event;
    event.set_sandbox_id(sandbox_id.text());
    event.set_execution_id(id.text());
    event.set_status(ToMessage(status));
    *event.mutable_occurred_at() = ToTimestamp(time_us);
    if (first) {
      event.set_image_ref(image_ref);
      event.set_image_digest(image_digest);
      first = false;
    }
    return event;
  }
};

Awaitable<Result<void>> Executions::Stream(SandboxId sandbox_id, ExecutionId id, Follow follow,
                                           rpc::Writer<v1::ExecutionStreamEvent>& out) {
  CR_CO_TRY_ASSIGN(const auto record, Get(sandbox_id, id));
  Cursor cursor{.sandbox_id = record.sandbox_id,
                .id = id,
                .image_ref = {},
                .image_digest = {},
                .follow = follow};
  auto streamed = co_await StreamFrom(cursor, nullptr, out);
  co_return streamed;
}

Awaitable<Result<void>> Executions::Attach(rpc::Reader<v1::AttachExecutionRequest>& in,
                                           rpc::Writer<v1::ExecutionStreamEvent>& out) {
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  if (!*first)
    co_return Err(ErrorCode::kInvalidArgument, "an attachment begins with the execution's id");
  CR_CO_TRY_ASSIGN(const auto record,
                   Get(SandboxId((*first)->sandbox_id()), ExecutionId((*first)->execution_id())));
  auto running = FindRunning(record.id);
  if (running) running->sandbox->Touch();
  const pb::ExecInput input = ToInput(**first);
  if (running && input.input_case() != pb::ExecInput::INPUT_NOT_SET) {
    auto sent = co_await Send(running, input);
    if (!sent) co_return Err(std::move(sent).error());
  }
  Cursor cursor{.sandbox_id = record.sandbox_id,
                .id = record.id,
                .image_ref = {},
                .image_digest = {},
                .follow = Follow::kYes};
  auto streamed = co_await StreamFrom(cursor, &in, out);
  co_return streamed;
}

Awaitable<Result<void>> Executions::StreamFrom(Cursor& cursor,
                                               rpc::Reader<v1::AttachExecutionRequest>* in,
                                               rpc::Writer<v1::ExecutionStreamEvent>& out) {
  auto sandbox = store_.GetSandbox(cursor.sandbox_id);
  if (sandbox) {
    cursor.image_ref = sandbox->image_ref;
    cursor.image_digest = sandbox->image_digest;
  }
  auto running = FindRunning(cursor.id);
  if (running) {
    auto streamed = co_await StreamLive(cursor, running, in, out);
    if (!streamed) co_return streamed;
    // The record is final before the exit is told. Where the sandbox ended first, that settles it.
    while (cursor.follow == Follow::kYes && !store::IsFinal(running->record.status)) {
      co_await running->changed.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer followed");
    }
  }
  if (!cursor.ended) {
    auto kept = co_await StreamKept(cursor, out);
    if (!kept) co_return kept;
  }
  auto exited = co_await WriteExit(cursor, out);
  co_return exited;
}

// Success also when the warden went away in between: StreamKept then goes on from the offset.
Awaitable<Result<void>> Executions::StreamLive(Cursor& cursor, std::shared_ptr<Running> running,
                                               rpc::Reader<v1::AttachExecutionRequest>* in,
                                               rpc::Writer<v1::ExecutionStreamEvent>& out) {
  while (running->record.status == store::ExecutionStatus::kQueued) {
    co_await running->changed.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer followed");
  }
  const auto channel = running->sandbox->channel();
  auto opened = co_await pb::WardenStub(*channel).AttachExecution();
  if (!opened) co_return Result<void>();
  Attachment attachment = std::move(*opened);
  pb::AttachInput first;
  first.set_execution_id(cursor.id.text());
  first.set_offset(cursor.offset);
  first.set_follow(cursor.follow == Follow::kYes);
  auto sent = co_await attachment.Write(first);
  TaskScope inputs(executor_);
  if (sent && in != nullptr) {
    inputs.Spawn(PumpInput(*in, attachment));
  } else if (sent) {
    sent = co_await attachment.CloseWrite();
  }

  Result<void> outcome;
  while (outcome && !cursor.ended) {
    auto event = co_await attachment.Next();
    const bool cancelled = co_await Cancelled();
    if (cancelled) outcome = Err(ErrorCode::kCanceled, "no longer followed");
    if (cancelled || !event || !*event) break;
    cursor.offset = (*event)->offset();
    if ((*event)->has_end()) {
      Finish(cursor.id, (*event)->end());
      cursor.ended = true;
      cursor.end = std::move(*(*event)->mutable_end());
    } else if ((*event)->has_stdout() || (*event)->has_stderr()) {
      v1::ExecutionStreamEvent message =
          cursor.Event(store::ExecutionStatus::kRunning, (*event)->time_us());
      if ((*event)->has_stdout()) {
        message.set_stdout(std::move(*(*event)->mutable_stdout()));
      } else {
        message.set_stderr(std::move(*(*event)->mutable_stderr()));
      }
      outcome = co_await out.Write(message);
    }
  }
  // Before the attachment goes: the pump writes to it.
  inputs.Cancel();
  co_await inputs.Join();
  co_return outcome;
}

Awaitable<void> Executions::PumpInput(rpc::Reader<v1::AttachExecutionRequest>& in,
                                      Attachment& attachment) {
  for (;;) {
    auto request = co_await in.Next();
    if (!request || !*request) co_return;
    pb::AttachInput input;
    *input.mutable_input() = ToInput(**request);
    if (input.input().input_case() == pb::ExecInput::INPUT_NOT_SET) continue;
    auto sent = co_await attachment.Write(input);
    if (!sent) co_return;
  }
}

Awaitable<Result<void>> Executions::StreamKept(Cursor& cursor,
                                               rpc::Writer<v1::ExecutionStreamEvent>& out) {
  const std::vector<std::string> files = {layout_.LiveOutput(cursor.sandbox_id, cursor.id),
                                          layout_.KeptOutput(cursor.id)};
  while (!cursor.ended) {
    const int64_t offset = cursor.offset;
    auto work = [&files, offset] { return ReadBatch(files, offset); };
    auto batch = co_await pool_.Run(work);
    if (!batch) co_return Err(std::move(batch).error());
    if (batch->empty()) co_return Result<void>();
    for (warden_link::Frame& frame : *batch) {
      cursor.offset = frame.next_offset;
      if (frame.kind == warden_link::FrameKind::kEnd) {
        cursor.ended = true;
        (void)cursor.end.ParseFromString(frame.payload);
        break;
      }
      v1::ExecutionStreamEvent message =
          cursor.Event(store::ExecutionStatus::kRunning, frame.time_us);
      if (frame.kind == warden_link::FrameKind::kStdout) {
        message.set_stdout(std::move(frame.payload));
      } else {
        message.set_stderr(std::move(frame.payload));
      }
      auto written = co_await out.Write(message);
      if (!written) co_return written;
    }
  }
  co_return Result<void>();
}

Awaitable<Result<void>> Executions::WriteExit(Cursor& cursor,
                                              rpc::Writer<v1::ExecutionStreamEvent>& out) {
  auto record = store_.GetExecution(cursor.id);
  if (!record) co_return Err(std::move(record).error());
  if (!store::IsFinal(record->status)) co_return Result<void>();  // not followed
  v1::ExecutionStreamEvent message = cursor.Event(record->status, record->finished_us);
  message.mutable_exit()->set_exit_code(record->exit_code);
  message.mutable_exit()->set_status(ToMessage(record->status));
  message.mutable_exit()->set_message(record->reason.ToString());
  if (record->reason.code) *message.mutable_exit()->mutable_why() = ToMessage(record->reason);
  for (int i = 0; i < std::min<int>(cursor.end.refused_size(), kMaxRefused); ++i)
    *message.mutable_exit()->add_refused() = ToDecision(cursor.end.refused(i));
  message.mutable_exit()->set_refused_more(cursor.end.refused_more());
  auto written = co_await out.Write(message);
  co_return written;
}

}  // namespace cleanroom::server
