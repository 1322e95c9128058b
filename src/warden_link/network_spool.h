// The file of a sandbox's network records: what outlives a control plane that is down, and what
// watchers read.
//
// FOLDER/network.spool is written; at kSpoolPieceBytes it becomes FOLDER/network.spool.1, in place
// of the one before. A piece is 16 bytes of header (magic, sequence number of its first record)
// and frames: length (4 bytes), a serialized NetworkRecord; little-endian. A torn last frame (the
// writer died) reads as the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "os/unique_fd.h"

namespace cleanroom::warden_link {

namespace pb = ::cleanroom::internal::v1;

// Beside the spool, once the warden has ended: a serialized NetworkCounters.
inline constexpr char kCountersFile[] = "network.counters";
// Of one of the two pieces: about 30,000 records, hours of a guest that floods.
inline constexpr int64_t kSpoolPieceBytes = 8LL << 20;
// Of one frame; a record has at most three texts of kMaxTextBytes.
inline constexpr size_t kMaxNetworkFrame = 8U << 10;

class NetworkSpoolWriter {
 public:
  // Makes the file anew (0600): a warden that serves a folder is its first.
  static Result<NetworkSpoolWriter> Create(const std::filesystem::path& folder,
                                           int64_t piece_bytes = kSpoolPieceBytes);

  // Appends one record, whole or not at all. Sequence numbers rise by one. An error leaves the file
  // as it was.
  Result<void> Append(const pb::NetworkRecord& record);
  // Records that were dropped with the piece that the last Append replaced; 0 when it replaced
  // none. Reading it clears it.
  uint64_t TakeDropped();

 private:
  NetworkSpoolWriter(std::filesystem::path folder, int64_t piece_bytes)
      : folder_(std::move(folder)), piece_bytes_(piece_bytes) {}
  Result<void> StartPiece(uint64_t first);

  std::filesystem::path folder_;
  int64_t piece_bytes_;
  os::UniqueFd fd_;
  int64_t size_ = 0;
  uint64_t first_ = 1;     // of this piece
  uint64_t previous_ = 0;  // records in the piece before
  uint64_t dropped_ = 0;
};

class NetworkSpoolReader {
 public:
  // From the oldest record that is kept. What is no spool reads as empty.
  explicit NetworkSpoolReader(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // The next record; nothing when there is none (yet). kDataCorrupt when the bytes are no record:
  // the rest of that piece is lost, and the next call goes on with the piece after it.
  Result<std::optional<pb::NetworkRecord>> Next();

 private:
  Result<bool> OpenNext();

  std::filesystem::path folder_;
  os::UniqueFd fd_;
  int64_t offset_ = 0;
  uint64_t first_ = 0;  // of the piece that is open; 0: none
  bool broken_ = false;
};

// The record in one frame, as the reader takes it.
Result<pb::NetworkRecord> ParseNetworkFrame(std::string_view payload);

}  // namespace cleanroom::warden_link
