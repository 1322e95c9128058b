#include "doors/dns/dns_door.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cstring>
#include <deque>
#include <utility>

namespace cleanroom::doors {
namespace {

using asio::ip::tcp;
using policy::Protocol;
using std::chrono::steady_clock;

// A query is far shorter: a name, a header, EDNS with a cookie.
constexpr size_t kMaxQuery = 4096;

template <typename T>
void ReadControl(const cmsghdr& header, T& into) {
  if (header.cmsg_len < CMSG_LEN(sizeof(T))) return;
  std::memcpy(&into, CMSG_DATA(&header), sizeof(T));
}

void WriteControl(msghdr& message, int level, int type, const void* data, size_t size) {
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(size);
  std::memcpy(CMSG_DATA(header), data, size);
  message.msg_controllen = CMSG_SPACE(size);
}

}  // namespace

struct DnsDoor::Datagram {
  sockaddr_storage from{};
  socklen_t from_size = 0;
  sockaddr_storage to{};  // the address the guest asked; family 0 when the kernel did not tell
};

struct DnsDoor::Connection {
  Connection(const asio::any_io_executor& executor, int fd)
      : socket(executor, tcp::v4(), fd), changed(executor), tasks(executor) {}

  // The family given to Asio is never looked at: nothing is bound or connected any more.
  tcp::socket socket;
  std::deque<DnsJudge::Message> outbox;
  size_t pending = 0;   // questions with the resolver
  bool broken = false;  // answers cannot be written any more
  uint64_t sent = 0;
  uint64_t received = 0;
  Notifier changed;
  TaskScope tasks;
};

DnsDoor::DnsDoor(asio::any_io_executor executor, DnsDoorConfig config, const Rules& rules,
                 NameMemory& memory, Resolver& resolver, DecisionSink& sink)
    : executor_(std::move(executor)),
      judge_(std::move(config), rules, memory, sink),
      resolver_(resolver),
      sink_(sink),
      buffer_(kMaxQuery) {}

DnsDoor::~DnsDoor() = default;

std::optional<DnsJudge::Message> DnsDoor::AnswerAtOnce(DnsJudge::Step& step) {
  if (auto* message = std::get_if<DnsJudge::Message>(&step)) return std::move(*message);
  const auto* question = std::get_if<DnsJudge::Question>(&step);
  if (question == nullptr) return std::nullopt;
  const auto now = steady_clock::now();
  if (auto known = resolver_.Remembered(question->name, question->query.type)) {
    return judge_.Finish(*question, *std::move(known), now);
  }
  if (in_flight_ >= dns_limit::kInFlight) {
    return judge_.RefuseForLimit(*question,
                                 fmt::format("{} was not asked: {} DNS questions of this sandbox "
                                             "wait for an answer",
                                             question->name, in_flight_));
  }
  return judge_.BeforeAsking(*question, now);
}

Awaitable<DnsJudge::Message> DnsDoor::Ask(DnsJudge::Question question) {
  const auto answer = co_await resolver_.Resolve(question.name, question.query.type);
  --in_flight_;
  const bool canceled = !answer && answer.error().code() == ErrorCode::kCanceled;
  if (canceled) co_return DnsJudge::Message();
  co_return judge_.Finish(question, answer, steady_clock::now());
}

// UDP ------------------------------------------------------------------------------------------

Awaitable<void> DnsDoor::ServeUdp(int fd) {
  const int own = fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (own < 0) co_return;
  asio::posix::stream_descriptor socket(executor_, own);
  TaskScope tasks(executor_);
  while (true) {
    auto [error] = co_await socket.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error) break;
    // Once for each time it is readable: whatever else the thread has to do comes in between.
    HandleBatch(own, tasks);
  }
  tasks.Cancel();
  co_await tasks.Join();
}

