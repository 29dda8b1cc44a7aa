# oneDNN stands beside our kernels where it is installed (libdnnl-dev); nothing else uses it.
find_package(dnnl CONFIG QUIET)
find_package(OpenMP QUIET)
set(onednn_sources ${CMAKE_CURRENT_LIST_DIR}/onednn_absent.cc)
set(onednn_library)
if(dnnl_FOUND AND OpenMP_CXX_FOUND)
  set(onednn_sources ${CMAKE_CURRENT_LIST_DIR}/onednn.cc)
  set(onednn_library DNNL::dnnl OpenMP::OpenMP_CXX)
endif()
isthmus_binary(isthmus_kernels_bench SRCS ${CMAKE_CURRENT_LIST_DIR}/kernels_bench.cc ${onednn_sources}
               DEPS kernels_measure base absl::strings ${onednn_library})
