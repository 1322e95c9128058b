// The interactive terminal, seen through a real one: full-screen programs look as they do without a
// sandbox, keys, sizes and pastes arrive whole, and the user's terminal is given back whatever
// dies.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "support/daemon.h"
#include "support/program.h"
#include "support/tmux.h"

namespace cleanroom::test {
namespace {

using Json = nlohmann::json;

constexpr int kColumns = 80;
constexpr int kRows = 20;
// Takes the alternate screen, the mouse and the cursor, and gives nothing back.
constexpr char kSelfish[] =
    "printf '\\033[?1049h\\033[2J\\033[H\\033[?25l\\033[?1000h\\033[?1h\\033=\\033[31mSEL%s' FISH; "
    "exec sleep 1000";

std::string CommandLine(const std::filesystem::path& process) {
  std::ifstream file(process / "cmdline");
  std::string line((std::istreambuf_iterator<char>(file)), {});
  std::replace(line.begin(), line.end(), '\0', ' ');
  return line;
}

// The processes whose command line holds both words, the oldest first.
std::vector<pid_t> FindProcesses(const std::string& program, const std::string& word) {
  std::vector<pid_t> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string line = CommandLine(entry.path());
    if (line.find(program) != std::string::npos && line.find(word) != std::string::npos)
      out.push_back(std::stoi(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

class ConsoleTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    daemon_ = std::make_unique<Daemon>();
    image_ = BaseImage(*daemon_);
    sandbox_ = Create();
    // The same programs on both sides.
    std::ifstream busybox("/bin/busybox", std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(busybox)), {});
    ASSERT_FALSE(bytes.empty()) << "busybox-static is not installed";
    const Outcome copied = daemon_->Cli(
        {"exec", "--in", sandbox_, "--", "sh", "-c", "cat >/bin/busybox; chmod 755 /bin/busybox"},
        bytes);
    ASSERT_EQ(copied.code, 0) << copied.err;
  }
  static void TearDownTestSuite() { daemon_.reset(); }

  static std::string Create() {
    const Outcome created = daemon_->Cli({"sandbox", "create", "--image", image_});
    EXPECT_EQ(created.code, 0) << created.err;
    return created.out.substr(0, created.out.find('\n'));
  }
  static std::string Shell(const std::string& script, const std::string& input = "") {
    return daemon_->Cli({"exec", "--in", sandbox_, "--", "sh", "-c", script}, input).out;
  }
  static std::vector<std::string> Environment() {
    std::vector<std::string> env = daemon_->environment();
    env.push_back("PATH=" + RequiredEnv("CLEANROOM_BIN") + ":" + RequiredEnv("PATH"));
    return env;
  }
  static std::string Console(const std::string& command, const std::string& sandbox = sandbox_) {
    return "cleanroom console --in " + sandbox + " -- " + command;
  }
  // The program `cleanroom` that holds the console: the oldest, for its guard is its child.
  static pid_t Client(const std::string& sandbox) {
    const auto found = FindProcesses("cleanroom console", sandbox);
    EXPECT_FALSE(found.empty());
    return found.empty() ? 0 : found.front();
  }

  static std::unique_ptr<Daemon> daemon_;
  static std::string image_;
  static std::string sandbox_;
};

std::unique_ptr<Daemon> ConsoleTest::daemon_;
std::string ConsoleTest::image_;
std::string ConsoleTest::sandbox_;

TEST_F(ConsoleTest, FullScreenProgramsLookAsTheyDoWithoutASandbox) {
  std::string text;
  for (int i = 1; i <= 300; ++i) text += std::to_string(i) + " Zeile äöü 日本語 ✓ | und weiter\n";
  const os::TempDir folder = os::TempDir::Create().value();
  const std::string file = folder.path() + "/text";
  std::ofstream(file) << text;
  Shell("mkdir -p " + folder.path() + "; cat >" + file, text);

  Tmux here({}, kColumns, kRows);
  Tmux there(Environment(), kColumns, kRows);
  const std::string mode = there.Mode();
  there.Enter(Console("env PS1='host$ ' sh"));
  there.WaitUntil([&] { return there.Mode() != mode; }, "the console");
  here.Enter("clear; sh");
  const auto both = [&](const std::function<void(Tmux&)>& act) {
    act(here);
    act(there);
  };
  // Both settle on the same picture, which holds the text.
  const auto expect_same = [&](const std::string& mark) {
    const auto picture = [](const Tmux& tmux) {
      return tmux.Ask("#{cursor_x},#{cursor_y} cursor=#{cursor_flag} alternate=#{alternate_on}") +
             "\n" + tmux.Screen(Tmux::Attributes::kShow);
    };
    ASSERT_TRUE(here.WaitFor(mark));
    ASSERT_TRUE(there.WaitFor(mark));
    if (!there.WaitUntil([&] { return picture(here) == picture(there); }, "the same picture")) {
      FAIL() << "without a sandbox:\n" << picture(here) << "in the sandbox:\n" << picture(there);
    }
  };
  both([](Tmux& t) { t.Enter("export PS1='host$ ' TERM=screen; clear; echo go$((1 + 1))"); });
  expect_same("go2\nhost$");
  // By a short name: vi cuts its lines of status at the screen's width.
  both([&](Tmux& t) { t.Enter("cd " + folder.path() + "; clear; busybox vi text"); });
  expect_same("19 Zeile");
  both([](Tmux& t) { t.Key("PageDown"); });
  expect_same("30 Zeile");
  both([](Tmux& t) { t.Enter("/250"); });
  expect_same("250 Zeile");
  both([](Tmux& t) { t.Type("Oneue Zeile: größer"); });
  both([](Tmux& t) { t.Key("Escape"); });
  expect_same("- text");  // no longer inserting
  both([](Tmux& t) { t.Resize(61, 13); });
  both([](Tmux& t) { t.Key("C-l"); });
  expect_same("größer");
  both([](Tmux& t) { t.Enter(":wq"); });
  expect_same("host$");
  both([&](Tmux& t) { t.Enter("busybox less -N text"); });
  expect_same("11 11 Zeile");
  both([](Tmux& t) { t.Key("G"); });
  expect_same("300 Zeile");
  both([](Tmux& t) { t.Resize(100, 30); });
  both([](Tmux& t) { t.Enter("/größer"); });
  expect_same("größer");
  both([](Tmux& t) { t.Key("q"); });
  expect_same("host$");
  both([](Tmux& t) { t.Enter("clear; echo over"); });
  expect_same("over");
  std::ifstream saved(file);
  const std::string expected((std::istreambuf_iterator<char>(saved)), {});
  EXPECT_NE(expected, text);
  EXPECT_EQ(Shell("cat " + file), expected);
  // One that paints by itself, all the time.
  there.Enter("busybox top -d 1");
  there.WaitFor("Load average");
  there.Key("q");
  there.WaitFor("host$");
  there.Enter("exit 7");
  there.WaitUntil([&] { return there.Mode() == mode; }, "the console's end");
  there.Enter("echo \"code=$?\"");
  there.WaitFor("code=7");
}

TEST_F(ConsoleTest, SizesFollow) {
  Tmux tmux(Environment(), kColumns, kRows);
  const std::string before = tmux.Mode();
  tmux.Enter("cleanroom exec --tty --in " + sandbox_ +
             " -- sh -c 'trap \"stty size\" WINCH; stty size; while :; do sleep 0.1; done'");
  tmux.WaitFor("20 80");
  tmux.Resize(132, 43);
  tmux.WaitFor("43 132");
  // One that comes while the client is stopped is told once it goes on.
  const pid_t client = FindProcesses("cleanroom exec --tty", sandbox_).front();
  ASSERT_EQ(kill(client, SIGSTOP), 0);
  tmux.Resize(70, 17);
  ASSERT_EQ(kill(client, SIGCONT), 0);
  // The shell's terminal is still raw: it takes a line feed for the end of a line.
  tmux.Type("fg");
  tmux.Key("C-j");
  tmux.WaitFor("17 70");
  tmux.Key("C-c");
  tmux.Key("C-\\");
  tmux.WaitUntil([&] { return tmux.Mode() == before; }, "the former mode");
}

TEST_F(ConsoleTest, KeysReachTheProgramAndNotTheClient) {
  Tmux tmux(Environment(), kColumns, kRows);
  const std::string before = tmux.Mode();
  tmux.Enter(Console("bash --norc"));
  tmux.WaitFor("bash-");
  tmux.Enter("PS1='guest$ '; clear; echo re''ady; cat");
  tmux.WaitFor("ready");
  // A whole character is erased, not one of its bytes.
  tmux.Type("naïvé");
  tmux.Key("BSpace");
  tmux.Enter("e 日本");
  tmux.WaitFor("naïve 日本\nnaïve 日本");
  tmux.Key("C-c");
  tmux.WaitFor("^C\nguest$");
  tmux.Enter("sh -c 'echo up$((1 + 1)); exec sleep 1000'");
  tmux.WaitFor("up2");
  tmux.Key("C-z");
  tmux.WaitFor("Stopped");
  tmux.Enter("kill %1; clear; trap 'echo quit' QUIT; tput cols");
  tmux.WaitFor("80\nguest$");
  tmux.Enter(
      "sh -c 'trap \"echo got$((4 + 1)); exit 3\" INT; echo on$((2 + 2)); while :; do sleep 0.1; "
      "done'");
  tmux.WaitFor("on4");
  tmux.Key("C-c");
  tmux.WaitFor("got5");
  tmux.WaitFor("got5\nguest$");
  tmux.Key("C-d");
  tmux.WaitUntil([&] { return tmux.Mode() == before; }, "the console's end");
  tmux.Enter("echo \"code=$?\"");
  tmux.WaitFor("code=3");
}

TEST_F(ConsoleTest, AMebibyteIsPastedWithoutLoss) {
  const os::TempDir folder = os::TempDir::Create().value();
  const std::string file = folder.path() + "/paste";
  std::string text;
  std::mt19937 random(7);
  const std::vector<std::string> words = {"plain", "wörter", "日本語", "$(x)",
                                          "`",     "\\",     "😀",     "''"};
  while (text.size() < (1U << 20)) {
    for (unsigned n = random() % 20; n > 0; --n) text += words[random() % words.size()] + ' ';
    text += '\n';
  }
  std::ofstream(file, std::ios::binary) << text;

  Tmux tmux(Environment(), kColumns, kRows);
  const std::string before = tmux.Mode();
  tmux.Enter(Console("sh -c 'cat >/root/lines; clear; echo lines $((1 + 1))'"));
  tmux.WaitUntil([&] { return tmux.Mode() != before; }, "the console");
  tmux.Paste(file);
  tmux.Key("C-d");
  tmux.WaitFor("lines 2");
  EXPECT_TRUE(Shell("cat /root/lines") == text);

  // In raw mode, to a program that does not read at once.
  tmux.Enter("clear");
  tmux.Enter(Console("sh -c 'stty raw -echo; echo read$((8 + 1)); sleep 1; head -c " +
                     std::to_string(text.size()) +
                     " >/root/raw; stty sane; clear; echo raw $((1 + 1))'"));
  tmux.WaitFor("read9");
  tmux.Paste(file);
  tmux.WaitFor("raw 2");
  std::string typed = text;
  std::replace(typed.begin(), typed.end(), '\n', '\r');
  EXPECT_TRUE(Shell("cat /root/raw") == typed);
}

// The terminal after something died in the middle of a full-screen program.
class ConsoleEndTest : public ConsoleTest {
 protected:
  ConsoleEndTest() : tmux_(Environment(), kColumns, kRows), before_(tmux_.Mode()) {
    tmux_.Enter("echo earlier");
  }

