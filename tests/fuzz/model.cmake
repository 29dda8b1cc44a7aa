isthmus_fuzz(safetensors_fuzz SRCS ${CMAKE_CURRENT_LIST_DIR}/safetensors_fuzz.cc DEPS model)
isthmus_fuzz(npy_fuzz SRCS ${CMAKE_CURRENT_LIST_DIR}/npy_fuzz.cc DEPS model)
isthmus_fuzz(config_fuzz SRCS ${CMAKE_CURRENT_LIST_DIR}/config_fuzz.cc DEPS model)
