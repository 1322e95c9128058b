// Where the daemon is, when nobody says: the environment, the runtime config, the well-known
// sockets.
#pragma once

#include "base/result.h"
#include "client/connect_options.h"

namespace cleanroom::client {

// Fills what is empty in `given`. The URL: CLEANROOM_HOST, then control_host of the runtime config,
// then the system's socket if there is one, then the user's. tls_ca: CLEANROOM_TLS_CA, then for
// https tls/ca.pem in the config's folder if it is there. auth_token: CLEANROOM_AUTH_TOKEN. The
// config file is read only when the URL depends on it; its errors are returned.
Result<ConnectOptions> OptionsFromEnvironment(ConnectOptions given = {});

}  // namespace cleanroom::client
