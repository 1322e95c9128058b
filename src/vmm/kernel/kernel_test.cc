// The real managed kernel: what is taken from it, and what damage to it does.
#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "vmm/kernel/decompress.h"
#include "vmm/kernel/elf.h"
#include "vmm/kernel/initramfs.h"
#include "vmm/kernel/kernel_store.h"
#include "vmm/kernel/modules.h"
#include "vmm/testing/test_kernel.h"

namespace cleanroom::vmm {
namespace {

class KernelTest : public testing::Test {
 protected:
  void SetUp() override {
    auto kernel = TestKernel();
    if (!kernel && kernel.error().code() == ErrorCode::kFailedPrecondition) {
      GTEST_SKIP() << kernel.error().ToString();
    }
    ASSERT_THAT(kernel, IsOk());
    kernel_ = *std::move(kernel);
    dir_.emplace(*os::TempDir::Create());
  }
  Kernel kernel_;
  std::optional<os::TempDir> dir_;
};

TEST_F(KernelTest, IsWholeAndBootable) {
  auto vmlinux = os::ReadFile(kernel_.vmlinux, kMaxKernelBytes);
  ASSERT_TRUE(vmlinux);
  EXPECT_TRUE(CheckPvhKernel(*vmlinux));
  EXPECT_EQ(*KernelRelease(*vmlinux), kernel_.version);
  EXPECT_EQ(Sha256Hex(*vmlinux), kernel_.digest);
  for (const size_t size : {size_t{0}, size_t{20}, size_t{64}, vmlinux->size() / 2}) {
    EXPECT_EQ(CheckPvhKernel(std::string_view(*vmlinux).substr(0, size)).error().code(),
              ErrorCode::kDataCorrupt)
        << size;
  }
}

TEST_F(KernelTest, ModulesComeAfterWhatTheyNeed) {
  std::vector<std::string> loaded;
  for (const std::string& path : kernel_.modules) {
    auto module = os::ReadFile(path, kMaxModuleBytes);
    ASSERT_TRUE(module);
    const std::string depends = *ModuleInfo(*module, "depends");
    for (size_t begin = 0; begin < depends.size();) {
      const size_t end = std::min(depends.find(',', begin), depends.size());
      EXPECT_NE(std::find(loaded.begin(), loaded.end(), depends.substr(begin, end - begin)),
                loaded.end())
          << path << " before its dependency in " << depends;
      begin = end + 1;
    }
    loaded.push_back(std::filesystem::path(path).stem());
  }
  for (const char* name : {"virtio_console", "virtio_blk", "virtio_net"}) {
    EXPECT_NE(std::find(loaded.begin(), loaded.end(), name), loaded.end()) << name;
  }
}

TEST_F(KernelTest, AUsersImageIsTakenOnce) {
  KernelStore store({.directory = dir_->path() + "/kernels"});
  auto used = store.UseImage(kernel_.vmlinux);
  ASSERT_THAT(used, IsOk());
  EXPECT_EQ(used->version, kernel_.version);
  EXPECT_EQ(used->digest, kernel_.digest);
  EXPECT_EQ(store.UseImage(kernel_.vmlinux)->vmlinux, used->vmlinux);
  EXPECT_FALSE(*store.Find()) << "a user's kernel is not the managed one";
  ASSERT_TRUE(os::WriteFileAtomic(dir_->path() + "/text", "no kernel"));
  auto refused = store.UseImage(dir_->path() + "/text");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error().message().find("/text"), std::string::npos);
}

TEST_F(KernelTest, NoWayToAKernelNamesTheRemedy) {
  KernelStore store({.directory = dir_->path() + "/kernels",
                     .meta_package = "no-such-package-anywhere",
                     .boot_directory = dir_->path()});
  auto kernel = store.Ensure();
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_NE(kernel.error().message().find("apt-get update"), std::string::npos);
  EXPECT_NE(kernel.error().message().find("kernel_image"), std::string::npos);
}

TEST_F(KernelTest, InitramfsHoldsAgentAndModulesInOrder) {
  const std::string agent = dir_->path() + "/agent";
  ASSERT_TRUE(os::WriteFileAtomic(agent, "agent bytes"));
  auto path = EnsureInitramfs(dir_->path() + "/i", kernel_, agent);
  ASSERT_THAT(path, IsOk());
  EXPECT_EQ(*EnsureInitramfs(dir_->path() + "/i", kernel_, agent), *path);

  archive* reader = archive_read_new();
  archive_read_support_format_cpio(reader);
  ASSERT_EQ(archive_read_open_filename(reader, path->c_str(), 1 << 16), ARCHIVE_OK);
  std::map<std::string, std::string> files;
  archive_entry* entry = nullptr;
  while (archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
    const std::string name = archive_entry_pathname(entry);
    std::string& contents = files[name];
    contents.resize(static_cast<size_t>(archive_entry_size(entry)));
    ASSERT_EQ(archive_read_data(reader, contents.data(), contents.size()),
              static_cast<la_ssize_t>(contents.size()));
    if (name == "init") {
      EXPECT_EQ(archive_entry_mode(entry), S_IFREG | 0755U);
    }
    if (name == "dev/console") {
      EXPECT_EQ(archive_entry_filetype(entry), static_cast<unsigned>(S_IFCHR));
      EXPECT_EQ(archive_entry_rdev(entry), makedev(5, 1));
    }
  }
  archive_read_free(reader);
  EXPECT_EQ(files["init"], "agent bytes");
  EXPECT_TRUE(files.contains("dev/console"));
  std::string list;
  for (const std::string& module : kernel_.modules) {
    const std::string name = "modules/" + std::filesystem::path(module).filename().string();
    list += "/" + name + "\n";
    EXPECT_EQ(files[name], *os::ReadFile(module, kMaxModuleBytes)) << name;
  }
  EXPECT_EQ(files["modules.list"], list);

  ASSERT_TRUE(os::WriteFileAtomic(agent, "other bytes"));
  EXPECT_NE(*EnsureInitramfs(dir_->path() + "/i", kernel_, agent), *path);
}

TEST(DecompressTest, RefusesWhatIsNotAKernel) {
  EXPECT_FALSE(Decompress("plain text", 100));
  EXPECT_FALSE(Decompress("", 100));
  std::string image(4096, '\0');
  image.replace(0x202, 4, "HdrS");
  image[0x206] = 0x08;
  image[0x207] = 0x02;
  image[0x248] = 0x7f;  // a payload past the end
  image[0x24a] = 0x7f;
  EXPECT_EQ(ExtractVmlinux(image).error().code(), ErrorCode::kDataCorrupt);
  image[0x207] = 0x01;
  EXPECT_EQ(ExtractVmlinux(image).error().code(), ErrorCode::kInvalidArgument);
}

TEST(DecompressTest, BoundsWhatComesOut) {
  // gzip of 1000 'a'.
  const std::string gzip(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x4b\x4c\x1c\x05\xa3\x60\x14\x0c\x77\x00\x00\x03"
      "\xda\x38\x9a\xe8\x03\x00\x00",
      29);
  auto whole = Decompress(gzip, 1000);
  ASSERT_THAT(whole, IsOk());
  EXPECT_EQ(*whole, std::string(1000, 'a'));
  EXPECT_EQ(Decompress(gzip, 999).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(Decompress(gzip.substr(0, 18), 1000).error().code(), ErrorCode::kDataCorrupt);
}

}  // namespace
}  // namespace cleanroom::vmm
