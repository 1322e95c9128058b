// Executions against an agent that speaks the real protocol over a socket pair and behaves as each
// case needs: what a well-meaning guest does in a moment that a test cannot choose, and what a
// hostile one does.
#include "warden/execution.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/id.h"
#include "cleanroom/internal/v1/guest.fake.h"
#include "rpc/testing/link.h"

namespace cleanroom::warden {
namespace {

using rpc::CallContext;
using rpc::Reader;
using rpc::Writer;
using std::chrono::milliseconds;

pb::ExecOutput Exit(int code, int signal = 0) {
  pb::ExecOutput output;
  output.mutable_exit()->set_exit_code(code);
  output.mutable_exit()->set_signal(signal);
  return output;
}

pb::ExecOutput Stdout(std::string text) {
  pb::ExecOutput output;
  output.set_stdout(std::move(text));
  return output;
}

class ScriptedGuest final : public pb::FakeGuestService {
 public:
  // "cat": echoes stdin, exits 0 at its end. "hang": waits until it is killed. "rude": ends without
  // an exit. "started": says only that it has started, and exits 0 after a while. "split": says
  // something on both streams and exits 3.
  Awaitable<Result<void>> Exec(CallContext&, Reader<pb::ExecInput>& in,
                               Writer<pb::ExecOutput>& out) override {
    auto first = co_await in.Next();
    if (!first || !*first) co_return Err(ErrorCode::kInvalidArgument, "no start");
    const std::string program = (*first)->start().argv(0);
    if (program == "rude") co_return Result<void>();
    if (program == "started") {
      pb::ExecOutput started;
      started.mutable_started()->set_pid(1);
      auto written = co_await out.Write(started);
      auto slept = co_await SleepFor(milliseconds(60));
      if (!slept) co_return slept;
      written = co_await out.Write(Exit(0));
      co_return written;
    }
    if (program == "split") {
      auto written = co_await out.Write(Stdout("out"));
      pb::ExecOutput error;
      error.set_stderr("err");
      written = co_await out.Write(error);
      written = co_await out.Write(Exit(3));
      co_return written;
    }
    if (program == "obedient") {
      while (signals.empty()) {
        auto slept = co_await SleepFor(milliseconds(1));
        if (!slept) co_return slept;
      }
      auto written = co_await out.Write(Exit(128 + signals.back(), signals.back()));
      co_return written;
    }
    while (true) {
      auto next = co_await in.Next();
      if (!next) co_return Err(std::move(next).error());
      if (!*next || program == "hang") {
        auto slept = co_await SleepFor(std::chrono::hours(1));
        co_return slept;
      }
      if ((*next)->close_stdin()) {
        auto written = co_await out.Write(Exit(0));
        co_return written;
      }
      auto written = co_await out.Write(Stdout((*next)->stdin()));
      if (!written) co_return written;
    }
  }
  // Takes every signal, but from a command in a guest that has "frozen".
  Awaitable<Result<pb::ControlResponse>> Control(CallContext&,
                                                 pb::ControlRequest request) override {
    while (frozen) {  // NOLINT(bugprone-infinite-loop): until the call is cancelled
      auto slept = co_await SleepFor(milliseconds(10));
      if (!slept) co_return Err(std::move(slept).error());
    }
    signals.push_back(request.input().signal());
    co_return pb::ControlResponse();
  }

  bool frozen = false;
  std::vector<int> signals;
};

// Collects what a follower is sent.
class Collected : public rpc::MessageSink {
 public:
  Awaitable<Result<void>> Write(const rpc::Message& message) override {
    const auto& event = static_cast<const pb::AttachEvent&>(message);
    out += event.stdout();
    err += event.stderr();
    if (event.has_end()) end = event.end();
    offset = event.offset();
    co_return Result<void>();
  }
  std::string out, err;
  pb::ExecutionEnd end;
  int64_t offset = 0;
};

class ExecutionTest : public testing::Test {
 protected:
  ExecutionTest() {
    std::string name = testing::TempDir() + "execXXXXXX";
    dir_ = mkdtemp(name.data());
    guest_.Register(router_);
    link_ = std::make_unique<rpc::TestLink>(router_);
  }
  ~ExecutionTest() override {
    link_.reset();
    std::filesystem::remove_all(dir_);
  }

  std::shared_ptr<Execution> Make(const std::string& program,
                                  milliseconds timeout = milliseconds(0)) {
    pb::ExecStart start;
    start.add_argv(program);
    start.set_stdin(true);
    const std::string id = NewId();
    return Execution::Create(link_->io().get_executor(), id, dir_ / id, start,
                             {.timeout = timeout, .start = start_limit_, .control = control_limit_})
        .value();
  }
  Collected Replay(Execution& execution) {
    Collected collected;
    link_->Run(FollowInto(execution, warden_link::kSpoolStart, collected));
    return collected;
  }
  static Awaitable<void> FollowInto(Execution& execution, int64_t offset, Collected& collected) {
    Writer<pb::AttachEvent> writer(collected);
    auto followed = co_await execution.Follow(offset, true, writer);
    EXPECT_TRUE(followed.has_value());
  }

