# cr_module(NAME [DEPS module...] [LIBS library...] [TEST_DEPS module...] [TEST_LIBS library...]
#           [ALONE file...] [APART] [TESTS_APART])
#
# Makes the static library cleanroom_NAME from the folder's *.cc and the test program NAME_test from its *_test.cc.
# main.cc is left out: programs are declared by cr_program. DEPS are all modules whose headers the folder's files include,
# TEST_DEPS what only its tests include; scripts/check-includes holds the files to both.
#
# Files are compiled several at a time (CLEANROOM_TOGETHER), for most of the work is in the headers that they share. ALONE
# names those that are compiled by themselves: they give a name of another file's unnamed namespace another meaning
# (`redefinition of` names the file to add). APART and TESTS_APART say so of all sources, or tests.
include(GoogleTest)

# cr_together(OUT NAME source...): sets OUT to what is to be compiled in place of the sources. Written out instead of CMake's
# own unity build, whose files name absolute paths, so that ccache could share nothing between checkouts.
function(cr_together out name)
  if(NOT CLEANROOM_TOGETHER)
    set(${out} ${ARGN} PARENT_SCOPE)
    return()
  endif()
  set(batch 5)  # the slowest file of a release build stays under 20 s
  set(made)
  set(rest ${ARGN})
  while(rest)
    list(SUBLIST rest 0 ${batch} sources)
    list(REMOVE_ITEM rest ${sources})
    set(text "")
    foreach(source ${sources})
      file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR}/src ${source})
      string(APPEND text "#include \"${path}\"  // NOLINT\n")
    endforeach()
    list(LENGTH made number)
    list(APPEND made ${CMAKE_CURRENT_BINARY_DIR}/${name}_${number}.cc)
    file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}_${number}.cc CONTENT "${text}" @ONLY)
  endwhile()
  set(${out} ${made} PARENT_SCOPE)
endfunction()

function(cr_module name)
  cmake_parse_arguments(ARG "APART;TESTS_APART" "" "DEPS;LIBS;TEST_DEPS;TEST_LIBS;ALONE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|/main)\\.cc$")

  foreach(kind sources tests)
    set(alone ${ARG_ALONE})
    list(TRANSFORM alone PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    if(ARG_APART OR (ARG_TESTS_APART AND "${kind}" STREQUAL "tests"))
      set(alone ${${kind}})
    endif()
    set(apart ${${kind}})
    set(together ${${kind}})
    list(REMOVE_ITEM together ${alone})
    list(REMOVE_ITEM apart ${together})
    cr_together(together ${name}_${kind} ${together})
    set(${kind} ${together} ${apart})
  endforeach()

  list(TRANSFORM ARG_DEPS PREPEND cleanroom_)
  list(TRANSFORM ARG_TEST_DEPS PREPEND cleanroom_)
  if(sources)
    add_library(cleanroom_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(cleanroom_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(cleanroom_${name} ${scope} ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(cleanroom_${name} ${scope} ${ARG_DEPS} ${ARG_LIBS} Threads::Threads)

  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE cleanroom_${name} ${ARG_TEST_DEPS} ${ARG_TEST_LIBS} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}/" PROPERTIES TIMEOUT 120 LABELS unit DISCOVERY_TIMEOUT 60)
  endif()
endfunction()

# cr_real_peers(NAME): the module's tests start real servers and programs, by tests/support.
function(cr_real_peers name)
  if(TARGET ${name}_test)
    target_sources(${name}_test PRIVATE
      ${CMAKE_SOURCE_DIR}/tests/support/command.cc
      ${CMAKE_SOURCE_DIR}/tests/support/docker_registry.cc
      ${CMAKE_SOURCE_DIR}/tests/support/file_tree.cc)
    target_link_libraries(${name}_test PRIVATE PkgConfig::ext2fs cr_crypto)
    target_include_directories(${name}_test PRIVATE ${CMAKE_SOURCE_DIR})
    target_compile_definitions(${name}_test PRIVATE CLEANROOM_SOURCE="${CMAKE_SOURCE_DIR}")
  endif()
endfunction()

# cr_program(NAME SOURCES file... DEPS module... [LIBS library...]): an executable in bin/.
function(cr_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  list(TRANSFORM ARG_DEPS PREPEND cleanroom_)
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ${ARG_LIBS})
endfunction()
