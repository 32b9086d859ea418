// The Kotlin class Detector in C++: its native functions call mnv2::Model.
#include <jni.h>

#include <memory>

#include "model.hpp"

// Each call holds the model that it uses: an activity that Android recreates, as on a
// rotation, loads while the worker of the old one still detects.
static std::shared_ptr<const mnv2::Model> current;

// Runs a function; an exception of C++ becomes one of Kotlin.
template <typename Function>
static void guarded(JNIEnv* env, Function function) {
  try {
    function();
  } catch (const std::exception& error) {
    env->ThrowNew(env->FindClass("java/lang/IllegalStateException"), error.what());
  }
}

extern "C" JNIEXPORT void JNICALL
Java_org_mnv2mm_Detector_load(JNIEnv* env, jobject, jstring folder) {
  const char* path = env->GetStringUTFChars(folder, nullptr);
  guarded(env, [&] {
    const auto model = std::make_shared<const mnv2::Model>(path);
    if (model->info["task"] != "det") throw std::runtime_error("this app draws boxes only");
    std::atomic_store(&current, model);
  });
  env->ReleaseStringUTFChars(folder, path);
}

extern "C" JNIEXPORT jstring JNICALL
Java_org_mnv2mm_Detector_className(JNIEnv* env, jobject, jint label) {
  std::string name;
  guarded(env, [&] { name = std::atomic_load(&current)->info.at("classes").at(label); });
  return env->ExceptionCheck() ? nullptr : env->NewStringUTF(name.c_str());
}

// pixels: ARGB of Bitmap.getPixels. Returns label, score, x0, y0, x1, y1 of each box.
extern "C" JNIEXPORT jfloatArray JNICALL
Java_org_mnv2mm_Detector_detect(JNIEnv* env, jobject, jintArray pixels, jint width, jint height) {
  std::vector<float> rows;
  guarded(env, [&] {
    cv::Mat image(height, width, CV_8UC3);
    std::vector<jint> argb(size_t(width) * height);
    env->GetIntArrayRegion(pixels, 0, jsize(argb.size()), argb.data());
    for (size_t i = 0; i < argb.size(); i++)
      for (int c = 0; c < 3; c++) image.data[3 * i + c] = (unsigned char)(argb[i] >> (8 * c));
    const auto model = std::atomic_load(&current);
    const double least = model->info.at("thresholds").at("shown_score_thr");
    for (const auto& box : model->predict(image).boxes)
      if (box.score >= least)
        rows.insert(rows.end(),
                    {float(box.label), box.score, box.x0, box.y0, box.x1, box.y1});
  });
  if (env->ExceptionCheck()) return nullptr;
  jfloatArray result = env->NewFloatArray(jsize(rows.size()));
  env->SetFloatArrayRegion(result, 0, jsize(rows.size()), rows.data());
  return result;
}
