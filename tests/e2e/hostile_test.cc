// Hostile input to the daemon itself: floods, huge and slow requests, output that nobody reads.
// Others are served meanwhile, and the daemon stays small.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

using std::chrono::steady_clock;

constexpr double kMaxGrowthMib = 24;
constexpr auto kPatience = std::chrono::seconds(60);

double ResidentMib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string word;
  while (status >> word) {
    if (word != "VmRSS:") continue;
    double kib = 0;
    status >> kib;
    return kib / 1024;
  }
  return 0;
}

pid_t FindWarden(const std::string& sandbox) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "cmdline");
    const std::string line((std::istreambuf_iterator<char>(file)), {});
    if (line.find("cleanroom-warden") != std::string::npos &&
        line.find(sandbox) != std::string::npos)
      return std::stoi(name);
  }
  return 0;
}

// A connection to the daemon's socket, or to its port, that says what it is told to.
class RawPeer {
 public:
  explicit RawPeer(uint16_t port) {
    fd_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  explicit RawPeer(const std::string& path) {
    fd_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  // False once the daemon has closed.
  bool Send(const std::string& bytes) {
    return send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // What comes until the daemon closes; adds a failure when it does not.
  std::string ReadToEnd() {
    std::string out;
    const auto deadline = steady_clock::now() + kPatience;
    while (steady_clock::now() < deadline) {
      pollfd item = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
      if (poll(&item, 1, 100) != 1) continue;
      std::array<char, 4096> buffer{};
      const ssize_t n = read(fd_.get(), buffer.data(), buffer.size());
      if (n <= 0) return out;
      out.append(buffer.data(), static_cast<size_t>(n));
    }
    ADD_FAILURE() << "the daemon did not close the connection";
    return out;
  }

 private:
  os::UniqueFd fd_;
};

// Frames of HTTP/2 (RFC 9113, section 4.1).
enum FrameType { kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kContinuation = 9 };

std::string Frame(int type, int flags, uint32_t stream, const std::string& payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out += static_cast<char>(payload.size() >> shift & 255);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(stream >> shift & 255);
  return out + payload;
}

std::string Hello() { return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, ""); }

// POST /healthz, by the static table of HPACK and two literals.
std::string RequestHead() { return std::string("\x83\x86\x44\x08/healthz\x41\x01x", 15); }

class HostileTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { daemon_ = std::make_unique<Daemon>(); }
  static void TearDownTestSuite() { daemon_.reset(); }

  HostileTest() : before_(ResidentMib(daemon_->pid())) {}
  ~HostileTest() override {
    // It lives, answers at once, and has not grown.
    const auto begin = steady_clock::now();
    const Outcome outcome = daemon_->Cli({"sandbox", "ls"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(5));
    EXPECT_LT(ResidentMib(daemon_->pid()), before_ + kMaxGrowthMib);
  }
  // A file that says it has this many bytes, all zero.
  std::string Huge(uint64_t size) {
    const std::string path = folder_.path() + "/huge";
    std::ofstream(path).close();
    std::filesystem::resize_file(path, size);
    return path;
  }
  Outcome Curl(std::vector<std::string> args) {
    args.insert(args.begin(),
                {"curl", "--silent", "--show-error", "--max-time", "50", "--unix-socket",
                 daemon_->socket(), "--write-out", "\n%{http_code}"});
    args.emplace_back("http://localhost/cleanroom.v1.SandboxService/GetSandbox");
    return test::Run(args);
  }
  // Sends it all, or as much as the daemon takes; it must close, and say so in HTTP/2.
  static void ExpectDisconnected(const std::vector<std::string>& frames) {
    RawPeer peer(daemon_->socket());
    peer.Send(Hello());
    for (const std::string& frame : frames) {
      if (!peer.Send(frame)) break;
    }
    peer.ReadToEnd();
  }

  static std::unique_ptr<Daemon> daemon_;
  const double before_;
  os::TempDir folder_ = os::TempDir::Create().value();
};

std::unique_ptr<Daemon> HostileTest::daemon_;

TEST_F(HostileTest, AGibibyteOfRequestIsRefusedBeforeItIsSent) {
  const std::string huge = Huge(uint64_t{1} << 30);
  const std::vector<std::vector<std::string>> ways = {
      {"--header", "content-type: application/json", "--upload-file", huge, "--request", "POST"},
      {"--header", "content-type: application/proto", "--header", "transfer-encoding: chunked",
       "--upload-file", huge, "--request", "POST"},
      {"--http2-prior-knowledge", "--header", "content-type: application/proto", "--upload-file",
       huge, "--request", "POST"},
  };
  for (const auto& way : ways) {
    const auto begin = steady_clock::now();
    const Outcome outcome = Curl(way);
    EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(20));
    EXPECT_EQ(outcome.code, 0) << way[0] << outcome.err;
    EXPECT_NE(outcome.out.find("429"), std::string::npos) << way[0] << outcome.out << outcome.err;
    EXPECT_NE(outcome.out.find("larger than the limit"), std::string::npos) << outcome.out;
  }
}

// A daemon that others can reach over the network.
class NetworkListenerTest : public testing::Test {
 protected:
  static constexpr int kIdleSeconds = 2, kConnections = 8;

