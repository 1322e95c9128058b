#include "document/document.h"

#include <fmt/format.h>
#include <yaml.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <utility>

namespace cleanroom::document {
namespace {

struct Place {
  int line = 0;
  int column = 0;
};

bool IsControl(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return byte == 0x7F || (byte < 0x20 && c != '\n' && c != '\t' && c != '\r');
}

// Builds the tree from events and enforces the limits; shared by both syntaxes.
class Builder {
 public:
  explicit Builder(std::string_view file) : file_(file) {}

  // Each answers false when reading must stop; diagnostics() then says why.
  bool Scalar(std::string text, bool plain, Place place) {
    if (!AddText(text, place)) return false;
    for (char c : text) {  // escapes can write what CheckBytes refuses in the open
      if (IsControl(c)) return Fail(place, "a control character; only newline and tab are text");
    }
    Node node;
    node.plain = plain;
    node.text = std::move(text);
    return Attach(std::move(node), place);
  }
  bool Open(Node::Kind kind, Place place) {
    if (open_.size() >= kMaxDepth) {
      return Fail(place, fmt::format("nested more than {} levels deep", kMaxDepth));
    }
    if (!open_.empty() && !CheckKey(kind, place)) return false;
    if (!CountNodes(1, place)) return false;
    open_.push_back({});
    open_.back().node.kind = kind;
    open_.back().node.line = place.line;
    open_.back().node.column = place.column;
    return true;
  }
  bool Close() {
    Frame frame = std::move(open_.back());
    open_.pop_back();
    return AttachCounted(std::move(frame.node));
  }
  // Inserts a copy of a complete node: an alias.
  bool Insert(const Node& source, Place place) {
    if (open_.size() + static_cast<size_t>(Height(source)) > kMaxDepth) {
      return Fail(place, fmt::format("nested more than {} levels deep", kMaxDepth));
    }
    if (!open_.empty() && !CheckKey(source.kind, place)) return false;
    if (!Charge(source, place)) return false;
    return AttachCounted(source);
  }

  bool Fail(Place place, std::string message) {
    Report(place, std::move(message));
    failed_ = true;
    return false;
  }
  void Report(Place place, std::string message) {
    if (diagnostics_.size() >= kMaxDiagnostics) return;
    diagnostics_.push_back({std::string(file_), place.line, place.column, std::move(message)});
  }

  bool failed() const { return failed_; }
  size_t depth() const { return open_.size(); }
  const Node& root() const { return root_; }
  // The node attached last.
  const Node& last() const { return *last_; }

  ReadResult Finish() && {
    if (!diagnostics_.empty()) return std::unexpected(std::move(diagnostics_));
    return std::move(root_);
  }

 private:
  struct Frame {
    Node node;
    Node key;
    bool has_key = false;
    std::set<std::string, std::less<>> seen;
  };

  static int Height(const Node& node) {
    int height = 0;
    for (const Node& item : node.items) height = std::max(height, Height(item));
    for (const auto& [key, value] : node.entries) height = std::max(height, Height(value));
    return height + (node.kind == Node::Kind::kScalar ? 0 : 1);
  }

  bool Charge(const Node& node, Place place) {
    if (!CountNodes(1, place) || !AddText(node.text, place)) return false;
    for (const Node& item : node.items) {
      if (!Charge(item, place)) return false;
    }
    for (const auto& [key, value] : node.entries) {
      if (!Charge(key, place) || !Charge(value, place)) return false;
    }
    return true;
  }

  bool CountNodes(size_t count, Place place) {
    nodes_ += count;
    if (nodes_ <= kMaxNodes) return true;
    return Fail(place, fmt::format("more than {} values, counting what aliases repeat", kMaxNodes));
  }

  bool AddText(std::string_view text, Place place) {
    text_bytes_ += text.size();
    if (text_bytes_ <= kMaxDocumentBytes) return true;
    return Fail(place, fmt::format("more than {} bytes of text, counting what aliases repeat",
                                   kMaxDocumentBytes));
  }

  bool CheckKey(Node::Kind kind, Place place) {
    const Frame& top = open_.back();
    if (top.node.kind != Node::Kind::kMap || top.has_key || kind == Node::Kind::kScalar)
      return true;
    return Fail(place, "a list or map cannot be a key");
  }

  bool Attach(Node node, Place place) {
    node.line = place.line;
    node.column = place.column;
    if (!CountNodes(1, place)) return false;
    return AttachCounted(std::move(node));
  }

  bool AttachCounted(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
      last_ = &root_;
      return true;
    }
    Frame& top = open_.back();
    if (top.node.kind == Node::Kind::kList) {
      top.node.items.push_back(std::move(node));
      last_ = &top.node.items.back();
    } else if (!top.has_key) {
      if (!top.seen.insert(node.text).second) {
        Report({node.line, node.column},
               fmt::format("duplicate key `{}`; keep one of the two", node.text));
      }
      top.key = std::move(node);
      top.has_key = true;
      last_ = &top.key;
    } else {
      top.node.entries.push_back({std::move(top.key), std::move(node)});
      top.has_key = false;
      last_ = &top.node.entries.back().value;
    }
    return true;
  }

