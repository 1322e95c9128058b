#include "http/tls/tls_stream.h"

#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <string_view>
#include <utility>

#include "http/socket.h"

namespace cleanroom::http {
namespace {

namespace ssl = asio::ssl;
using Handshake = ssl::stream_base::handshake_type;

// RFC 7301: each name behind its length.
constexpr std::string_view kAlpn = "\x02h2\x08http/1.1";
constexpr std::string_view kAlpnHttp2 = "\x02h2";

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// Picks the first of ours that the client offers; without any in common there is none.
int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
               unsigned int in_size, void*) {
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_size, Bytes(kAlpn),
                                          static_cast<unsigned>(kAlpn.size()), in, in_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

class TlsStream final : public ByteStream {
 public:
  TlsStream(StreamSocket socket, ssl::context& context) : stream_(std::move(socket), context) {}

  ssl::stream<StreamSocket>& stream() { return stream_; }

  Awaitable<Result<void>> Shake(Handshake side) {
    auto [error] = co_await stream_.async_handshake(side, kAwait);
    if (error) co_return Failure(error, "TLS handshake");
    co_return Result<void>();
  }

  Awaitable<Result<size_t>> Read(std::span<std::byte> buffer) override {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "reading was cancelled");
    auto [error, n] =
        co_await stream_.async_read_some(asio::buffer(buffer.data(), buffer.size()), kAwait);
    if (!error) co_return n;
    // A peer that closes without close_notify may have been cut off; the protocols above tell
    // truncation.
    if (error == asio::error::eof || error == ssl::error::stream_truncated) co_return size_t{0};
    co_return Failure(error, "reading");
  }

  Awaitable<Result<void>> Write(std::span<const std::byte> data) override {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "writing was cancelled");
    auto [error, n] =
        co_await asio::async_write(stream_, asio::buffer(data.data(), data.size()), kAwait);
    (void)n;
    if (error) co_return Failure(error, "writing");
    co_return Result<void>();
  }

  void Close() override {
    boost::system::error_code ignored;
    stream_.next_layer().close(ignored);
  }

  asio::any_io_executor executor() override { return stream_.get_executor(); }

 private:
  std::unexpected<Error> Failure(const boost::system::error_code& error, const char* what) {
    if (!stream_.next_layer().is_open())
      return Err(ErrorCode::kUnavailable, "the connection is closed");
    if (error == asio::error::operation_aborted) {
      return Err(ErrorCode::kCanceled, std::string(what) + " was cancelled");
    }
    Error failure(ErrorCode::kUnavailable, std::string(what) + ": " + error.message());
    const bool not_trusted = error.category() == asio::error::get_ssl_category() &&
                             ERR_GET_REASON(static_cast<unsigned long>(error.value())) ==
                                 SSL_R_CERTIFICATE_VERIFY_FAILED;
    if (not_trusted) failure = std::move(failure).About(SubjectKind::kCertificate);
    return Err(std::move(failure));
  }

  ssl::stream<StreamSocket> stream_;
};

Result<void> Check(const boost::system::error_code& error, const std::string& file) {
  if (error) return Err(ErrorCode::kInvalidArgument, file + ": " + error.message());
  return {};
}

void RequireModern(ssl::context& context) {
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
}

class Server final : public TlsServer {
 public:
  Result<void> Load(const std::string& cert_file, const std::string& key_file) {
    boost::system::error_code error;
    RequireModern(context_);
    context_.use_certificate_chain_file(cert_file, error);
    CR_TRY(Check(error, cert_file));
    context_.use_private_key_file(key_file, ssl::context::pem, error);
    CR_TRY(Check(error, key_file));
    SSL_CTX_set_alpn_select_cb(context_.native_handle(), SelectAlpn, nullptr);
    return {};
  }

  Awaitable<Result<std::unique_ptr<ByteStream>>> Accept(asio::any_io_executor executor,
                                                        int fd) override {
    CR_CO_TRY_ASSIGN(StreamSocket socket, TakeSocket(executor, fd));
    auto stream = std::make_unique<TlsStream>(std::move(socket), context_);
    CR_CO_TRY(co_await stream->Shake(Handshake::server));
    std::unique_ptr<ByteStream> out = std::move(stream);
    co_return out;
  }

 private:
  ssl::context context_{ssl::context::tls_server};
};

class Client final : public TlsClient {
 public:
  Result<void> Load(const std::string& ca_file) {
    boost::system::error_code error;
    RequireModern(context_);
    if (ca_file.empty()) {
      context_.set_default_verify_paths(error);
      CR_TRY(Check(error, "the system's certificates"));
    } else {
      context_.load_verify_file(ca_file, error);
      CR_TRY(Check(error, ca_file));
    }
    context_.set_verify_mode(ssl::verify_peer);
    SSL_CTX_set_alpn_protos(context_.native_handle(), Bytes(kAlpnHttp2), kAlpnHttp2.size());
    return {};
  }

  Awaitable<Result<std::unique_ptr<ByteStream>>> Connect(asio::any_io_executor executor, int fd,
                                                         std::string host) override {
    CR_CO_TRY_ASSIGN(StreamSocket socket, TakeSocket(executor, fd));
    auto stream = std::make_unique<TlsStream>(std::move(socket), context_);
    stream->stream().set_verify_callback(ssl::host_name_verification(host));
    boost::system::error_code no_address;
    asio::ip::make_address(host, no_address);
    if (no_address) SSL_set_tlsext_host_name(stream->stream().native_handle(), host.c_str());
    CR_CO_TRY(co_await stream->Shake(Handshake::client));
    const unsigned char* chosen = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(stream->stream().native_handle(), &chosen, &size);
    if (std::string_view(reinterpret_cast<const char*>(chosen), size) != "h2") {
      co_return Err(ErrorCode::kUnavailable, host + " does not speak HTTP/2 over TLS");
    }
    std::unique_ptr<ByteStream> out = std::move(stream);
    co_return out;
  }

 private:
  ssl::context context_{ssl::context::tls_client};
};

}  // namespace

Result<std::unique_ptr<TlsServer>> TlsServer::Create(const std::string& cert_file,
                                                     const std::string& key_file) {
  auto server = std::make_unique<Server>();
  CR_TRY(server->Load(cert_file, key_file));
  return server;
}

Result<std::unique_ptr<TlsClient>> TlsClient::Create(const std::string& ca_file) {
  auto client = std::make_unique<Client>();
  CR_TRY(client->Load(ca_file));
  return client;
}

}  // namespace cleanroom::http
