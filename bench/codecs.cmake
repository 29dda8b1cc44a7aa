# ./dev bench codecs: the codecs beside each other. What computes losses needs an engine.
if(TARGET isthmus)
  isthmus_binary(isthmus_posthoc_bench
    SRCS ${CMAKE_CURRENT_LIST_DIR}/posthoc_bench.cc ${CMAKE_CURRENT_LIST_DIR}/posthoc_texts.cc ${CMAKE_CURRENT_LIST_DIR}/codec_families.cc
         ${CMAKE_CURRENT_LIST_DIR}/result_file.cc
    DEPS client_compute engine_torch pipeline model base nlohmann_json::nlohmann_json)
  isthmus_binary(isthmus_training_bench
    SRCS ${CMAKE_CURRENT_LIST_DIR}/training_bench.cc ${CMAKE_CURRENT_LIST_DIR}/training_cells.cc ${CMAKE_CURRENT_LIST_DIR}/training_families.cc
         ${CMAKE_CURRENT_LIST_DIR}/training_outcome.cc ${CMAKE_CURRENT_LIST_DIR}/training_ring.cc ${CMAKE_CURRENT_LIST_DIR}/training_time.cc
         ${CMAKE_CURRENT_LIST_DIR}/posthoc_texts.cc ${CMAKE_CURRENT_LIST_DIR}/result_file.cc
         ${CMAKE_CURRENT_LIST_DIR}/process.cc
    DEPS client engine_torch pipeline link model base nlohmann_json::nlohmann_json)
endif()
isthmus_binary(isthmus_codecs_bench
  SRCS ${CMAKE_CURRENT_LIST_DIR}/codecs_bench.cc ${CMAKE_CURRENT_LIST_DIR}/codec_rd.cc ${CMAKE_CURRENT_LIST_DIR}/codec_tables.cc
       ${CMAKE_CURRENT_LIST_DIR}/codec_families.cc ${CMAKE_CURRENT_LIST_DIR}/training_families.cc
       ${CMAKE_CURRENT_LIST_DIR}/training_outcome.cc ${CMAKE_CURRENT_LIST_DIR}/training_tables.cc ${CMAKE_CURRENT_LIST_DIR}/svg_plot.cc ${CMAKE_CURRENT_LIST_DIR}/result_file.cc
       ${CMAKE_CURRENT_LIST_DIR}/posthoc_texts.cc ${CMAKE_CURRENT_LIST_DIR}/machine.cc ${CMAKE_CURRENT_LIST_DIR}/process.cc
       ${CMAKE_CURRENT_LIST_DIR}/table.cc
  DEPS compression base version absl::strings absl::str_format absl::time nlohmann_json::nlohmann_json)
