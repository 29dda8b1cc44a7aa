# Cross build for 64-bit ARM with Debian's compiler, against the sysroot that deploy/arm64/sysroot makes (ISTHMUS_SYSROOT); tests run
# under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# Small configure checks see the same folder.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ISTHMUS_SYSROOT)
if(NOT ISTHMUS_SYSROOT)
  set(ISTHMUS_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../../build/arm64-sysroot)
endif()
get_filename_component(CMAKE_SYSROOT ${ISTHMUS_SYSROOT} ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${CMAKE_SYSROOT})
# Programs (protoc, ninja, ccache) are the host's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${CMAKE_SYSROOT})