void DnsDoor::HandleBatch(int fd, TaskScope& tasks) {
  for (int i = 0; i < dns_limit::kDatagramBatch; ++i) {
    Datagram datagram;
    alignas(cmsghdr) std::array<char, 256> control{};
    iovec part{buffer_.data(), buffer_.size()};
    msghdr message{};
    message.msg_name = &datagram.from;
    message.msg_namelen = sizeof(datagram.from);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(fd, &message, MSG_DONTWAIT);
    // Errors of answers sent before (ICMP) end the batch as well; the next one goes on.
    if (size < 0) return;
    datagram.from_size = message.msg_namelen;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      const bool v4 = header->cmsg_level == SOL_IP && header->cmsg_type == IP_ORIGDSTADDR;
      const bool v6 = header->cmsg_level == SOL_IPV6 && header->cmsg_type == IPV6_ORIGDSTADDR;
      if (v4) ReadControl(*header, reinterpret_cast<sockaddr_in&>(datagram.to));
      if (v6) ReadControl(*header, reinterpret_cast<sockaddr_in6&>(datagram.to));
    }
    if ((message.msg_flags & MSG_TRUNC) != 0) continue;
    const wire::Bytes bytes(buffer_.data(), static_cast<size_t>(size));
    DnsJudge::Step step = judge_.Begin(bytes, Protocol::kUdp, steady_clock::now());
    if (const auto answer = AnswerAtOnce(step)) {
      Send(fd, datagram, *answer);
    } else if (auto* question = std::get_if<DnsJudge::Question>(&step)) {
      ++in_flight_;
      tasks.Spawn(AnswerDatagram(fd, datagram, std::move(*question)));
    }
    sink_.Transferred(Service::kDns, static_cast<uint64_t>(size), 0);
  }
}

Awaitable<void> DnsDoor::AnswerDatagram(int fd, Datagram datagram, DnsJudge::Question question) {
  const auto answer = co_await Ask(std::move(question));
  if (!answer.empty()) Send(fd, datagram, answer);
}

// An answer that does not fit the socket's buffer is lost, as datagrams are: the guest asks again.
void DnsDoor::Send(int fd, const Datagram& datagram, const DnsJudge::Message& answer) {
  alignas(cmsghdr) std::array<char, 64> control{};
  iovec part{const_cast<uint8_t*>(answer.data()), answer.size()};
  sockaddr_storage from = datagram.from;
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = datagram.from_size;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (datagram.to.ss_family == AF_INET) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    in_pktinfo source{};
    source.ipi_spec_dst = reinterpret_cast<const sockaddr_in&>(datagram.to).sin_addr;
    WriteControl(message, SOL_IP, IP_PKTINFO, &source, sizeof(source));
  } else if (datagram.to.ss_family == AF_INET6) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    in6_pktinfo source{};
    source.ipi6_addr = reinterpret_cast<const sockaddr_in6&>(datagram.to).sin6_addr;
    WriteControl(message, SOL_IPV6, IPV6_PKTINFO, &source, sizeof(source));
  }
  const ssize_t sent = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent > 0) sink_.Transferred(Service::kDns, 0, static_cast<uint64_t>(sent));
}

// TCP ------------------------------------------------------------------------------------------

namespace {

Awaitable<Result<size_t>> ReadWhole(tcp::socket& socket, asio::mutable_buffer buffer) {
  auto [error, size] = co_await asio::async_read(socket, buffer, kAwait);
  if (error) co_return Err(ErrorCode::kUnavailable, error.message());
  co_return size;
}

Awaitable<Result<size_t>> WriteWhole(tcp::socket& socket, asio::const_buffer buffer) {
  auto [error, size] = co_await asio::async_write(socket, buffer, kAwait);
  if (error) co_return Err(ErrorCode::kUnavailable, error.message());
  co_return size;
}

}  // namespace

