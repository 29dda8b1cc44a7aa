# One step of a client's part on either engine, a program each: memory counts what a process loads.
isthmus_binary(isthmus_step_edge SRCS ${CMAKE_CURRENT_LIST_DIR}/edge_step.cc ${CMAKE_CURRENT_LIST_DIR}/edge_step_edge.cc
               DEPS engine_edge engine model base nlohmann_json::nlohmann_json)
if(ISTHMUS_TORCH)
  isthmus_binary(isthmus_step_torch SRCS ${CMAKE_CURRENT_LIST_DIR}/edge_step.cc ${CMAKE_CURRENT_LIST_DIR}/edge_step_torch.cc
                 DEPS engine_torch engine model base nlohmann_json::nlohmann_json)
endif()
