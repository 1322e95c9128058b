// What a warden recorded of a network decision, made fit for the API and the audit log. A warden is
// believed about nothing but its own sandbox: texts become printable and short, numbers sane.
#pragma once

#include <cstdint>
#include <string>

#include "base/id.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "cleanroom/v1/sandbox.pb.h"

namespace cleanroom::server {

namespace pb = ::cleanroom::internal::v1;

// Bounds on what a warden's numbers can do to a date: from 1970 to 2200.
int64_t SaneMicros(int64_t micros);

// v1 of a record, with its texts made plain; what a warden says is not trusted.
v1::NetworkDecision ToDecision(const pb::NetworkRecord& record);
// One line of the audit log, with its newline.
std::string AuditLine(const SandboxId& sandbox_id, const pb::NetworkRecord& record);

}  // namespace cleanroom::server
