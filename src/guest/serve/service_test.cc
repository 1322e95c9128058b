// The agent's service through a real channel, running real commands on this machine: everything but
// the machine below, which a test must leave alone.
// One file, because all of it needs one host machine, and GCC 12 the awkward helpers at its head.
#include "guest/serve/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "base/testing/result_matchers.h"
#include "guest/exec/execution.h"
#include "http/byte_stream.h"
#include "os/file.h"
#include "os/process.h"
#include "os/socket.h"
#include "rpc/client.h"
#include "rpc/server.h"

namespace cleanroom::guest {
namespace {

using namespace internal::v1;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

using Stream = rpc::ClientStream<ExecInput, ExecOutput>;

std::vector<std::string> FileNames() { return {"/file", "/empty", "/missing", ""}; }

class HostMachine : public Machine {
 public:
  Result<Root> Prepare(const PrepareRequest&) override {
    ++prepared;
    return Root::Open("/");
  }
  Result<void> Mount(const MountRequest&, const Root&) override { return {}; }
  Result<std::string> UpperOf(const std::string&) const override {
    return Err(ErrorCode::kNotFound, "no such folder");
  }
  Result<void> DropCaches() override {
    ++caches_dropped;
    return {};
  }
  Result<void> Identify(const ConfigureRequest&, const Root&) override {
    ++identified;
    return {};
  }
  Result<void> AdjustClock(int64_t) override { return {}; }
  void SignalAll(int signal) override { signals.push_back(signal); }
  void Quiesce() override { quiesced = true; }
  std::vector<int> signals;
  bool quiesced = false;
  int prepared = 0;
  int identified = 0;
  int caches_dropped = 0;
};

struct Ran {
  bool started = false;
  std::string out;
  std::string err;
  ExecExit exit;
};

// Not a list: GCC 12 cannot have an initializer list in a coroutine.
template <typename... Arguments>
ExecInput Start(Arguments... arguments) {
  ExecInput input;
  (input.mutable_start()->add_argv(arguments), ...);
  return input;
}

ExecInput WithStdin(ExecInput input) {
  input.mutable_start()->set_stdin(true);
  return input;
}

ExecInput Stdin(std::string data) {
  ExecInput input;
  input.set_stdin(std::move(data));
  return input;
}

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest()
      : reaper_(Reaper::Create(context_.get_executor()).value()),
        service_(context_.get_executor(), machine_, *reaper_,
                 {.ptmx_path = "/dev/ptmx",
                  .cgroup_path = "/nonexistent",
                  .version = "test",
                  .change_user = geteuid() == 0}),
        server_(router_, {}, nullptr),
        tasks_(context_.get_executor()) {
    signal(SIGPIPE, SIG_IGN);
    service_.Register(router_);
    tasks_.Spawn(reaper_->Run());
    Connect();
  }

  void Connect() {
    auto pair = os::SocketPair().value();
    tasks_.Spawn(server_.Serve(http::AdoptSocket(context_.get_executor(), pair.first.release())));
    channel_ =
        rpc::Channel::Create(http::AdoptSocket(context_.get_executor(), pair.second.release()), {});
  }

  // Runs the loop until the coroutine has ended; fails the test after 30 seconds.
  void Await(Awaitable<void> test) {
    bool done = false;
    tasks_.Spawn(Then(std::move(test), done));
    const auto limit = steady_clock::now() + std::chrono::seconds(30);
    while (!done && steady_clock::now() < limit) context_.run_one_for(std::chrono::seconds(1));
    ASSERT_TRUE(done) << "the test hangs";
  }
  static Awaitable<void> Then(Awaitable<void> test, bool& done) {
    co_await std::move(test);
    done = true;
  }

  void TearDown() override {
    Await(channel_->Close());
    tasks_.Cancel();
    const auto limit = steady_clock::now() + std::chrono::seconds(10);
    while (tasks_.size() > 0 && steady_clock::now() < limit) {
      context_.run_one_for(std::chrono::seconds(1));
    }
    ASSERT_EQ(tasks_.size(), 0U);
  }

  GuestStub guest() { return GuestStub(*channel_); }

  Awaitable<void> Configure() {
    ConfigureRequest request;
    request.set_hostname("box");
    request.add_env("PATH=/usr/bin:/bin");
    request.add_env("FROM=image");
    auto response = co_await guest().Configure(request);
    EXPECT_THAT(response, IsOk());
    if (response) {
      EXPECT_EQ(response->agent_version(), "test");
    }
  }

