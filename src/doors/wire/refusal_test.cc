#include "doors/wire/refusal.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <memory>

namespace cleanroom::doors::wire {
namespace {

TEST(RefusalTest, HttpSaysCodeAndText) {
  EXPECT_EQ(HttpRefusal("403 Forbidden", "host_not_allowed", "evil.example is not allowed"),
            "HTTP/1.1 403 Forbidden\r\nX-Cleanroom-Reason-Code: host_not_allowed\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 46\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
            "host_not_allowed: evil.example is not allowed\n");
}

TEST(RefusalTest, NothingSplitsTheHead) {
  const std::string text = HttpRefusal("403 a\r\nb", "c\nd", "e");
  EXPECT_TRUE(text.starts_with("HTTP/1.1 403 a  b\r\nX-Cleanroom-Reason-Code: c d\r\nContent-"));
}

TEST(RefusalTest, OpensslReadsTheAlert) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  for (const auto& [description, reason] : {std::pair{49, SSL_R_TLSV1_ALERT_ACCESS_DENIED},
                                            {112, SSL_R_TLSV1_UNRECOGNIZED_NAME},
                                            {80, SSL_R_TLSV1_ALERT_INTERNAL_ERROR}}) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
    BIO* in = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl.get(), in, BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl.get());
    ASSERT_EQ(SSL_do_handshake(ssl.get()), -1);
    const std::string alert = TlsAlert(static_cast<unsigned char>(description));
    BIO_write(in, alert.data(), static_cast<int>(alert.size()));
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl.get());
    EXPECT_EQ(SSL_get_error(ssl.get(), result), SSL_ERROR_SSL);
    EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), reason);
  }
}

}  // namespace
}  // namespace cleanroom::doors::wire
