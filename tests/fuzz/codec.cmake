isthmus_fuzz(codec_fuzz SRCS ${CMAKE_CURRENT_LIST_DIR}/codec_fuzz.cc DEPS compression)
isthmus_fuzz(codec_spec_fuzz SRCS ${CMAKE_CURRENT_LIST_DIR}/codec_spec_fuzz.cc DEPS compression)
