#include "tests/support/docker_registry.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace cleanroom::testing {
namespace {

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "docker registry for the test: %s\n", why.c_str());
  std::abort();
}

}  // namespace

DockerRegistry::DockerRegistry(const std::string& extra_config) {
  const std::string config = folder_ / "config.yml";
  std::ofstream(config) << "version: 0.1\n"
                           "log:\n  level: info\n  accesslog:\n    disabled: true\n"
                           "storage:\n  filesystem:\n    rootdirectory: "
                        << folder_.path() << "/data\n"
                        << "http:\n  addr: 127.0.0.1:0\n"
                        << extra_config;
  // It says which port it got: level=info msg="listening on 127.0.0.1:40123" …
  program_ =
      std::make_unique<Background>(std::vector<std::string>{"env", "OTEL_TRACES_EXPORTER=none",
                                                            "docker-registry", "serve", config},
                                   "listening on ");
}

std::string DockerRegistry::BlobFile(const std::string& digest) const {
  const std::string hex = digest.substr(digest.find(':') + 1);
  return folder_ /
         ("data/docker/registry/v2/blobs/sha256/" + hex.substr(0, 2) + "/" + hex + "/data");
}

std::string DockerRegistry::Push(const std::string& source, const std::string& target,
                                 const std::string& flags) {
  const std::string digest_file = folder_ / "digest";
  const CommandResult copied =
      // The user's own credentials are not looked for, which fails where there is no runtime
      // folder.
      RunScript("echo {} >" + (folder_ / "auth.json") +
                "; REGISTRY_AUTH_FILE=" + (folder_ / "auth.json") +
                " skopeo copy --quiet --dest-tls-verify=false --insecure-policy --digestfile " +
                digest_file + " " + flags + " " + source + " docker://" + host() + "/" + target);
  if (copied.status != 0) Die(copied.output);
  std::string digest;
  std::ifstream(digest_file) >> digest;
  return digest;
}

std::string DockerRegistry::PushSmall(const std::string& target, const std::string& flags) {
  const CommandResult made =
      RunScript("cd " + folder_.path() +
                " && rm -rf small && umoci init --layout small && umoci new --image small:v && "
                "head -c 20000 /dev/urandom >hello && tar --owner=0 --group=0 --mtime=@1600000000 "
                "-cf small.tar "
                "hello && umoci raw add-layer --image small:v small.tar");
  if (made.status != 0) Die(made.output);
  return Push("oci:" + (folder_ / "small:v"), target, flags);
}

}  // namespace cleanroom::testing
