// A connection to the daemon for the length of one command, and the loop it runs on.
#pragma once

#include <functional>
#include <string>

#include "base/async.h"
#include "cli/output/progress.h"
#include "cli/session/invocation.h"
#include "client/api.h"
#include "client/connect_options.h"

namespace cleanroom::cli {

// The flags, then what client::OptionsFromEnvironment says.
Result<client::ConnectOptions> ConnectOptionsFor(const ClientFlags& flags);

// Connects, runs `body`, closes. Prints the error if one comes. `body` only forwards to a coroutine
// (base/async.h).
int RunConnected(const Invocation& invocation,
                 const std::function<Awaitable<Result<int>>(client::Api&)>& body);

// Runs a coroutine that needs no daemon.
Result<int> RunLoop(Awaitable<Result<int>> task);

enum class Quiet { kNo, kYes };
ProgressStyle ChooseProgress(const Invocation& invocation, Quiet quiet);

// Writes to standard output, whole; for answers, not for streams. 0, or the exit code of the
// failure: quietly 141 when the reader is gone.
int PrintAnswer(std::string_view text);

}  // namespace cleanroom::cli
