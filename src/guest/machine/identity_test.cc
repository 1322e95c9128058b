#include "guest/machine/identity.h"

#include <gtest/gtest.h>

#include "os/file.h"

namespace cleanroom::guest {
namespace {

TEST(IdentityTest, Hostnames) {
  EXPECT_TRUE(IsHostname("sandbox-01kr7p9k"));
  EXPECT_TRUE(IsHostname(std::string(64, 'a')));
  EXPECT_FALSE(IsHostname(""));
  EXPECT_FALSE(IsHostname(std::string(65, 'a')));
  EXPECT_FALSE(IsHostname("a\nb"));
  EXPECT_FALSE(IsHostname("a/b"));
}

TEST(IdentityTest, MachineIdsAreFreshHex) {
  const std::string id = NewMachineId();
  EXPECT_EQ(id.size(), 32U);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(id, NewMachineId());
}

TEST(IdentityTest, FilesNameTheMachine) {
  const auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder);
  const auto root = Root::Open(folder->path());
  ASSERT_TRUE(root);
  ASSERT_TRUE(WriteIdentityFiles(*root, "box", {"10.0.2.2/24", "fd00::2/64"}));
  ASSERT_TRUE(WriteNetworkFiles(*root, {"10.0.2.1", "fd00::1"}));
  EXPECT_EQ(root->ReadFile("/etc/hostname", 100).value(), "box\n");
  EXPECT_EQ(root->ReadFile("/etc/resolv.conf", 100).value(),
            "nameserver 10.0.2.1\nnameserver fd00::1\n");
  const std::string hosts = root->ReadFile("/etc/hosts", 1000).value();
  EXPECT_NE(hosts.find("127.0.0.1\tlocalhost\n"), std::string::npos);
  EXPECT_NE(hosts.find("\n10.0.2.2\tbox\n"), std::string::npos);
  EXPECT_NE(hosts.find("\nfd00::2\tbox\n"), std::string::npos);
  EXPECT_EQ(root->ReadFile("/etc/machine-id", 100).value().size(), 33U);
}

TEST(IdentityTest, WithoutAddressesTheNameStillResolves) {
  EXPECT_NE(HostsFile("box", {}).find("127.0.1.1\tbox\n"), std::string::npos);
}

}  // namespace
}  // namespace cleanroom::guest
