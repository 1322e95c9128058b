// ImageService (proto/cleanroom/v1/image.proto) on top of Images and Storage.
#pragma once

#include "base/async.h"
#include "cleanroom/v1/image.rpc.h"
#include "server/images/images.h"
#include "server/storage/image_storage.h"

namespace cleanroom::server {

namespace v1 = ::cleanroom::v1;

class ImageService final : public v1::ImageService {
 public:
  ImageService(asio::any_io_executor executor, Images& images, ImageStorage& storage)
      : executor_(std::move(executor)), images_(images), storage_(storage) {}

 private:
  Awaitable<Result<void>> PullImage(rpc::CallContext& call, v1::PullImageRequest request,
                                    rpc::Writer<v1::ImageEvent>& out) override;
  Awaitable<Result<void>> ImportImage(rpc::CallContext& call,
                                      rpc::Reader<v1::ImportImageRequest>& in,
                                      rpc::Writer<v1::ImageEvent>& out) override;
  Awaitable<Result<v1::ListImagesResponse>> ListImages(rpc::CallContext& call,
                                                       v1::ListImagesRequest request) override;
  Awaitable<Result<v1::RemoveImageResponse>> RemoveImage(rpc::CallContext& call,
                                                         v1::RemoveImageRequest request) override;
  Awaitable<Result<v1::ResolveImageResponse>> ResolveImage(
      rpc::CallContext& call, v1::ResolveImageRequest request) override;

  asio::any_io_executor executor_;
  Images& images_;
  ImageStorage& storage_;
};

}  // namespace cleanroom::server
