// `cleanroom cp`: files and folders into a real sandbox and out of it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>
#include <vector>

#include "os/file.h"
#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

using ::testing::HasSubstr;

class CopyTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    daemon_ = new Daemon();
    const Outcome made = daemon_->Cli({"sandbox", "create", "--image", BaseImage(*daemon_)});
    ASSERT_EQ(made.code, 0) << made.err;
    id_ = made.out.substr(0, made.out.find('\n'));
  }
  static void TearDownTestSuite() {
    daemon_->Cli({"sandbox", "rm", id_});
    delete daemon_;
  }
  std::string In(const std::string& path) const { return folder_.path() + "/" + path; }
  void Put(const std::string& path, const std::string& text) const {
    std::ofstream(In(path)) << text;
  }
  std::string Get(const std::string& path) const {
    return os::ReadFile(In(path), 64 << 20).value_or("(none)");
  }
  static Outcome Copy(const std::string& from, const std::string& to) {
    return daemon_->Cli({"cp", from, to, "--json"});
  }
  static std::string There(const std::string& path) { return id_ + ":" + path; }
  static std::string Shell(const std::string& command) {
    const Outcome outcome = daemon_->Cli({"exec", "-n", "--in", id_, "--", "sh", "-c", command});
    return outcome.code == 0 ? outcome.out : "exit " + std::to_string(outcome.code) + outcome.err;
  }
  static void Refused(const std::string& from, const std::string& to, const std::string& says) {
    const Outcome outcome = Copy(from, to);
    EXPECT_EQ(outcome.code, 1) << from << " " << to;
    EXPECT_THAT(outcome.err, HasSubstr(says)) << from << " " << to;
  }

  static inline Daemon* daemon_ = nullptr;
  static inline std::string id_;
  os::TempDir folder_ = os::TempDir::Create().value();
};

TEST_F(CopyTest, FilesGoBothWaysWithModeAndTime) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{5} << 20}) {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 256);
    Put("file", text);
    ASSERT_EQ(chmod(In("file").c_str(), 0751), 0);
    const timespec times[2] = {{.tv_sec = 1'234'567'890, .tv_nsec = 0},
                               {.tv_sec = 1'234'567'890, .tv_nsec = 123'456'789}};
    ASSERT_EQ(utimensat(AT_FDCWD, In("file").c_str(), times, 0), 0);
    const Outcome in = Copy(In("file"), There("/tmp/new/deep/name"));
    ASSERT_EQ(in.code, 0) << in.err;
    EXPECT_THAT(in.out, HasSubstr("\"bytes\": " + std::to_string(size)));
    EXPECT_EQ(Shell("stat -c '%a %s %Y %u' /tmp/new/deep/name"),
              "751 " + std::to_string(size) + " 1234567890 0\n");
    const Outcome out = Copy(There("/tmp/new/deep/name"), In("back"));
    ASSERT_EQ(out.code, 0) << out.err;
    EXPECT_TRUE(Get("back") == text) << size;
    struct stat info = {};
    ASSERT_EQ(stat(In("back").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0751U);
    EXPECT_EQ(info.st_mtim.tv_sec, 1'234'567'890);
    EXPECT_EQ(info.st_mtim.tv_nsec, 123'456'789);
  }
}

TEST_F(CopyTest, FoldersGoBothWays) {
  ASSERT_TRUE(os::MakeDirs(In("tree/sub/empty"), 0755));
  Put("tree/one", "1");
  Put("tree/sub/new\nline", "2");
  ASSERT_EQ(symlink("../one", In("tree/sub/link").c_str()), 0);
  ASSERT_EQ(Copy(In("tree"), There("/tmp/")).code, 0);
  ASSERT_EQ(Copy(In("tree"), There("/tmp/renamed")).code, 0);
  EXPECT_EQ(Shell("diff -r --no-dereference /tmp/tree /tmp/renamed && cat /tmp/tree/sub/link"),
            "1");
  ASSERT_EQ(Copy(There("/tmp/tree"), In("back")).code, 0);
  ASSERT_EQ(mkdir(In("into").c_str(), 0755), 0);
  ASSERT_EQ(Copy(There("/tmp/tree/"), In("into")).code, 0);
  const std::string diff = "cd '" + folder_.path() +
                           "' && diff -r --no-dereference tree back && diff -r --no-dereference "
                           "tree into/tree";
  EXPECT_EQ(test::Run({"sh", "-c", diff}).code, 0);
}

TEST_F(CopyTest, ManySmallFilesAreQuick) {
  ASSERT_TRUE(os::MakeDirs(In("many"), 0755));
  for (int i = 0; i < 2000; ++i) Put("many/" + std::to_string(i), std::string(10'000, 'm'));
  const auto begun = std::chrono::steady_clock::now();
  const Outcome in = Copy(In("many"), There("/tmp/many"));
  const auto took = std::chrono::steady_clock::now() - begun;
  ASSERT_EQ(in.code, 0) << in.err;
  RecordProperty(
      "milliseconds",
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  EXPECT_EQ(Shell("ls /tmp/many | wc -l"), "2000\n");
  EXPECT_EQ(Copy(There("/tmp/many"), In("back")).code, 0);
  EXPECT_EQ(Get("back/1999"), std::string(10'000, 'm'));
}

TEST_F(CopyTest, LinksAreFollowedInsideOnly) {
  Shell(
      "mkdir -p /tmp/l && cd /tmp/l && echo -n old >file && ln -s file link && ln -s a b && ln -s "
      "b a "
      "&& ln -s / root && mkfifo fifo");
  Put("new", "new");
  ASSERT_EQ(Copy(In("new"), There("/tmp/l/link")).code, 0);
  EXPECT_EQ(Shell("cd /tmp/l && readlink link && cat file"), "file\nnew");
  Refused(In("new"), There("/tmp/l/a"), "invalid_argument");
  Refused(In("none"), There("/tmp/l/a"), "invalid_argument");
  Refused(There("/tmp/l/a"), In("x"), "invalid_argument");
  Refused(There("/tmp/l/fifo"), In("x"), "not copied");
  Refused(In("new"), There("/proc/sys/kernel/hostname"), "virtual file system");
  Refused(There("/tmp/none"), In("x"), "not_found");
  // Here: a link that was named is written through, one that lay in wait is not.
  ASSERT_EQ(symlink("target", In("dangling").c_str()), 0);
  ASSERT_EQ(Copy(There("/tmp/l/file"), In("dangling")).code, 0);
  EXPECT_EQ(Get("target"), "new");
  ASSERT_EQ(mkdir(In("trap").c_str(), 0755), 0);
  ASSERT_EQ(symlink("../stolen", In("trap/file").c_str()), 0);
  Refused(There("/tmp/l/file"), In("trap"), "leads out");
  EXPECT_EQ(access(In("stolen").c_str(), F_OK), -1);
}

TEST_F(CopyTest, SaysWhatIsNotCopied) {
  Put("file", "x");
  Refused(In("file"), In("other"), "both are of this machine");
  Refused(There("/etc/passwd"), There("/tmp/x"), "both are of a sandbox");
  Refused(In("file"), id_ + ":relative", "not absolute");
  Refused(There("/etc/passwd"), In("missing/"), "not_found");
  Refused(In("none"), There("/tmp/x"), "not_found");
  Refused("short:/x", In("x"), "no sandbox id");
}

}  // namespace
}  // namespace cleanroom::test
