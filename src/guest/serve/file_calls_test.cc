// The file procedures over a real connection, on a folder that stands for the root.
#include "guest/serve/file_calls.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <csignal>

#include "base/testing/result_matchers.h"
#include "cleanroom/internal/v1/guest.fake.h"
#include "http/byte_stream.h"
#include "os/file.h"
#include "os/socket.h"
#include "rpc/server.h"
#include "tree/tar_format.h"

namespace cleanroom::guest {
namespace {

using namespace internal::v1;  // NOLINT(google-build-using-namespace): one proto, one service
using ::testing::ElementsAre;

struct FileService final : FakeGuestService {
  explicit FileService(FileCalls calls) : files(calls) {}
  Awaitable<Result<void>> ReadFile(rpc::CallContext&, ReadFileRequest request,
                                   rpc::Writer<FileChunk>& out) override {
    return files.Read(std::move(request), out);
  }
  Awaitable<Result<PathInfo>> StatPath(rpc::CallContext&, StatPathRequest request) override {
    co_return files.Stat(request);
  }
  Awaitable<Result<void>> WalkTree(rpc::CallContext&, WalkTreeRequest request,
                                   rpc::Writer<PathInfos>& out) override {
    return files.Walk(std::move(request), out);
  }
  Awaitable<Result<WriteFileResult>> WriteFile(rpc::CallContext&,
                                               rpc::Reader<WriteFileInput>& in) override {
    return files.Write(in);
  }
  Awaitable<Result<RemovePathResult>> RemovePath(rpc::CallContext&,
                                                 RemovePathRequest request) override {
    return files.Remove(std::move(request));
  }
  Awaitable<Result<void>> ArchivePaths(rpc::CallContext&, ArchivePathsRequest request,
                                       rpc::Writer<ArchiveChunk>& out) override {
    return files.Archive(std::move(request), out);
  }
  Awaitable<Result<ExtractArchiveResult>> ExtractArchive(
      rpc::CallContext&, rpc::Reader<ExtractArchiveInput>& in) override {
    return files.Extract(in);
  }
  FileCalls files;
};

class FileCallsTest : public ::testing::Test {
 protected:
  FileCallsTest()
      : service_(FileCalls(root_, {})), server_(router_, {}, nullptr), tasks_(io_.get_executor()) {
    std::signal(SIGPIPE, SIG_IGN);
    service_.Register(router_);
    auto pair = os::SocketPair().value();
    tasks_.Spawn(server_.Serve(http::AdoptSocket(io_.get_executor(), pair.first.release())));
    channel_ =
        rpc::Channel::Create(http::AdoptSocket(io_.get_executor(), pair.second.release()), {});
  }
  template <typename T>
  static Awaitable<void> Keep(Awaitable<T> task, std::optional<T>* out) {
    auto result = co_await std::move(task);
    out->emplace(std::move(result));
  }
  template <typename T>
  T Run(Awaitable<T> task) {
    std::optional<T> out;
    tasks_.Spawn(Keep(std::move(task), &out));
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!out && std::chrono::steady_clock::now() < limit)
      io_.run_one_for(std::chrono::seconds(1));
    if (!out) std::abort();
    return std::move(*out);
  }
  static Awaitable<bool> Close(rpc::Channel& channel) {
    co_await channel.Close();
    co_return true;
  }
  void TearDown() override {
    Run(Close(*channel_));
    tasks_.Cancel();
    while (tasks_.size() > 0) io_.run_one();
  }

