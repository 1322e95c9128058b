// The TCP door under load and with peers that misbehave, and with real ones (nginx, curl).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "doors/tcp/tcp_door.h"
#include "doors/testing/world.h"

namespace cleanroom::doors {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kAddress[] = "93.184.216.34";
constexpr char kHosts[] = "93.184.216.34 a.example b.example\n";
constexpr std::string_view kNetwork =
    "    allow:\n"
    "      - a.example:443\n"
    "      - b.example:443\n"
    "      - a.example:80\n"
    "      - a.example:8080\n"
    "      - { cidr: 198.51.100.0/24, ports: [7000] }\n";

void RaiseDescriptorLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_GE(limit.rlim_cur, 8192U) << "raise RLIMIT_NOFILE";
}

std::string Bulk(size_t size) {
  std::string out(size, '\0');
  uint32_t state = 1;
  for (char& byte : out) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return out;
}

// Takes all, then answers with its size and the same bytes: works only if half-closes pass.
Awaitable<void> TakeThenGive(Client& client) {
  auto read = client.Read();
  const Seen seen = co_await std::move(read);
  auto send = client.Send(fmt::format("{} {};", seen.how, seen.bytes.size()) + seen.bytes);
  (void)co_await std::move(send);
  client.stream().FinishWriting();
  auto rest = client.Read();
  (void)co_await std::move(rest);
  client.stream().Close();
}

Awaitable<void> HoldUntilClosed(Client& client) {
  auto read = client.Read(SIZE_MAX, std::chrono::minutes(1));
  (void)co_await std::move(read);
  client.stream().Close();
}

Awaitable<void> ResetOnFirstByte(Client& client) {
  auto read = client.Read(1);
  (void)co_await std::move(read);
  client.stream().Reset();
}

Awaitable<void> AnswerOnce(Client& client) {
  auto read = client.Read(4);
  const Seen seen = co_await std::move(read);
  auto send = client.Send("got " + seen.bytes);
  (void)co_await std::move(send);
  auto rest = client.Read();
  (void)co_await std::move(rest);
  client.stream().Close();
}

Awaitable<Seen> Upload(Client& client, const std::string& bytes) {
  auto send = client.Send(bytes);
  (void)co_await std::move(send);
  client.stream().FinishWriting();
  auto read = client.Read();
  co_return co_await std::move(read);
}

TEST(TcpDoorLoadTest, MovesMuchBothWaysAndKeepsHalfCloses) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At("198.51.100.7", 7000), TakeThenGive);
  world.Open(7000);
  const std::string bytes = Bulk(9'000'001);
  const auto client = world.Connect(At("198.51.100.7", 7000));
  const Seen seen = RunTask(world.io(), Upload(*client, bytes));
  const std::string head = fmt::format("end {};", bytes.size());
  EXPECT_EQ(seen.how, "end");
  EXPECT_TRUE(seen.bytes == head + bytes) << seen.bytes.size();
  ASSERT_TRUE(world.Until([&] { return world.door().connections() == 0; }));
  EXPECT_EQ(world.sink().sent, bytes.size());
  EXPECT_EQ(world.sink().received, head.size() + bytes.size());
}

TEST(TcpDoorLoadTest, ReportsWhileAConnectionLasts) {
  TcpDoorConfig config;
  config.report_interval = std::chrono::seconds(1);
  World world(kNetwork, kHosts, config);
  TestServer server(world.io(), At("198.51.100.7", 7000), AnswerOnce);
  world.Open(7000);
  const auto client = world.Connect(At("198.51.100.7", 7000));
  RunTask(world.io(), client->Send("1234"));
  EXPECT_EQ(RunTask(world.io(), client->Read(8)).bytes, "got 1234");
  EXPECT_TRUE(world.Until([&] { return world.sink().received == 8; }));
  EXPECT_EQ(world.sink().sent, 4U);
  EXPECT_EQ(world.door().connections(), 1U);
}

