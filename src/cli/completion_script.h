// Completion scripts for shells, from a list of what may follow each command.
#pragma once

#include <string>
#include <vector>

namespace cleanroom::cli {

struct CompletionWord {
  std::string word;  // "ls", "--json"
  std::string help;
};

struct CompletionNode {
  std::string path;  // "image pull"; empty for the program itself
  std::vector<CompletionWord> words;
};

// Each completes files where a value may be one: after a word of which nothing is known, and after "--".
std::string BashCompletion(const std::vector<CompletionNode>& nodes);
std::string ZshCompletion(const std::vector<CompletionNode>& nodes);
std::string FishCompletion(const std::vector<CompletionNode>& nodes);

}  // namespace cleanroom::cli
