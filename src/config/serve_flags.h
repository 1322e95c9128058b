// The flags of `cleanroom serve`: cleanroomd reads them, the client's program completes them.
#pragma once

namespace cleanroom::config {

struct ServeFlag {
  const char* name;
  const char* value;  // what follows it, for the help
  const char* help;
};

inline constexpr ServeFlag kServeFlags[] = {
    {"--listen", "URL...",
     "unix:///PATH, http://HOST:PORT or https://HOST:PORT; may be repeated (the user's socket)"},
    {"--config", "FILE", "The config, instead of the user's"},
    {"--state-dir", "DIR", "Where records and sandboxes are kept"},
    {"--cache-dir", "DIR", "Where images, kernels and templates are kept"},
    {"--runtime-dir", "DIR", "Where the user's socket is made"},
    {"--tls-cert", "FILE", "The certificate chain of https listeners, PEM (tls/server.pem)"},
    {"--tls-key", "FILE", "Its key, PEM (tls/server.key)"},
    {"--gateway-listen", "URL", "Refused: this build has no gateway"},
    {"--guest-silence", "SECONDS",
     "Give a guest up that runs a command and has not answered for so long, 1 to 86400 (120)"},
    {"--log-level", "LEVEL", "error, warn, info (default), debug or trace"},
};

}  // namespace cleanroom::config