  template <typename Stream, typename Take>
  static Awaitable<Result<int>> Drain(Stream stream, Take take) {
    int messages = 0;
    for (;;) {
      auto next = co_await stream.Next();
      if (!next) co_return Err(std::move(next).error());
      if (!*next) co_return messages;
      ++messages;
      take(**next);
    }
  }
  Awaitable<Result<std::string>> Archive(ArchivePathsRequest request) {
    auto stream = co_await guest_().ArchivePaths(std::move(request));
    if (!stream) co_return Err(std::move(stream).error());
    std::string tar;
    const auto take = [&tar](const ArchiveChunk& chunk) { tar += chunk.data(); };
    auto drained = co_await Drain(std::move(*stream), take);
    if (!drained) co_return Err(std::move(drained).error());
    co_return tar;
  }
  // Sends all of it, whatever the server says meanwhile, then takes the answer.
  template <typename Input, typename Answer>
  static Awaitable<Result<Answer>> Send(rpc::ClientStream<Input, Answer> stream, Input first,
                                        std::string data) {
    auto sent = co_await stream.Write(first);
    for (size_t at = 0; at < data.size() && sent; at += 100'000) {
      Input input;
      input.set_data(data.substr(at, 100'000));
      sent = co_await stream.Write(input);
    }
    auto closed = co_await stream.CloseWrite();
    (void)closed;
    auto answer = co_await stream.Next();
    if (!answer) co_return Err(std::move(answer).error());
    if (!*answer) co_return Err(ErrorCode::kInternal, "no answer");
    co_return std::move(**answer);
  }
  Awaitable<Result<WriteFileResult>> Write(std::string path, std::string data, mode_t mode = 0640) {
    WriteFileInput first;
    first.mutable_init()->set_path(std::move(path));
    first.mutable_init()->set_mode(mode);
    first.mutable_init()->mutable_mtime()->set_seconds(1'000'000'000);
    first.mutable_init()->mutable_mtime()->set_nanos(123'456'789);
    auto stream = co_await guest_().WriteFile();
    auto answer = co_await Send(std::move(*stream), std::move(first), std::move(data));
    co_return answer;
  }
  Awaitable<Result<ExtractArchiveResult>> Extract(std::string destination, std::string tar) {
    ExtractArchiveInput first;
    first.mutable_init()->set_destination(std::move(destination));
    auto stream = co_await guest_().ExtractArchive();
    auto answer = co_await Send(std::move(*stream), std::move(first), std::move(tar));
    co_return answer;
  }
  Awaitable<Result<PathInfo>> Stat(std::string path, bool follow = false) {
    StatPathRequest request;
    request.set_path(std::move(path));
    request.set_follow(follow);
    auto info = co_await guest_().StatPath(request);
    co_return info;
  }
  Awaitable<Result<std::vector<std::string>>> Walk(std::string path) {
    WalkTreeRequest request;
    request.set_path(std::move(path));
    std::vector<std::string> paths;
    auto stream = co_await guest_().WalkTree(request);
    if (!stream) co_return Err(std::move(stream).error());
    const auto take = [&paths](const PathInfos& infos) {
      for (const PathInfo& info : infos.infos()) paths.push_back(info.path());
    };
    auto drained = co_await Drain(std::move(*stream), take);
    if (!drained) co_return Err(std::move(drained).error());
    co_return paths;
  }
  Awaitable<Result<RemovePathResult>> Remove(std::string path, bool recursive) {
    RemovePathRequest request;
    request.set_path(std::move(path));
    request.set_recursive(recursive);
    auto removed = co_await guest_().RemovePath(request);
    co_return removed;
  }

  GuestStub guest_() { return GuestStub(*channel_); }
  std::string In(const std::string& path) const { return top_.path() + path; }
  std::string Get(const std::string& path) const {
    return os::ReadFile(In(path), 64 << 20).value_or("(none)");
  }

  os::TempDir top_ = *os::TempDir::Create();
  Root root_ = *Root::Open(top_.path());
  asio::io_context io_{1};
  FileService service_;
  rpc::Router router_;
  rpc::Server server_;
  TaskScope tasks_;
  std::unique_ptr<rpc::Channel> channel_;
};

TEST_F(FileCallsTest, FilesAreWrittenAndLookedAt) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{5} << 20}) {
    const auto written = Run(Write("/new/folder/file", std::string(size, 'w')));
    ASSERT_THAT(written, IsOk());
    EXPECT_EQ(written->size(), static_cast<int64_t>(size));
    const auto info = Run(Stat("/new/folder/file"));
    ASSERT_THAT(info, IsOk());
    EXPECT_EQ(info->size(), static_cast<int64_t>(size));
    EXPECT_EQ(info->mode(), 0640U);
    EXPECT_EQ(info->mtime().seconds(), 1'000'000'000);
    EXPECT_EQ(info->mtime().nanos(), 123'456'789);
  }
  ASSERT_EQ(symlink("/new/folder", In("/link").c_str()), 0);
  EXPECT_EQ(Run(Stat("/link"))->type(), PathInfo::TYPE_SYMLINK);
  EXPECT_EQ(Run(Stat("/link"))->symlink_target(), "/new/folder");
  EXPECT_EQ(Run(Stat("/link", true))->type(), PathInfo::TYPE_DIRECTORY);
  EXPECT_EQ(Run(Stat("/"))->type(), PathInfo::TYPE_DIRECTORY);
  EXPECT_EQ(Run(Stat("/none")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(Run(Stat(std::string("/\0", 2))).error().code(), ErrorCode::kInvalidArgument);
}

// The client goes on writing megabytes that nobody reads.
TEST_F(FileCallsTest, AnEarlyRefusalReachesAClientThatStillWrites) {
  ASSERT_EQ(mkdir(In("/folder").c_str(), 0755), 0);
  const auto refused = Run(Write("/folder", std::string(20 << 20, 'x')));
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  const auto damaged = Run(Extract("/folder", std::string(20 << 20, 'x')));
  EXPECT_EQ(damaged.error().code(), ErrorCode::kDataCorrupt);
  EXPECT_THAT(*Run(Walk("/folder")), ElementsAre("/folder"));
}

TEST_F(FileCallsTest, ATreeGoesThroughAnArchive) {
  ASSERT_THAT(Run(Write("/from/a", "1")), IsOk());
  ASSERT_THAT(Run(Write("/from/sub/b", std::string(300'000, 'b'))), IsOk());
  ASSERT_EQ(symlink("../../../../etc", In("/from/sub/out").c_str()), 0);
  ASSERT_EQ(symlink("/from", In("/by-link").c_str()), 0);
  ArchivePathsRequest request;
  request.set_base("/by-link");
  request.add_paths(".");
  const auto tar = Run(Archive(request));
  ASSERT_THAT(tar, IsOk());
  const auto extracted = Run(Extract("/to/here", *tar));
  ASSERT_THAT(extracted, IsOk());
  EXPECT_EQ(extracted->size(), static_cast<int64_t>(tar->size()));
  EXPECT_EQ(Get("/to/here/a"), "1");
  EXPECT_TRUE(Get("/to/here/sub/b") == std::string(300'000, 'b'));
  EXPECT_THAT(*Run(Walk("/to/here/")), ElementsAre("/to/here", "/to/here/a", "/to/here/sub",
                                                   "/to/here/sub/b", "/to/here/sub/out"));
  // By their names from the root, the link as a link.
  ArchivePathsRequest named;
  named.set_base("/");
  named.add_paths("from/sub/b");
  named.add_paths("by-link");
  const auto other = Run(Archive(named));
  ASSERT_THAT(other, IsOk());
  ASSERT_THAT(Run(Extract("/other", *other)), IsOk());
  EXPECT_THAT(*Run(Walk("/other")), ElementsAre("/other", "/other/by-link", "/other/from",
                                                "/other/from/sub", "/other/from/sub/b"));
  request.set_max_bytes(100'000);
  EXPECT_EQ(Run(Archive(request)).error().code(), ErrorCode::kResourceExhausted);
  named.add_paths("../x");
  EXPECT_EQ(Run(Archive(named)).error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(FileCallsTest, RemovesTreesButNotTheRoot) {
  ASSERT_THAT(Run(Write("/a/b/c", "1")), IsOk());
  ASSERT_THAT(Run(Write("/kept/file", "1")), IsOk());
  ASSERT_EQ(symlink("/kept", In("/a/link").c_str()), 0);
  EXPECT_EQ(Run(Remove("/a", false)).error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(Run(Remove("/a/", true))->removed());
  EXPECT_FALSE(Run(Remove("/a", true))->removed());
  EXPECT_FALSE(Run(Remove("/a/b", true))->removed());
  EXPECT_EQ(Get("/kept/file"), "1");
  for (const char* root : {"/", "//", "/.", "/kept/..", "/.."}) {
    EXPECT_EQ(Run(Remove(root, true)).error().code(), ErrorCode::kInvalidArgument) << root;
  }
}

TEST_F(FileCallsTest, ManyEntriesAreWalkedInSeveralMessages) {
  for (int i = 0; i < 700; ++i) {
    ASSERT_EQ(close(open(In(fmt::format("/{:03}", i)).c_str(), O_CREAT | O_WRONLY, 0644)), 0);
  }
  const auto paths = Run(Walk("/"));
  ASSERT_THAT(paths, IsOk());
  ASSERT_EQ(paths->size(), 701U);
  EXPECT_EQ(paths->front(), "/");
  EXPECT_EQ(paths->back(), "/699");
}

}  // namespace
}  // namespace cleanroom::guest