  static void SetUpTestSuite() {
    daemon_ = std::make_unique<Daemon>(
        "listeners: { idle_seconds: " + std::to_string(kIdleSeconds) +
            ", max_connections: " + std::to_string(kConnections) +
            " }\n"
            "auth: { required: true, tokens: [ { name: t, token: s3cret } ] }\n",
        std::vector<std::string>{"--listen", "http://127.0.0.1:0"});
    const std::string& said = daemon_->listening();
    const size_t begin = said.find("http://");
    url_ = said.substr(begin, said.find_first_of(" ,\n", begin) - begin);
  }
  static void TearDownTestSuite() { daemon_.reset(); }

  static uint16_t Port() {
    return static_cast<uint16_t>(std::stoi(url_.substr(url_.rfind(':') + 1)));
  }
  // Waits for the end; how long it took.
  static std::chrono::milliseconds UntilClosed(RawPeer& peer) {
    const auto begin = steady_clock::now();
    peer.ReadToEnd();
    return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - begin);
  }
  static Outcome Health() {
    return test::Run({"curl", "--silent", "--show-error", "--max-time", "50", url_ + "/healthz"});
  }

  static std::unique_ptr<Daemon> daemon_;
  static std::string url_;
};

std::unique_ptr<Daemon> NetworkListenerTest::daemon_;
std::string NetworkListenerTest::url_;

TEST(OpenListenerTest, APageOfAnotherNameIsRefused) {
  const Daemon daemon("", {"--listen", "http://127.0.0.1:0"});
  const std::string& said = daemon.listening();
  const size_t begin = said.find("http://");
  const std::string url = said.substr(begin, said.find_first_of(" ,\n", begin) - begin);
  const auto ask = [&](const std::string& host, const std::string& path) {
    std::vector<std::string> argv = {"curl",        "--silent",      "--max-time",
                                     "50",          "--header",      "host: " + host,
                                     "--write-out", " %{http_code}", url + path};
    if (path.ends_with("Version")) argv.insert(argv.end(), {"--json", "{}"});
    return test::Run(argv);
  };
  const std::string procedure = "/cleanroom.v1.SystemService/GetVersion";
  EXPECT_NE(ask("localhost", procedure).out.find(" 200"), std::string::npos);
  for (const char* path : {"/cleanroom.v1.SystemService/GetVersion", "/metrics"}) {
    const Outcome refused = ask("rebound.example:80", path);
    EXPECT_NE(refused.out.find("permission_denied"), std::string::npos) << refused.out;
    EXPECT_NE(refused.out.find(" 403"), std::string::npos) << refused.out;
  }
}

