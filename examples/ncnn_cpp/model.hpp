// Runs an exported ncnn model by its model.json. docs/model_schema.json of mnv2_mm
// explains every key. Images are blue, green, red, as OpenCV and simpleocv read them.
#pragma once
#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "layer.h"
#include "net.h"
#include "simpleocv.h"

namespace mnv2 {
using nlohmann::json;

struct Box { int label; float score, x0, y0, x1, y1; };  // pixels of the image
struct Result {
  std::vector<Box> boxes;            // det, best first
  cv::Mat mask;                      // seg, the class of each pixel
  std::vector<float> probabilities;  // cls
};

class Model {
 public:
  json info;  // content of model.json

  explicit Model(const std::string& folder) {
    std::ifstream file(folder + "/model.json");
    info = json::parse(file, nullptr, false);  // no exception: it would not name the file
    if (!info.is_object() || info.value("format", json()) != 2 || info.at("backend") != "ncnn")
      throw std::runtime_error(folder + " has no model.json of format 2 for ncnn");
    const json& options = info.at("options");
    net.opt.use_fp16_packed = options.at("use_fp16_packed");
    net.opt.use_fp16_storage = options.at("use_fp16_storage");
    net.opt.use_fp16_arithmetic = options.at("use_fp16_arithmetic");
    net.opt.use_bf16_storage = options.at("use_bf16_storage");
    for (size_t i = 0; i < 2; i++) {  // .param, then .bin
      const json& part = info.at("files").at(i);
      const std::string path = folder + "/" + std::string(part.at("name"));
      if (std::ifstream(path, std::ios::ate).tellg() != long(part.at("bytes")) ||
          (i ? net.load_model(path.c_str()) : net.load_param(path.c_str())))
        throw std::runtime_error(path + " is not the file that was exported");
    }
  }

  Result predict(const cv::Mat& image) const {
    cv::Mat inside = image;  // the part of the network input without padding
    for (const json& step : info.at("preprocessing").at("steps")) inside = prepared(inside, step);
    const ncnn::Mat input = normalized(inside);
    const json& shape = info.at("input").at("shape");
    const auto differs = [&](int axis, int side) {
      return !shape.at(axis).is_null() && side != int(shape[axis]);
    };
    if (differs(2, input.h) || differs(3, input.w))  // ncnn would compute something wrong
      throw std::runtime_error("the image becomes an input of " + std::to_string(input.w) + "x" +
                               std::to_string(input.h) + ", and the model takes " +
                               shape[3].dump() + "x" + shape[2].dump() +
                               "; export it with a test pipeline that resizes to this size");
    const json& output = info.at("outputs")[0];
    ncnn::Extractor extractor = net.create_extractor();
    ncnn::Mat found;
    if (extractor.input(std::string(info.at("input").at("name")).c_str(), input) ||
        extractor.extract(std::string(output.at("name")).c_str(), found))
      throw std::runtime_error("ncnn cannot run the network; export the model again");
    Result result;
    if (info["task"] == "cls") {
      result.probabilities.assign((const float*)found, (const float*)found + found.w);
    } else if (info["task"] == "seg") {
      result.mask = mask(found, input, inside, image);
    } else {  // one row a box: label, score, x0, y0, x1, y1 from 0 to 1
      const float x = input.w * (float(image.cols) / inside.cols);
      const float y = input.h * (float(image.rows) / inside.rows);
      for (int i = 0; i < found.h; i++) {  // no row where nothing is found
        const float* row = found.row(i);
        const int label = int(row[0]) - int(output.at("first_label"));
        result.boxes.push_back({label, row[1], row[2] * x, row[3] * y, row[4] * x, row[5] * y});
      }
    }
    return result;
  }

 private:
  ncnn::Net net;

  static cv::Mat prepared(const cv::Mat& image, const json& step) {
    const std::string what = step.at("do");
    const double w = image.cols, h = image.rows, least = std::min(w, h);
    double width, height;
    if (what == "crop_share") {
      width = w - 2 * int((w - w * double(step.at("share"))) / 2);
      height = h - 2 * int((h - h * double(step.at("share"))) / 2);
    } else if (what == "crop_square") {
      width = height = std::max(1.0, least * double(step.at("share")));
    } else if (what == "resize_short") {
      width = double(step.at("side")) * w / least;
      height = double(step.at("side")) * h / least;
    } else {
      width = step.at("size")[0], height = step.at("size")[1];
      if (step.value("keep_ratio", false)) {
        const double scale = std::min(std::max(width, height) / std::max(w, h),
                                      std::min(width, height) / least);
        width = w * scale + 0.5, height = h * scale + 0.5;
      }
    }
    if (what.rfind("crop", 0) == 0) {
      const int left = std::max(0, int(std::lrint((w - width) / 2)));
      const int top = std::max(0, int(std::lrint((h - height) / 2)));
      return image(cv::Rect(left, top, std::min(int(width), image.cols - left),
                            std::min(int(height), image.rows - top)));
    }
    if (what.rfind("resize", 0) || step.at("interpolation") != "bilinear")
      throw std::runtime_error("this example does not know the step " + step.dump());
    if (width < 1 || height < 1) throw std::runtime_error("the image is too narrow; crop it");
    return resize(image, int(width), int(height));
  }

