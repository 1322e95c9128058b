#include "cli/commands/completion_script.h"

#include <fmt/format.h>

#include <string_view>

namespace cleanroom::cli {
namespace {

using Kind = CompletionNode::Kind;

// Prints the ids of live sandboxes; nothing without a daemon.
constexpr std::string_view kIds =
    "cleanroom sandbox ls 2>/dev/null </dev/null | awk 'NR > 1 { print $1 }'";

std::string Words(const CompletionNode& node) {
  std::string out;
  for (const CompletionWord& word : node.words) {
    if (!out.empty()) out += ' ';
    out += word.word;
  }
  return out;
}

// For single quotes in a shell.
std::string Quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Takes a flag of every command, whose path is its name alone.
bool IsGlobal(const CompletionNode& node) {
  return node.kind == Kind::kFlag && node.path.starts_with('-');
}

// The paths of commands, of their flags that take values, or of such flags of every command, as the
// alternatives of a shell's `case`.
enum class Which { kCommands, kFlags, kGlobalFlags };
std::string Paths(const std::vector<CompletionNode>& nodes, Which which,
                  std::string_view separator) {
  std::string out;
  for (const CompletionNode& node : nodes) {
    if (node.path.empty()) continue;
    const Which is = node.kind == Kind::kCommand ? Which::kCommands
                     : IsGlobal(node)            ? Which::kGlobalFlags
                                                 : Which::kFlags;
    if (is != which) continue;
    if (!out.empty()) out += separator;
    out += Quote(node.path);
  }
  return out;
}

// Shell code that walks the words before the one being completed. `command_path` becomes that of
// the longest known command, or of the flag whose value comes next.
std::string Walk(const std::vector<CompletionNode>& nodes) {
  return fmt::format(
      R"(    if [[ -n $flag ]]; then flag=''; continue; fi
    next=${{command_path:+$command_path }}$word
    case $next in
    {}) command_path=$next ;;
    {}) flag=$next ;;
    *) case $word in {}) flag=$word ;; esac ;;
    esac
  done
  [[ -n $flag ]] && command_path=$flag
)",
      Paths(nodes, Which::kCommands, "|"), Paths(nodes, Which::kFlags, "|"),
      Paths(nodes, Which::kGlobalFlags, "|"));
}

}  // namespace

std::string BashCompletion(const std::vector<CompletionNode>& nodes) {
  std::string cases;
  for (const CompletionNode& node : nodes) {
    const std::string ids =
        node.ids == CompletionNode::Ids::kSandboxes ? fmt::format("\" $({})\"", kIds) : "";
    cases += fmt::format("  {}) words={}{} ;;\n", Quote(node.path), Quote(Words(node)), ids);
  }
  return fmt::format(R"(# bash completion for cleanroom
_cleanroom() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} command_path='' flag='' words='' word next
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ $word == -- ]] && return
{}  case $command_path in
{}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _cleanroom cleanroom
)",
                     Walk(nodes), cases);
}

std::string ZshCompletion(const std::vector<CompletionNode>& nodes) {
  std::string cases;
  for (const CompletionNode& node : nodes) {
    cases += fmt::format("  {}) choices=(\n", Quote(node.path));
    for (const CompletionWord& word : node.words) {
      // _describe splits at the first colon that is not escaped.
      std::string escaped;
      for (const char c : word.word) escaped += c == ':' ? std::string("\\:") : std::string(1, c);
      cases += fmt::format("      {}\n", Quote(escaped + ":" + word.help));
    }
    if (node.ids == CompletionNode::Ids::kSandboxes) cases += fmt::format("      $({})\n", kIds);
    cases += "    ) ;;\n";
  }
  return fmt::format(R"(#compdef cleanroom
# zsh completion for cleanroom
_cleanroom() {{
  local command_path='' flag='' word next
  local -a choices
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    if [[ $word == -- ]]; then _files; return; fi
{}  case $command_path in
{}  esac
  _describe -t commands cleanroom choices || _files
}}
if [[ $funcstack[1] == _cleanroom ]]; then _cleanroom "$@"; else compdef _cleanroom cleanroom; fi
)",
                     Walk(nodes), cases);
}

std::string FishCompletion(const std::vector<CompletionNode>& nodes) {
  std::string out =
      fmt::format(R"(# fish completion for cleanroom
function __cleanroom_path
  set -l path ''
  set -l flag ''
  for word in (commandline -opc)[2..-1]
    test "$word" = --; and echo --; and return
    if test -n "$flag"
      set flag ''
      continue
    end
    set -l next (string trim "$path $word")
    switch $next
      case {}
        set path $next
      case {}
        set flag $next
      case '*'
        switch $word
          case {}
            set flag $word
        end
    end
  end
  test -n "$flag"; and set path $flag
  echo $path
end
)",
                  Paths(nodes, Which::kCommands, " "), Paths(nodes, Which::kFlags, " "),
                  Paths(nodes, Which::kGlobalFlags, " "));
  for (const CompletionNode& node : nodes) {
    for (const CompletionWord& word : node.words) {
      out +=
          fmt::format("complete -c cleanroom -n 'test (__cleanroom_path) = \"{}\"' -a {} -d {}\n",
                      node.path, Quote(word.word), Quote(word.help));
    }
    if (node.ids == CompletionNode::Ids::kSandboxes) {
      out += fmt::format("complete -c cleanroom -n 'test (__cleanroom_path) = \"{}\"' -a {}\n",
                         node.path, Quote(fmt::format("({})", kIds)));
    }
  }
  return out;
}

}  // namespace cleanroom::cli
