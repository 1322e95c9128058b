// A YAML or JSON document as a tree of nodes that know where they stand, read under hard limits.
//
// What a reader refuses (with its place): more than kMaxDocumentBytes of text, before or after
// aliases are written out; nesting past kMaxDepth; more than kMaxNodes nodes; text that is not
// UTF-8 or holds control characters; duplicate keys; keys that are not scalars; tags; merge keys; a
// second document.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "document/diagnostic.h"

namespace cleanroom::document {

inline constexpr size_t kMaxDocumentBytes = 1 << 20;
inline constexpr int kMaxDepth = 32;
inline constexpr size_t kMaxNodes = 50'000;
// Diagnostics after this many are dropped: nobody reads them, and a hostile file could have
// millions.
inline constexpr size_t kMaxDiagnostics = 100;

// The message for a YAML text without a document: empty, or only comments.
inline constexpr std::string_view kEmptyDocument = "the file is empty";

struct Node {
  enum class Kind { kScalar, kList, kMap };
  struct Entry;

  Kind kind = Kind::kScalar;
  bool plain = false;  // a scalar without quotes: may be a number, true, false or null
  std::string text;    // of a scalar
  int line = 0;
  int column = 0;
  std::vector<Node> items;     // of a list
  std::vector<Entry> entries;  // of a map, in the order written; keys are distinct scalars

  bool IsNull() const;
  // "a list", "a map", "the text "x"", "the number 5", "nothing", for messages.
  std::string Describe() const;
};

struct Node::Entry {
  Node key;
  Node value;
};

using ReadResult = std::expected<Node, std::vector<Diagnostic>>;

// The text of a regular file, cut after kMaxDocumentBytes + 1 bytes (which the readers then
// refuse). not_found or failed_precondition.
Result<std::string> ReadDocumentFile(const std::string& path);

// One YAML document (YAML 1.1 syntax; scalars are typed by whoever reads the tree).
ReadResult ReadYaml(std::string_view text, std::string_view file_name);

// One JSON text (RFC 8259). Nodes have no places; numbers are plain scalars as written.
ReadResult ReadJson(std::string_view text, std::string_view file_name);

}  // namespace cleanroom::document