  void Begin(const std::string& sandbox, const std::string& script = kSelfish) {
    tmux_.Enter(Console("sh -c \"" + script + "\"", sandbox));
    ASSERT_TRUE(tmux_.WaitFor("SELFISH"));
    ASSERT_NE(tmux_.Mode(), before_);
    ASSERT_EQ(tmux_.Ask(kScreenModes), "1 0 1 1 1");
  }

  void ExpectRestored() {
    tmux_.WaitUntil([&] { return tmux_.Mode() == before_; }, "the former mode");
    tmux_.WaitUntil([&] { return tmux_.Ask(kScreenModes) == "0 1 0 0 0"; }, "the former screen");
    EXPECT_TRUE(tmux_.Shows("earlier"));
    EXPECT_FALSE(tmux_.Shows("SELFISH\n"));
    // It echoes, and shells go on.
    tmux_.Enter("echo code=$?, 'al''l well'");
    tmux_.WaitFor("all well");
    EXPECT_EQ(tmux_.Screen(Tmux::Attributes::kShow).find("\x1b[31m"), std::string::npos);
  }

  static constexpr char kScreenModes[] =
      "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_cursor_flag} #{keypad_flag}";
  Tmux tmux_;
  std::string before_;
};

TEST_F(ConsoleEndTest, OfTheMachine) {
  const std::string sandbox = Create();
  Begin(sandbox);
  ASSERT_EQ(kill(FindProcesses("qemu-system", sandbox).at(0), SIGKILL), 0);
  ExpectRestored();
  tmux_.WaitFor("cleanroom: unavailable: ");
  tmux_.WaitFor("code=1");
}

TEST_F(ConsoleEndTest, OfTheWarden) {
  const std::string sandbox = Create();
  Begin(sandbox);
  ASSERT_EQ(kill(FindProcesses("cleanroom-warden", sandbox).at(0), SIGKILL), 0);
  ExpectRestored();
  tmux_.WaitFor("cleanroom: unavailable: the sandbox ended");
  tmux_.WaitFor("code=1");
}

TEST_F(ConsoleEndTest, OfTheSandboxByRequest) {
  const std::string sandbox = Create();
  Begin(sandbox);
  EXPECT_EQ(daemon_->Cli({"sandbox", "rm", sandbox}).code, 0);
  ExpectRestored();
}

TEST_F(ConsoleEndTest, OfTheDaemon) {
  Begin(sandbox_);
  daemon_->CrashAndRestart();
  ExpectRestored();
  tmux_.WaitFor("cleanroom doctor");
  tmux_.WaitFor("code=1");
  // The program is as it was, and can be ended.
  EXPECT_EQ(Shell("kill $(pidof sleep) && echo ended"), "ended\n");
}

TEST_F(ConsoleEndTest, OfTheClientByASignal) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    Begin(sandbox_);
    ASSERT_EQ(kill(Client(sandbox_), signal), 0);
    ExpectRestored();
    tmux_.WaitFor("code=" + std::to_string(128 + signal));
    tmux_.Enter("clear; echo earlier");
  }
}

