# Run with cmake -P: writes OUTPUT from INPUT with ISTHMUS_VERSION and the revision of SOURCE_DIR, if that changes it.
if(NOT ISTHMUS_REVISION)
  execute_process(
    COMMAND git -C ${SOURCE_DIR} describe --always --dirty --abbrev=12
    OUTPUT_VARIABLE ISTHMUS_REVISION OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    set(ISTHMUS_REVISION unknown)
  endif()
endif()
configure_file(${INPUT} ${OUTPUT} @ONLY)
