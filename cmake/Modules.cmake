# cr_module(NAME [DEPS module...] [LIBS library...] [TEST_DEPS module...] [TEST_LIBS library...])
#
# Makes the static library cleanroom_NAME from the folder's *.cc and the test program NAME_test from its *_test.cc.
# main.cc is left out: programs are declared by cr_program. DEPS are all modules whose headers the folder's files include,
# TEST_DEPS what only its tests include; scripts/check-includes holds the files to both.
include(GoogleTest)

function(cr_module name)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS;TEST_DEPS;TEST_LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|/main)\\.cc$")

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
    target_include_directories(${name}_test PRIVATE ${CMAKE_SOURCE_DIR})
    target_compile_definitions(${name}_test PRIVATE CLEANROOM_SOURCE="${CMAKE_SOURCE_DIR}")
  endif()
endfunction()

# cr_alone(FILE...): files of this folder that are compiled by themselves also where others are compiled together (all
# presets but fuzz and tidy, which that makes several times as fast): they give a name of another file's unnamed namespace
# another meaning. `redefinition of` in a Unity/*.cxx names the file to add.
function(cr_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# cr_program(NAME SOURCES file... DEPS module... [LIBS library...]): an executable in bin/.
function(cr_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  list(TRANSFORM ARG_DEPS PREPEND cleanroom_)
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ${ARG_LIBS})
endfunction()
