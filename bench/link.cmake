find_package(gRPC CONFIG REQUIRED)
isthmus_binary(isthmus_link_bench SRCS ${CMAKE_CURRENT_LIST_DIR}/link_bench.cc DEPS link proto base gRPC::grpc++ absl::strings)
