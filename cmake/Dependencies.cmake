# Every library, found once. All are Debian 12 packages (scripts/packages).
find_package(Threads REQUIRED)
find_package(GTest REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(CURL REQUIRED)
find_package(LibArchive REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Protobuf REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(nghttp2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(ext2fs REQUIRED IMPORTED_TARGET ext2fs com_err)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(lz4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(idn2 REQUIRED IMPORTED_TARGET libidn2)

# Linked statically, so that the CLI starts without loading them: a `cleanroom version` costs milliseconds.
find_library(PROTOBUF_STATIC libprotobuf.a REQUIRED)
find_library(PROTOBUF_LITE_STATIC libprotobuf-lite.a REQUIRED)
find_library(NGHTTP2_STATIC libnghttp2.a REQUIRED)
find_library(SQLITE_STATIC libsqlite3.a)
find_library(YAML_STATIC libyaml.a REQUIRED)
find_library(CRYPTO_STATIC libcrypto.a REQUIRED)
find_library(SSL_STATIC libssl.a REQUIRED)
find_library(IDN2_STATIC libidn2.a REQUIRED)
find_library(UNISTRING_STATIC libunistring.a REQUIRED)
find_library(SECCOMP_STATIC libseccomp.a REQUIRED)
find_library(ARCHIVE_STATIC libarchive.a REQUIRED)
find_library(ZSTD_STATIC libzstd.a REQUIRED)
find_library(Z_STATIC libz.a REQUIRED)

# OpenSSL, for modules: the shared library, unless the program that links them has the property STATIC_OPENSSL (one
# that also links libcurl, which brings the shared one, must not have it).
add_library(cr_crypto INTERFACE)
add_library(cr_ssl INTERFACE)
target_link_libraries(cr_crypto INTERFACE $<IF:$<BOOL:$<TARGET_PROPERTY:STATIC_OPENSSL>>,${CRYPTO_STATIC},OpenSSL::Crypto>)
target_link_libraries(cr_ssl INTERFACE $<IF:$<BOOL:$<TARGET_PROPERTY:STATIC_OPENSSL>>,${SSL_STATIC},OpenSSL::SSL> cr_crypto)

# A program with the property STATIC_IDN2 loads one shared library less, which is as large as the rest of it; one that loads none
# needs it.
add_library(cr_idn2 INTERFACE)
target_link_libraries(cr_idn2 INTERFACE
  $<IF:$<BOOL:$<TARGET_PROPERTY:STATIC_IDN2>>,${IDN2_STATIC}$<SEMICOLON>${UNISTRING_STATIC},PkgConfig::idn2>)

# A program with the property STATIC_ARCHIVE loads none of the libraries of the formats that libarchive knows beside tar.
add_library(cr_archive INTERFACE)
target_link_libraries(cr_archive INTERFACE
  $<IF:$<BOOL:$<TARGET_PROPERTY:STATIC_ARCHIVE>>,${ARCHIVE_STATIC}$<SEMICOLON>${ZSTD_STATIC}$<SEMICOLON>${Z_STATIC},LibArchive::LibArchive$<SEMICOLON>PkgConfig::zstd$<SEMICOLON>ZLIB::ZLIB>)