  struct Tap { int first, second, before, after; };  // two old pixels and their weights, 11 bits

  static std::vector<Tap> taps(int from, int to, bool clamped) {
    std::vector<Tap> result;
    for (int i = 0; i < to; i++) {
      const float place = float((i + 0.5) * (double(from) / to) - 0.5);
      const int low = int(std::floor(place));
      const float part = clamped && (low < 0 || low >= from - 1) ? 0 : place - low;
      result.push_back({std::max(low, 0), std::min(low + 1, from - 1),
                        int(std::lrint((1 - part) * 2048)), int(std::lrint(part * 2048))});
    }
    return result;
  }

  // Bilinear, bit by bit as OpenCV; ncnn::resize_bilinear_c3 rounds half weights otherwise.
  static cv::Mat resize(const cv::Mat& image, int width, int height) {
    cv::Mat result(height, width, CV_8UC3);
    const std::vector<Tap> columns = taps(image.cols, width, true);
    unsigned char* pixel = result.data;
    for (const Tap& y : taps(image.rows, height, false)) {
      const unsigned char* top = image.data + size_t(3) * image.cols * y.first;
      const unsigned char* bottom = image.data + size_t(3) * image.cols * y.second;
      for (const Tap& x : columns) {
        for (int c = 0; c < 3; c++) {
          const auto mix = [&](const unsigned char* row) {
            return (row[3 * x.first + c] * x.before + row[3 * x.second + c] * x.after) >> 4;
          };
          const int above = (mix(top) * y.before) >> 16, below = (mix(bottom) * y.after) >> 16;
          *pixel++ = (unsigned char)((above + below + 2) >> 2);
        }
      }
    }
    return result;
  }

  ncnn::Mat normalized(const cv::Mat& image) const {
    const json& spec = info.at("preprocessing");
    const int multiple = spec.at("pad_multiple");
    const auto padding = [&](int side, int axis) {
      const int least = spec.at("pad_to").is_null() ? 0 : int(spec["pad_to"][axis]);
      return (std::max(side, least) + multiple - 1) / multiple * multiple - side;
    };
    const bool rgb = spec.at("color_order") == "RGB";
    const int order = rgb ? ncnn::Mat::PIXEL_BGR2RGB : ncnn::Mat::PIXEL_BGR;
    ncnn::Mat input, pixels = ncnn::Mat::from_pixels(image.data, order, image.cols, image.rows);
    for (int c = 0; c < 3; c++) {
      const float mean = spec.at("mean")[c], std = spec.at("std")[c];
      float* pixel = pixels.channel(c);
      for (int i = 0; i < pixels.w * pixels.h; i++) pixel[i] = (pixel[i] - mean) / std;
    }
    ncnn::copy_make_border(pixels, input, 0, padding(image.rows, 1), 0, padding(image.cols, 0),
                           ncnn::BORDER_CONSTANT, spec.at("pad_value"));
    return input;
  }

  cv::Mat mask(const ncnn::Mat& logits, const ncnn::Mat& input, const cv::Mat& inside,
               const cv::Mat& image) const {
    if (info.at("ending").at("argmax") || info["ending"].at("resize"))
      throw std::runtime_error("this example takes logits; export without with_resize");
    if (logits.c > 256) throw std::runtime_error("this example takes up to 256 classes");
    const auto resized = [&](const ncnn::Mat& from, int width, int height) {
      ncnn::ParamDict how;
      how.set(0, 2), how.set(3, height), how.set(4, width);  // bilinear
      how.set(6, int(bool(info["ending"].at("align_corners"))));
      std::unique_ptr<ncnn::Layer> layer(ncnn::create_layer("Interp"));
      ncnn::Mat to;
      layer->load_param(how), layer->create_pipeline(net.opt), layer->forward(from, to, net.opt);
      return to;
    };
    cv::Mat result(image.rows, image.cols, CV_8UC1);
    std::vector<float> best(result.total(), -INFINITY);
    for (int c = 0; c < logits.c; c++) {
      ncnn::Mat map = resized(logits.channel_range(c, 1), input.w, input.h), cut;
      ncnn::copy_cut_border(map, cut, 0, input.h - inside.rows, 0, input.w - inside.cols);
      map = resized(cut, image.cols, image.rows);
      for (size_t i = 0; i < best.size(); i++)
        if (map[i] > best[i]) best[i] = map[i], result.data[i] = (unsigned char)c;
    }
    return result;
  }
};
}  // namespace mnv2