  std::string_view file_;
  std::vector<Frame> open_;
  Node root_;
  const Node* last_ = nullptr;
  size_t nodes_ = 0;
  size_t text_bytes_ = 0;
  bool failed_ = false;
  std::vector<Diagnostic> diagnostics_;
};

// The length of the UTF-8 sequence at the start of `text`, or 0 when it is malformed.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto follows = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return follows(1) ? 2 : 0;
  if (lead >= 0xE0 && lead < 0xF0) {
    if (!follows(1) || !follows(2)) return 0;
    if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) >= 0xA0)) return 0;
    return 3;
  }
  if (lead >= 0xF0 && lead < 0xF5) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if ((lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) >= 0x90)) return 0;
    return 4;
  }
  return 0;
}

// Whether the bytes may be parsed at all: size, UTF-8, no control characters.
bool CheckBytes(std::string_view text, Builder& builder) {
  if (text.size() > kMaxDocumentBytes) {
    return builder.Fail({1, 1}, fmt::format("the file has {} bytes; at most {} are read",
                                            text.size(), kMaxDocumentBytes));
  }
  Place place{1, 1};
  for (size_t i = 0; i < text.size();) {
    const size_t length = Utf8Length(text.substr(i));
    if (length == 0) return builder.Fail(place, "not valid UTF-8");
    if (IsControl(text[i])) {
      const auto byte = static_cast<uint8_t>(text[i]);
      return builder.Fail(place, fmt::format("control character 0x{:02x}; remove it", byte));
    }
    ++place.column;
    if (text[i] == '\n') place = {place.line + 1, 1};
    i += length;
  }
  return true;
}

class YamlParser {
 public:
  explicit YamlParser(std::string_view text) {
    ok_ = yaml_parser_initialize(&parser_) == 1;
    if (!ok_) return;
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
  }
  ~YamlParser() {
    if (ok_) yaml_parser_delete(&parser_);
  }
  YamlParser(const YamlParser&) = delete;
  YamlParser& operator=(const YamlParser&) = delete;

  bool Next(yaml_event_t& event) { return ok_ && yaml_parser_parse(&parser_, &event) == 1; }
  const yaml_parser_t& state() const { return parser_; }

 private:
  yaml_parser_t parser_{};
  bool ok_ = false;
};

Place PlaceOf(const yaml_mark_t& mark) {
  return {static_cast<int>(mark.line) + 1, static_cast<int>(mark.column) + 1};
}

// Turns events into calls of the builder, keeping the nodes that have an anchor.
class YamlEvents {
 public:
  explicit YamlEvents(Builder& builder) : builder_(builder) {}

  // False when reading must stop.
  bool Handle(const yaml_event_t& event) {
    const Place place = PlaceOf(event.start_mark);
    switch (event.type) {
      case YAML_DOCUMENT_START_EVENT:
        if (++documents_ > 1) return builder_.Fail(place, "a second document; keep one");
        return true;
      case YAML_ALIAS_EVENT:
        return Alias(Text(event.data.alias.anchor), place);
      case YAML_SCALAR_EVENT: {
        const auto& scalar = event.data.scalar;
        if (!CheckTag(scalar.tag, place)) return false;
        std::string text(reinterpret_cast<const char*>(scalar.value), scalar.length);
        const bool plain = scalar.style == YAML_PLAIN_SCALAR_STYLE;
        if (plain && text == "<<") {
          return builder_.Fail(place, "merge keys are not supported; write the keys out");
        }
        if (!builder_.Scalar(std::move(text), plain, place)) return false;
        if (scalar.anchor != nullptr) anchors_[Text(scalar.anchor)] = builder_.last();
        return true;
      }
      case YAML_SEQUENCE_START_EVENT:
        return Open(Node::Kind::kList, event.data.sequence_start.tag,
                    event.data.sequence_start.anchor, place);
      case YAML_MAPPING_START_EVENT:
        return Open(Node::Kind::kMap, event.data.mapping_start.tag, event.data.mapping_start.anchor,
                    place);
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT: {
        if (!builder_.Close()) return false;
        const std::string anchor = std::move(pending_.back());
        pending_.pop_back();
        if (!anchor.empty()) return Remember(anchor, place);
        return true;
      }
      default:
        return true;
    }
  }

 private:
  static std::string Text(const yaml_char_t* text) {
    return text == nullptr ? std::string() : reinterpret_cast<const char*>(text);
  }

  bool CheckTag(const yaml_char_t* tag, Place place) {
    if (tag == nullptr) return true;
    return builder_.Fail(place, fmt::format("the tag `{}` is not supported; remove it", Text(tag)));
  }

