#include "cli/completion_script.h"

#include <fmt/format.h>

namespace cleanroom::cli {
namespace {

std::string Words(const CompletionNode& node) {
  std::string out;
  for (const CompletionWord& word : node.words) {
    if (!out.empty()) out += ' ';
    out += word.word;
  }
  return out;
}

// For single quotes in a shell.
std::string Quote(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// A shell function body that finds the longest path of known commands among the words typed. The words before
// the one being completed are in `typed`; the path ends up in `path`.
std::string Cases(const std::vector<CompletionNode>& nodes) {
  std::string out;
  for (const CompletionNode& node : nodes) out += fmt::format("    {}) words={} ;;\n", Quote(node.path), Quote(Words(node)));
  return out;
}

std::string KnownPaths(const std::vector<CompletionNode>& nodes) {
  std::string out;
  for (const CompletionNode& node : nodes) {
    if (!node.path.empty()) out += (out.empty() ? "" : "|") + Quote(node.path);
  }
  return out;
}

}  // namespace

std::string BashCompletion(const std::vector<CompletionNode>& nodes) {
  return fmt::format(R"(# bash completion for cleanroom
_cleanroom() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} path='' words='' word next
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ $word == -- ]] && return
    next=${{path:+$path }}$word
    case $next in
    {}) path=$next ;;
    esac
  done
  case $path in
{}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _cleanroom cleanroom
)",
                     KnownPaths(nodes), Cases(nodes));
}

std::string ZshCompletion(const std::vector<CompletionNode>& nodes) {
  std::string cases;
  for (const CompletionNode& node : nodes) {
    cases += fmt::format("    {}) choices=(\n", Quote(node.path));
    for (const CompletionWord& word : node.words) {
      // _describe splits at the first colon that is not escaped.
      std::string escaped;
      for (const char c : word.word) escaped += c == ':' ? std::string("\\:") : std::string(1, c);
      cases += fmt::format("      {}\n", Quote(escaped + ":" + word.help));
    }
    cases += "    ) ;;\n";
  }
  return fmt::format(R"(#compdef cleanroom
# zsh completion for cleanroom
_cleanroom() {{
  local command_path='' word next
  local -a choices
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    if [[ $word == -- ]]; then _files; return; fi
    next=${{command_path:+$command_path }}$word
    case $next in
    {}) command_path=$next ;;
    esac
  done
  case $command_path in
{}  esac
  _describe -t commands cleanroom choices || _files
}}
if [[ $funcstack[1] == _cleanroom ]]; then _cleanroom "$@"; else compdef _cleanroom cleanroom; fi
)",
                     KnownPaths(nodes), cases);
}

std::string FishCompletion(const std::vector<CompletionNode>& nodes) {
  std::string out = fmt::format(R"(# fish completion for cleanroom
function __cleanroom_path
  set -l path ''
  for word in (commandline -opc)[2..-1]
    test "$word" = --; and echo --; and return
    set -l next (string trim "$path $word")
    switch $next
      case {}
        set path $next
    end
  end
  echo $path
end
)",
                                [&nodes] {
                                  std::string paths;
                                  for (const CompletionNode& node : nodes) {
                                    if (!node.path.empty()) paths += (paths.empty() ? "" : " ") + Quote(node.path);
                                  }
                                  return paths;
                                }());
  for (const CompletionNode& node : nodes) {
    for (const CompletionWord& word : node.words) {
      out += fmt::format("complete -c cleanroom -n 'test (__cleanroom_path) = \"{}\"' -a {} -d {}\n", node.path,
                         Quote(word.word), Quote(word.help));
    }
  }
  return out;
}

}  // namespace cleanroom::cli
