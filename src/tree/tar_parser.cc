#include "tree/tar_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/printable.h"

namespace cleanroom::tree {
namespace {

// No file system of ours has larger files, and sums of a few do not overflow.
constexpr uint64_t kMaxContent = uint64_t{1} << 60;

std::unexpected<Error> Damaged(std::string_view what) {
  return Err(ErrorCode::kDataCorrupt, fmt::format("the tar is damaged: {}", what));
}

// A field's text, which a NUL ends if it is not full.
std::string_view Text(std::string_view block, size_t at, size_t size) {
  const std::string_view field = block.substr(at, size);
  return field.substr(0, field.find('\0'));
}

// Octal digits, or, with the highest bit set, a big-endian number in two's complement.
std::optional<int64_t> Number(std::string_view block, size_t at, size_t size) {
  std::string_view field = block.substr(at, size);
  const auto first = static_cast<unsigned char>(field[0]);
  if (first == 0x80 || first == 0xff) {
    int64_t value = first == 0xff ? -1 : 0;
    for (const char c : field.substr(1)) {
      if (value > (std::numeric_limits<int64_t>::max() >> 8) ||
          value < (std::numeric_limits<int64_t>::min() >> 8)) {
        return {};
      }
      value = value * 256 + static_cast<unsigned char>(c);
    }
    return value;
  }
  while (!field.empty() && field.front() == ' ') field.remove_prefix(1);
  while (!field.empty() && (field.back() == ' ' || field.back() == '\0')) field.remove_suffix(1);
  field = field.substr(0, field.find('\0'));
  int64_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value, 8);
  if (field.empty()) return 0;
  if (error != std::errc() || end != field.data() + field.size() || value < 0) return {};
  return value;
}

bool ChecksumMatches(std::string_view block) {
  const auto said = Number(block, 148, 8);
  int64_t plain = 0, with_signs = 0;  // some old programs added signed bytes
  for (size_t i = 0; i < block.size(); ++i) {
    const char c = i >= 148 && i < 156 ? ' ' : block[i];
    plain += static_cast<unsigned char>(c);
    with_signs += static_cast<signed char>(c);
  }
  return said && (*said == plain || *said == with_signs);
}

template <typename T>
std::optional<T> Decimal(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

// "-12.25"; digits after the ninth are dropped.
std::optional<timespec> ParsePaxTime(std::string_view text) {
  const bool negative = text.starts_with('-');
  const size_t point = text.find('.');
  const auto seconds = Decimal<int64_t>(text.substr(0, point));
  if (!seconds || *seconds > (int64_t{1} << 40) || *seconds < -(int64_t{1} << 40)) return {};
  timespec time{.tv_sec = *seconds, .tv_nsec = 0};
  if (point == std::string_view::npos) return time;
  std::string digits(text.substr(point + 1).substr(0, 9));
  digits.append(9 - digits.size(), '0');
  const auto nanos = Decimal<uint32_t>(digits);
  if (!nanos) return {};
  time.tv_nsec = static_cast<long>(*nanos);
  if (negative && time.tv_nsec > 0) {
    time.tv_sec -= 1;
    time.tv_nsec = 1'000'000'000 - time.tv_nsec;
  }
  return time;
}

bool AllZero(std::string_view block) {
  return std::ranges::all_of(block, [](char c) { return c == '\0'; });
}

std::string HeaderPath(std::string_view block) {
  std::string path(Text(block, 0, 100));
  // GNU's form has other things in the prefix's place.
  if (block.substr(257, 6) == std::string_view("ustar\0", 6)) {
    const std::string_view prefix = Text(block, 345, 155);
    if (!prefix.empty()) path = fmt::format("{}/{}", prefix, path);
  }
  return path;
}

std::optional<TarType> TypeOf(char flag, std::string_view path) {
  switch (flag) {
    case '\0':
    case '0':
      // Before there was a type for them.
      return path.ends_with('/') ? TarType::kFolder : TarType::kFile;
    case '7':
      return TarType::kFile;
    case '1':
      return TarType::kHardLink;
    case '2':
      return TarType::kSymlink;
    case '3':
    case '4':
      return TarType::kDevice;
    case '5':
      return TarType::kFolder;
    case '6':
      return TarType::kFifo;
    default:
      return {};
  }
}

}  // namespace

Result<void> TarParser::Feed(std::string_view data) {
  while (!data.empty() ||
         (left_ == 0 && (state_ == State::kContent || state_ == State::kPadding))) {
    switch (state_) {
      case State::kEnd:
        return {};
      case State::kHeader:
      case State::kRecords: {
        const size_t wanted =
            state_ == State::kHeader ? kTarBlock : record_bytes_ + TarPadding(record_bytes_);
        const size_t take = std::min(data.size(), wanted - block_.size());
        block_.append(data.substr(0, take));
        data.remove_prefix(take);
        if (block_.size() < wanted) return {};
        const State was = state_;
        const std::string whole = std::exchange(block_, {});
        if (was == State::kHeader) {
          CR_TRY(TakeBlock(whole));
        } else {
          block_ = whole;
          CR_TRY(TakeRecords());
        }
        break;
      }
      case State::kContent:
        CR_TRY(TakeContent(data));
        break;
      case State::kPadding: {
        const size_t skip = static_cast<size_t>(std::min<uint64_t>(data.size(), left_));
        data.remove_prefix(skip);
        left_ -= skip;
        if (left_ == 0) state_ = State::kHeader;
        break;
      }
    }
  }
  return {};
}

Result<void> TarParser::TakeContent(std::string_view& data) {
  const size_t take = static_cast<size_t>(std::min<uint64_t>(data.size(), left_));
  if (take > 0 && in_entry_) CR_TRY(sink_->Content(data.substr(0, take)));
  data.remove_prefix(take);
  left_ -= take;
  return left_ == 0 ? EndContent() : Result<void>();
}

Result<void> TarParser::EndContent() {
  if (in_entry_) CR_TRY(sink_->End());
  in_entry_ = false;
  left_ = padding_;
  state_ = padding_ == 0 ? State::kHeader : State::kPadding;
  return {};
}

Result<void> TarParser::TakeBlock(std::string_view block) {
  if (AllZero(block)) {
    state_ = State::kEnd;
    return {};
  }
  if (!ChecksumMatches(block)) return Damaged("a header's checksum does not match");
  const char flag = block[156];
  if (flag != 'x' && flag != 'g' && flag != 'L' && flag != 'K') return TakeEntry(block, flag);
  const auto size = Number(block, 124, 12);
  if (!size || *size < 0) return Damaged("a record's size is no number");
  if (static_cast<uint64_t>(*size) > kMaxRecordBytes) {
    return Err(
        ErrorCode::kResourceExhausted,
        fmt::format("the tar has a record of {} bytes, more than {}", *size, kMaxRecordBytes));
  }
  record_flag_ = flag;
  record_bytes_ = static_cast<size_t>(*size);
  state_ = record_bytes_ == 0 ? State::kHeader : State::kRecords;
  return {};
}

Result<void> TarParser::TakeEntry(std::string_view block, char flag) {
  TarEntry entry;
  const Overrides said = std::exchange(next_, {});
  entry.path = said.path ? *said.path : HeaderPath(block);
  entry.target = said.target ? *said.target : std::string(Text(block, 157, 100));
  if (entry.path.empty()) return Damaged("an entry without a name");
  const std::string shown = EscapeUnprintable(entry.path.substr(0, 200));
  if (entry.path.size() > kMaxPathBytes || entry.target.size() > kMaxPathBytes) {
    return Damaged(fmt::format("a path longer than {} bytes: {}", kMaxPathBytes, shown));
  }
  const auto type = TypeOf(flag, entry.path);
  if (!type) {
    return Err(ErrorCode::kUnimplemented,
               fmt::format("the tar has an entry of a kind that is not taken ({}): {}",
                           EscapeUnprintable(std::string(1, flag)), shown));
  }
  entry.type = *type;
  const auto mode = Number(block, 100, 8), uid = Number(block, 108, 8), gid = Number(block, 116, 8);
  const auto size = Number(block, 124, 12), mtime = Number(block, 136, 12);
  if (!mode || !uid || !gid || !size || !mtime || *size < 0) {
    return Damaged(fmt::format("a number that is none, at {}", shown));
  }
  const uint64_t bytes = said.size ? *said.size : static_cast<uint64_t>(*size);
  if (bytes > kMaxContent) return Damaged(fmt::format("a size beyond all files, at {}", shown));
  entry.permissions = static_cast<mode_t>(*mode) & 07777;
  entry.uid = said.uid.value_or(static_cast<uint32_t>(*uid));
  entry.gid = said.gid.value_or(static_cast<uint32_t>(*gid));
  entry.mtime = said.mtime.value_or(timespec{.tv_sec = *mtime, .tv_nsec = 0});
  const bool link = entry.type == TarType::kSymlink || entry.type == TarType::kHardLink;
  if (link && entry.target.empty()) return Damaged(fmt::format("a link without target: {}", shown));
  if (entry.type == TarType::kFile) entry.size = bytes;
  // Content of anything else is passed over; what symbolic links and folders announce, is none.
  const bool follows = entry.type == TarType::kFile || entry.type == TarType::kHardLink;
  left_ = follows ? bytes : 0;
  padding_ = TarPadding(left_);
  CR_TRY(sink_->Begin(entry));
  in_entry_ = true;
  state_ = State::kContent;
  if (entry.type == TarType::kFile) return {};
  CR_TRY(sink_->End());
  in_entry_ = false;
  return {};
}

Result<void> TarParser::TakeRecords() {
  const std::string records = std::exchange(block_, {});
  const std::string_view text = std::string_view(records).substr(0, record_bytes_);
  state_ = State::kHeader;
  switch (record_flag_) {
    case 'x':
      return TakePax(text);
    case 'L':
      next_.path = std::string(text.substr(0, text.find('\0')));
      return {};
    case 'K':
      next_.target = std::string(text.substr(0, text.find('\0')));
      return {};
    default:
      return {};  // of the whole archive: comments, as git has them
  }
}

Result<void> TarParser::TakePax(std::string_view records) {
  while (!records.empty()) {
    const size_t space = records.find(' ');
    const auto length = Decimal<size_t>(records.substr(0, space));
    if (space == std::string_view::npos || !length || *length > records.size() ||
        *length < space + 4) {
      return Damaged("a pax record's length is wrong");
    }
    const std::string_view record = records.substr(space + 1, *length - space - 1);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos || record.back() != '\n') {
      return Damaged("a pax record is not KEY=VALUE");
    }
    CR_TRY(TakePaxRecord(record.substr(0, equals),
                         record.substr(equals + 1, record.size() - equals - 2)));
    records.remove_prefix(*length);
  }
  return {};
}

Result<void> TarParser::TakePaxRecord(std::string_view key, std::string_view value) {
  const auto bad = [key] {
    return Damaged(fmt::format("the pax record {} has no such value", key));
  };
  if (key == "path" || key == "linkpath") {
    if (value.contains('\0')) return bad();
    (key == "path" ? next_.path : next_.target) = std::string(value);
  } else if (key == "size") {
    if (!(next_.size = Decimal<uint64_t>(value))) return bad();
  } else if (key == "uid") {
    if (!(next_.uid = Decimal<uint32_t>(value))) return bad();
  } else if (key == "gid") {
    if (!(next_.gid = Decimal<uint32_t>(value))) return bad();
  } else if (key == "mtime") {
    if (!(next_.mtime = ParsePaxTime(value))) return bad();
  } else if (key.starts_with("GNU.sparse.")) {
    return Err(ErrorCode::kUnimplemented, "the tar has a sparse file, as GNU tar -S writes them");
  }
  return {};
}

Result<void> TarParser::Finish() const {
  if (state_ == State::kEnd) return {};
  return Damaged("it ends in the middle");
}

}  // namespace cleanroom::tree
