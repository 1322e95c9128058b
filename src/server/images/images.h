// Images: pulls that are shared by those who want the same image, imports, and which images are in
// use.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/async.h"
#include "image/store.h"
#include "os/unique_fd.h"
#include "registry/registry.h"
#include "server/images/image_job.h"

namespace cleanroom::server {

class Images {
 public:
  Images(asio::any_io_executor executor, image::ImageStore store,
         registry::RegistryOptions options);

  // Makes the image present. Two calls for one reference share the work, which ends with its last
  // caller.
  Awaitable<Result<ImageOutcome>> Pull(std::string ref, ProgressFn progress,
                                       registry::PlainHttp plain_http = registry::PlainHttp::kAuto);
  // Starts to import the tar that comes out of `fd`; the caller watches the job and stops it when
  // it gives up.
  std::shared_ptr<ImageJob> StartImport(const ImageRef& ref, os::UniqueFd fd);
  Awaitable<Result<std::vector<image::ImageRecord>>> List();
  // By reference or digest; not_found.
  Awaitable<Result<image::ImageRecord>> Get(std::string ref);
  // failed_precondition while a sandbox uses it.
  Awaitable<Result<image::ImageRecord>> Remove(std::string ref);
  // The digest-pinned form: that of an image that was imported under this name, else by asking the
  // registry.
  Awaitable<Result<std::string>> Resolve(std::string ref, registry::PlainHttp plain_http);

  // Keeps the image from being removed as long as the answer lives. Released on any thread.
  std::shared_ptr<void> Use(const std::string& digest);
  bool InUse(const std::string& digest) const;

  // Stops what is under way and waits for it.
  Awaitable<void> Shutdown();

 private:
  // Digests in use, with counts. Shared with the leases, which may outlive this.
  struct Uses {
    std::mutex mutex;
    std::map<std::string, int> counts;
  };

  asio::any_io_executor executor_;
  image::ImageStore store_;
  registry::RegistryOptions options_;
  std::shared_ptr<Uses> uses_ = std::make_shared<Uses>();
  // Threads of their own: a pull takes minutes, and disks and folders must not wait for it. Pulls
  // beyond the number wait.
  BlockingPool pool_{4};
  BlockingPool imports_pool_{2};  // these wait for their callers, and pulls must not wait for those
  BlockingPool quick_{1};
  TaskScope tasks_;
  std::stop_source stopping_;  // of what no job stands for
  std::map<std::string, std::shared_ptr<ImageJob>> pulls_;
  std::vector<std::weak_ptr<ImageJob>> imports_;
};

}  // namespace cleanroom::server
