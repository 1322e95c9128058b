#include "warden/doors.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>

#include "os/file.h"
#include "os/netns/netns.h"
#include "os/netns/testing/frames.h"
#include "os/socket.h"
#include "policy/compiled.h"

namespace cleanroom::warden {
namespace {

constexpr char kImage[] =
    "registry.example.com/base@sha256:"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

class Decisions : public doors::DecisionSink {
 public:
  void Record(const doors::Decision& decision) override {
    text += fmt::format("{} {} {}\n", ToString(decision.service), decision.host,
                        ToString(decision.code));
  }
  void Transferred(doors::Service, uint64_t, uint64_t) override {}
  void Opened(doors::Service, int) override {}
  std::string text;
};

std::string PolicyJson() {
  auto policy = policy::PolicyForImage(kImage);
  return policy ? policy->CanonicalJson() : policy.error().ToString();
}

// In a child process, which cannot leave the namespace it enters; what went wrong, or nothing.
std::string InChild(const std::function<std::string()>& body) {
  auto pair = os::SocketPair();
  const pid_t child = fork();
  if (child == 0) {
    (void)os::WriteAll(pair->second.get(), body(), "pipe");
    _exit(0);
  }
  pair->second.reset();
  std::string text = os::ReadAll(pair->first.get(), 1 << 20, "pipe").value_or("no answer");
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) text += fmt::format(" [status {}]", status);
  return text;
}

// Serves the doors until the guest is sent something.
os::Seen Serve(asio::io_context& io, int tap) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < end) {
    // The kernel's own multicast comes in between.
    os::Seen seen = os::NextSeen(tap, 0);
    if (seen.what != "nothing") return seen;
    io.run_one_for(std::chrono::milliseconds(10));
  }
  return {};
}

Awaitable<void> CloseDoors(Doors* doors) { co_await doors->Close(); }

// RFC 1035 4.1: one question, for the address of denied.example.com.
os::Bytes Query() {
  os::Bytes query = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  for (const std::string label : {"denied", "example", "com"}) {
    query.push_back(static_cast<uint8_t>(label.size()));
    query.insert(query.end(), label.begin(), label.end());
  }
  os::Append(&query, {0, 0, 1, 0, 1});
  return query;
}

TEST(DoorsTest, RefusesAndRecordsWhatThePolicyDoesNotAllow) {
  EXPECT_EQ(InChild([]() -> std::string {
              auto net = os::NetNs::Create();
              if (!net) return net.error().ToString();
              asio::io_context io(1);
              Decisions decisions;
              auto doors = Doors::Open(io.get_executor(),
                                       {.policy_json = PolicyJson(),
                                        .resolvers = {"127.0.0.1:1", "[::1]:1"},
                                        .gateway = {"10.0.2.1", "fd00:c1ea:0:2::1"},
                                        .sockets = std::move(net->doors)},
                                       decisions);
              if (!doors) return doors.error().ToString();
              std::string out;
              for (const char* stage : {"execution", "dependencies"}) {
                (*doors)->SetStage(*ParseStage(stage));
                const os::Bytes frame =
                    os::FrameOf({.destination = "198.51.100.53", .port = 53, .payload = Query()});
                if (write(net->tap.get(), frame.data(), frame.size()) < 0) return "write";
                const os::Seen seen = Serve(io, net->tap.get());
                const int code = seen.payload.size() > 12 ? seen.payload[3] & 15 : -1;
                out += fmt::format("{}, response code {}\n", seen.ToString(), code);
              }
              asio::co_spawn(io, CloseDoors(doors->get()), asio::detached);
              io.restart();
              io.run();
              return out + decisions.text;
            }),
            "udp 40000 from 198.51.100.53, response code 5\n"
            "udp 40000 from 198.51.100.53, response code 5\n"
            "dns denied.example.com host_not_allowed\n"
            "dns denied.example.com host_not_allowed\n");
}

TEST(DoorsTest, DoNotOpenWithoutAValidPolicy) {
  asio::io_context io(1);
  Decisions decisions;
  auto open = [&](const std::string& json, const std::string& resolver) {
    return Doors::Open(io.get_executor(),
                       {.policy_json = json, .resolvers = {resolver}, .gateway = {}, .sockets = {}},
                       decisions)
        .error()
        .code();
  };
  EXPECT_EQ(open("", "127.0.0.1:53"), ErrorCode::kPolicyInvalid);
  EXPECT_EQ(open("{}", "127.0.0.1:53"), ErrorCode::kPolicyInvalid);
  EXPECT_EQ(open(PolicyJson() + " ", "127.0.0.1:53"), ErrorCode::kPolicyInvalid);
  for (const char* resolver : {"", "127.0.0.1", "example.com:53", "127.0.0.1:0", "127.0.0.1:99999",
                               "127.0.0.1:53x", "::1", "[::1]"}) {
    EXPECT_EQ(open(PolicyJson(), resolver), ErrorCode::kInvalidArgument) << resolver;
  }
}

TEST(DoorsTest, KnowsTheStages) {
  EXPECT_EQ(ParseStage("services"), policy::Stage::kServices);
  EXPECT_EQ(ParseStage("Services").error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cleanroom::warden
