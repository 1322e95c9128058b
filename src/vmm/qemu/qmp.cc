#include "vmm/qemu/qmp.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "document/bounded_json.h"
#include "os/socket.h"

namespace cleanroom::vmm {
namespace {

using Json = nlohmann::json;
using std::chrono::steady_clock;

// QMP answers need little.
constexpr int kMaxDepth = 32;

Result<Json> ParseObject(const std::string& line) {
  Json value = document::ParseBoundedJson(line, {.max_depth = kMaxDepth});
  if (!value.is_object()) {
    return Err(ErrorCode::kDataCorrupt, "QEMU's monitor sent what is not a QMP message");
  }
  return value;
}

std::string Line(std::string_view command, std::string_view arguments, uint64_t id) {
  return fmt::format(R"({{"execute":"{}","arguments":{},"id":{}}})"
                     "\n",
                     command, arguments, id);
}

Result<void> SendAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrErrno(ErrorCode::kUnavailable, "write to QEMU's monitor");
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

Result<std::string> Qmp::ReadLine(steady_clock::time_point deadline) {
  size_t searched = 0;
  for (;;) {
    const size_t newline = buffer_.find('\n', searched);
    if (newline != std::string::npos) {
      std::string line = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      return line;
    }
    searched = buffer_.size();
    if (searched > kMaxLine) {
      return Err(ErrorCode::kDataCorrupt, "QEMU's monitor sent a line without end");
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
    pollfd watched{fd_.get(), POLLIN, 0};
    const int ready = poll(&watched, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 60'000)));
    if (ready < 0 && errno != EINTR) return ErrErrno(ErrorCode::kInternal, "poll QEMU's monitor");
    if (ready == 0 && steady_clock::now() >= deadline) {
      return Err(ErrorCode::kDeadlineExceeded, "QEMU's monitor does not answer");
    }
    if (ready <= 0) continue;
    std::array<char, 16384> chunk;
    const ssize_t n = read(fd_.get(), chunk.data(), chunk.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return Err(ErrorCode::kUnavailable, "QEMU's monitor closed the connection");
    buffer_.append(chunk.data(), static_cast<size_t>(n));
  }
}

Result<void> Qmp::Handshake(steady_clock::time_point deadline) {
  CR_TRY_ASSIGN(const std::string line, ReadLine(deadline));
  CR_TRY_ASSIGN(const Json greeting, ParseObject(line));
  if (!greeting.contains("QMP")) {
    return Err(ErrorCode::kDataCorrupt, "QEMU's monitor did not greet");
  }
  CR_TRY(Call("qmp_capabilities", "{}", deadline));
  return {};
}

Result<std::string> Qmp::Call(std::string_view command, std::string_view arguments,
                              steady_clock::time_point deadline) {
  const uint64_t id = next_id_++;
  CR_TRY(SendAll(fd_.get(), Line(command, arguments, id)));
  return ReadAnswer(id, command, deadline);
}

Result<void> Qmp::CallAll(std::span<const Command> commands, steady_clock::time_point deadline) {
  const uint64_t first = next_id_;
  for (const Command& command : commands) {
    const std::string line = Line(command.name, command.arguments, next_id_++);
    const std::span<const int> fds(&command.fd, command.fd < 0 ? 0 : 1);
    CR_TRY(os::SendHandover(fd_.get(), fds, line));
  }
  Result<void> done;
  for (size_t i = 0; i < commands.size(); ++i) {
    auto answer = ReadAnswer(first + i, commands[i].name, deadline);
    if (!answer && answer.error().code() != ErrorCode::kRuntimeLaunchFailed) {
      return Err(std::move(answer).error());  // of the connection
    }
    if (!answer && done) done = Err(std::move(answer).error());
  }
  return done;
}

Result<std::string> Qmp::ReadAnswer(uint64_t id, std::string_view command,
                                    steady_clock::time_point deadline) {
  for (int i = 0; i < kMaxLines; ++i) {
    CR_TRY_ASSIGN(const std::string line, ReadLine(deadline));
    CR_TRY_ASSIGN(const Json message, ParseObject(line));
    if (message.contains("event")) continue;
    if (!message.contains("id") || message["id"] != id) {
      return Err(ErrorCode::kDataCorrupt, "QEMU's monitor answered what was not asked");
    }
    if (message.contains("return")) {
      return message["return"].dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    std::string description = "unknown error";
    const auto error = message.find("error");
    if (error != message.end() && error->is_object()) {
      const auto text = error->find("desc");
      if (text != error->end() && text->is_string()) description = text->get<std::string>();
    }
    return Err(ErrorCode::kRuntimeLaunchFailed, fmt::format("QEMU: {}: {}", command, description));
  }
  return Err(ErrorCode::kDataCorrupt, "QEMU's monitor sends events without end");
}

}  // namespace cleanroom::vmm
