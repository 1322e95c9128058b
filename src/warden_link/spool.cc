#include "warden_link/spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "os/file.h"
#include "warden_link/append.h"

namespace cleanroom::warden_link {
namespace {

constexpr std::string_view kWhat = "an execution's record";
constexpr std::string_view kMagic = "CRSPOOL1";
constexpr size_t kHeaderBytes = 13;
using Header = std::array<char, kHeaderBytes>;

// The file never leaves the machine that wrote it; x86-64 is little-endian.
Header Encode(FrameKind kind, int64_t time_us, uint32_t length) {
  Header out{};
  out[0] = static_cast<char>(kind);
  std::memcpy(&out[1], &time_us, sizeof time_us);
  std::memcpy(&out[9], &length, sizeof length);
  return out;
}

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Result<SpoolWriter> SpoolWriter::Create(const std::filesystem::path& file) {
  os::UniqueFd fd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return ErrErrno(errno == EEXIST ? ErrorCode::kAlreadyExists : ErrorCode::kInternal,
                    fmt::format("creating {}", file.string()));
  }
  if (write(fd.get(), kMagic.data(), kMagic.size()) != static_cast<ssize_t>(kMagic.size())) {
    return ErrErrno(ErrorCode::kResourceExhausted, fmt::format("writing {}", file.string()));
  }
  return SpoolWriter(std::move(fd), kSpoolStart);
}

Result<void> SpoolWriter::Append(FrameKind kind, std::string_view payload) {
  const auto total = static_cast<int64_t>(kHeaderBytes + payload.size());
  if (payload.size() > kMaxFrameBytes)
    return Err(ErrorCode::kInternal, "a frame of output is too large");
  if (kind != FrameKind::kEnd && size_ + total > kMaxSpoolBytes) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("the command wrote more than {} GiB of output", kMaxSpoolBytes >> 30));
  }
  Header header = Encode(kind, NowMicros(), static_cast<uint32_t>(payload.size()));
  const std::array<iovec, 2> parts = {
      {{header.data(), header.size()}, {const_cast<char*>(payload.data()), payload.size()}}};
  CR_TRY(AppendWhole(fd_.get(), size_, parts, "recording the command's output"));
  size_ += total;
  return {};
}

Result<SpoolReader> SpoolReader::Open(const std::filesystem::path& file, int64_t offset) {
  os::UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    return ErrErrno(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kInternal,
                    fmt::format("opening {}", file.string()));
  }
  std::array<char, 8> magic{};
  CR_TRY_ASSIGN(const size_t n, os::ReadAt(fd.get(), magic.data(), magic.size(), 0, kWhat));
  if (std::string_view(magic.data(), n) != kMagic || offset < kSpoolStart) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("{} is no record of an execution", file.string()));
  }
  return SpoolReader(std::move(fd), offset);
}

Result<std::optional<Frame>> SpoolReader::Next() {
  Header header{};
  CR_TRY_ASSIGN(const size_t n,
                os::ReadAt(fd_.get(), header.data(), header.size(), offset_, kWhat));
  if (n < header.size()) return std::optional<Frame>();
  Frame frame{
      .kind = static_cast<FrameKind>(header[0]), .time_us = 0, .payload = {}, .next_offset = 0};
  uint32_t length = 0;
  std::memcpy(&frame.time_us, &header[1], sizeof frame.time_us);
  std::memcpy(&length, &header[9], sizeof length);
  if (header[0] < 1 || header[0] > 3 || length > kMaxFrameBytes) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("no frame at offset {} of an execution's record", offset_));
  }
  frame.payload.resize(length);
  CR_TRY_ASSIGN(const size_t got,
                os::ReadAt(fd_.get(), frame.payload.data(), length, offset_ + kHeaderBytes, kWhat));
  if (got < length) return std::optional<Frame>();
  offset_ += static_cast<int64_t>(kHeaderBytes) + length;
  frame.next_offset = offset_;
  return std::optional<Frame>(std::move(frame));
}

}  // namespace cleanroom::warden_link
