#include "server/warden/remains.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <optional>

#include "os/file.h"

namespace cleanroom::server {
namespace {

TEST(RemainsTest, LinksAndPipesAreNotRead) {
  auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder);
  const Layout layout(folder->path());
  const std::string inside = layout.Sandbox(SandboxId("one")) + "/";
  ASSERT_TRUE(os::MakeDirs(inside));
  ASSERT_TRUE(os::WriteFileAtomic(inside + "plain", "text"));
  ASSERT_EQ(symlink("/etc/passwd", (inside + "link").c_str()), 0);
  ASSERT_EQ(mkfifo((inside + "pipe").c_str(), 0600), 0);
  EXPECT_EQ(ReadRemains(layout, SandboxId("one"), "plain").value_or(""), "text");
  EXPECT_FALSE(ReadRemains(layout, SandboxId("one"), "link"));
  EXPECT_EQ(ReadRemains(layout, SandboxId("one"), "pipe").value_or(""), "");
}

Awaitable<void> RemoveInto(BlockingPool& pool, const Settings& settings, const Layout& layout,
                           std::optional<Result<void>>& removed) {
  removed = co_await RemoveRemains(pool, settings, layout, SandboxId("one"));
}

bool Remove(const Settings& settings, const Layout& layout) {
  asio::io_context io;
  BlockingPool pool(1);
  std::optional<Result<void>> removed;
  asio::co_spawn(io, RemoveInto(pool, settings, layout, removed), asio::detached);
  io.run();
  return removed && *removed;
}

TEST(RemainsTest, RemovesTheFolderAndTheGroups) {
  auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder);
  const Layout layout(folder->path());
  Settings settings;
  auto groups = os::Cgroups::Find("cleanroom-remains-" + std::to_string(getpid()));
  std::vector<std::string> made;
  if (groups) {
    made = groups->Make("one", {.memory_bytes = 64 << 20, .processes = 8}).value();
    settings.cgroups = *groups;
  }
  ASSERT_TRUE(os::MakeDirs(layout.LiveOutputs(SandboxId("one"))));
  EXPECT_TRUE(Remove(settings, layout));
  EXPECT_FALSE(std::filesystem::exists(layout.Sandbox(SandboxId("one"))));
  for (const std::string& group : made) EXPECT_FALSE(std::filesystem::exists(group)) << group;
  EXPECT_TRUE(Remove(settings, layout)) << "nothing is there";
  if (settings.cgroups) settings.cgroups->RemoveTrees();
}

}  // namespace
}  // namespace cleanroom::server
