# The codec library for other projects: a shared library with the C interface alone, its headers, a CMake package (IsthmusCodec,
# target isthmus::codec) and a pkg-config file. cmake --install BUILD --component codec --prefix PREFIX.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/isthmus_codec.h codec_version_lines REGEX "#define ISTHMUS_CODEC_VERSION_(MAJOR|MINOR|PATCH)")
string(REGEX MATCHALL "[0-9]+" codec_version "${codec_version_lines}")
list(JOIN codec_version . codec_version)

add_library(isthmus_codec SHARED isthmus_codec.cc)
target_link_libraries(isthmus_codec PRIVATE isthmus_compression isthmus_flags)
target_compile_options(isthmus_codec PRIVATE -fvisibility=hidden)
# What the static rooms export stays inside.
target_link_options(isthmus_codec PRIVATE LINKER:--version-script=${CMAKE_CURRENT_SOURCE_DIR}/isthmus_codec.map)
set_target_properties(isthmus_codec PROPERTIES
  EXPORT_NAME codec
  VERSION ${codec_version}
  LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/isthmus_codec.map
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
# Before 1.0.0 a minor version may break: it is part of the name that programs look for.
string(REGEX MATCH "^0\\.[0-9]+|^[0-9]+" codec_soversion ${codec_version})
set_target_properties(isthmus_codec PROPERTIES SOVERSION ${codec_soversion})
target_include_directories(isthmus_codec INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
                           $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>)

set(codec_package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/IsthmusCodec)
install(TARGETS isthmus_codec EXPORT IsthmusCodecTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT codec NAMELINK_COMPONENT codec)
install(FILES isthmus_codec.h isthmus_codec_handles.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT codec)
install(EXPORT IsthmusCodecTargets NAMESPACE isthmus:: FILE IsthmusCodecConfig.cmake
        DESTINATION ${codec_package_folder} COMPONENT codec)
if(codec_version MATCHES "^0\\.")
  set(codec_compatibility SameMinorVersion)
else()
  set(codec_compatibility SameMajorVersion)
endif()
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/IsthmusCodecConfigVersion.cmake
                                 VERSION ${codec_version} COMPATIBILITY ${codec_compatibility})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/IsthmusCodecConfigVersion.cmake DESTINATION ${codec_package_folder} COMPONENT codec)
file(RELATIVE_PATH codec_prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(isthmus-codec.pc.in isthmus-codec.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/isthmus-codec.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT codec)