TEST(TcpDoorLoadTest, AResetPassesBothWays) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At("198.51.100.7", 7000), ResetOnFirstByte);
  TestServer holding(world.io(), At("198.51.100.8", 7000), HoldUntilClosed);
  world.Open(7000);
  EXPECT_EQ(world.Exchange(At("198.51.100.7", 7000), "x").how, "reset");
  // The guest resets, also after it had finished writing: the other side is let go.
  for (const bool half_closed : {false, true}) {
    const auto client = world.Connect(At("198.51.100.8", 7000));
    RunTask(world.io(), client->Send("x"));
    if (half_closed) client->stream().FinishWriting();
    ASSERT_TRUE(world.Until([&] { return world.sink().open == 1; }));
    client->stream().Reset();
    EXPECT_TRUE(world.Until([&] { return world.door().connections() == 0; }));
  }
}

TEST(TcpDoorLoadTest, AStalledReaderHoldsUpNobodyElse) {
  World world(kNetwork, kHosts);
  TestServer giving(world.io(), At("198.51.100.7", 7000), TakeThenGive);
  TestServer server(world.io(), At("198.51.100.8", 7000), AnswerOnce);
  world.Open(7000);
  std::vector<std::unique_ptr<Client>> stalled;
  const std::string bytes = Bulk(8 << 20);
  for (int i = 0; i < 4; ++i) {
    stalled.push_back(world.Connect(At("198.51.100.7", 7000)));
    RunTask(world.io(), stalled.back()->Send(bytes));
    stalled.back()->stream().FinishWriting();  // and never reads
  }
  const auto client = world.Connect(At("198.51.100.8", 7000));
  RunTask(world.io(), client->Send("ping"));
  EXPECT_EQ(RunTask(world.io(), client->Read(8)).bytes, "got ping");
  const Seen seen = RunTask(world.io(), stalled.front()->Read());
  EXPECT_EQ(seen.bytes.size(), bytes.size() + fmt::format("end {};", bytes.size()).size());
}

Awaitable<void> OneOfMany(Client* client, int* right) {
  auto send = client->Send("many");
  (void)co_await std::move(send);
  auto read = client->Read(8);
  const Seen seen = co_await std::move(read);
  if (seen.bytes == "got many") ++*right;
}

TEST(TcpDoorLoadTest, AThousandAtOnce) {
  RaiseDescriptorLimit();
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At("198.51.100.7", 7000), AnswerOnce);
  TestServer named(world.io(), At(kAddress, 80), AnswerOnce);
  world.Open(7000);
  std::vector<std::unique_ptr<Client>> clients;
  TaskScope tasks(world.io().get_executor());
  int right = 0;
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(world.Connect(At("198.51.100.7", 7000)));
    tasks.Spawn(OneOfMany(clients.back().get(), &right));
  }
  EXPECT_TRUE(world.Until([&] { return right == 1000; }, std::chrono::seconds(30))) << right;
  EXPECT_EQ(world.door().connections(), 1000U);
  // The limit: what comes on top is refused, what is there goes on.
  for (int i = 0; i < 24; ++i) clients.push_back(world.Connect(At("198.51.100.7", 7000)));
  ASSERT_TRUE(world.Until([&] { return world.door().connections() == 1024; }));
  const Seen refused = world.Exchange(At("198.51.100.7", 7000), "many");
  EXPECT_EQ(refused.how, "reset");
  EXPECT_EQ(world.sink().last(), "limit_exceeded");
  clients.clear();
  EXPECT_TRUE(world.Until([&] { return world.door().connections() == 0; }));
  const auto again = world.Connect(At("198.51.100.7", 7000));
  RunTask(world.io(), again->Send("many"));
  EXPECT_EQ(RunTask(world.io(), again->Read(8)).bytes, "got many");
  EXPECT_TRUE(world.Until([&] { return tasks.size() == 0; }));
}

