# What cannot work is refused here, not by a wrong number later. The formats on wire and disk are little-endian and mapped as they are;
# weights and stores are addressed in 64 bits.
if(NOT CMAKE_SIZEOF_VOID_P EQUAL 8)
  math(EXPR isthmus_pointer_bits "8 * ${CMAKE_SIZEOF_VOID_P}")
  message(FATAL_ERROR "isthmus: platform: expected 64-bit pointers, got ${isthmus_pointer_bits}-bit ones: weights and stores of more than 4 GB are mapped into memory")
endif()
if(NOT CMAKE_CXX_BYTE_ORDER STREQUAL "LITTLE_ENDIAN")
  message(FATAL_ERROR "isthmus: platform: expected a little-endian processor, got ${CMAKE_CXX_BYTE_ORDER}: frames, weights and checkpoints are read in place")
endif()
