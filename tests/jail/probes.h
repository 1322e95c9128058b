// Things that a jail must refuse, each tried in a way that works outside of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

namespace cleanroom::jail {

// What the probes are aimed at; outside the jail, owned by the same user where there is only one.
struct Targets {
  pid_t sibling = 0;     // a process
  uint16_t port = 0;     // somebody listens on 127.0.0.1
  std::string secret;    // a file that its owner alone may read
  std::string readable;  // a file that the jail has, to be read only
};

// One line of text, and back.
std::string ToText(const Targets& targets);
Targets FromText(const std::string& text);

// By the probe's name: "" when it succeeded, else why not (an errno's name).
using Findings = std::map<std::string, std::string>;
Findings TryAll(const Targets& targets);

std::string ToText(const Findings& findings);
Findings FindingsFrom(const std::string& text);

}  // namespace cleanroom::jail