TEST(TcpDoorLoadTest, SlowHellosDoNotKeepOthersOut) {
  TcpDoorConfig config;
  config.max_undecided = 8;
  config.undecided_grace = milliseconds(200);
  World world(kNetwork, kHosts, config);
  TestServer server(world.io(), At(kAddress, 443), AnswerOnce);
  world.Open(443);
  world.Remember(kAddress, "a.example");
  const std::string hello = ClientHello("a.example");
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 8; ++i) {
    slow.push_back(world.Connect(At(kAddress, 443)));
    RunTask(world.io(), slow.back()->Send(hello.substr(0, 20)));
  }
  ASSERT_TRUE(world.Until([&] { return world.door().undecided() == 8; }));
  const auto client = world.Connect(At(kAddress, 443));
  RunTask(world.io(), client->Send(hello));
  EXPECT_THAT(RunTask(world.io(), client->Read(8)).bytes, StartsWith("got \x16"));
  EXPECT_EQ(RunTask(world.io(), slow.front()->Read()).how, "reset");
  // One that was slow but not yet over the limit completes all the same.
  RunTask(world.io(), slow.back()->Send(hello.substr(20)));
  EXPECT_THAT(RunTask(world.io(), slow.back()->Read(8)).bytes, StartsWith("got \x16"));
}

// nginx with TLS and HTTP virtual hosts on one address.
class Nginx {
 public:
  Nginx() : folder_(os::TempDir::Create().value()) {
    const std::string path = folder_.path();
    const auto made =
        os::Run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=a.example",
                 "-addext", "subjectAltName=DNS:a.example,DNS:b.example,DNS:evil.example",
                 "-keyout", path + "/key", "-out", certificate()});
    EXPECT_TRUE(made && made->status.ok());
    std::ofstream(path + "/big") << Bulk(5'000'000);
    std::string hosts;
    for (const std::string name : {"a", "b", "evil"}) {
      hosts += fmt::format(
          "server {{ listen {1}:80; listen {1}:443 ssl http2; server_name {0}.example;\n"
          "  location / {{ return 200 \"this is {0}\\n\"; }}\n"
          "  location /big {{ root {2}; }} }}\n",
          name, kAddress, path);
    }
    hosts += fmt::format(
        "server {{ listen {}:8080 http2; location / {{ return 200 \"this is a over 2\\n\"; }} }}\n",
        kAddress);
    std::ofstream(path + "/conf") << fmt::format(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error;\n"
        "events {{ worker_connections 256; }}\n"
        "http {{ access_log off; ssl_certificate {0}/cert; ssl_certificate_key {0}/key;\n"
        "  client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;\n"
        "  uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n{1} }}\n",
        path, hosts);
    auto spawned =
        os::Process::Spawn({"/usr/sbin/nginx", "-e", path + "/error", "-c", path + "/conf"},
                           {.parent_death_signal = 9});
    EXPECT_TRUE(spawned.has_value());
    process_.emplace(*std::move(spawned));
    for (int i = 0; i < 500; ++i) {
      os::UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const net::SocketAddress address = net::ToSocketAddress(At(kAddress, 443));
      if (connect(probe.get(), address.get(), address.size) == 0) return;
      const auto ended = process_->WaitFor(milliseconds(10));
      if (!ended || *ended) break;
    }
    ADD_FAILURE() << "nginx does not start: " << os::ReadFile(path + "/error", 4096).value_or("");
  }
  std::string certificate() const { return folder_.path() + "/cert"; }

 private:
  os::TempDir folder_;
  std::optional<os::Process> process_;
};

// HEADERS of a whole request (RFC 9113 6.2), with literals only (RFC 7541 6.2.2).
std::string Http2Get(char stream, const std::string& authority) {
  const std::string block =
      std::string("\x82\x86\x84\x01") + static_cast<char>(authority.size()) + authority;
  return std::string(2, '\0') + static_cast<char>(block.size()) + "\x01\x05" +
         std::string(3, '\0') + stream + block;
}

