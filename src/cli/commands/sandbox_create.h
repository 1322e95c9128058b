// Making a sandbox and printing its id: what `create` and `sandbox create` share.
#pragma once

#include <functional>
#include <string>

#include "cleanroom/v1/sandbox.pb.h"
#include "cli/commands/checkout_source.h"
#include "cli/commands/policy_source.h"
#include "cli/commands/run_flags.h"
#include "cli/session/invocation.h"

namespace cleanroom::cli {

// default_image of the runtime config; empty when there is none.
Result<std::string> DefaultImage();

// Without the policy.
v1::CreateSandboxRequest CreateRequestFor(const RunFlags& flags);

// The checkout, the changes and the commits of the source.
Result<void> AddCheckout(const CheckoutSource& source, v1::CreateSandboxRequest& request);

// What remembers which work tree a new sandbox is of, and what went in with it.
std::function<Result<void>(const v1::Sandbox& sandbox)> Binder(const CheckoutSource& source);

// Warnings of the source, on standard error.
void WarnAbout(const Invocation& invocation, const PolicySource& source);
void WarnAbout(const Invocation& invocation, const CheckoutSource& source);

// That --dangerously-allow-all was given, on standard error.
void WarnAboutAllowAll(const Invocation& invocation, const RunFlags& flags);

// Prints the bare id on standard output. Returns the exit code.
int CreateAndPrint(const Invocation& invocation, const RunFlags& flags, CheckoutSource source);

}  // namespace cleanroom::cli
