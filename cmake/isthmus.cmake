# isthmus_library / isthmus_binary / isthmus_test: a folder is a target, DEPS is its allow-list.
#
# DEPS names other rooms by folder ("base", "compression") or imported targets ("gRPC::grpc++"). Only what is listed can be
# included: a room's include directory is the source root, so tests/layering scans the include lines as well.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# No -march: one binary runs on every x86-64; kernels dispatch at run time (Highway).
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")

# A precompiled header is cached only with these two liberties; the base directory lets another clone of the same sources hit.
find_program(ISTHMUS_CCACHE ccache)
if(ISTHMUS_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
                                  CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${ISTHMUS_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(PkgConfig REQUIRED)

add_library(isthmus_flags INTERFACE)
target_compile_options(isthmus_flags INTERFACE -Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(isthmus_flags INTERFACE -Wthread-safety)
endif()
target_include_directories(isthmus_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
if(ISTHMUS_SANITIZE)
  list(JOIN ISTHMUS_SANITIZE "," sanitizers)
  target_compile_options(isthmus_flags INTERFACE -fsanitize=${sanitizers} -fno-sanitize-recover=all
                         -fno-omit-frame-pointer -g)
  target_link_options(isthmus_flags INTERFACE -fsanitize=${sanitizers})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # GNU ld takes seconds for each of these programs of 10 to 30 MB.
    target_link_options(isthmus_flags INTERFACE -fuse-ld=lld)
  endif()
endif()
if(ISTHMUS_FUZZ)
  target_compile_options(isthmus_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Vectors are members of small structs and of arrays in our kernels, which SVE's sizeless types cannot be: 64-bit ARM runs NEON.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64")
  target_compile_definitions(isthmus_flags INTERFACE "HWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")
endif()

function(isthmus_resolve out)
  set(resolved)
  foreach(dep IN LISTS ARGN)
    if(dep MATCHES "::|^-l|/" OR NOT dep MATCHES "^[a-z_]+$")
      list(APPEND resolved ${dep})
    else()
      list(APPEND resolved isthmus_${dep})
    endif()
  endforeach()
  set(${out} ${resolved} PARENT_SCOPE)
endfunction()

# isthmus_library(NAME SRCS file... DEPS room-or-target...)
function(isthmus_library name)
  cmake_parse_arguments(arg "" "" "SRCS;DEPS" ${ARGN})
  isthmus_resolve(deps ${arg_DEPS})
  if(arg_SRCS)
    add_library(isthmus_${name} STATIC ${arg_SRCS})
    target_link_libraries(isthmus_${name} PUBLIC ${deps} PRIVATE isthmus_flags)
    target_include_directories(isthmus_${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  else()
    add_library(isthmus_${name} INTERFACE)
    target_link_libraries(isthmus_${name} INTERFACE ${deps})
    target_include_directories(isthmus_${name} INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  endif()
endfunction()

# isthmus_binary(NAME SRCS file... DEPS room-or-target...)
function(isthmus_binary name)
  cmake_parse_arguments(arg "" "" "SRCS;DEPS" ${ARGN})
  isthmus_resolve(deps ${arg_DEPS})
  add_executable(${name} ${arg_SRCS})
  target_link_libraries(${name} PRIVATE ${deps} isthmus_flags)
  # A user finds every program at the top of the build folder: build/release/isthmus.
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()

# isthmus_test(NAME SRCS file... DEPS room-or-target... [LABELS label...] [TIMEOUT s]): one GoogleTest program, one ctest entry.
function(isthmus_test name)
  if(NOT ISTHMUS_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  isthmus_resolve(deps ${arg_DEPS})
  find_package(GTest REQUIRED)
  add_executable(${name} ${arg_SRCS})
  target_link_libraries(${name} PRIVATE ${deps} GTest::gmock GTest::gtest GTest::gtest_main isthmus_flags)
  target_compile_definitions(${name} PRIVATE ISTHMUS_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(ISTHMUS_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 5")  # instrumented code takes several times as long
  endif()
  if(CMAKE_CROSSCOMPILING)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 10")  # an emulator ten times and more
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}")
endfunction()

# isthmus_fuzz(NAME SRCS file... DEPS room-or-target...): a libFuzzer target, one of fuzz_targets; built only with
# ISTHMUS_FUZZ (clang). Seeds lie in tests/fuzz/corpus/NAME without _fuzz.
function(isthmus_fuzz name)
  if(NOT ISTHMUS_FUZZ)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "SRCS;DEPS" ${ARGN})
  isthmus_resolve(deps ${arg_DEPS})
  add_executable(${name} ${arg_SRCS})
  target_link_libraries(${name} PRIVATE ${deps} isthmus_flags)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  if(NOT TARGET fuzz_targets)
    add_custom_target(fuzz_targets)
  endif()
  add_dependencies(fuzz_targets ${name})
endfunction()

if(ISTHMUS_TESTS)
  enable_testing()
endif()

include(version)
