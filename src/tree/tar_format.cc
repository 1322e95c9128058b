#include "tree/tar_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/utf8.h"

namespace cleanroom::tree {
namespace {

constexpr size_t kNameField = 100, kPrefixField = 155, kLinkField = 100;
constexpr uint64_t kMaxOctal7 = 07777777;       // uid, gid
constexpr uint64_t kMaxOctal11 = 077777777777;  // size, mtime

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool IsAscii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
void AddRecord(std::string& records, std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (fmt::formatted_size("{}", length) + rest != length) {
    length = fmt::formatted_size("{}", length) + rest;
  }
  records += fmt::format("{} {}={}\n", length, key, value);
}

// Where a path is cut into prefix and name; npos when it does not fit the two.
size_t Split(std::string_view path) {
  if (path.size() <= kNameField) return 0;
  // Not the slash at the end of a folder's.
  const size_t at = path.find('/', path.size() - kNameField - 1);
  if (at == std::string_view::npos || at == 0 || at > kPrefixField || at + 1 >= path.size()) {
    return std::string_view::npos;
  }
  return at;
}

struct Block {
  char bytes[kTarBlock] = {};
  void Text(size_t at, size_t size, std::string_view text) {
    std::memcpy(bytes + at, text.data(), std::min(size, text.size()));
  }
  // Digits and a NUL that fill the field.
  void Octal(size_t at, size_t size, uint64_t value) {
    for (size_t i = size - 1; i-- > 0; value >>= 3)
      bytes[at + i] = static_cast<char>('0' + (value & 7));
  }
};

char TypeFlag(TarType type) {
  switch (type) {
    case TarType::kFolder:
      return '5';
    case TarType::kSymlink:
      return '2';
    case TarType::kHardLink:
      return '1';
    case TarType::kDevice:
      return '3';
    case TarType::kFifo:
      return '6';
    case TarType::kFile:
      break;
  }
  return '0';
}

std::string UstarBlock(const TarEntry& entry, std::string_view path, char flag, uint64_t size) {
  Block block;
  const size_t cut = Split(path);
  if (cut == std::string_view::npos) {
    block.Text(0, kNameField, path.substr(0, kNameField));  // for those who do not know pax
  } else if (cut == 0) {
    block.Text(0, kNameField, path);
  } else {
    block.Text(0, kNameField, path.substr(cut + 1));
    block.Text(345, kPrefixField, path.substr(0, cut));
  }
  block.Octal(100, 8, entry.permissions & 07777);
  block.Octal(108, 8, std::min<uint64_t>(entry.uid, kMaxOctal7));
  block.Octal(116, 8, std::min<uint64_t>(entry.gid, kMaxOctal7));
  block.Octal(124, 12, std::min(size, kMaxOctal11));
  const auto seconds = static_cast<uint64_t>(std::max<time_t>(entry.mtime.tv_sec, 0));
  block.Octal(136, 12, std::min(seconds, kMaxOctal11));
  block.bytes[156] = flag;
  block.Text(157, kLinkField, std::string_view(entry.target).substr(0, kLinkField));
  block.Text(257, 8, std::string_view("ustar\00000", 8));
  std::memset(block.bytes + 148, ' ', 8);
  unsigned sum = 0;
  for (const char c : block.bytes) sum += static_cast<unsigned char>(c);
  block.Octal(148, 7, sum);
  return {block.bytes, kTarBlock};
}

std::string PaxTime(timespec time) {
  // -1.25 is -2 and 750,000,000 ns.
  const bool negative = time.tv_sec < 0 && time.tv_nsec > 0;
  const auto whole = negative ? time.tv_sec + 1 : time.tv_sec;
  const auto part = negative ? 1'000'000'000 - time.tv_nsec : time.tv_nsec;
  const char* sign = negative && whole == 0 ? "-" : "";
  if (part == 0) return fmt::format("{}", whole);
  return fmt::format("{}{}.{:09}", sign, whole, part);
}

std::string PaxRecords(const TarEntry& entry, std::string_view path) {
  std::string records;
  if (!IsUtf8(path) || !IsUtf8(entry.target)) AddRecord(records, "hdrcharset", "BINARY");
  if (!IsAscii(path) || Split(path) == std::string_view::npos) AddRecord(records, "path", path);
  if (!IsAscii(entry.target) || entry.target.size() > kLinkField) {
    AddRecord(records, "linkpath", entry.target);
  }
  if (entry.size > kMaxOctal11) AddRecord(records, "size", fmt::format("{}", entry.size));
  if (entry.uid > kMaxOctal7) AddRecord(records, "uid", fmt::format("{}", entry.uid));
  if (entry.gid > kMaxOctal7) AddRecord(records, "gid", fmt::format("{}", entry.gid));
  const bool whole = entry.mtime.tv_nsec == 0 && entry.mtime.tv_sec >= 0;
  if (!whole || static_cast<uint64_t>(entry.mtime.tv_sec) > kMaxOctal11) {
    AddRecord(records, "mtime", PaxTime(entry.mtime));
  }
  return records;
}

}  // namespace

size_t TarPadding(uint64_t size) {
  return static_cast<size_t>((kTarBlock - size % kTarBlock) % kTarBlock);
}

std::string TarHeader(const TarEntry& entry) {
  std::string path = entry.path;
  if (entry.type == TarType::kFolder && !path.ends_with('/')) path += '/';
  std::string header;
  if (const std::string records = PaxRecords(entry, path); !records.empty()) {
    TarEntry pax;
    pax.permissions = 0644;
    header = UstarBlock(pax, "././@PaxHeader", 'x', records.size());
    header += records;
    header.append(TarPadding(records.size()), '\0');
  }
  header += UstarBlock(entry, path, TypeFlag(entry.type), entry.size);
  return header;
}

}  // namespace cleanroom::tree
