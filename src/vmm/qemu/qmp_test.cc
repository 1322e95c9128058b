#include "vmm/qemu/qmp.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/file.h"
#include "os/socket.h"

namespace cleanroom::vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr char kGreeting[] = R"({"QMP": {"version": {}, "capabilities": []}})"
                             "\n";

// A client whose peer has already said `script` and, if `hang_up`, is gone for reading.
class QmpTest : public testing::Test {
 protected:
  Qmp After(std::string_view script) {
    auto pair = os::SocketPair();
    EXPECT_TRUE(pair && os::WriteAll(pair->second.get(), script, "script"));
    peer_ = std::move(pair->second);
    return Qmp(std::move(pair->first));
  }
  static steady_clock::time_point Soon() { return steady_clock::now() + milliseconds(5000); }
  os::UniqueFd peer_;
};

TEST_F(QmpTest, NegotiatesAndSkipsEvents) {
  Qmp qmp = After(std::string(kGreeting) +
                  "{\"return\": {}, \"id\": 1}\n{\"event\": \"STOP\"}\n"
                  "{\"return\": {\"status\": \"running\"}, \"id\": 2}\n"
                  "{\"error\": {\"class\": \"X\", \"desc\": \"no such thing\"}, \"id\": 3}\n");
  ASSERT_TRUE(qmp.Handshake(Soon()));
  EXPECT_EQ(*qmp.Call("query-status", "{}", Soon()), R"({"status":"running"})");
  auto failed = qmp.Call("nonsense", R"({"a":1})", Soon());
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "QEMU: nonsense: no such thing");
  std::string sent(4096, '\0');
  sent.resize(static_cast<size_t>(read(peer_.get(), sent.data(), sent.size())));
  EXPECT_EQ(sent,
            "{\"execute\":\"qmp_capabilities\",\"arguments\":{},\"id\":1}\n"
            "{\"execute\":\"query-status\",\"arguments\":{},\"id\":2}\n"
            "{\"execute\":\"nonsense\",\"arguments\":{\"a\":1},\"id\":3}\n");
}

TEST_F(QmpTest, RefusesWhatIsNotTheProtocol) {
  const std::string deep = std::string(kGreeting) + "{\"return\":" + std::string(5000, '[') + "\n";
  for (const std::string& script :
       {std::string("hello\n"), std::string("[]\n"), std::string("{}\n"), deep,
        std::string(kGreeting) + "{\"return\": {}, \"id\": 7}\n",
        std::string(kGreeting) + "{\"return\": {}}\n", std::string(kGreeting) + "\n"}) {
    Qmp qmp = After(script);
    auto shaken = qmp.Handshake(Soon());
    ASSERT_FALSE(shaken) << script.substr(0, 200);
    EXPECT_EQ(shaken.error().code(), ErrorCode::kDataCorrupt);
  }
}

TEST_F(QmpTest, BoundsLinesEventsAndTime) {
  std::string events = kGreeting;
  for (int i = 0; i <= Qmp::kMaxLines; ++i) events += "{\"event\":1}\n";
  Qmp flood = After(events);
  EXPECT_EQ(flood.Handshake(Soon()).error().code(), ErrorCode::kDataCorrupt);

  Qmp silent = After("");
  EXPECT_EQ(silent.Handshake(steady_clock::now() + milliseconds(20)).error().code(),
            ErrorCode::kDeadlineExceeded);

  Qmp gone = After("");
  peer_.reset();
  EXPECT_EQ(gone.Handshake(Soon()).error().code(), ErrorCode::kUnavailable);
}

TEST_F(QmpTest, BoundsALine) {
  auto pair = os::SocketPair();
  ASSERT_TRUE(pair);
  Qmp qmp(std::move(pair->first));
  const pid_t writer = fork();
  if (writer == 0) {
    const std::string chunk(4096, 'x');
    while (os::WriteAll(pair->second.get(), chunk, "peer")) {
    }
    _exit(0);
  }
  EXPECT_EQ(qmp.Handshake(Soon()).error().code(), ErrorCode::kDataCorrupt);
  kill(writer, SIGKILL);
  waitpid(writer, nullptr, 0);
}

}  // namespace
}  // namespace cleanroom::vmm
