#include "vmm/template_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/testing/result_matchers.h"
#include "os/file.h"

namespace cleanroom::vmm {
namespace {

TemplateInputs Inputs() {
  return {.image_digest = "sha256:1",
          .image_file = "1",
          .machine = "m",
          .vcpus = 2,
          .memory_mib = 1,
          .disk_mib = 1};
}

class TemplateStoreTest : public testing::Test {
 protected:
  TemplateStoreTest() : dir_(os::TempDir::Create().value()), store_(dir_.path() + "/templates") {}

  Result<Template> Make(const TemplateInputs& inputs = Inputs()) {
    const std::string from = dir_.path() + "/made";
    CR_TRY(os::MakeDirs(from));
    CR_TRY(os::WriteFileAtomic(from + "/memory", std::string(1 << 20, 'm')));
    CR_TRY(os::WriteFileAtomic(from + "/state", "state"));
    CR_TRY(os::WriteFileAtomic(from + "/disk.img", std::string(1 << 16, 'd')));
    return store_.Add(inputs, from);
  }
  bool Found() {
    auto found = store_.Find(Inputs());
    EXPECT_THAT(found, IsOk());
    return found && found->has_value();
  }
  size_t Folders() {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(dir_.path() + "/templates"), {}));
  }

  os::TempDir dir_;
  TemplateStore store_;
};

// On a tmpfs the copies' reads of a hole leave pages of zeros there.
TEST_F(TemplateStoreTest, WhereHolesAreDoesNotCount) {
  auto memory = os::TempDir::Create("/dev/shm");
  if (!memory) GTEST_SKIP() << memory.error().ToString();
  constexpr size_t kBytes = size_t{8} << 20;
  const std::string from = memory->path() + "/made";
  ASSERT_TRUE(os::MakeDirs(from));
  ASSERT_TRUE(os::WriteFileAtomic(from + "/memory", "it begins with data"));
  ASSERT_EQ(truncate((from + "/memory").c_str(), kBytes), 0);
  ASSERT_TRUE(os::WriteFileAtomic(from + "/state", "state"));
  ASSERT_TRUE(os::WriteFileAtomic(from + "/disk.img", std::string(1 << 16, 'd')));
  const TemplateStore store(memory->path() + "/templates");
  const auto made = store.Add(Inputs(), from);
  ASSERT_THAT(made, IsOk());
  {
    const auto file = os::Open(made->memory_file, O_RDONLY);
    ASSERT_TRUE(file);
    void* const mapped = mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE, file->get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    const std::string_view bytes(static_cast<const char*>(mapped), kBytes);
    EXPECT_EQ(std::ranges::count(bytes.substr(kBytes / 2), '\0'), kBytes / 2);
    munmap(mapped, kBytes);
  }
  const auto verified = store.Verify(*made);
  EXPECT_THAT(verified, IsOk());
}

TEST_F(TemplateStoreTest, AppearsWholeOrNotAtAll) {
  EXPECT_FALSE(Found());
  const std::string from = dir_.path() + "/made";
  ASSERT_TRUE(os::MakeDirs(from));
  ASSERT_TRUE(os::WriteFileAtomic(from + "/memory", "half"));
  EXPECT_FALSE(store_.Add(Inputs(), from));
  EXPECT_EQ(Folders(), 0U);
  auto made = Make();
  ASSERT_THAT(made, IsOk());
  ASSERT_TRUE(Found());
  EXPECT_EQ((*store_.Find(Inputs()))->memory_file, made->memory_file);
  EXPECT_TRUE(store_.Verify(*made));
  ASSERT_TRUE(Make()) << "made twice";
  EXPECT_EQ(Folders(), 1U);
  const auto entries = store_.List();
  ASSERT_EQ(entries->size(), 1U);
  EXPECT_EQ(entries->at(0).key, made->key);
  EXPECT_EQ(entries->at(0).inputs, Inputs());
  EXPECT_GE(entries->at(0).disk_bytes, 1U << 20);
  EXPECT_TRUE(store_.Remove(made->key));
  EXPECT_FALSE(Found());
}