  bool Open(Node::Kind kind, const yaml_char_t* tag, const yaml_char_t* anchor, Place place) {
    if (!CheckTag(tag, place)) return false;
    pending_.push_back(Text(anchor));
    return builder_.Open(kind, place);
  }

  // Copies an anchored list or map. Nested anchors repeat what lies in them, so the copies are
  // bounded too.
  bool Remember(const std::string& anchor, Place place) {
    if (anchors_.size() >= kMaxAnchors) {
      return builder_.Fail(place, fmt::format("more than {} anchors", kMaxAnchors));
    }
    anchors_[anchor] = builder_.last();
    return true;
  }

  bool Alias(const std::string& name, Place place) {
    const auto found = anchors_.find(name);
    if (found != anchors_.end()) return builder_.Insert(found->second, place);
    return builder_.Fail(place, fmt::format("the alias `*{}` refers to nothing before it", name));
  }

  static constexpr size_t kMaxAnchors = 256;

  Builder& builder_;
  int documents_ = 0;
  std::vector<std::string> pending_;  // anchors of open lists and maps, "" for none
  std::unordered_map<std::string, Node> anchors_;
};

class JsonEvents {
 public:
  explicit JsonEvents(Builder& builder) : builder_(builder) {}

  bool null() { return Plain("null"); }
  bool boolean(bool value) { return Plain(value ? "true" : "false"); }
  bool number_integer(int64_t value) { return Plain(std::to_string(value)); }
  bool number_unsigned(uint64_t value) { return Plain(std::to_string(value)); }
  bool number_float(double, const std::string& text) { return Plain(text); }
  bool string(std::string& text) { return builder_.Scalar(std::move(text), false, {}); }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool start_object(size_t) { return builder_.Open(Node::Kind::kMap, {}); }
  bool key(std::string& text) { return string(text); }
  bool end_object() { return builder_.Close(); }
  bool start_array(size_t) { return builder_.Open(Node::Kind::kList, {}); }
  bool end_array() { return builder_.Close(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) {
    return builder_.Fail({}, fmt::format("not valid JSON at byte {}", position));
  }

 private:
  bool Plain(std::string text) { return builder_.Scalar(std::move(text), true, {}); }

  Builder& builder_;
};

}  // namespace

bool Node::IsNull() const {
  return kind == Kind::kScalar && plain &&
         (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL");
}

std::string Node::Describe() const {
  if (kind == Kind::kList) return "a list";
  if (kind == Kind::kMap) return "a map";
  if (IsNull()) return "nothing";
  constexpr size_t kShown = 60;
  if (text.size() <= kShown) return fmt::format("`{}`", text);
  size_t cut = kShown;
  while (cut > 0 && (static_cast<uint8_t>(text[cut]) & 0xC0) == 0x80) --cut;
  return fmt::format("`{}…`", text.substr(0, cut));
}

Result<std::string> ReadDocumentFile(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return Err(Error(ErrorCode::kNotFound, fmt::format("{} does not exist", path))
                   .About(SubjectKind::kFile, path));
  }
  if (status.type() != std::filesystem::file_type::regular) {
    return Err(Error(ErrorCode::kFailedPrecondition, fmt::format("{} is not a regular file", path))
                   .About(SubjectKind::kFile, path)
                   .Remedy("Name a file that holds it, and try again"));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return ErrErrno(ErrorCode::kFailedPrecondition, fmt::format("open {}", path));
  std::string text(kMaxDocumentBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return Err(ErrorCode::kFailedPrecondition, fmt::format("read {}", path));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

ReadResult ReadYaml(std::string_view text, std::string_view file_name) {
  Builder builder(file_name);
  if (!CheckBytes(text, builder)) return std::move(builder).Finish();
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);

  YamlParser parser(text);
  YamlEvents events(builder);
  bool empty = true;
  for (bool more = true; more;) {
    yaml_event_t event;
    if (!parser.Next(event)) {
      const yaml_parser_t& state = parser.state();
      const char* problem = state.problem != nullptr ? state.problem : "cannot be read";
      builder.Fail(PlaceOf(state.problem_mark), fmt::format("not valid YAML: {}", problem));
      break;
    }
    if (event.type == YAML_DOCUMENT_START_EVENT) empty = false;
    more = events.Handle(event) && event.type != YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
  }
  if (empty && !builder.failed()) builder.Fail({1, 1}, std::string(kEmptyDocument));
  return std::move(builder).Finish();
}

ReadResult ReadJson(std::string_view text, std::string_view file_name) {
  Builder builder(file_name);
  if (!CheckBytes(text, builder)) return std::move(builder).Finish();
  JsonEvents events(builder);
  if (!nlohmann::json::sax_parse(text, &events) && !builder.failed()) {
    builder.Fail({}, "not valid JSON");
  }
  return std::move(builder).Finish();
}

}  // namespace cleanroom::document
