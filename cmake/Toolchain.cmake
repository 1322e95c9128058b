# Language, warnings, hardening, and the tools that make building fast.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")

# Paths below the source folder count as relative, so that checkouts in other places share what is compiled.
find_program(CCACHE ccache)
if(CCACHE)
  set(ccache env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${ccache})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${ccache})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-fPIE -Wall -Wextra -Werror -Wnon-virtual-dtor -fstack-protector-strong -fcf-protection)
# GCC 12 warns falsely where it optimizes: -Wmismatched-new-delete on every coroutine, whose frame it thinks is freed with
# another operator than the one that made it, and -Wrestrict on `"literal" + std::string` (its bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(optimized_cxx $<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>)
  add_compile_options($<${optimized_cxx}:-Wno-mismatched-new-delete> $<${optimized_cxx}:-Wno-restrict>)
endif()
# Files compiled together are headers to GCC, in which unnamed namespaces would be doubtful.
if(CLEANROOM_TOGETHER AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()
# std::expected is enabled in clang's view of libstdc++ 12 by this language feature macro.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-D__cpp_concepts=202002L> -Wno-builtin-macro-redefined)
endif()
add_compile_definitions(_GLIBCXX_ASSERTIONS BOOST_ASIO_NO_DEPRECATED BOOST_ERROR_CODE_HEADER_ONLY FMT_HEADER_ONLY)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT CLEANROOM_SANITIZE)
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
add_link_options(-Wl,-z,relro -Wl,-z,now)

# The static guest agent cannot be sanitized: sanitized builds test with the release build's agent.
if(CLEANROOM_SANITIZE)
  add_compile_options(-fsanitize=${CLEANROOM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${CLEANROOM_SANITIZE})
  if(CLEANROOM_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
  endif()
  # Two checks less make GCC's objects cheaper; AddressSanitizer stops at what the first would find.
  if(CLEANROOM_SANITIZE MATCHES "undefined" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-fno-sanitize=null,vptr)
  endif()
  # clang says of libstdc++ 12's own std::stable_sort that what it uses is deprecated.
  if(CLEANROOM_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-deprecated-declarations>)
  endif()
  # Asio has fences, which ThreadSanitizer does not see and GCC warns of; what they order is ordered by locks as well.
  if(CLEANROOM_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan)
  endif()
endif()

# cr_falsely_out_of_bounds(file...): sources of this folder in which GCC 12, where it optimizes, warns falsely of copies
# beyond a std::string or vector (one defect, which shows under three names). By file, because the warnings are worth
# having elsewhere.
function(cr_falsely_out_of_bounds)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    foreach(name array-bounds stringop-overflow stringop-overread)
      set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS $<$<NOT:$<CONFIG:Debug>>:-Wno-${name}>)
    endforeach()
  endif()
endfunction()
