// A sandbox whose policy allows nothing: a guest has an interface, reaches nothing, and learns so
// at once. Each probe first proves, against a listener inside the guest, that it can succeed.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

class NetworkTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    daemon_ = std::make_unique<Daemon>();
    const Outcome created = daemon_->Cli({"sandbox", "create", "--image", BaseImage(*daemon_)});
    ASSERT_EQ(created.code, 0) << created.err;
    sandbox_ = created.out.substr(0, created.out.find('\n'));
  }
  static void TearDownTestSuite() { daemon_.reset(); }

  // Runs a Python program in the guest.
  static Outcome Python(const std::string& program) {
    return daemon_->Cli({"exec", "--in", sandbox_, "-n", "--", "python3", "-c", program});
  }

  static std::unique_ptr<Daemon> daemon_;
  static std::string sandbox_;
};

std::unique_ptr<Daemon> NetworkTest::daemon_;
std::string NetworkTest::sandbox_;

// A door accepts before it knows what is wanted, so a refusal may also be a reset right after the
// connection. "open" when bytes come back; else what happened, and whether within half a second.
constexpr char kTcpProbe[] = R"(
import errno, socket, sys, threading, time
def greet(listener):
    peer, _ = listener.accept()
    peer.send(b"x")
    peer.close()
def probe(family, address):
    begin = time.monotonic()
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(10)
    try:
        s.connect(address)
        return "open" if s.recv(1) else "closed"
    except socket.timeout:
        return "timeout"
    except (ConnectionRefusedError, ConnectionResetError):
        return "refused " + ("fast" if time.monotonic() - begin < 0.5 else "slow")
    except OSError as e:
        return errno.errorcode[e.errno]
)";

TEST_F(NetworkTest, ProbeConnectsToAListenerInTheGuest) {
  const Outcome outcome = Python(std::string(kTcpProbe) + R"(
l = socket.socket(); l.bind(("10.0.2.2", 0)); l.listen()
threading.Thread(target=greet, args=(l,)).start()
print(probe(socket.AF_INET, l.getsockname()))
l6 = socket.socket(socket.AF_INET6); l6.bind(("::", 0)); l6.listen()
threading.Thread(target=greet, args=(l6,)).start()
print(probe(socket.AF_INET6, ("::1", l6.getsockname()[1])))
)");
  EXPECT_EQ(outcome.out, "open\nopen\n") << outcome.err;
}

TEST_F(NetworkTest, TcpIsRefusedAtOnce) {
  const Outcome outcome = Python(std::string(kTcpProbe) + R"(
for host in ("192.0.2.1", "10.0.2.99", "169.254.169.254", "198.51.100.7"):
    for port in (22, 80, 443, 8170):
        print(probe(socket.AF_INET, (host, port)))
)");
  std::string expected;
  for (int i = 0; i < 16; ++i) expected += "refused fast\n";
  EXPECT_EQ(outcome.out, expected) << outcome.err;
}

TEST_F(NetworkTest, TcpOverIpv6IsRefusedAtOnce) {
  const Outcome outcome = Python(std::string(kTcpProbe) + R"(
for host in ("2001:db8::1", "fd00::1", "fd00:c1ea:0:2::99"):
    print(probe(socket.AF_INET6, (host, 443)))
)");
  EXPECT_EQ(outcome.out, "refused fast\nrefused fast\nrefused fast\n") << outcome.err;
}

TEST_F(NetworkTest, NamesDoNotResolveAndTheAnswerIsFast) {
  const Outcome outcome = Python(R"(
import socket, time
begin = time.monotonic()
try:
    print(socket.getaddrinfo("example.com", 443))
except socket.gaierror as e:
    print("no name", "fast" if time.monotonic() - begin < 2 else "slow")
)");
  EXPECT_EQ(outcome.out, "no name fast\n") << outcome.err;
}

TEST_F(NetworkTest, UdpIsRejectedAtOnce) {
  const Outcome outcome = Python(R"(
import errno, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(("192.0.2.1", 123))
begin = time.monotonic()
s.send(b"x")
try:
    s.recv(10)
    print("answered")
except socket.timeout:
    print("timeout")
except OSError as e:
    print("rejected", "fast" if time.monotonic() - begin < 0.5 else "slow")
)");
  EXPECT_EQ(outcome.out, "rejected fast\n") << outcome.err;
}

}  // namespace
}  // namespace cleanroom::test
