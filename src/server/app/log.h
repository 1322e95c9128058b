// The log of the control plane: one line an event on stderr, "text key=value ...".
#pragma once

#include <string>

#include "config/config.h"

namespace cleanroom::server {

// Makes the process's logger. `level`: trace, debug, info, warn or error. Texts from guests and
// peers cannot break a line, or the JSON around it.
void SetUpLog(const std::string& level, config::LogFormat format);

}  // namespace cleanroom::server
