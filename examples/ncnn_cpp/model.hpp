// Runs an exported ncnn model by its model.json. docs/model_schema.json of mnv2_mm
// explains every key. Images are blue, green, red, as OpenCV and simpleocv read them.
#pragma once
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "net.h"
#include "simpleocv.h"

namespace mnv2 {
using json = nlohmann::json;

struct Box { int label; float score, x0, y0, x1, y1; };  // pixels of the image
struct Result {
  std::vector<Box> boxes;            // det, best first
  cv::Mat mask;                      // seg, the class of each pixel
  std::vector<float> probabilities;  // cls
};

// Bilinear, bit by bit as OpenCV 4.12. ncnn's own resize rounds otherwise: up to 3 values
// in 1000 differ by 1, and boxes then by more than 1e-3 pixels.
inline cv::Mat resize(const cv::Mat& image, int width, int height) {
  struct Tap { int low, high, low_weight, high_weight; };
  const auto taps = [](int from, int to, bool columns) {
    std::vector<Tap> result;
    for (int i = 0; i < to; i++) {
      const float place = float((i + 0.5) * (double(from) / to) - 0.5);
      const int low = int(std::floor(place)), last = from - 1;
      const bool outside = columns && (low < 0 || low >= last);  // not so for rows
      const float part = outside ? 0 : place - low;
      result.push_back({std::min(std::max(low, 0), last), std::min(low + 1, last),
                        int(std::lrint((1 - part) * 2048)), int(std::lrint(part * 2048))});
    }
    return result;
  };
  const auto columns = taps(image.cols, width, true), rows = taps(image.rows, height, false);
  cv::Mat result(height, width, CV_8UC3);
  unsigned char* pixel = result.data;
  for (const Tap& y : rows) {
    const unsigned char *low = image.ptr(y.low), *high = image.ptr(y.high);
    for (const Tap& x : columns)
      for (int c = 0; c < 3; c++) {
        const auto mix = [&](const unsigned char* row, int weight) {
          const int sum = row[x.low * 3 + c] * x.low_weight + row[x.high * 3 + c] * x.high_weight;
          return ((sum >> 4) * weight) >> 16;
        };
        *pixel++ = (unsigned char)((mix(low, y.low_weight) + mix(high, y.high_weight) + 2) >> 2);
      }
  }
  return result;
}

// One of preprocessing.steps.
inline cv::Mat prepare(const cv::Mat& image, const json& step) {
  const std::string what = step.at("do");
  const double w = image.cols, h = image.rows, least = std::min(w, h);
  if (what == "crop_share") {
    const int left = int((w - w * double(step["share"])) / 2);
    const int top = int((h - h * double(step["share"])) / 2);
    return image(cv::Rect(left, top, image.cols - 2 * left, image.rows - 2 * top));
  }
  if (what == "crop_middle") {
    const int left = std::max(0, int(std::lrint((w - int(step["size"][0])) / 2)));
    const int top = std::max(0, int(std::lrint((h - int(step["size"][1])) / 2)));
    return image(cv::Rect(left, top, std::min(int(step["size"][0]), image.cols - left),
                          std::min(int(step["size"][1]), image.rows - top)));
  }
  const bool known = what == "resize" || what == "resize_short";
  if (!known || step.at("interpolation") != "bilinear")
    throw std::runtime_error("this example does not know the step " + step.dump());
  if (what == "resize_short") {
    const double side = step["side"];
    return resize(image, int(side * w / least), int(side * h / least));
  }
  const int width = step["size"][0], height = step["size"][1];
  if (!step["keep_ratio"]) return resize(image, width, height);
  const double scale = std::min(std::max(width, height) / std::max(w, h),
                                std::min(width, height) / least);
  return resize(image, int(w * scale + 0.5), int(h * scale + 0.5));
}

// Linear interpolation of one axis, from logits to the network input and from the part of
// that without padding to the image: indices and weights for each pixel of the image.
using Weights = std::vector<std::map<int, float>>;
inline Weights interpolation(int from, int to, bool corners) {
  Weights result(to);
  for (int i = 0; i < to; i++) {
    const float place = corners ? i * (float(from - 1) / std::max(to - 1, 1))
                                : std::max(0.f, (i + 0.5f) * (float(from) / to) - 0.5f);
    const int low = std::min(int(place), from - 1);
    result[i][low] += 1 - (place - low);
    result[i][std::min(low + 1, from - 1)] += place - low;
  }
  return result;
}
inline Weights interpolation(int logits, int input, int inside, int image, bool corners) {
  const Weights first = interpolation(logits, input, corners);
  const Weights last = interpolation(inside, image, corners);
  Weights result(image);
  for (int i = 0; i < image; i++)
    for (auto [middle, weight] : last[i])
      for (auto [index, part] : first[middle]) result[i][index] += weight * part;
  return result;
}

class Model {
 public:
  json info;  // content of model.json

