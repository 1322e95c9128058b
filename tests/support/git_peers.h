// Servers that people have in front of their repositories, for tests: OpenSSH and git's own daemon.
// Each listens on a free loopback port and ends with its object.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/command.h"

namespace cleanroom::testing {

inline void RunOrDie(const std::string& script) {
  const CommandResult done = RunScript(script);
  if (done.status == 0) return;
  fprintf(stderr, "%s\n%s\n", script.c_str(), done.output.c_str());
  abort();
}

// A free port; what connects to it gets `address` of socat's on the other side.
class Port {
 public:
  explicit Port(const std::string& address)
      : socat_({"socat", "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,fork", address},
               "listening on AF=2 127.0.0.1:") {}
  const std::string& number() const { return socat_.found(); }

 private:
  Background socat_;
};

class SshGit {
 public:
  SshGit() {
    const std::string& at = own_.path();
    RunOrDie("cd " + at +
             "; ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f key; "
             "ssh-keygen -q -t ed25519 -N '' -f other; cp key.pub keys; chmod 600 keys");
    std::ofstream(own_ / "sshd_config")
        << "HostKey " << at << "/host\nAuthorizedKeysFile " << at
        << "/keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
           "KbdInteractiveAuthentication no\nPermitRootLogin yes\nPidFile none\n";
    // Root's sshd wants a folder that is made when the service starts.
    const std::string sshd = "/usr/sbin/sshd -i -f " + (own_ / "sshd_config");
    std::ofstream(own_ / "sshd") << "#!/bin/sh\n"
                                 << (geteuid() == 0
                                         ? "exec unshare --mount sh -c 'mount -t tmpfs none /run; "
                                           "mkdir -m 755 /run/sshd; exec " +
                                               sshd + "'\n"
                                         : "exec " + sshd + "\n");
    RunOrDie("chmod +x " + (own_ / "sshd"));
    port_ = std::make_unique<Port>("EXEC:" + (own_ / "sshd"));
    RunOrDie("cd " + at + "; echo \"[127.0.0.1]:" + port_->number() +
             " $(cut -d' ' -f1,2 host.pub)\" >known; : >none");
  }
  // An absolute path of this machine.
  std::string Url(const std::string& path) const {
    return "ssh://127.0.0.1:" + port_->number() + path;
  }
  const std::string& port() const { return port_->number(); }
  // What a user has in ~/.ssh/config. `key`: "key", or "other", which the server does not know;
  // `known`: "known", or "none".
  std::string Command(const std::string& key, const std::string& known) const {
    std::ofstream(own_ / "config-" + key + known)
        << "Host *\n IdentityFile " << own_ / key << "\n IdentitiesOnly yes\n UserKnownHostsFile "
        << own_ / known << "\n GlobalKnownHostsFile /dev/null\n";
    return "ssh -F " + (own_ / "config-" + key + known) + " -oBatchMode=yes -oConnectTimeout=20";
  }

 private:
  TestFolder own_;
  std::unique_ptr<Port> port_;
};

// git://
class GitDaemon {
 public:
  explicit GitDaemon(const std::string& folder)
      : port_("EXEC:git daemon --inetd --export-all --base-path=" + folder) {}
  std::string Url(const std::string& name) const {
    return "git://127.0.0.1:" + port_.number() + "/" + name;
  }

 private:
  Port port_;
};

}  // namespace cleanroom::testing
