// Predicts for one image with an exported ncnn model, and prints JSON lines:
//     mnv2_ncnn FOLDER IMAGE [SCORE | MASK.png]
// Detection: boxes with SCORE or more (default: shown_score_thr of model.json).
// Segmentation: the share of each class; MASK.png has the class of each pixel.
// Classification: the five best classes.
#include <cstdio>
#include <map>
#include <numeric>

#include "model.hpp"

int main(int argc, char** argv) try {
  if (argc < 3) throw std::runtime_error("give FOLDER IMAGE [SCORE | MASK.png]");
  const char* option = argc > 3 ? argv[3] : nullptr;
  const mnv2::Model model(argv[1]);
  const bool boxes = model.info["task"] == "det";
  double least = boxes ? double(model.info.at("thresholds").at("shown_score_thr")) : 0;
  char rest;
  if (boxes && option && std::sscanf(option, "%lf%c", &least, &rest) != 1)
    throw std::runtime_error(std::string("the score ") + option + " is no number; give 0 to 1");
  const cv::Mat image = cv::imread(argv[2], cv::IMREAD_COLOR);
  if (image.empty()) throw std::runtime_error(std::string(argv[2]) + " cannot be read as an image");
  const mnv2::Result result = model.predict(image);
  const auto print = [&](int label, mnv2::json line) {
    line["label"] = label;
    line["class"] = model.info.at("classes").at(label);
    std::puts(line.dump().c_str());
  };
  for (const auto& [label, score, x0, y0, x1, y1] : result.boxes)
    if (score >= least) print(label, {{"score", score}, {"box", {x0, y0, x1, y1}}});

  std::map<int, double> shares;
  for (size_t i = 0; i < result.mask.total(); i++)
    shares[result.mask.data[i]] += 1.0 / result.mask.total();
  for (auto [label, share] : shares) print(label, {{"share", share}});
  if (option && shares.size() && !cv::imwrite(option, result.mask))
    throw std::runtime_error(std::string(option) + " cannot be written");

  const std::vector<float>& values = result.probabilities;
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return values[a] > values[b]; });
  order.resize(std::min<size_t>(5, order.size()));
  for (int label : order) print(label, {{"probability", values[label]}});
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 2;
}
