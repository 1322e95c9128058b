// Diagnostic: one thing wrong in a file, at its place. Readers collect all of them before they give
// up.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cleanroom::document {

struct Diagnostic {
  std::string file;
  int line = 0;    // from 1; 0 when the place is not known (a document that came over the wire)
  int column = 0;  // from 1, in characters
  std::string message;  // names the key, says what is wrong and what to write instead

  bool operator==(const Diagnostic&) const = default;
};

// "file:line:column: message", or "file: message" without a place.
std::string Format(const Diagnostic& diagnostic);

// One Format per line, without a newline at the end.
std::string Format(const std::vector<Diagnostic>& diagnostics);

// The candidate a misspelt `word` most likely meant, or "" when none is near.
std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace cleanroom::document
