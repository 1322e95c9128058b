// TarParser: a tar as it arrives, in pieces of any size.
//
// It reads what GNU tar, bsdtar, git and we write: the old form, ustar, pax records, GNU's long
// names and big numbers. Sparse files of GNU's kinds are refused, other records that it does not
// know are passed over. The bytes are hostile: no more than kMaxRecordBytes is kept of them, paths
// and targets have at most kMaxPathBytes, and what is no tar is data_corrupt.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tree/tar_format.h"

namespace cleanroom::tree {

// Pax records, or a long name.
inline constexpr size_t kMaxRecordBytes = 256 << 10;

// What is told of a tar, in order: an entry, its content in pieces, its end. An error stops the
// parser.
class TarSink {
 public:
  virtual ~TarSink() = default;
  virtual Result<void> Begin(const TarEntry& entry) = 0;
  virtual Result<void> Content(std::string_view data) = 0;
  virtual Result<void> End() = 0;
};

class TarParser {
 public:
  // The sink outlives it.
  explicit TarParser(TarSink& sink) : sink_(&sink) {}

  // The next bytes. After an error nothing more may be fed. Bytes after the tar's end are ignored.
  Result<void> Feed(std::string_view data);
  // There are no more: data_corrupt unless the tar has come to its end.
  Result<void> Finish() const;

 private:
  enum class State : uint8_t { kHeader, kRecords, kContent, kPadding, kEnd };

  // What records say of the next entry.
  struct Overrides {
    std::optional<std::string> path;
    std::optional<std::string> target;
    std::optional<uint64_t> size;
    std::optional<uint32_t> uid;
    std::optional<uint32_t> gid;
    std::optional<timespec> mtime;
  };

  Result<void> TakeBlock(std::string_view block);
  Result<void> TakeEntry(std::string_view block, char flag);
  Result<void> TakeRecords();
  Result<void> TakePax(std::string_view records);
  Result<void> TakePaxRecord(std::string_view key, std::string_view value);
  Result<void> TakeContent(std::string_view& data);
  Result<void> EndContent();

  TarSink* sink_;
  State state_ = State::kHeader;
  std::string block_;  // a header, or records, of which not all has come
  uint64_t left_ = 0;  // of content or padding
  size_t padding_ = 0;
  char record_flag_ = 0;
  size_t record_bytes_ = 0;
  bool in_entry_ = false;  // the content is an entry's, not something passed over
  Overrides next_;
};

}  // namespace cleanroom::tree
