# The program's version and revision as a header, "isthmus/version.h" (DEPS version).
#
# Looked up at every build and written only when it changed, so that a commit rebuilds the files that include it and no other.
# A source tree without git (a build context of Docker) is told by -DISTHMUS_REVISION or a variable of that name.
set(ISTHMUS_REVISION "$ENV{ISTHMUS_REVISION}" CACHE STRING "Revision that the program reports; empty: what git says")
set(isthmus_version_header ${CMAKE_BINARY_DIR}/generated/isthmus/version.h)
set(isthmus_version_command
  ${CMAKE_COMMAND} -DINPUT=${CMAKE_SOURCE_DIR}/cmake/version.h.in -DOUTPUT=${isthmus_version_header}
  -DISTHMUS_VERSION=${PROJECT_VERSION} -DISTHMUS_REVISION=${ISTHMUS_REVISION} -DSOURCE_DIR=${CMAKE_SOURCE_DIR}
  -P ${CMAKE_SOURCE_DIR}/cmake/write_version.cmake)
execute_process(COMMAND ${isthmus_version_command} COMMAND_ERROR_IS_FATAL ANY)
add_custom_target(isthmus_version_file COMMAND ${isthmus_version_command} BYPRODUCTS ${isthmus_version_header}
                  COMMENT "" VERBATIM)
add_library(isthmus_version INTERFACE)
target_include_directories(isthmus_version INTERFACE ${CMAKE_BINARY_DIR}/generated)
add_dependencies(isthmus_version isthmus_version_file)