TEST_F(TemplateStoreTest, ADamagedOneIsRemovedAndNotTrusted) {
  using Damage = void (*)(const Template&);
  const Damage damages[] = {
      [](const Template& t) {
        // Whose user is not root must ask for it.
        std::filesystem::permissions(t.state_file, std::filesystem::perms::owner_all);
        std::filesystem::resize_file(t.state_file, 2);
      },
      [](const Template& t) { (void)os::WriteFileAtomic(t.state_file, "stale"); },
      [](const Template& t) { std::filesystem::remove(t.state_file); },
      [](const Template& t) { std::filesystem::remove(t.memory_file); },
      [](const Template& t) { std::filesystem::remove(t.disk_file); },
      [](const Template& t) {
        std::filesystem::permissions(t.memory_file, std::filesystem::perms::owner_all);
        std::filesystem::resize_file(t.memory_file, 1 << 19);
      },
      [](const Template& t) {
        // One bit, in place, with the times put back.
        struct stat before = {};
        ASSERT_EQ(stat(t.memory_file.c_str(), &before), 0);
        auto file = os::Open(t.memory_file, O_RDWR);
        if (!file) {  // an ordinary user must ask for it
          std::filesystem::permissions(t.memory_file, std::filesystem::perms::owner_all);
          file = os::Open(t.memory_file, O_RDWR);
        }
        ASSERT_TRUE(file);
        ASSERT_EQ(pwrite(file->get(), "n", 1, 4096), 1);
        const timespec times[2] = {before.st_atim, before.st_mtim};
        ASSERT_EQ(futimens(file->get(), times), 0);
      },
      [](const Template& t) {
        (void)os::WriteFileAtomic(t.memory_file, std::string(1 << 20, 'm'));
      },
      [](const Template& t) { (void)os::WriteFileAtomic(t.folder + "/manifest.json", "{}"); },
      [](const Template& t) { (void)os::WriteFileAtomic(t.folder + "/manifest.json", "["); },
  };
  for (size_t i = 0; i < std::size(damages); ++i) {
    auto made = Make();
    ASSERT_TRUE(made);
    ASSERT_TRUE(Found()) << i;
    damages[i](*made);
    EXPECT_FALSE(Found()) << i;
    EXPECT_EQ(Folders(), 0U) << i;
  }
}

TEST_F(TemplateStoreTest, AMediumThatForgetsIsNoticed) {
  auto made = Make();
  ASSERT_TRUE(made);
  ASSERT_TRUE(os::WriteFileAtomic(made->disk_file, std::string(1 << 16, 'e')));
  const auto verified = store_.Verify(*made);
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code(), ErrorCode::kDataCorrupt);
}

TEST_F(TemplateStoreTest, WhatBelongsToAnotherMachineGoes) {
  ASSERT_TRUE(Make());
  TemplateInputs other = Inputs();
  other.machine = "another";
  ASSERT_TRUE(Make(other));
  ASSERT_TRUE(os::MakeDirs(dir_.path() + "/templates/half-made"));
  EXPECT_EQ(Folders(), 3U);
  EXPECT_EQ(*store_.RemoveStale("m"), 2U);
  EXPECT_TRUE(Found());
  EXPECT_EQ(*store_.RemoveStale("m"), 0U);
  EXPECT_EQ(store_.Remove("../x").error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(TemplateStoreTest, EveryInputCounts) {
  auto differs = [&](auto change) {
    TemplateInputs inputs = Inputs();
    change(inputs);
    return TemplateKey(inputs) != TemplateKey(Inputs());
  };
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.image_digest = "x"; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.image_file = "x"; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.machine = "x"; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.vcpus = 1; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.memory_mib = 7; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.disk_mib = 7; }));
  EXPECT_NE(MachineIdentity("a", "b", "tcg"), MachineIdentity("a", "b", "kvm"));
  EXPECT_NE(MachineIdentity("a", "b", "tcg"), MachineIdentity("x", "b", "tcg"));
  EXPECT_NE(MachineIdentity("a", "b", "tcg"), MachineIdentity("a", "x", "tcg"));
}

}  // namespace
}  // namespace cleanroom::vmm