TEST_F(ConsoleEndTest, OfTheClientWithoutAWord) {
  Begin(sandbox_);
  const pid_t client = Client(sandbox_);
  ASSERT_EQ(kill(client, SIGKILL), 0);
  tmux_.WaitUntil([&] { return tmux_.Ask(kScreenModes) == "0 1 0 0 0"; }, "the former screen");
  tmux_.Enter("echo 'al''l well'");
  tmux_.WaitFor("all well");
  EXPECT_EQ(tmux_.Mode(), before_);
  tmux_.WaitUntil([&] { return FindProcesses("cleanroom console", sandbox_).empty(); },
                  "the guard's end");
}

TEST_F(ConsoleEndTest, OfTheTerminal) {
  Begin(sandbox_);
  const Outcome last = daemon_->Cli({"execution", "inspect", "--last", "--json"});
  const std::string id = Json::parse(last.out)["execution_id"];
  tmux_.CloseWindow();
  tmux_.WaitUntil([&] { return FindProcesses("cleanroom console", sandbox_).empty(); },
                  "the client's end");
  const auto status = [&] {
    const Outcome record = daemon_->Cli({"execution", "inspect", id, "--json"});
    return Json::parse(record.out)["status"].get<std::string>();
  };
  for (int i = 0; i < 600 && status() == "RUNNING"; ++i) test::Run({"sleep", "0.05"});
  EXPECT_EQ(status(), "CANCELED");
}

}  // namespace
}  // namespace cleanroom::test
