// The two sides that proto/protoc-gen-cleanroom makes of a service, joined by a real connection.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <type_traits>
#include <utility>

#include "base/async.h"
#include "rpc/testing/link.h"
#include "shapes.fake.h"

namespace cleanroom::test::shapes::v1 {
namespace {

using std::chrono::steady_clock;

Question Ask(std::string text) {
  Question question;
  question.set_text(std::move(text));
  return question;
}

class Shapes final : public ShapesService {
  Awaitable<Result<Answer>> One(rpc::CallContext& call, Question request) override {
    Answer answer;
    answer.add_parts()->set_text(request.text());
    answer.add_parts()->set_text(call.procedure);
    co_return answer;
  }
  Awaitable<Result<void>> Pour(rpc::CallContext&, Question request,
                               rpc::Writer<Answer::Part>& out) override {
    for (const char letter : request.text()) {
      Answer::Part part;
      part.set_text(std::string(1, letter));
      auto written = co_await out.Write(part);
      if (!written) co_return written;
    }
    co_return Result<void>();
  }
  Awaitable<Result<Answer>> Gather(rpc::CallContext&, rpc::Reader<Question>& in) override {
    Answer answer;
    for (;;) {
      auto question = co_await in.Next();
      if (!question) co_return Err(std::move(question).error());
      if (!*question) break;
      answer.add_parts()->set_text((*question)->text());
    }
    if (answer.parts().empty()) co_return Err(ErrorCode::kInvalidArgument, "nothing was asked");
    co_return answer;
  }
  Awaitable<Result<void>> Talk(rpc::CallContext&, rpc::Reader<Question>& in,
                               rpc::Writer<Answer::Part>& out) override {
    for (;;) {
      auto question = co_await in.Next();
      if (!question) co_return Err(std::move(question).error());
      if (!*question) co_return Result<void>();
      Answer::Part part;
      part.set_text((*question)->text() + "!");
      auto written = co_await out.Write(part);
      if (!written) co_return written;
    }
  }
};

class Bare final : public BareService {
  Awaitable<Result<google::protobuf::Empty>> Touch(rpc::CallContext&,
                                                   google::protobuf::Empty) override {
    co_return google::protobuf::Empty();
  }
};

static_assert(std::is_abstract_v<ShapesService>);
static_assert(!std::is_abstract_v<Shapes>);
static_assert(std::is_copy_constructible_v<ShapesStub>);
static_assert(ShapesStub::kPour == "/cleanroom.test.shapes.v1.ShapesService/Pour");
static_assert(BareStub::kTouch == "/cleanroom.test.shapes.v1.Bare/Touch");

class StubsTest : public testing::Test {
 protected:
  StubsTest() {
    shapes_.Register(router_);
    bare_.Register(router_);
  }
  // One call of each shape.
  static Awaitable<void> CallOne(ShapesStub stub) {
    auto answer = co_await stub.One(Ask("a"));
    EXPECT_TRUE(answer) << answer.error().ToString();
    EXPECT_EQ(answer->parts(0).text(), "a");
    EXPECT_EQ(answer->parts(1).text(), ShapesStub::kOne);
  }
  static Awaitable<void> CallPour(ShapesStub stub) {
    auto parts = co_await stub.Pour(Ask("abc"));
    EXPECT_TRUE(parts) << parts.error().ToString();
    co_await Collect(*parts, "a b c ");
  }
  static Awaitable<void> CallGather(ShapesStub stub) {
    auto call = co_await stub.Gather();
    EXPECT_TRUE(call) << call.error().ToString();
    for (int i = 0; i < 3; ++i) {
      auto written = co_await call->Write(Ask(std::to_string(i)));
      EXPECT_TRUE(written);
    }
    auto closed = co_await call->CloseWrite();
    EXPECT_TRUE(closed);
    auto answer = co_await call->Next();
    EXPECT_TRUE(answer && *answer);
    EXPECT_EQ((*answer)->parts_size(), 3);
    EXPECT_EQ((*answer)->parts(2).text(), "2");
    auto end = co_await call->Next();
    EXPECT_TRUE(end && !*end);
  }
  static Awaitable<void> GatherNothing(ShapesStub stub) {
    auto call = co_await stub.Gather();
    EXPECT_TRUE(call);
    auto closed = co_await call->CloseWrite();
    EXPECT_TRUE(closed);
    auto answer = co_await call->Next();
    EXPECT_EQ(answer.error().code(), ErrorCode::kInvalidArgument);
  }
  static Awaitable<void> CallTalk(ShapesStub stub) {
    auto call = co_await stub.Talk();
    EXPECT_TRUE(call) << call.error().ToString();
    for (const char* word : {"a", "b"}) {
      auto written = co_await call->Write(Ask(word));
      EXPECT_TRUE(written);
      auto part = co_await call->Next();
      EXPECT_TRUE(part && *part);
      EXPECT_EQ((*part)->text(), std::string(word) + "!");
    }
    auto closed = co_await call->CloseWrite();
    EXPECT_TRUE(closed);
    co_await Collect(*call, "");
  }
  static Awaitable<void> CallTouch(BareStub stub) {
    auto answer = co_await stub.Touch({});
    EXPECT_TRUE(answer) << answer.error().ToString();
  }
  // Its limit is over before it begins.
  static Awaitable<void> CallTooLate(ShapesStub stub) {
    rpc::CallOptions options;
    options.deadline = steady_clock::now() - std::chrono::seconds(1);
    auto answer = co_await stub.One(Ask("a"), options);
    EXPECT_EQ(answer.error().code(), ErrorCode::kDeadlineExceeded);
  }
  static Awaitable<void> CallFake(ShapesStub stub) {
    auto answer = co_await stub.One(Ask("a"));
    EXPECT_EQ(answer.error().code(), ErrorCode::kUnimplemented);
    auto parts = co_await stub.Pour(Ask("a"));
    EXPECT_TRUE(parts);
    auto part = co_await parts->Next();
    EXPECT_EQ(part.error().code(), ErrorCode::kUnimplemented);
    EXPECT_THAT(part.error().message(), testing::HasSubstr("ShapesService/Pour"));
  }
  template <typename Call>
  static Awaitable<void> Collect(Call& call, std::string expected) {
    std::string all;
    for (;;) {
      auto part = co_await call.Next();
      EXPECT_TRUE(part) << part.error().ToString();
      if (!part || !*part) break;
      all += (*part)->text() + " ";
    }
    EXPECT_EQ(all, expected);
  }

  rpc::Router router_;
  Shapes shapes_;
  Bare bare_;
};

TEST_F(StubsTest, EveryShapeArrivesAndIsAnswered) {
  rpc::TestLink link(router_);
  const ShapesStub stub(link.channel());
  link.Run(CallOne(stub));
  link.Run(CallPour(stub));
  link.Run(CallGather(stub));
  link.Run(GatherNothing(stub));
  link.Run(CallTalk(stub));
  link.Run(CallTouch(BareStub(link.channel())));
}

TEST_F(StubsTest, ACallHasItsOwnLimit) {
  rpc::TestLink link(router_);
  link.Run(CallTooLate(ShapesStub(link.channel())));
}

TEST_F(StubsTest, AFakeAnswersToWhatItDoesNotOverride) {
  FakeShapesService fake;
  rpc::Router router;
  fake.Register(router);
  rpc::TestLink link(router);
  link.Run(CallFake(ShapesStub(link.channel())));
}

}  // namespace
}  // namespace cleanroom::test::shapes::v1