TEST_F(NetworkListenerTest, WhoAsksNothingIsCutOff) {
  const std::string request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
  for (const std::string& bytes :
       {std::string(), request, Hello(), Hello() + Frame(kHeaders, 5, 1, RequestHead())}) {
    RawPeer peer(Port());
    ASSERT_TRUE(peer.Send(bytes));
    EXPECT_GE(UntilClosed(peer), std::chrono::seconds(kIdleSeconds) / 2) << bytes;
  }
  // Nothing but PINGs.
  RawPeer peer(Port());
  ASSERT_TRUE(peer.Send(Hello()));
  const auto limit = steady_clock::now() + kPatience;
  while (peer.Send(Frame(kPing, 0, 0, "12345678")) && steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LT(steady_clock::now(), limit);
}

TEST_F(NetworkListenerTest, TooManyWaitAndNobodyElseDoes) {
  std::vector<std::unique_ptr<RawPeer>> silent;
  silent.reserve(size_t{kConnections} * 2);
  for (int i = 0; i < kConnections * 2; ++i) {
    silent.push_back(std::make_unique<RawPeer>(Port()));
  }
  const auto begin = steady_clock::now();
  EXPECT_EQ(daemon_->Cli({"sandbox", "ls"}).code, 0);  // by the unix socket
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(kIdleSeconds));
  // Its turn comes when two generations of silence are over.
  const Outcome late = Health();
  EXPECT_EQ(late.out, "ok") << late.err;
  EXPECT_GE(steady_clock::now() - begin, std::chrono::seconds(kIdleSeconds));
}

TEST_F(NetworkListenerTest, ARefusalOverTheNetworkIsReadByCurl) {
  const os::TempDir folder = os::TempDir::Create().value();
  const std::string huge = folder.path() + "/huge";
  std::ofstream(huge).close();
  std::filesystem::resize_file(huge, uint64_t{1} << 30);
  for (const char* version : {"--http1.1", "--http2-prior-knowledge"}) {
    for (const auto& [token, says, status] : {std::tuple("s3cret", "larger than the limit", "429"),
                                              std::tuple("wrong", "unauthenticated", "401")}) {
      const Outcome outcome =
          test::Run({"curl", "--silent", "--show-error", "--max-time", "50", version, "--write-out",
                     "\n%{http_code}", "--header", "content-type: application/proto", "--header",
                     std::string("authorization: Bearer ") + token, "--request", "POST",
                     "--upload-file", huge, url_ + "/cleanroom.v1.SandboxService/GetSandbox"});
      EXPECT_EQ(outcome.code, 0) << version << outcome.err;
      EXPECT_NE(outcome.out.find(says), std::string::npos) << version << outcome.out;
      EXPECT_NE(outcome.out.find(status), std::string::npos) << version << outcome.out;
    }
  }
}

// A stream that is under way stays, however long nothing comes over it.
TEST_F(NetworkListenerTest, AStreamUnderWayIsNotIdle) {
  const std::string image = BaseImage(*daemon_);
  const Outcome outcome = daemon_->Cli(
      {"--host", url_, "--auth-token", "s3cret", "exec", "--rm", "--image", image, "--", "sh", "-c",
       "sleep " + std::to_string(kIdleSeconds * 3) + "; echo out; exit 7"});
  EXPECT_EQ(outcome.code, 7) << outcome.err;
  EXPECT_EQ(outcome.out, "out\n");
}

TEST_F(HostileTest, FloodsAreDisconnected) {
  std::vector<std::string> resets, pings, settings, continuations;
  for (uint32_t i = 0; i < 20000; ++i) {
    resets.push_back(Frame(kHeaders, 4, 2 * i + 1, RequestHead()) +
                     Frame(kReset, 0, 2 * i + 1, std::string("\0\0\0\x08", 4)));
    pings.push_back(Frame(kPing, 0, 0, "12345678"));
    settings.push_back(Frame(kSettings, 0, 0, std::string("\0\x04\0\0\xff\xff", 6)));
    continuations.push_back(Frame(kContinuation, 0, 1, std::string("\0\1a\1b", 5)));
  }
  continuations.insert(continuations.begin(), Frame(kHeaders, 0, 1, RequestHead()));
  ExpectDisconnected(resets);
  ExpectDisconnected(pings);
  ExpectDisconnected(settings);
  ExpectDisconnected(continuations);
}

