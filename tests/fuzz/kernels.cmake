isthmus_fuzz(packed_model_fuzz SRCS ${CMAKE_CURRENT_LIST_DIR}/packed_model_fuzz.cc DEPS engine_edge kernels)