TEST(TcpDoorLoadTest, RealClientsAndServers) {
  World world(kNetwork, kHosts);
  const Nginx nginx;
  world.Open(443);
  world.Open(80);
  world.Open(8080);
  world.Remember(kAddress, "a.example");
  auto curl = [&](const std::string& url, std::vector<std::string> more = {}) {
    std::vector<std::string> argv = {"curl", "-sS",      "--max-time",
                                     "10",   "--cacert", nginx.certificate()};
    for (const std::string name : {"a.example", "b.example", "evil.example"}) {
      for (const int port : {80, 443, 8080}) {
        argv.insert(argv.end(), {"--resolve", fmt::format("{}:{}:{}", name, port, kAddress)});
      }
    }
    argv.insert(argv.end(), more.begin(), more.end());
    argv.push_back(url);
    return world.Run(argv);
  };
  EXPECT_EQ(curl("https://a.example/").out, "this is a\n");
  EXPECT_EQ(curl("https://b.example/").out, "this is b\n");
  EXPECT_EQ(curl("https://a.example/", {"--http1.1", "--tls-max", "1.2"}).out, "this is a\n");
  EXPECT_EQ(curl("http://a.example/").out, "this is a\n");
  EXPECT_EQ(curl("https://a.example/big", {"-o", "/dev/null", "-w", "%{size_download}"}).out,
            "5000000");
  EXPECT_EQ(curl("http://a.example/big", {"-o", "/dev/null", "-w", "%{size_download}"}).out,
            "5000000");
  // The same address and server, under a name that no rule allows.
  const os::Output tls = curl("https://evil.example/");
  EXPECT_EQ(tls.out, "");
  EXPECT_THAT(tls.err, HasSubstr("alert access denied"));
  const os::Output http = curl("http://evil.example/", {"-i"});
  EXPECT_THAT(http.out, StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(http.out, HasSubstr("host_not_allowed: evil.example"));
  // HTTP/2 without TLS: nginx takes it on a port of its own.
  EXPECT_EQ(curl("http://a.example:8080/", {"--http2-prior-knowledge"}).out, "this is a over 2\n");
  const os::Output h2 = curl("http://evil.example:8080/", {"--http2-prior-knowledge", "-i"});
  EXPECT_THAT(h2.out, StartsWith("HTTP/2 403"));
  EXPECT_THAT(h2.out, HasSubstr("host_not_allowed"));
  const auto client = world.Connect(At(kAddress, 8080));
  const std::string settings("\0\0\0\4\0\0\0\0\0", 9);
  RunTask(world.io(), client->Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings +
                                   Http2Get(1, "a.example:8080")));
  std::string answer;
  while (answer.find("over 2") == std::string::npos) {
    const Seen seen = RunTask(world.io(), client->Read(1));
    ASSERT_NE(seen.bytes, "") << seen.how;
    answer += seen.bytes;
  }
  RunTask(world.io(), client->Send(Http2Get(3, "evil.example:8080")));
  const Seen refused = RunTask(world.io(), client->Read());
  EXPECT_EQ(refused.how, "end");
  EXPECT_THAT(refused.bytes, HasSubstr("x-cleanroom-reason-code"));
  EXPECT_THAT(refused.bytes, ::testing::Not(HasSubstr("over 2")));
  EXPECT_EQ(world.sink().last(), "host_not_allowed");
  // A kept connection: the second request goes elsewhere.
  const os::Output kept =
      curl("http://a.example/", {"http://a.example/", "--next", "-sS", "-H", "Host: evil.example"});
  EXPECT_THAT(kept.out, StartsWith("this is a\n"));
  EXPECT_THAT(kept.out, HasSubstr("host_not_allowed"));
  EXPECT_THAT(kept.out, ::testing::Not(HasSubstr("this is evil")));
}

}  // namespace
}  // namespace cleanroom::doors
