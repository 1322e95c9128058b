// Writes tars by hand, also ones that no tool would write.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cleanroom::testing {

struct TarOptions {
  unsigned mode = 0644;
  unsigned uid = 0, gid = 0;
  long mtime = 1'600'000'000;
  unsigned device_major = 0, device_minor = 0;
};

class TarBuilder {
 public:
  using Options = TarOptions;
  TarBuilder& File(std::string_view path, std::string_view content, Options options = {}) {
    Header(path, '0', content.size(), "", options);
    return Data(content);
  }
  TarBuilder& Folder(std::string_view path, Options options = {.mode = 0755}) {
    return Header(path, '5', 0, "", options);
  }
  TarBuilder& Symlink(std::string_view path, std::string_view target) {
    return Header(path, '2', 0, target, {.mode = 0777});
  }
  TarBuilder& HardLink(std::string_view path, std::string_view target) {
    return Header(path, '1', 0, target, {});
  }
  TarBuilder& Device(std::string_view path, char type, Options options) {
    return Header(path, type, 0, "", options);
  }
  // A pax record for the next entry; several may be given.
  TarBuilder& Pax(std::string_view key, std::string_view value) {
    size_t length = key.size() + value.size() + 3;
    while (std::to_string(length).size() + key.size() + value.size() + 3 != length) {
      length = std::to_string(length).size() + key.size() + value.size() + 3;
    }
    pax_ += std::to_string(length) + " ";
    pax_.append(key).append("=").append(value).append("\n");
    return *this;
  }
  TarBuilder& Raw(std::string_view bytes) {
    bytes_.append(bytes);
    return *this;
  }
  // With the end mark.
  std::string Finish() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& bytes() const { return bytes_; }

 private:
  TarBuilder& Header(std::string_view path, char type, size_t size, std::string_view target,
                     const Options& options) {
    if (!pax_.empty()) {
      const std::string records = std::exchange(pax_, {});
      Header("pax", 'x', records.size(), "", {});
      Data(records);
    }
    char block[512] = {};
    const auto text = [&block](size_t at, size_t room, std::string_view value) {
      std::memcpy(block + at, value.data(), std::min(room, value.size()));
    };
    const auto octal = [&](size_t at, size_t digits, unsigned long value) {
      std::string out(digits, '0');
      for (size_t i = digits; i-- > 0; value >>= 3) out[i] = static_cast<char>('0' + (value & 7));
      text(at, digits, out);
    };
    text(0, 100, path);
    octal(100, 7, options.mode);
    octal(108, 7, options.uid);
    octal(116, 7, options.gid);
    octal(124, 11, size);
    octal(136, 11, static_cast<unsigned long>(options.mtime));
    block[156] = type;
    text(157, 100, target);
    text(257, 8, std::string_view("ustar\00000", 8));
    octal(329, 7, options.device_major);
    octal(337, 7, options.device_minor);
    std::memset(block + 148, ' ', 8);
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    octal(148, 6, sum);
    block[154] = '\0';
    bytes_.append(block, sizeof(block));
    return *this;
  }
  TarBuilder& Data(std::string_view content) {
    bytes_.append(content);
    bytes_.append((512 - content.size() % 512) % 512, '\0');
    return *this;
  }

  std::string bytes_;
  std::string pax_;
};

}  // namespace cleanroom::testing
