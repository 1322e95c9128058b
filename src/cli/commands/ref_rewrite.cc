#include "cli/commands/ref_rewrite.h"

#include <fmt/format.h>

#include "base/image_ref.h"
#include "document/document.h"

namespace cleanroom::cli {
namespace {

const document::Node* Child(const document::Node* node, std::string_view key) {
  if (node == nullptr || node->kind != document::Node::Kind::kMap) return nullptr;
  for (const auto& [name, value] : node->entries) {
    if (name.text == key) return &value;
  }
  return nullptr;
}

std::unexpected<Error> Cannot(const std::string& file_name, int line, int column,
                              std::string_view why) {
  return Err(ErrorCode::kPolicyInvalid, fmt::format("{}:{}:{}: {}", file_name, line, column, why));
}

// How many bytes of a line break `text` begins with; 0 for none. YAML 1.1 section 5.4 has more than
// the newline, and places count them all.
size_t LineBreak(std::string_view text) {
  for (const std::string_view one :
       {"\r\n", "\n", "\r", "\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"}) {
    if (text.starts_with(one)) return one.size();
  }
  return 0;
}

// The offset of a place; beyond the text's end when it has no such one. Columns count characters.
size_t OffsetOf(std::string_view text, int line, int column) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  for (int i = 1; i < line && at < text.size();) {
    const size_t line_break = LineBreak(text.substr(at));
    if (line_break > 0) ++i;
    at += line_break > 0 ? line_break : 1;
  }
  for (int i = 1; i < column && at < text.size(); ++i) {
    ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
  }
  return at;
}

}  // namespace

Result<FoundRef> FindImageRef(std::string_view yaml, const std::string& file_name) {
  const auto document = document::ReadYaml(yaml, file_name);
  if (!document) return Err(ErrorCode::kPolicyInvalid, document::Format(document.error()));
  const document::Node* ref = Child(Child(Child(&*document, "sandbox"), "image"), "ref");
  if (ref == nullptr || ref->kind != document::Node::Kind::kScalar) {
    return Cannot(file_name, document->line, document->column,
                  "there is no sandbox.image.ref to change");
  }
  size_t offset = OffsetOf(yaml, ref->line, ref->column);
  if (offset < yaml.size() && (yaml[offset] == '"' || yaml[offset] == '\'')) ++offset;
  if (offset >= yaml.size() || ref->text.empty() ||
      yaml.substr(offset, ref->text.size()) != ref->text) {
    return Cannot(file_name, ref->line, ref->column,
                  "sandbox.image.ref must be written plainly, on one line, to be changed");
  }
  return FoundRef{ref->text, offset, ref->text.size()};
}

Result<std::string> PinnedWithTag(const std::string& asked, const std::string& resolved) {
  CR_TRY_ASSIGN(const ImageRef wanted, ImageRef::Parse(asked));
  CR_TRY_ASSIGN(ImageRef pinned, ImageRef::ParsePinned(resolved));
  pinned.tag = wanted.tag;
  return pinned.ToString();
}

Result<std::string> RewriteImageRef(std::string_view yaml, const std::string& file_name,
                                    const std::string& ref) {
  CR_TRY_ASSIGN(const FoundRef found, FindImageRef(yaml, file_name));
  std::string out(yaml);
  out.replace(found.offset, found.size, ref);
  CR_TRY_ASSIGN(const FoundRef check, FindImageRef(out, file_name));
  if (check.text != ref)
    return Err(ErrorCode::kInternal, file_name + ": the new reference does not read back");
  return out;
}

}  // namespace cleanroom::cli