  explicit Model(const std::string& folder) {
    std::ifstream file(folder + "/model.json");
    if (!file) throw std::runtime_error(folder + " has no model.json");
    info = json::parse(file, nullptr, false);  // no exception: it would not name the file
    if (!info.is_object() || info.value("format", json()) != 2 || info.at("backend") != "ncnn")
      throw std::runtime_error(folder + "/model.json is not of format 2, or not for ncnn");
    const std::map<std::string, bool ncnn::Option::*> known = {
        {"use_fp16_packed", &ncnn::Option::use_fp16_packed},
        {"use_fp16_storage", &ncnn::Option::use_fp16_storage},
        {"use_fp16_arithmetic", &ncnn::Option::use_fp16_arithmetic},
        {"use_bf16_storage", &ncnn::Option::use_bf16_storage},
        {"use_vulkan_compute", &ncnn::Option::use_vulkan_compute}};
    for (const auto& [name, value] : info.at("options").items()) net.opt.*known.at(name) = value;
    for (const auto& part : info.at("files")) {
      const std::filesystem::path path = folder + "/" + std::string(part.at("name"));
      std::error_code missing;
      if (std::filesystem::file_size(path, missing) != part.at("bytes"))
        throw std::runtime_error(path.string() + " is not the file that was exported");
      const bool layers = path.extension() == ".param";
      if (layers ? net.load_param(path.c_str()) : net.load_model(path.c_str()))
        throw std::runtime_error("ncnn does not accept " + path.string());
    }
  }

  Result predict(const cv::Mat& image) const {
    cv::Mat inside = image;
    for (const auto& step : info.at("preprocessing").at("steps")) inside = prepare(inside, step);
    const ncnn::Mat input = normalized(inside);
    const json& output = info.at("outputs")[0];
    ncnn::Extractor extractor = net.create_extractor();
    ncnn::Mat found;
    extractor.input(std::string(info.at("input").at("name")).c_str(), input);
    extractor.extract(std::string(output.at("name")).c_str(), found);
    if (info["task"] == "cls") {
      const float* values = found;
      return {{}, {}, std::vector<float>(values, values + found.w)};
    }
    if (info["task"] == "seg") return {{}, mask(found, input, inside, image), {}};
    if (output.at("columns") != json{"label", "score", "x0", "y0", "x1", "y1"} ||
        output.at("box_unit") != "input_fraction")
      throw std::runtime_error("model.json states another layout of boxes");
    const float x = input.w * (float(image.cols) / inside.cols);
    const float y = input.h * (float(image.rows) / inside.rows);
    Result result;
    for (int i = 0; i < found.h; i++) {  // no row where nothing is found
      const float* row = found.row(i);
      const int label = int(row[0]) - int(output.at("first_label"));
      result.boxes.push_back({label, row[1], row[2] * x, row[3] * y, row[4] * x, row[5] * y});
    }
    return result;
  }

 private:
  ncnn::Net net;

  ncnn::Mat normalized(const cv::Mat& image) const {
    const json& spec = info.at("preprocessing");
    const int multiple = spec.at("pad_multiple");
    const auto padded = [&](int side, int axis) {
      const int least = spec.at("pad_to").is_null() ? 0 : int(spec["pad_to"][axis]);
      return (std::max(side, least) + multiple - 1) / multiple * multiple;
    };
    ncnn::Mat input(padded(image.cols, 0), padded(image.rows, 1), 3);
    input.fill(float(spec.at("pad_value")));
    for (int c = 0; c < 3; c++) {
      const float mean = spec.at("mean")[c], std = spec.at("std")[c];
      const unsigned char* pixel = image.data + (spec.at("color_order") == "RGB" ? 2 - c : c);
      for (int y = 0; y < image.rows; y++)
        for (int x = 0; x < image.cols; x++, pixel += 3)
          input.channel(c).row(y)[x] = (*pixel - mean) / std;
    }
    return input;
  }

  cv::Mat mask(const ncnn::Mat& found, const ncnn::Mat& input, const cv::Mat& inside,
               const cv::Mat& image) const {
    if (info.at("ending").at("argmax") || info["ending"].at("resize"))
      throw std::runtime_error("this example takes logits; export without with_resize");
    const bool corners = info["ending"].at("align_corners");
    const Weights rows = interpolation(found.h, input.h, inside.rows, image.rows, corners);
    const Weights columns = interpolation(found.w, input.w, inside.cols, image.cols, corners);
    cv::Mat result(image.rows, image.cols, CV_8UC1);
    for (int y = 0; y < image.rows; y++) {
      std::vector<float> best(image.cols, -INFINITY);
      for (int c = 0; c < found.c; c++) {
        std::vector<float> line(found.w);
        for (auto [row, weight] : rows[y])
          for (int x = 0; x < found.w; x++) line[x] += weight * found.channel(c).row(row)[x];
        for (int x = 0; x < image.cols; x++) {
          float value = 0;
          for (auto [column, weight] : columns[x]) value += weight * line[column];
          if (value > best[x]) best[x] = value, result.ptr(y)[x] = (unsigned char)c;
        }
      }
    }
    return result;
  }
};
}  // namespace mnv2
