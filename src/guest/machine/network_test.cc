#include "guest/machine/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <functional>
#include <thread>

#include "base/testing/result_matchers.h"
#include "os/process.h"

namespace cleanroom::guest {
namespace {

constexpr const char* kMac = "02:00:00:00:00:07";

std::string Show(const std::vector<std::string>& argv) {
  auto output = os::Run(argv);
  return output ? output->out + output->err : output.error().ToString();
}

// Runs on a thread with a network namespace of its own, with an interface that has a carrier.
// False when this machine does not allow that.
bool InNamespace(const std::function<void()>& test) {
  bool entered = false;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) return;
    const auto made = os::Run(
        {"ip", "link", "add", "eth0", "address", kMac, "type", "veth", "peer", "name", "peer0"});
    if (!made || !made->status.ok()) return;
    (void)os::Run({"ip", "link", "set", "peer0", "up"});
    entered = true;
    test();
  }).join();
  return entered;
}

TEST(NetworkTest, SetsUpBothFamilies) {
  const bool entered = InNamespace([] {
    const auto done = SetUpNetwork({.mac = kMac,
                                    .addresses = {"10.0.2.2/24", "fd00::2/64"},
                                    .gateways = {"10.0.2.1", "fd00::1"}});
    ASSERT_THAT(done, IsOk());
    EXPECT_NE(Show({"ip", "-br", "addr", "show", "lo"}).find("127.0.0.1/8"), std::string::npos);
    const std::string addresses = Show({"ip", "addr", "show", "eth0"});
    EXPECT_NE(addresses.find("inet 10.0.2.2/24 "), std::string::npos) << addresses;
    EXPECT_NE(addresses.find("inet6 fd00::2/64 "), std::string::npos) << addresses;
    EXPECT_EQ(addresses.find("fd00::2/64 scope global tentative"), std::string::npos) << addresses;
    EXPECT_EQ(Show({"ip", "route", "show", "default"}).substr(0, 29),
              "default via 10.0.2.1 dev eth0");
    EXPECT_EQ(Show({"ip", "-6", "route", "show", "default"}).substr(0, 29),
              "default via fd00::1 dev eth0 ");
    EXPECT_EQ(Show({"cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra"}), "0\n");
    // A second time changes nothing and does not fail.
    EXPECT_TRUE(SetUpNetwork({.mac = kMac, .addresses = {"10.0.2.2/24"}}));
  });
  if (!entered) GTEST_SKIP() << "needs the right to make network namespaces";
}

TEST(NetworkTest, GatewayNeedNotBeInAPrefix) {
  const bool entered = InNamespace([] {
    const auto done =
        SetUpNetwork({.mac = kMac, .addresses = {"10.0.2.2/32"}, .gateways = {"169.254.1.1"}});
    EXPECT_THAT(done, IsOk());
  });
  if (!entered) GTEST_SKIP() << "needs the right to make network namespaces";
}

TEST(NetworkTest, ErrorsNameWhatIsWrong) {
  const bool entered = InNamespace([] {
    EXPECT_TRUE(SetUpNetwork({}));
    EXPECT_EQ(SetUpNetwork({.mac = "02:00:00:00:00:99"}).error().code(), ErrorCode::kNotFound);
    EXPECT_EQ(SetUpNetwork({.mac = "nonsense"}).error().code(), ErrorCode::kInvalidArgument);
    for (const std::string address :
         {"10.0.2.2", "10.0.2.2/33", "10.0.2/24", "fd00::2/129", "fd00::2/", "10.0.2.2/24x", ""}) {
      const auto done = SetUpNetwork({.mac = kMac, .addresses = {address}});
      ASSERT_FALSE(done) << address;
      EXPECT_EQ(done.error().code(), ErrorCode::kInvalidArgument) << address;
    }
  });
  if (!entered) GTEST_SKIP() << "needs the right to make network namespaces";
}

}  // namespace
}  // namespace cleanroom::guest
