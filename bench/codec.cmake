isthmus_binary(isthmus_codec_bench SRCS ${CMAKE_CURRENT_LIST_DIR}/codec_bench.cc
               DEPS compression base absl::status absl::statusor absl::strings absl::span)
