#include "server/warden/warden_process.h"

#include <gtest/gtest.h>

namespace cleanroom::server {
namespace {

constexpr char kId[] = "01kr7p9ksmfa7rmyypyqw2w8r0";

std::string Line(std::initializer_list<std::string> arguments) {
  std::string line;
  for (const std::string& argument : arguments) line += argument + '\0';
  return line;
}

TEST(WardenCommandLineTest, FindsOurs) {
  const std::string folder = std::string("/state/sandboxes/") + kId;
  const auto found = ParseWardenCommandLine(
      Line({"/usr/bin/cleanroom-warden", "--sandbox-id", kId, "--dir", folder}),
      "/state/sandboxes");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->sandbox_id, kId);
  EXPECT_EQ(found->folder, folder);
}

TEST(WardenCommandLineTest, LeavesOthersAlone) {
  const std::string folder = std::string("/state/sandboxes/") + kId;
  const std::string program = "/usr/bin/cleanroom-warden";
  EXPECT_FALSE(ParseWardenCommandLine("", "/state/sandboxes"));
  // Of another daemon.
  EXPECT_FALSE(ParseWardenCommandLine(Line({program, "--sandbox-id", kId, "--dir", folder}),
                                      "/other/sandboxes"));
  // Another program that is told the same.
  EXPECT_FALSE(ParseWardenCommandLine(Line({"/bin/sh", "--sandbox-id", kId, "--dir", folder}),
                                      "/state/sandboxes"));
  // Names that do not belong together.
  EXPECT_FALSE(ParseWardenCommandLine(
      Line({program, "--sandbox-id", kId, "--dir", "/state/sandboxes/x"}), "/state/sandboxes"));
  EXPECT_FALSE(ParseWardenCommandLine(
      Line({program, "--sandbox-id", "../x", "--dir", "/state/sandboxes/../x"}),
      "/state/sandboxes"));
  EXPECT_FALSE(ParseWardenCommandLine(Line({program, "--sandbox-id"}), "/state/sandboxes"));
}

}  // namespace
}  // namespace cleanroom::server
