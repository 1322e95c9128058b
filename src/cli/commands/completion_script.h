// Completion scripts for shells, from a list of what may follow each command.
#pragma once

#include <string>
#include <vector>

namespace cleanroom::cli {

struct CompletionWord {
  std::string word;  // "ls", "--json"
  std::string help;
};

// What may follow a command, or a flag that takes a value.
struct CompletionNode {
  enum class Kind { kCommand, kFlag };
  enum class Ids { kNone, kSandboxes };

  Kind kind = Kind::kCommand;
  // "image pull"; empty for the program itself. A flag: "image pull --platform", or "--host" for
  // one that every command takes.
  std::string path;
  std::vector<CompletionWord> words;
  Ids ids = Ids::kNone;  // the ids of live sandboxes, which the script asks for
};

// Each completes files where a value may be one: after a flag of whose value nothing is known,
// after a word of which nothing is known, and after "--".
std::string BashCompletion(const std::vector<CompletionNode>& nodes);
std::string ZshCompletion(const std::vector<CompletionNode>& nodes);
std::string FishCompletion(const std::vector<CompletionNode>& nodes);

}  // namespace cleanroom::cli
