// The command line of `cleanroom serve`, and what its errors look like: as those of the client's
// program do.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/app/serve_options.h"

namespace cleanroom::server {

struct ServeCommand {
  ServeFlags flags;
  std::string help;  // what --help asked for; else empty
};

// `args`: what stands behind the program's name, "serve" first. invalid_argument.
Result<ServeCommand> ParseServeCommand(std::vector<std::string> args);

// "cleanroom: CODE: message" and a line that says what to do next, made from the error when
// `remedy` is empty.
std::string DescribeServeError(const Error& error, std::string_view remedy = "");

}  // namespace cleanroom::server