  std::filesystem::path dir_;
  milliseconds start_limit_{30'000};
  milliseconds control_limit_{5000};
  ScriptedGuest guest_;
  rpc::Router router_;
  std::unique_ptr<rpc::TestLink> link_;
};

TEST_F(ExecutionTest, RecordsBothStreamsAndTheExit) {
  const auto execution = Make("split");
  link_->Run(execution->Run(link_->channel()));
  EXPECT_TRUE(execution->ended());
  const Collected all = Replay(*execution);
  EXPECT_EQ(all.out, "out");
  EXPECT_EQ(all.err, "err");
  EXPECT_EQ(all.end.cause(), pb::ExecutionEnd::CAUSE_EXITED);
  EXPECT_EQ(all.end.exit_code(), 3);
  Collected end;
  link_->Run(FollowInto(*execution, warden_link::kOnlyTheEnd, end));
  EXPECT_EQ(end.out + end.err, "");
  EXPECT_EQ(end.end.exit_code(), 3);
}

Awaitable<void> FeedCat(Execution& execution, rpc::Channel& agent) {
  for (int i = 0; i < 100; ++i) {
    pb::ExecInput input;
    input.set_stdin(std::string(64 << 10, static_cast<char>('a' + i % 26)));
    auto sent = co_await execution.Input(agent, std::move(input));
    EXPECT_TRUE(sent.has_value());
  }
  pb::ExecInput close;
  close.set_close_stdin(true);
  auto sent = co_await execution.Input(agent, close);
  EXPECT_TRUE(sent.has_value());
  pb::ExecInput late;
  late.set_stdin("late");
  sent = co_await execution.Input(agent, std::move(late));
  EXPECT_FALSE(sent.has_value());
}

TEST_F(ExecutionTest, InputFlowsAndFollowersSeeAllOfIt) {
  const auto execution = Make("cat");
  Collected early;
  link_->scope().Spawn(FeedCat(*execution, link_->channel()));
  link_->scope().Spawn(FollowInto(*execution, warden_link::kSpoolStart, early));
  link_->Run(execution->Run(link_->channel()));
  const Collected late = Replay(*execution);
  EXPECT_EQ(late.out.size(), size_t{100} * (64 << 10));
  EXPECT_EQ(late.end.exit_code(), 0);
}

Awaitable<void> Fill(Execution& execution, rpc::Channel& agent, int& taken) {
  for (int i = 0; i < 100; ++i) {
    pb::ExecInput input;
    input.set_stdin(std::string(64 << 10, 'x'));
    auto sent = co_await execution.Input(agent, std::move(input));
    if (!sent) co_return;
    ++taken;
  }
}

Awaitable<void> CloseInput(Execution& execution, rpc::Channel& agent, ErrorCode& outcome) {
  pb::ExecInput close;
  close.set_close_stdin(true);
  auto sent = co_await execution.Input(agent, std::move(close));
  if (!sent) outcome = sent.error().code();
}

// Two clients, one after the other, who would close the input of a command that reads nothing, and
// go away while they wait.
Awaitable<void> GoAwayTwice(Execution& execution, rpc::Channel& agent) {
  const auto executor = co_await asio::this_coro::executor;
  TaskScope filler(executor);
  int taken = 0;
  filler.Spawn(Fill(execution, agent, taken));
  for (int before = -1; before != taken;) {
    before = taken;
    auto slept = co_await SleepFor(milliseconds(20));
    EXPECT_TRUE(slept);
  }
  EXPECT_LT(taken, 100);
  for (int i = 0; i < 2; ++i) {
    ErrorCode outcome = ErrorCode::kInternal;
    TaskScope client(executor);
    client.Spawn(CloseInput(execution, agent, outcome));
    auto slept = co_await SleepFor(milliseconds(1));
    EXPECT_TRUE(slept);
    client.Cancel();
    co_await client.Join();
    EXPECT_EQ(outcome, ErrorCode::kCanceled) << i;
  }
  filler.Cancel();
  co_await filler.Join();
  execution.GiveUp(Error(ErrorCode::kCanceled, "the test is over"));
}

TEST_F(ExecutionTest, WhoGoesAwayWhileTheInputIsFullHasNotClosedIt) {
  const auto execution = Make("hang");
  link_->scope().Spawn(GoAwayTwice(*execution, link_->channel()));
  link_->Run(execution->Run(link_->channel()));
  EXPECT_TRUE(execution->ended());
}

TEST_F(ExecutionTest, TimeoutEndsWith124EvenWhenTheGuestIgnoresIt) {
  const auto execution = Make("obedient", milliseconds(5));
  link_->Run(execution->Run(link_->channel()));
  EXPECT_EQ(guest_.signals, std::vector<int>{SIGTERM});
  const Collected all = Replay(*execution);
  EXPECT_EQ(all.end.cause(), pb::ExecutionEnd::CAUSE_TIMED_OUT);
  EXPECT_EQ(all.end.exit_code(), 124);

  const auto deaf = Make("hang", milliseconds(5));
  link_->Run(deaf->Run(link_->channel()));
  EXPECT_EQ(Replay(*deaf).end.cause(), pb::ExecutionEnd::CAUSE_TIMED_OUT);
}

Awaitable<void> SendSignal(Execution& execution, rpc::Channel& agent) {
  pb::ExecInput input;
  input.set_signal(SIGINT);
  auto sent = co_await execution.Input(agent, std::move(input));
  EXPECT_TRUE(sent.has_value());
}

TEST_F(ExecutionTest, SignalledCommandIsCanceled) {
  const auto execution = Make("obedient");
  link_->scope().Spawn(SendSignal(*execution, link_->channel()));
  link_->Run(execution->Run(link_->channel()));
  const Collected all = Replay(*execution);
  EXPECT_EQ(all.end.cause(), pb::ExecutionEnd::CAUSE_CANCELED);
  EXPECT_EQ(all.end.exit_code(), 128 + SIGINT);
}

TEST_F(ExecutionTest, AGuestThatDoesNotTakeTheCommandIsNotWaitedFor) {
  start_limit_ = milliseconds(20);
  const auto execution = Make("hang");
  link_->Run(execution->Run(link_->channel()));
  const Collected all = Replay(*execution);
  EXPECT_EQ(all.end.cause(), pb::ExecutionEnd::CAUSE_LOST);
  EXPECT_EQ(all.end.exit_code(), 1);
  EXPECT_EQ(all.end.code(), "deadline_exceeded");
  EXPECT_EQ(all.end.message(), "the guest did not take the command within 0.02 s");
}

TEST_F(ExecutionTest, AQuietCommandIsNotTakenForOneThatNeverStarted) {
  start_limit_ = milliseconds(20);
  const auto execution = Make("started");
  link_->Run(execution->Run(link_->channel()));
  EXPECT_EQ(Replay(*execution).end.cause(), pb::ExecutionEnd::CAUSE_EXITED);
}

Awaitable<void> KillFrozen(Execution& execution, rpc::Channel& agent) {
  pb::ExecInput input;
  input.set_signal(SIGTERM);
  auto sent = co_await execution.Input(agent, std::move(input));
  EXPECT_FALSE(sent);
  EXPECT_EQ(sent ? ErrorCode::kInternal : sent.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_FALSE(execution.ended());
  pb::ExecInput kill;
  kill.set_signal(SIGKILL);
  sent = co_await execution.Input(agent, std::move(kill));
  EXPECT_TRUE(sent.has_value());
}

TEST_F(ExecutionTest, ACommandInAFrozenGuestCanBeKilled) {
  guest_.frozen = true;
  control_limit_ = milliseconds(20);
  const auto execution = Make("hang");
  link_->scope().Spawn(KillFrozen(*execution, link_->channel()));
  link_->Run(execution->Run(link_->channel()));
  const Collected all = Replay(*execution);
  EXPECT_EQ(all.end.cause(), pb::ExecutionEnd::CAUSE_CANCELED);
  EXPECT_EQ(all.end.exit_code(), 128 + SIGKILL);
}

TEST_F(ExecutionTest, StreamWithoutAnExitIsLost) {
  const auto execution = Make("rude");
  link_->Run(execution->Run(link_->channel()));
  EXPECT_EQ(Replay(*execution).end.cause(), pb::ExecutionEnd::CAUSE_LOST);
}

Awaitable<void> CloseSoon(rpc::Channel& channel) {
  auto slept = co_await SleepFor(milliseconds(5));
  EXPECT_TRUE(slept.has_value());
  co_await channel.Close();
}

TEST_F(ExecutionTest, LostLinkEndsTheCommand) {
  const auto execution = Make("hang");
  link_->scope().Spawn(CloseSoon(link_->channel()));
  link_->Run(execution->Run(link_->channel()));
  const Collected all = Replay(*execution);
  EXPECT_EQ(all.end.cause(), pb::ExecutionEnd::CAUSE_LOST);
  EXPECT_EQ(all.end.code(), "unavailable") << all.end.message();
}

}  // namespace
}  // namespace cleanroom::warden
