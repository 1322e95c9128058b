#include "server/launch/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cleanroom::server {
namespace {

using testing::HasSubstr;

TEST(AdmissionTest, AdmitsWhatFits) {
  EXPECT_TRUE(
      Admit({.memory_mib = 1024 + kMemoryReserveMib, .disk_mib = kDiskReserveMib}, 1024, 0));
}

TEST(AdmissionTest, NamesMissingMemory) {
  const auto refused =
      Admit({.memory_mib = 1024 + kMemoryReserveMib, .disk_mib = 100'000}, 1024, 512);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_THAT(refused.error().message(), HasSubstr("wants 1024 MiB"));
  EXPECT_THAT(refused.error().message(), HasSubstr("512 MiB to give"));
}

TEST(AdmissionTest, NamesMissingDisk) {
  const auto refused = Admit({.memory_mib = 100'000, .disk_mib = kDiskReserveMib - 1}, 1024, 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_THAT(refused.error().message(), HasSubstr("disk"));
}

TEST(AdmissionTest, ReadsMeminfo) {
  EXPECT_EQ(*ParseMemAvailable("MemTotal: 9 kB\nMemAvailable:   2097152 kB\n"), 2048);
  EXPECT_FALSE(ParseMemAvailable("MemTotal: 9 kB\n"));
  EXPECT_FALSE(ParseMemAvailable("MemAvailable: none"));
  EXPECT_FALSE(ParseMemAvailable("MemAvailable:"));
}

TEST(AdmissionTest, ReadsThisHost) {
  const auto room = ReadHostRoom("/");
  ASSERT_TRUE(room);
  EXPECT_GT(room->memory_mib, 0);
}

}  // namespace
}  // namespace cleanroom::server
