# The installed form of the client library: `cmake --install BUILD --prefix PREFIX` puts there one archive, the public
# headers and what find_package(cleanroom) reads. The headers keep the spelling they have here ("client/client.h"), in
# a folder of their own.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(objects)
foreach(part base base_sha256 capability document net os http http_tls rpc policy config client proto proto_lite proto_rpc)
  list(APPEND objects $<TARGET_OBJECTS:cleanroom_${part}>)
endforeach()
add_library(cleanroom_client_package STATIC ${objects})
set_target_properties(cleanroom_client_package PROPERTIES OUTPUT_NAME cleanroom-client LINKER_LANGUAGE CXX)

configure_package_config_file(cmake/cleanroomConfig.cmake.in ${CMAKE_BINARY_DIR}/package/cleanroomConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cleanroom PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR
  NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/cleanroomConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)

install(TARGETS cleanroom_client_package ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client)
install(FILES ${CMAKE_BINARY_DIR}/package/cleanroomConfig.cmake ${CMAKE_BINARY_DIR}/package/cleanroomConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cleanroom COMPONENT client)
foreach(header base/error.h base/result.h client/client.h client/connect_options.h client/environment.h client/names.h
    client/policy.h)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES src/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cleanroom/${folder} COMPONENT client)
endforeach()
foreach(message execution files image policy sandbox system)
  install(FILES ${CMAKE_BINARY_DIR}/proto/cleanroom/v1/${message}.pb.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cleanroom/cleanroom/v1 COMPONENT client)
endforeach()
