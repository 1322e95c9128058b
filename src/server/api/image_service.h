// ImageService (proto/cleanroom/v1/image.proto) on top of Images and Storage.
#pragma once

#include "base/async.h"
#include "cleanroom/v1/image.pb.h"
#include "rpc/service.h"
#include "server/images/images.h"
#include "server/storage/image_storage.h"

namespace cleanroom::server {

namespace v1 = ::cleanroom::v1;

class ImageService {
 public:
  ImageService(asio::any_io_executor executor, Images& images, ImageStorage& storage)
      : executor_(std::move(executor)), images_(images), storage_(storage) {}
  void Register(rpc::Router& router);

 private:
  Awaitable<Result<void>> Pull(v1::PullImageRequest request, rpc::Writer<v1::ImageEvent>& out);
  Awaitable<Result<void>> Import(rpc::Reader<v1::ImportImageRequest>& in,
                                 rpc::Writer<v1::ImageEvent>& out);
  Awaitable<Result<v1::ListImagesResponse>> List();
  Awaitable<Result<v1::RemoveImageResponse>> Remove(v1::RemoveImageRequest request);
  Awaitable<Result<v1::ResolveImageResponse>> Resolve(v1::ResolveImageRequest request);

  asio::any_io_executor executor_;
  Images& images_;
  ImageStorage& storage_;
};

}  // namespace cleanroom::server