Awaitable<void> DnsDoor::ServeTcp(int fd) {
  auto connection = std::make_unique<Connection>(executor_, fd);
  if (connections_ >= dns_limit::kTcpConnections) {
    boost::system::error_code ignored;
    connection->socket.set_option(asio::socket_base::linger(true, 0), ignored);
    sink_.Record({.service = Service::kDns,
                  .protocol = Protocol::kTcp,
                  .host = {},
                  .address = std::nullopt,
                  .port = 0,
                  .code = Code::kLimitExceeded,
                  .message = fmt::format("this sandbox has {} DNS connections open, no more pass",
                                         connections_),
                  .suggestion = {},
                  .line = 0});
    co_return;
  }
  ++connections_;
  sink_.Opened(Service::kDns, 1);
  connection->tasks.Spawn(WriteAnswers(connection.get()));
  co_await ReadQueries(*connection);
  // A guest that has sent all its queries still gets its answers.
  const auto deadline = steady_clock::now() + dns_limit::kTcpIdle;
  bool in_time = true;
  while (in_time && !connection->broken &&
         (connection->pending > 0 || !connection->outbox.empty())) {
    in_time = co_await connection->changed.WaitUntil(deadline);
    const bool cancelled = co_await Cancelled();
    if (cancelled) break;
  }
  connection->tasks.Cancel();
  co_await connection->tasks.Join();
  sink_.Transferred(Service::kDns, connection->sent, connection->received);
  sink_.Opened(Service::kDns, -1);
  --connections_;
}

Awaitable<void> DnsDoor::ReadQueries(Connection& connection) {
  std::vector<uint8_t> message;
  while (true) {
    const auto deadline = steady_clock::now() + dns_limit::kTcpIdle;
    while (connection.pending + connection.outbox.size() >= dns_limit::kTcpPipelined) {
      const bool in_time = co_await connection.changed.WaitUntil(deadline);
      const bool cancelled = co_await Cancelled();
      if (!in_time || cancelled || connection.broken) co_return;
    }
    std::array<uint8_t, 2> prefix{};
    auto length = ReadWhole(connection.socket, asio::buffer(prefix));
    const auto begun = co_await WithDeadline(std::move(length), deadline, "a DNS query");
    if (!begun) co_return;
    const auto size = static_cast<size_t>(prefix[0] << 8U | prefix[1]);
    if (size > kMaxQuery) co_return;
    message.resize(size);
    auto body = ReadWhole(connection.socket, asio::buffer(message));
    const auto whole = co_await WithDeadline(std::move(body), deadline, "a DNS query");
    if (!whole) co_return;
    connection.sent += 2 + size;
    DnsJudge::Step step = judge_.Begin(message, Protocol::kTcp, steady_clock::now());
    if (auto answer = AnswerAtOnce(step)) {
      connection.outbox.push_back(*std::move(answer));
      connection.changed.NotifyAll();
    } else if (auto* question = std::get_if<DnsJudge::Question>(&step)) {
      ++in_flight_;
      ++connection.pending;
      connection.tasks.Spawn(AnswerOnConnection(&connection, std::move(*question)));
    } else {
      co_return;  // no DNS query: whatever follows is none either
    }
  }
}

Awaitable<void> DnsDoor::AnswerOnConnection(Connection* connection, DnsJudge::Question question) {
  auto answer = co_await Ask(std::move(question));
  if (!answer.empty()) connection->outbox.push_back(std::move(answer));
  --connection->pending;
  connection->changed.NotifyAll();
}

Awaitable<void> DnsDoor::WriteAnswers(Connection* connection) {
  while (true) {
    while (connection->outbox.empty()) {
      co_await connection->changed.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return;
    }
    DnsJudge::Message& answer = connection->outbox.front();
    const size_t size = answer.size();
    answer.insert(answer.begin(), static_cast<uint8_t>(size & 0xFFU));
    answer.insert(answer.begin(), static_cast<uint8_t>(size >> 8U));
    const auto deadline = steady_clock::now() + dns_limit::kTcpIdle;
    auto writing = WriteWhole(connection->socket, asio::buffer(answer));
    const auto written = co_await WithDeadline(std::move(writing), deadline, "an answer");
    if (!written) {
      connection->broken = true;
      boost::system::error_code ignored;
      connection->socket.close(ignored);  // wakes the reader
      connection->changed.NotifyAll();
      co_return;
    }
    connection->received += *written;
    connection->outbox.pop_front();
    connection->changed.NotifyAll();
  }
}

}  // namespace cleanroom::doors
