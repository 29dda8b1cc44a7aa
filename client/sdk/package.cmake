# The client SDK: a shared library with the C interface alone, its headers for C and C++, a CMake package (Isthmus, target
# isthmus::sdk) and a pkg-config file. cmake --install BUILD --component sdk --prefix PREFIX.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/isthmus.h sdk_version_lines REGEX "#define ISTHMUS_VERSION_(MAJOR|MINOR|PATCH)")
string(REGEX MATCHALL "[0-9]+" sdk_version "${sdk_version_lines}")
list(JOIN sdk_version . sdk_version)

file(GLOB sdk_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
add_library(isthmus_sdk SHARED ${sdk_sources})
target_link_libraries(isthmus_sdk PRIVATE isthmus_client isthmus_client_compute isthmus_job isthmus_engine_edge isthmus_flags)
target_compile_options(isthmus_sdk PRIVATE -fvisibility=hidden)
# What the static rooms export stays inside.
target_link_options(isthmus_sdk PRIVATE LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/isthmus.map LINKER:--gc-sections)
# Before 1.0.0 a minor version may break: it is part of the name that programs look for.
string(REGEX MATCH "^0\\.[0-9]+|^[0-9]+" sdk_soversion ${sdk_version})
set_target_properties(isthmus_sdk PROPERTIES
  OUTPUT_NAME isthmus
  EXPORT_NAME sdk
  VERSION ${sdk_version}
  SOVERSION ${sdk_soversion}
  LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/isthmus.map
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_include_directories(isthmus_sdk INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
                           $<BUILD_INTERFACE:${CMAKE_CURRENT_LIST_DIR}>)

set(sdk_package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/Isthmus)
install(TARGETS isthmus_sdk EXPORT IsthmusTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sdk NAMELINK_COMPONENT sdk)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/isthmus.h ${CMAKE_CURRENT_LIST_DIR}/isthmus.hpp
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT sdk)
install(EXPORT IsthmusTargets NAMESPACE isthmus:: FILE IsthmusConfig.cmake
        DESTINATION ${sdk_package_folder} COMPONENT sdk)
if(sdk_version MATCHES "^0\\.")
  set(sdk_compatibility SameMinorVersion)
else()
  set(sdk_compatibility SameMajorVersion)
endif()
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/IsthmusConfigVersion.cmake
                                 VERSION ${sdk_version} COMPATIBILITY ${sdk_compatibility})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/IsthmusConfigVersion.cmake DESTINATION ${sdk_package_folder} COMPONENT sdk)
file(RELATIVE_PATH sdk_prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/isthmus.pc.in isthmus.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/isthmus.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT sdk)