  Awaitable<Stream> Open(ExecInput start) {
    auto stream = co_await guest().Exec();
    EXPECT_TRUE(stream);
    auto written = co_await stream->Write(start);
    EXPECT_TRUE(written);
    co_return std::move(*stream);
  }

  // Reads the stream to its end.
  static Awaitable<Ran> Collect(Stream& stream) {
    Ran ran;
    bool exited = false;
    for (;;) {
      auto next = co_await stream.Next();
      EXPECT_THAT(next, IsOk());
      if (!next || !*next) break;
      EXPECT_FALSE(exited) << "a message after the exit";
      const ExecOutput& output = **next;
      EXPECT_LE(output.stdout().size(), kOutputChunkBytes);
      ran.started = ran.started || output.has_started();
      ran.out += output.stdout();
      ran.err += output.stderr();
      if (output.has_exit()) {
        ran.exit = output.exit();
        exited = true;
      }
    }
    EXPECT_TRUE(exited);
    co_return ran;
  }
  static Awaitable<void> CollectInto(Stream& stream, Ran& ran) {
    Ran collected = co_await Collect(stream);
    ran = std::move(collected);
  }
  Awaitable<Ran> Run(ExecInput start) {
    Stream stream = co_await Open(std::move(start));
    Ran ran = co_await Collect(stream);
    co_return ran;
  }
  // Reads until stdout has shown `text`.
  static Awaitable<void> WaitFor(Stream& stream, std::string text) {
    std::string seen;
    while (seen.find(text) == std::string::npos) {
      auto next = co_await stream.Next();
      EXPECT_TRUE(next && *next) << "the stream ended before " << text << ": " << seen;
      if (!next || !*next) co_return;
      seen += (*next)->stdout();
    }
  }

  asio::io_context context_{1};
  HostMachine machine_;
  std::unique_ptr<Reaper> reaper_;
  rpc::Router router_;
  GuestService service_;
  rpc::Server server_;
  TaskScope tasks_;
  std::unique_ptr<rpc::Channel> channel_;

