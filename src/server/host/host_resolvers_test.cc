#include "server/host/host_resolvers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/file.h"

namespace cleanroom::server {
namespace {

using testing::ElementsAre;

TEST(HostResolversTest, TheSettingsGoBeforeResolvConf) {
  auto dir = os::TempDir::Create();
  ASSERT_TRUE(dir);
  Settings settings;
  settings.resolv_conf = dir->path() + "/resolv.conf";
  EXPECT_THAT(HostResolvers(settings), ElementsAre("127.0.0.1:53"));  // no file
  ASSERT_TRUE(os::WriteFileAtomic(settings.resolv_conf.string(),
                                  "search example.com\nnameserver 192.0.2.1\n"
                                  "nameserver 2001:db8::1\n"));
  EXPECT_THAT(HostResolvers(settings), ElementsAre("192.0.2.1:53", "[2001:db8::1]:53"));
  settings.resolvers = {"192.0.2.9:5353"};
  EXPECT_THAT(HostResolvers(settings), ElementsAre("192.0.2.9:5353"));
}

}  // namespace
}  // namespace cleanroom::server
