// Predicts for one image with an exported ncnn model, and prints JSON lines:
//     mnv2_ncnn FOLDER IMAGE [SCORE | MASK.png]
// Detection: boxes with SCORE or more (default: shown_score_thr of model.json).
// Segmentation: the share of each class; MASK.png has the class of each pixel.
// Classification: the five best classes.
#include <cstdio>
#include <numeric>

#include "model.hpp"

static void run(const std::string& folder, const std::string& path, const char* option) {
  const mnv2::Model model(folder);
  const cv::Mat image = cv::imread(path, cv::IMREAD_COLOR);
  if (image.empty()) throw std::runtime_error(path + " cannot be read as an image");
  const mnv2::Result result = model.predict(image);
  const auto print = [&](int label, mnv2::json line) {
    line["label"] = label;
    line["class"] = model.info.at("classes").at(label);
    std::puts(line.dump().c_str());
  };
  if (model.info["task"] == "det") {
    const auto& limits = model.info.at("thresholds");
    const double least = option ? std::stod(option) : double(limits.at("shown_score_thr"));
    for (const auto& box : result.boxes)
      if (box.score >= least)
        print(box.label, {{"score", box.score}, {"box", {box.x0, box.y0, box.x1, box.y1}}});
  } else if (model.info["task"] == "seg") {
    std::map<int, double> shares;
    for (size_t i = 0; i < result.mask.total(); i++)
      shares[result.mask.data[i]] += 1.0 / result.mask.total();
    for (auto [label, share] : shares) print(label, {{"share", share}});
    if (option && !cv::imwrite(option, result.mask))
      throw std::runtime_error(std::string(option) + " cannot be written");
  } else {
    const auto& values = result.probabilities;
    std::vector<int> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return values[a] > values[b]; });
    order.resize(std::min<size_t>(5, order.size()));
    for (int label : order) print(label, {{"probability", values[label]}});
  }
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s FOLDER IMAGE [SCORE | MASK.png]\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], argv[2], argc > 3 ? argv[3] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
