#include "warden_link/network_spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "os/file.h"
#include "warden_link/append.h"

namespace cleanroom::warden_link {
namespace {

constexpr std::string_view kWhat = "the network records";
constexpr std::string_view kMagic = "CRNETLG1";
constexpr int64_t kHeaderBytes = 16;
constexpr int64_t kLengthBytes = 4;

std::filesystem::path Current(const std::filesystem::path& folder) {
  return folder / "network.spool";
}
std::filesystem::path Previous(const std::filesystem::path& folder) {
  return folder / "network.spool.1";
}

struct Piece {
  os::UniqueFd fd;
  uint64_t first = 0;
};

// Nothing when there is no such file, or no header of ours in it (yet).
Result<std::optional<Piece>> OpenPiece(const std::filesystem::path& file) {
  Piece piece;
  piece.fd = os::UniqueFd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!piece.fd.valid()) {
    if (errno == ENOENT) return std::optional<Piece>();
    return ErrErrno(ErrorCode::kInternal, fmt::format("opening {}", file.string()));
  }
  std::array<char, kHeaderBytes> header{};
  CR_TRY_ASSIGN(const size_t n, os::ReadAt(piece.fd.get(), header.data(), header.size(), 0, kWhat));
  if (n < header.size()) return std::optional<Piece>();
  std::memcpy(&piece.first, &header[kMagic.size()], sizeof piece.first);
  if (std::string_view(header.data(), kMagic.size()) != kMagic || piece.first == 0)
    return std::optional<Piece>();
  return std::optional<Piece>(std::move(piece));
}

}  // namespace

Result<pb::NetworkRecord> ParseNetworkFrame(std::string_view payload) {
  pb::NetworkRecord record;
  if (payload.size() > kMaxNetworkFrame ||
      !record.ParseFromArray(payload.data(), static_cast<int>(payload.size())) ||
      record.sequence() == 0) {
    return Err(ErrorCode::kDataCorrupt, "a frame of the network records is no record");
  }
  return record;
}

Result<NetworkSpoolWriter> NetworkSpoolWriter::Create(const std::filesystem::path& folder,
                                                      int64_t piece_bytes) {
  NetworkSpoolWriter writer(folder, piece_bytes);
  CR_TRY(writer.StartPiece(1));
  return writer;
}

Result<void> NetworkSpoolWriter::StartPiece(uint64_t first) {
  const auto file = Current(folder_);
  os::UniqueFd fd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrErrno(ErrorCode::kInternal, fmt::format("creating {}", file.string()));
  std::array<char, kHeaderBytes> header{};
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  std::memcpy(&header[kMagic.size()], &first, sizeof first);
  if (pwrite(fd.get(), header.data(), header.size(), 0) != kHeaderBytes) {
    const auto failed =
        ErrErrno(ErrorCode::kResourceExhausted, fmt::format("writing {}", file.string()));
    (void)unlink(file.c_str());
    return failed;
  }
  fd_ = std::move(fd);
  size_ = kHeaderBytes;
  first_ = first;
  return {};
}

Result<void> NetworkSpoolWriter::Append(const pb::NetworkRecord& record) {
  const std::string payload = record.SerializeAsString();
  if (payload.size() > kMaxNetworkFrame)
    return Err(ErrorCode::kInternal, "a network record is too large");
  const auto total = kLengthBytes + static_cast<int64_t>(payload.size());
  if (!fd_.valid() || size_ + total > piece_bytes_) {
    if (fd_.valid()) {
      if (std::rename(Current(folder_).c_str(), Previous(folder_).c_str()) != 0)
        return ErrErrno(ErrorCode::kInternal, "replacing a piece of the network records");
      dropped_ += previous_;
      previous_ = record.sequence() - first_;
      fd_.reset();
    }
    CR_TRY(StartPiece(record.sequence()));
  }
  auto length = static_cast<uint32_t>(payload.size());
  const std::array<iovec, 2> parts = {
      {{&length, sizeof length}, {const_cast<char*>(payload.data()), payload.size()}}};
  CR_TRY(AppendWhole(fd_.get(), size_, parts, "recording a network decision"));
  size_ += total;
  return {};
}

uint64_t NetworkSpoolWriter::TakeDropped() { return std::exchange(dropped_, 0); }

// Goes on to the oldest piece behind the one that is open. False when there is none.
Result<bool> NetworkSpoolReader::OpenNext() {
  for (const auto& file : {Previous(folder_), Current(folder_)}) {
    CR_TRY_ASSIGN(auto piece, OpenPiece(file));
    if (!piece || piece->first <= first_) continue;
    fd_ = std::move(piece->fd);
    first_ = piece->first;
    offset_ = kHeaderBytes;
    broken_ = false;
    return true;
  }
  return false;
}

Result<std::optional<pb::NetworkRecord>> NetworkSpoolReader::Next() {
  for (;;) {
    if (fd_.valid() && !broken_) {
      uint32_t length = 0;
      CR_TRY_ASSIGN(const size_t head, os::ReadAt(fd_.get(), reinterpret_cast<char*>(&length),
                                                  sizeof length, offset_, kWhat));
      if (head == sizeof length && length > kMaxNetworkFrame) {
        broken_ = true;
        return Err(ErrorCode::kDataCorrupt, "the network records are damaged");
      }
      if (head == sizeof length) {
        std::string payload(length, '\0');
        CR_TRY_ASSIGN(const size_t body,
                      os::ReadAt(fd_.get(), payload.data(), length, offset_ + kLengthBytes, kWhat));
        if (body == length) {
          offset_ += kLengthBytes + length;
          auto record = ParseNetworkFrame(payload);
          if (!record) {
            broken_ = true;
            return Err(std::move(record).error());
          }
          return std::optional<pb::NetworkRecord>(std::move(*record));
        }
      }
    }
    // At the end of a piece. One that follows it is there only when this one is complete.
    CR_TRY_ASSIGN(const bool more, OpenNext());
    if (!more) return std::optional<pb::NetworkRecord>();
  }
}

}  // namespace cleanroom::warden_link
