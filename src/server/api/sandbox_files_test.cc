// The file procedures down to a warden whose guest is a folder (testing/fake_warden).
#include "server/api/sandbox_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/testing/result_matchers.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "os/file.h"
#include "server/testing/control_plane_world.h"

namespace cleanroom::server {
namespace {

// What a client sends, all of it there already.
class Script : public rpc::MessageSource {
 public:
  Awaitable<Result<bool>> Next(rpc::Message& out) override {
    if (messages.empty()) co_return false;
    const bool parsed = out.ParseFromString(messages.front());
    messages.pop_front();
    co_return parsed;
  }
  void Add(const rpc::Message& message) { messages.push_back(message.SerializeAsString()); }
  std::deque<std::string> messages;
};

template <typename T>
Awaitable<void> Keep(Awaitable<T> task, std::optional<T>* out) {
  auto result = co_await std::move(task);
  out->emplace(std::move(result));
}

class SandboxFilesTest : public testing::Test {
 protected:
  template <typename T>
  T Run(Awaitable<T> task) {
    std::optional<T> out;
    plane_.Run(Keep(std::move(task), &out));
    return std::move(*out);
  }
  std::string In(const std::string& path) const {
    return plane_.layout.Sandbox(id_) + "/files" + path;
  }
  Result<v1::WriteSandboxFileResponse> Write(const std::string& path,
                                             const std::vector<std::string>& data,
                                             uint32_t mode = 0) {
    Script script;
    v1::WriteSandboxFileRequest message;
    message.mutable_init()->set_sandbox_id(id_.text());
    message.mutable_init()->set_path(path);
    message.mutable_init()->set_mode(mode);
    script.Add(message);
    for (const std::string& part : data) {
      message.set_data(part);
      script.Add(message);
    }
    rpc::Reader<v1::WriteSandboxFileRequest> reader(script);
    return Run(files_.Write(reader));
  }
  Result<std::string> Read(const std::string& path, int64_t max_bytes = 0) {
    v1::ReadSandboxFileRequest request;
    request.set_sandbox_id(id_.text());
    request.set_path(path);
    request.set_max_bytes(max_bytes);
    Collector collector;
    rpc::Writer<v1::ReadSandboxFileResponse> writer(collector);
    CR_TRY(Run(files_.Read(request, writer)));
    return Data<v1::ReadSandboxFileResponse>(collector);
  }
  template <typename Message>
  static std::string Data(const Collector& collector) {
    std::string data;
    for (const std::string& bytes : collector.messages) {
      Message message;
      message.ParseFromString(bytes);
      data += message.data();
    }
    return data;
  }
  Result<v1::SandboxPathInfo> Stat(const std::string& path, const std::string& raw = "") {
    v1::StatSandboxPathRequest request;
    request.set_sandbox_id(id_.text());
    request.set_path(path);
    request.set_raw_path(raw);
    CR_TRY_ASSIGN(const auto response, Run(files_.Stat(request)));
    return response.info();
  }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
  Plane plane_{folder_.path()};
  SandboxId id_ = plane_.MakeReady();
  SandboxFiles files_{*plane_.sandboxes};
};

TEST_F(SandboxFilesTest, FilesGoBothWays) {
  const std::string big(1 << 20, 'b');
  const auto written = Write("/folder/file", {big, "", "end"}, 0600);
  ASSERT_THAT(written, IsOk());
  EXPECT_EQ(written->size_bytes(), (1 << 20) + 3);
  EXPECT_TRUE(*Read("/folder/file") == big + "end");
  EXPECT_EQ(Read("/folder/file", 100).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(Read("/none").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(Read("/none").error().subject().kind, SubjectKind::kFile);
  const auto info = Stat("/folder/file");
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->mode(), 0600U);
  EXPECT_EQ(info->type(), v1::SANDBOX_PATH_TYPE_FILE);
  v1::UploadSandboxFileRequest upload;
  upload.set_sandbox_id(id_.text());
  upload.set_path("/up");
  upload.set_data(std::string(700'000, 'u'));
  EXPECT_EQ(Run(files_.Upload(upload))->size_bytes(), 700'000);
  EXPECT_EQ(Stat("/up")->mode(), 0644U);
  upload.set_data(std::string(kMaxUpload + 1, 'u'));
  EXPECT_EQ(Run(files_.Upload(upload)).error().code(), ErrorCode::kResourceExhausted);
}

TEST_F(SandboxFilesTest, WhatIsAskedForIsChecked) {
  EXPECT_EQ(Write("relative", {}).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Write("/" + std::string(256, 'n'), {}).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Write("/x", {std::string(kMaxFileData + 1, 'x')}).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(Write("/x", {}, 010000).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Stat(std::string("/a\0b", 4)).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Read("/x", -1).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(access(In("/x").c_str(), F_OK), -1);
  // No init, and two.
  Script script;
  v1::WriteSandboxFileRequest message;
  message.set_data("x");
  script.Add(message);
  rpc::Reader<v1::WriteSandboxFileRequest> reader(script);
  EXPECT_EQ(Run(files_.Write(reader)).error().code(), ErrorCode::kInvalidArgument);
  message.mutable_init()->set_sandbox_id(id_.text());
  message.mutable_init()->set_path("/x");
  script.messages.clear();
  script.Add(message);
  script.Add(message);
  EXPECT_EQ(Run(files_.Write(reader)).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(access(In("/x").c_str(), F_OK), -1);
}

TEST_F(SandboxFilesTest, NamesThatAreNoTextTravelAsBytes) {
  const std::string raw = "/odd\xff";
  ASSERT_TRUE(os::WriteFileAtomic(In(raw), "x"));
  const auto info = Stat("", raw);
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->path(), "/odd?");
  EXPECT_EQ(info->raw_path(), raw);
  v1::WalkSandboxTreeRequest request;
  request.set_sandbox_id(id_.text());
  request.set_path("/");
  Collector collector;
  rpc::Writer<v1::WalkSandboxTreeResponse> writer(collector);
  ASSERT_THAT(Run(files_.Walk(request, writer)), IsOk());
  ASSERT_EQ(collector.messages.size(), 2U);
  v1::WalkSandboxTreeResponse last;
  ASSERT_TRUE(last.ParseFromString(collector.messages.back()));
  EXPECT_EQ(last.info().raw_path(), raw);
}

TEST_F(SandboxFilesTest, ArchivesAreMadeAndExtracted) {
  ASSERT_THAT(Write("/from/a", {"1"}), IsOk());
  v1::ArchiveSandboxPathsRequest request;
  request.set_sandbox_id(id_.text());
  Collector collector;
  rpc::Writer<v1::ArchiveSandboxPathsResponse> writer(collector);
  EXPECT_EQ(Run(files_.Archive(request, writer)).error().code(), ErrorCode::kInvalidArgument);
  request.add_paths("/from");
  ASSERT_THAT(Run(files_.Archive(request, writer)), IsOk());
  Script script;
  v1::ExtractSandboxArchiveRequest message;
  message.mutable_init()->set_sandbox_id(id_.text());
  message.mutable_init()->set_destination("/to");
  script.Add(message);
  message.set_data(Data<v1::ArchiveSandboxPathsResponse>(collector));
  script.Add(message);
  rpc::Reader<v1::ExtractSandboxArchiveRequest> reader(script);
  const auto extracted = Run(files_.Extract(reader));
  ASSERT_THAT(extracted, IsOk());
  EXPECT_EQ(extracted->entries(), 2);
  EXPECT_EQ(os::ReadFile(In("/to/from/a"), 10).value(), "1");
  v1::RemoveSandboxPathRequest remove;
  remove.set_sandbox_id(id_.text());
  remove.set_path("/to");
  EXPECT_EQ(Run(files_.Remove(remove)).error().code(), ErrorCode::kFailedPrecondition);
  remove.set_recursive(true);
  EXPECT_TRUE(Run(files_.Remove(remove))->removed());
  EXPECT_FALSE(Run(files_.Remove(remove))->removed());
}

}  // namespace
}  // namespace cleanroom::server