 public:
  // The tests' bodies: coroutines are named functions.
  Awaitable<void> ConfigureFirst();
  Awaitable<void> Rehearse();
  Awaitable<void> Separate();
  Awaitable<void> Failures();
  Awaitable<void> Signals();
  Awaitable<void> Big();
  Awaitable<void> StdinRules();
  Awaitable<void> TerminalTest();
  Awaitable<void> Background();
  Awaitable<void> Chatty();
  Awaitable<void> Cancel();
  Awaitable<void> Lost();
  Awaitable<void> Many();
  Awaitable<void> Files();
  Awaitable<void> ShutDown();
};

Awaitable<void> ServiceTest::ConfigureFirst() {
  Stream stream = co_await Open(Start("true"));
  auto next = co_await stream.Next();
  EXPECT_EQ(next.error().code(), ErrorCode::kFailedPrecondition);
  co_await Configure();
  auto again = co_await guest().Configure({});
  EXPECT_EQ(again.error().code(), ErrorCode::kFailedPrecondition);
}
TEST_F(ServiceTest, ConfigureComesFirstAndOnce) { Await(ConfigureFirst()); }

Awaitable<void> ServiceTest::Rehearse() {
  service_.UsePrepared(*Root::Open("/"));
  ConfigureRequest request;
  request.set_hostname("nobody");
  request.set_rehearsal(true);
  for (int i = 0; i < 2; ++i) {
    auto response = co_await guest().Configure(request);
    EXPECT_THAT(response, IsOk());
    const Ran ran = co_await Run(Start("/bin/sh", "-c", "true"));
    EXPECT_EQ(ran.exit.exit_code(), 0);
  }
  EXPECT_EQ(machine_.prepared, 0) << "it was prepared at its boot";
  co_await Configure();
  EXPECT_EQ(machine_.identified, 3);
  EXPECT_EQ(machine_.caches_dropped, 0);
  auto again = co_await guest().Configure(request);
  EXPECT_FALSE(again);
}
TEST_F(ServiceTest, APreparedMachineIsRehearsedBeforeItIsConfiguredOnce) { Await(Rehearse()); }

Awaitable<void> ServiceTest::Separate() {
  co_await Configure();
  ExecInput start = Start("sh", "-c", "echo $FROM $HOME $HOSTNAME; pwd; echo err >&2; exit 3");
  start.mutable_start()->add_env("FROM=request");
  start.mutable_start()->add_env("HOME=/h");
  start.mutable_start()->set_workdir("/usr");
  const Ran ran = co_await Run(start);
  EXPECT_TRUE(ran.started);
  EXPECT_EQ(ran.out, "request /h box\n/usr\n");
  EXPECT_EQ(ran.err, "err\n");
  EXPECT_EQ(ran.exit.exit_code(), 3);
  EXPECT_EQ(ran.exit.signal(), 0);
}
TEST_F(ServiceTest, StreamsEnvironmentWorkdirAndCode) { Await(Separate()); }

Awaitable<void> ServiceTest::Failures() {
  co_await Configure();
  const Ran missing = co_await Run(Start("no-such-program"));
  EXPECT_FALSE(missing.started);
  EXPECT_EQ(missing.exit.exit_code(), 127);
  EXPECT_THAT(missing.exit.message(), HasSubstr("no-such-program"));
  const Ran unusable = co_await Run(Start("/etc/passwd"));
  EXPECT_EQ(unusable.exit.exit_code(), 126);
  const Ran nul = co_await Run(Start("echo", std::string("a\0b", 3)));
  EXPECT_EQ(nul.exit.exit_code(), 126);
  ExecInput as_nobody = Start("true");
  as_nobody.mutable_start()->set_user("no-such-user");
  const Ran nobody = co_await Run(as_nobody);
  EXPECT_EQ(nobody.exit.exit_code(), 126);
  EXPECT_THAT(nobody.exit.message(), HasSubstr("no-such-user"));
  Stream stream = co_await Open(Stdin("before start"));
  auto next = co_await stream.Next();
  EXPECT_EQ(next.error().code(), ErrorCode::kInvalidArgument);
}
TEST_F(ServiceTest, CommandsThatCannotRunSayWhy) { Await(Failures()); }

Awaitable<void> ServiceTest::Signals() {
  co_await Configure();
  Stream stream =
      co_await Open(Start("sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done"));
  co_await WaitFor(stream, "up\n");
  ExecInput term;
  term.set_signal(SIGTERM);
  (void)co_await stream.Write(term);
  const Ran trapped = co_await Collect(stream);
  EXPECT_EQ(trapped.exit.exit_code(), 5);
  const Ran killed = co_await Run(Start("sh", "-c", "kill -9 $$"));
  EXPECT_EQ(killed.exit.signal(), SIGKILL);
  EXPECT_EQ(killed.exit.exit_code(), 137);
}
TEST_F(ServiceTest, SignalsAndSignalDeaths) { Await(Signals()); }

Awaitable<void> ServiceTest::Big() {
  co_await Configure();
  Stream stream = co_await Open(WithStdin(Start("cat")));
  // More than all pipes and windows hold, so that both directions must flow at once.
  std::string sent;
  TaskScope reading(context_.get_executor());
  Ran ran;
  reading.Spawn(CollectInto(stream, ran));
  uint32_t state = 1;
  for (int i = 0; i < 80; ++i) {
    std::string block(100'000, '\0');
    for (char& c : block) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    auto written = co_await stream.Write(Stdin(block));
    EXPECT_TRUE(written);
    sent += block;
  }
  (void)co_await stream.CloseWrite();
  co_await reading.Join();
  EXPECT_EQ(ran.out.size(), sent.size());
  EXPECT_TRUE(ran.out == sent);
  EXPECT_EQ(ran.exit.exit_code(), 0);
}
TEST_F(ServiceTest, BinaryDataBothWaysUnchanged) { Await(Big()); }

Awaitable<void> ServiceTest::StdinRules() {
  co_await Configure();
  // None asked for: at its end from the start.
  const Ran none = co_await Run(Start("cat"));
  EXPECT_EQ(none.out, "");
  // Closed by message; what comes after is dropped.
  Stream stream = co_await Open(WithStdin(Start("sh", "-c", "cat; echo end")));
  (void)co_await stream.Write(Stdin("abc"));
  ExecInput close;
  close.set_close_stdin(true);
  (void)co_await stream.Write(close);
  (void)co_await stream.Write(Stdin("late"));
  const Ran closed = co_await Collect(stream);
  EXPECT_EQ(closed.out, "abcend\n");
  // A command that does not read its stdin ends all the same, and its code is its own.
  Stream deaf =
      co_await Open(WithStdin(Start("sh", "-c", "exec <&-; echo closed; read x; exit 4")));
  for (int i = 0; i < 20; ++i) {
    auto written = co_await deaf.Write(Stdin(std::string(100'000, 'x')));
    if (!written) break;
  }
  const Ran unread = co_await Collect(deaf);
  EXPECT_EQ(unread.exit.exit_code(), 4);
}
TEST_F(ServiceTest, StdinEndsAndIsDroppedWhenUnread) { Await(StdinRules()); }

Awaitable<void> ServiceTest::TerminalTest() {
  co_await Configure();
  ExecInput start =
      WithStdin(Start("sh", "-c",
                      "tty; stty size; echo $TERM; trap 'stty size' WINCH; "
                      "echo ready; until read line; do :; done; echo got $line; cat; echo over"));
  start.mutable_start()->set_tty(true);
  start.mutable_start()->mutable_window()->set_rows(33);
  start.mutable_start()->mutable_window()->set_columns(99);
  Stream stream = co_await Open(start);
  co_await WaitFor(stream, "33 99\r\nxterm\r\nready\r\n");
  ExecInput resize;
  resize.mutable_resize()->set_rows(11);
  resize.mutable_resize()->set_columns(22);
  (void)co_await stream.Write(resize);
  // dash runs the trap once the read is over.
  (void)co_await stream.Write(Stdin("hello\n"));
  co_await WaitFor(stream, "got hello\r\n");
  ExecInput close;
  close.set_close_stdin(true);
  (void)co_await stream.Write(close);
  const Ran ran = co_await Collect(stream);
  EXPECT_THAT(ran.out, HasSubstr("over\r\n"));
  EXPECT_EQ(ran.exit.exit_code(), 0);
  // The size after the resize, and the interrupt character reaching the command.
  ExecInput second = WithStdin(Start("sh", "-c", "stty size; while :; do sleep 0.01; done"));
  second.mutable_start()->set_tty(true);
  Stream interrupted = co_await Open(second);
  (void)co_await interrupted.Write(resize);
  co_await WaitFor(interrupted, "\r\n");
  (void)co_await interrupted.Write(Stdin("\x03"));
  const Ran after = co_await Collect(interrupted);
  EXPECT_EQ(after.exit.signal(), SIGINT);
}
TEST_F(ServiceTest, TerminalsHaveSizeInputAndEnd) { Await(TerminalTest()); }

Awaitable<void> ServiceTest::Background() {
  co_await Configure();
  const auto begin = steady_clock::now();
  // 300 kB lie in pipes when the shell is gone; the child keeps them open.
  Stream stream =
      co_await Open(Start("sh", "-c", "sleep 100 & echo $!; head -c 200000 /dev/zero; exit 6"));
  const Ran ran = co_await Collect(stream);
  EXPECT_EQ(ran.exit.exit_code(), 6);
  const pid_t left = std::stoi(ran.out);
  EXPECT_EQ(ran.out.size(), std::to_string(left).size() + 1 + 200000);
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(20));
  // It goes on living.
  EXPECT_EQ(kill(left, SIGKILL), 0);
}
TEST_F(ServiceTest, ProcessesLeftBehindDoNotHoldTheExit) { Await(Background()); }

Awaitable<void> ServiceTest::Chatty() {
  co_await Configure();
  const Ran ran = co_await Run(Start("sh", "-c", "(while echo y; do :; done) & exit 0"));
  EXPECT_EQ(ran.exit.exit_code(), 0);
  EXPECT_FALSE(ran.out.empty());
}
TEST_F(ServiceTest, ATalkativeProcessLeftBehindIsCutOff) { Await(Chatty()); }

Awaitable<void> ServiceTest::Cancel() {
  co_await Configure();
  Stream stream = co_await Open(Start("sh", "-c", "sleep 100 & echo $! $$; wait"));
  auto next = co_await stream.Next();
  next = co_await stream.Next();
  int child = 0;
  int shell = 0;
  EXPECT_EQ(sscanf((*next)->stdout().c_str(), "%d %d", &child, &shell), 2);
  EXPECT_EQ(kill(child, 0), 0);
  stream.Cancel();
  while (kill(child, 0) == 0 || kill(shell, 0) == 0) co_await reaper_->collected().Wait();
}
TEST_F(ServiceTest, CancellingKillsTheWholeGroup) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  Await(Cancel());
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

Awaitable<void> ServiceTest::Lost() {
  co_await Configure();
  Stream stream = co_await Open(Start("sh", "-c", "echo $$; exec sleep 100"));
  auto next = co_await stream.Next();
  next = co_await stream.Next();
  const pid_t pid = std::stoi((*next)->stdout());
  co_await channel_->Close();
  while (kill(pid, 0) == 0) co_await reaper_->collected().Wait();
  // The service goes on for who connects next.
  Connect();
  const Ran ran = co_await Run(Start("echo", "again"));
  EXPECT_EQ(ran.out, "again\n");
}
TEST_F(ServiceTest, LosingTheConnectionKillsAndServiceGoesOn) { Await(Lost()); }

Awaitable<void> ServiceTest::Many() {
  co_await Configure();
  std::vector<Stream> streams;
  for (int i = 0; i < 20; ++i) {
    Stream stream = co_await Open(WithStdin(Start("sh", "-c", "read x; echo $x; exit $x")));
    streams.push_back(std::move(stream));
  }
  for (int i = 19; i >= 0; --i) {
    (void)co_await streams[i].Write(Stdin(std::to_string(i) + "\n"));
    const Ran ran = co_await Collect(streams[i]);
    EXPECT_EQ(ran.out, std::to_string(i) + "\n");
    EXPECT_EQ(ran.exit.exit_code(), i);
  }
}
TEST_F(ServiceTest, ManyAtOnce) { Await(Many()); }

Awaitable<void> ServiceTest::Files() {
  co_await Configure();
  const auto folder = os::TempDir::Create().value();
  const std::string contents(150'000, 'f');
  EXPECT_TRUE(os::WriteFileAtomic(folder.path() + "/file", contents));
  EXPECT_TRUE(os::WriteFileAtomic(folder.path() + "/empty", ""));
  const std::vector<std::string> names = FileNames();
  for (const std::string& name : names) {
    ReadFileRequest request;
    request.set_path(folder.path() + name);
    request.set_max_bytes(150'000);
    auto stream = co_await guest().ReadFile(request);
    std::string data;
    int64_t size = -1;
    Result<void> ended;
    for (;;) {
      auto next = co_await stream->Next();
      if (!next) {
        ended = Err(std::move(next).error());
        break;
      }
      if (!*next) break;
      if (size < 0) size = (*next)->size();
      data += (*next)->data();
    }
    if (name == "/file") {
      EXPECT_TRUE(data == contents);
      EXPECT_EQ(size, 150'000);
    } else if (name == "/empty") {
      EXPECT_TRUE(ended);
      EXPECT_EQ(size, 0);
    } else {
      EXPECT_EQ(ended.error().code(),
                name.empty() ? ErrorCode::kInvalidArgument : ErrorCode::kNotFound);
    }
  }
  ReadFileRequest small;
  small.set_path(folder.path() + "/file");
  small.set_max_bytes(149'999);
  auto stream = co_await guest().ReadFile(small);
  auto next = co_await stream->Next();
  EXPECT_EQ(next.error().code(), ErrorCode::kResourceExhausted);
}
TEST_F(ServiceTest, FilesAreReadWithinTheirLimit) { Await(Files()); }

Awaitable<void> ServiceTest::ShutDown() {
  co_await Configure();
  auto response = co_await guest().Shutdown({});
  EXPECT_TRUE(response);
  EXPECT_TRUE(service_.ended());
  EXPECT_TRUE(machine_.quiesced);
  EXPECT_THAT(machine_.signals, ::testing::ElementsAre(SIGTERM, SIGCONT, SIGKILL));
  Stream stream = co_await Open(Start("true"));
  auto next = co_await stream.Next();
  EXPECT_EQ(next.error().code(), ErrorCode::kUnavailable);
}
TEST_F(ServiceTest, ShutdownEndsEverythingThenAnswers) { Await(ShutDown()); }

}  // namespace
}  // namespace cleanroom::guest
