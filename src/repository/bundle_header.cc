#include "repository/bundle_header.h"

#include <fmt/format.h>

#include <optional>

#include "git/ref_name.h"

namespace cleanroom::repository {
namespace {

constexpr std::string_view kVersion2 = "# v2 git bundle\n", kVersion3 = "# v3 git bundle\n";
constexpr std::string_view kObjectFormat = "@object-format=";

std::unexpected<Error> BadBundle(std::string why) {
  return Err(Error(ErrorCode::kDataCorrupt, "the bundle is damaged: " + std::move(why))
                 .Remedy("Send it again"));
}

class HeaderParser {
 public:
  explicit HeaderParser(std::string_view bytes) : bytes_(bytes) {}

  Result<BundleHeader> Parse() {
    const bool newer = bytes_.starts_with(kVersion3);
    if (!newer && !bytes_.starts_with(kVersion2)) return BadBundle("it does not begin as one");
    at_ = kVersion2.size();
    for (;;) {
      CR_TRY_ASSIGN(const std::string_view line, Line());
      if (line.empty()) break;
      CR_TRY(line.front() == '@'   ? Capability(line, newer)
             : line.front() == '-' ? Prerequisite(line.substr(1))
                                   : Ref(line));
    }
    if (out_.tip.empty()) return BadBundle("it has no commit");
    out_.pack = at_;
    return std::move(out_);
  }

 private:
  Result<std::string_view> Line() {
    const std::string_view rest = bytes_.substr(at_, kMaxBundleHeader - at_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
      if (bytes_.size() < kMaxBundleHeader) return BadBundle("its head has no end");
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("the bundle's head is larger than {} bytes", kMaxBundleHeader));
    }
    at_ += end + 1;
    return rest.substr(0, end);
  }

  Result<void> Capability(std::string_view line, bool newer) {
    if (!newer || !out_.prerequisites.empty() || !out_.tip.empty())
      return BadBundle("a capability is where none may be");
    if (!line.starts_with(kObjectFormat)) return BadBundle("it is not a whole one");
    out_.object_format = line.substr(kObjectFormat.size());
    if (out_.object_format != "sha1" && out_.object_format != "sha256")
      return BadBundle("its object format is unknown");
    return {};
  }

  // The id that a line begins with; a space or the line's end follows.
  std::optional<std::string> Id(std::string_view line) const {
    std::string id(line.substr(0, line.find(' ')));
    if (!git::IsFullId(id) || git::ObjectFormatOf(id) != out_.object_format) return std::nullopt;
    return id;
  }

  Result<void> Prerequisite(std::string_view line) {
    std::optional<std::string> id = Id(line);
    if (!id || !out_.tip.empty()) return BadBundle("a commit that it builds on is none");
    if (out_.prerequisites.size() == kMaxPrerequisites) {
      return Err(
          Error(ErrorCode::kResourceExhausted,
                fmt::format("the local commits build on more than {} others", kMaxPrerequisites))
              .Remedy("Push them"));
    }
    out_.prerequisites.push_back(*std::move(id));
    return {};
  }

  Result<void> Ref(std::string_view line) {
    std::optional<std::string> id = Id(line);
    if (!id || line.size() < id->size() + 2) return BadBundle("a ref of it is none");
    if (!out_.tip.empty()) return BadBundle("it has more than the one commit that is wanted");
    out_.tip = *std::move(id);
    return {};
  }

  std::string_view bytes_;
  size_t at_ = 0;
  BundleHeader out_;
};

}  // namespace

Result<BundleHeader> ParseBundleHeader(std::string_view bytes) {
  return HeaderParser(bytes).Parse();
}

}  // namespace cleanroom::repository