TEST_F(HostileTest, WhoSendsAHeadByDropsIsCutOffAndOthersAreServed) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 200; ++i) {
    peers.push_back(std::make_unique<RawPeer>(daemon_->socket()));
    ASSERT_TRUE(peers.back()->Send(i % 2 == 0 ? "POST /healthz HTTP/1.1\r\nho" : "PRI * HT"));
  }
  EXPECT_EQ(daemon_->Cli({"sandbox", "ls"}).code, 0);
  // A drop now and then does not buy time.
  const auto limit = steady_clock::now() + kPatience;
  while (peers[0]->Send("x") && steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LT(steady_clock::now(), limit);
  for (const auto& peer : peers) peer->ReadToEnd();
}

TEST_F(HostileTest, PoliciesThatGrowAreRefused) {
  std::ofstream(folder_.path() + "/bomb.yaml") << [] {
    std::string bomb = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 12; ++i) {
      bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
      for (int j = 0; j < 9; ++j) bomb += "*a" + std::to_string(i - 1) + (j < 8 ? ", " : "]\n");
    }
    return bomb;
  }();
  const auto begin = steady_clock::now();
  const Outcome bomb = daemon_->Cli({"policy", "validate", "-c", folder_.path() + "/bomb.yaml"});
  EXPECT_EQ(bomb.code, 1);
  EXPECT_NE(bomb.err.find("policy_invalid"), std::string::npos) << bomb.err;
  EXPECT_NE(bomb.err.find("bomb.yaml"), std::string::npos) << bomb.err;
  const Outcome huge = daemon_->Cli({"policy", "validate", "-c", Huge(100U << 20)});
  EXPECT_EQ(huge.code, 1);
  EXPECT_NE(huge.err.find("policy_invalid"), std::string::npos) << huge.err;
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(HostileTest, OutputThatNobodyReadsStallsNobody) {
  // The environment may ask for more than CI has time for.
  const char* wanted = std::getenv("CLEANROOM_TEST_OUTPUT_MIB");
  const uint64_t size = (wanted != nullptr ? std::stoull(wanted) : 128) << 20;
  const std::string image = BaseImage(*daemon_);
  const Outcome created = daemon_->Cli({"sandbox", "create", "--image", image});
  ASSERT_EQ(created.code, 0) << created.err;
  const std::string sandbox = created.out.substr(0, 26);
  const pid_t warden = FindWarden(sandbox);
  ASSERT_GT(warden, 0);
  const double warden_before = ResidentMib(warden);

  std::array<int, 2> out{};
  ASSERT_EQ(pipe2(out.data(), O_CLOEXEC), 0);
  os::UniqueFd read_end(out[0]), write_end(out[1]);
  os::Process cli =
      daemon_->StartCli({"exec", "--in", sandbox, "--", "sh", "-c",
                         "head -c " + std::to_string(size) + " /dev/zero; touch /root/written"},
                        write_end.get(), write_end.get());
  write_end.reset();
  // The command goes on to its end, and others run meanwhile, with the reader asleep.
  const auto deadline = steady_clock::now() + std::chrono::seconds(200);
  while (daemon_->Cli({"exec", "--in", sandbox, "--", "test", "-e", "/root/written"}).code != 0) {
    ASSERT_LT(steady_clock::now(), deadline) << "the command waits for its reader";
    EXPECT_LT(ResidentMib(warden), warden_before + kMaxGrowthMib);
    EXPECT_LT(ResidentMib(daemon_->pid()), before_ + kMaxGrowthMib);
  }
  uint64_t got = 0;
  std::vector<char> buffer(1U << 20);
  for (ssize_t n = 1; n > 0; got += static_cast<uint64_t>(std::max<ssize_t>(n, 0)))
    n = read(read_end.get(), buffer.data(), buffer.size());
  EXPECT_EQ(got, size);
  const auto status = cli.WaitFor(std::chrono::seconds(20));
  ASSERT_TRUE(status.has_value() && status->has_value());
  EXPECT_EQ((*status)->ShellCode(), 0);
  EXPECT_LT(ResidentMib(warden), warden_before + kMaxGrowthMib);
}

}  // namespace
}  // namespace cleanroom::test
