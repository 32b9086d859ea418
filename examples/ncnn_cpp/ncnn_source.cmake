# ncnn from its source in NCNN_DIR, with the layers that mnv2_mm writes and those that
# ncnn adds itself: minutes instead of a quarter of an hour, and a small library.
set(used
  binaryop cast clip concat convolution convolutiondepthwise crop dequantize
  detectionoutput flatten gemm innerproduct input interp memorydata noop packing padding
  permute pooling quantize reduction relu requantize reshape sigmoid softmax split
  unaryop)
file(STRINGS "${NCNN_DIR}/src/CMakeLists.txt" lines REGEX "^ncnn_add_layer\\(")
foreach(line IN LISTS lines)
  string(REGEX REPLACE "^ncnn_add_layer\\(([A-Za-z0-9_]+).*" "\\1" layer "${line}")
  string(TOLOWER "${layer}" layer)
  if(layer IN_LIST used)
    set(WITH_LAYER_${layer} ON CACHE BOOL "" FORCE)
  else()
    set(WITH_LAYER_${layer} OFF CACHE BOOL "" FORCE)
  endif()
endforeach()

set(NCNN_SIMPLEOCV ON CACHE BOOL "" FORCE)
# model.hpp raises exceptions; on Android ncnn switches them off for all that link it
foreach(option NCNN_VULKAN NCNN_BUILD_TOOLS NCNN_BUILD_EXAMPLES NCNN_BUILD_BENCHMARK
    NCNN_BUILD_TESTS NCNN_PYTHON NCNN_INSTALL_SDK NCNN_C_API NCNN_BF16
    NCNN_WEIGHT_QUANT NCNN_DISABLE_RTTI NCNN_DISABLE_EXCEPTION)
  set(${option} OFF CACHE BOOL "" FORCE)
endforeach()
add_subdirectory("${NCNN_DIR}" ncnn EXCLUDE_FROM_ALL)
