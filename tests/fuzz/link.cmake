isthmus_fuzz(frame_fuzz SRCS ${CMAKE_CURRENT_LIST_DIR}/frame_fuzz.cc DEPS link base)
isthmus_fuzz(handshake_fuzz SRCS ${CMAKE_CURRENT_LIST_DIR}/handshake_fuzz.cc DEPS link proto base)
