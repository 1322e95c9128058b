// Real images, of distribution packages (tests/images/build): what a pull makes of each is, path by
// path, what `umoci unpack` makes of it. Type, mode, owner, time, size, content, link target,
// device number, extended attributes, and which paths are one file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/sha256/digest.h"
#include "base/testing/result_matchers.h"
#include "image/pull.h"
#include "tests/support/command.h"
#include "tests/support/file_server.h"
#include "tests/support/file_tree.h"

namespace cleanroom::image {
namespace {

using testing::FileTree;
using testing::RunScript;
using testing::TestFolder;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Names may hold any byte but NUL.
void Write(const FileTree& tree, const std::string& path) {
  std::ofstream out(path + ".partial", std::ios::binary);
  for (const auto& [name, line] : tree) out << name << '\0' << line << '\0';
  out.close();
  std::filesystem::rename(path + ".partial", path);
}

FileTree Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  FileTree out;
  for (std::string name, line; std::getline(in, name, '\0') && std::getline(in, line, '\0');)
    out.emplace(name, line);
  return out;
}

struct Case {
  const char* name;
  size_t layers;
  const char* media_type;  // of the last layer, its end
  size_t paths;            // at least
};

class UmociEqualityTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "umoci makes device nodes and owners only as root";
    const auto built = RunScript(CLEANROOM_SOURCE "/tests/images/build");
    ASSERT_EQ(built.status, 0) << built.output;
    folder_ = built.output.substr(0, built.output.size() - 1);
    folder_.erase(0, folder_.rfind('\n') + 1);
    folder_ += std::string("/") + GetParam().name;
  }

  // What umoci unpacks, kept as a list for as long as the list's form is the same.
  FileTree Expected() {
    const std::string form = ReadAll(CLEANROOM_SOURCE "/tests/support/file_tree.cc");
    const std::string list = folder_ + "/umoci-" + DigestOf(form).substr(7, 16);
    if (!std::filesystem::exists(list)) {
      const std::string bundle = folder_ + "/bundle";
      const auto unpacked = RunScript("rm -rf " + bundle + "; umoci unpack --image " + folder_ +
                                      "/layout:v " + bundle);
      EXPECT_EQ(unpacked.status, 0) << unpacked.output;
      Write(testing::ListFolder(bundle + "/rootfs"), list);
      std::filesystem::remove_all(bundle);
    }
    return Read(list);
  }

  std::string folder_;
  TestFolder temporary_;
};

TEST_P(UmociEqualityTest, EveryPath) {
  const FileTree expected = Expected();
  const testing::FileServer server(folder_ + "/served");
  const auto store = ImageStore::Open(temporary_ / "cache");
  ASSERT_TRUE(store);
  const auto record = Pull(*store, {}, *ImageRef::Parse(server.host() + "/r:v"), {});
  ASSERT_THAT(record, IsOk());
  EXPECT_EQ(record->layers.size(), GetParam().layers);
  EXPECT_THAT(record->layers.back().media_type, ::testing::EndsWith(GetParam().media_type));
  const FileTree actual = testing::ListExt4(record->rootfs);
  EXPECT_GE(expected.size(), GetParam().paths);
  EXPECT_EQ(testing::Differences(expected, actual), "");
  const auto check = RunScript("e2fsck -fn " + record->rootfs.string());
  EXPECT_EQ(check.status, 0) << check.output;
}

INSTANTIATE_TEST_SUITE_P(Images, UmociEqualityTest,
                         ::testing::Values(Case{"busybox-plain", 1, "layer.v1.tar", 250},
                                           Case{"debian-docker", 1, "diff.tar.gzip", 5000},
                                           Case{"git-python-zstd", 1, "tar+zstd", 8000},
                                           Case{"layered-mixed", 5, "tar+zstd", 1000},
                                           Case{"special-gzip", 3, "tar+gzip", 4000},
                                           Case{"many-files-zstd", 1, "tar+zstd", 20000}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace cleanroom::image
