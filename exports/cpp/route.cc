// Route prompts with the one-file router, router.text.onnx: onnxruntime and nothing else.
//
//   route router.text.onnx "What is 17 * 23?" "Write a haiku."
//   route router.text.onnx < prompts.json     # a JSON list of texts
//   route --point economy router.text.onnx "What is 17 * 23?"
//
// Prints a JSON list: for each prompt the expert, every expert's probability, the reward and
// cost to expect of the chosen one where the router knows them, and the milliseconds from text
// to decision.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// Reads a JSON list of strings, which is what prompts and the names of the experts come as.
class TextList {
 public:
  static std::vector<std::string> Parse(const std::string& json) {
    TextList list(json);
    std::vector<std::string> texts;
    list.Expect('[');
    if (list.Peek() != ']') {
      texts.push_back(list.Text());
      while (list.Peek() == ',') {
        list.Expect(',');
        texts.push_back(list.Text());
      }
    }
    list.Expect(']');
    if (list.Peek() != '\0') list.Fail();
    return texts;
  }

 private:
  explicit TextList(const std::string& json) : json_(json) {}

  [[noreturn]] void Fail() const {
    throw std::runtime_error("not a JSON list of texts (byte " + std::to_string(at_) + ")");
  }

  // The next character that is not white space; NUL at the end.
  char Peek() {
    while (at_ < json_.size() && std::strchr(" \t\r\n", json_[at_])) ++at_;
    return at_ < json_.size() ? json_[at_] : '\0';
  }

  void Expect(char character) {
    if (Peek() != character) Fail();
    ++at_;
  }

  char Next() {
    if (at_ >= json_.size()) Fail();
    return json_[at_++];
  }

  std::string Text() {
    Expect('"');
    std::string text;
    for (char c = Next(); c != '"'; c = Next()) {
      if (static_cast<unsigned char>(c) < 0x20) Fail();
      if (c == '\\') {
        Escape(text);
      } else {
        text += c;
      }
    }
    return text;
  }

  void Escape(std::string& text) {
    static const char kNames[] = "\"\\/bfnrt";
    static const char kValues[] = "\"\\/\b\f\n\r\t";
    const char name = Next();
    if (name == 'u') return Append(CodePoint(), text);
    const char* found = name ? std::strchr(kNames, name) : nullptr;
    if (!found) Fail();
    text += kValues[found - kNames];
  }

  uint32_t Unit() {
    uint32_t unit = 0;
    for (int i = 0; i < 4; ++i) {
      const char digit = Next();
      const char* digits = "0123456789abcdef";
      const char lower = digit >= 'A' && digit <= 'F' ? static_cast<char>(digit + 32) : digit;
      const char* found = lower ? std::strchr(digits, lower) : nullptr;
      if (!found) Fail();
      unit = unit * 16 + static_cast<uint32_t>(found - digits);
    }
    return unit;
  }

  // Two units may make one code point; half of such a pair is no text.
  uint32_t CodePoint() {
    const uint32_t unit = Unit();
    if (unit < 0xD800 || unit > 0xDFFF) return unit;
    if (unit < 0xDC00 && json_.compare(at_, 2, "\\u") == 0) {
      const size_t before = at_;
      at_ += 2;
      const uint32_t low = Unit();
      if (low >= 0xDC00 && low <= 0xDFFF) {
        return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
      }
      at_ = before;
    }
    return '?';
  }

  static void Append(uint32_t point, std::string& text) {
    const auto byte = [&text](uint32_t value) { text += static_cast<char>(value); };
    if (point < 0x80) return byte(point);
    if (point < 0x800) {
      byte(0xC0 | point >> 6);
    } else {
      if (point < 0x10000) {
        byte(0xE0 | point >> 12);
      } else {
        byte(0xF0 | point >> 18);
        byte(0x80 | (point >> 12 & 0x3F));
      }
      byte(0x80 | (point >> 6 & 0x3F));
    }
    byte(0x80 | (point & 0x3F));
  }

  const std::string& json_;
  size_t at_ = 0;
};

std::string Quoted(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      json += escape;
    } else {
      if (c == '"' || c == '\\') json += '\\';
      json += c;
    }
  }
  return json + "\"";
}

// By output, a value for each expert; older routers have only the first output.
using Predicted = std::map<std::string, std::vector<float>>;
const char* const kOutputs[] = {"probs", "rewards", "costs"};

// Text in, decision out.
class TextRouter {
 public:
  // `point` is the name of an operating point.
  TextRouter(const char* path, const std::string& point) : session_(environment_, path, Options()) {
    const std::string experts = Metadata("zooter.experts");
    if (experts.empty()) throw std::runtime_error(std::string(path) + " is not a router");
    experts_ = TextList::Parse(experts);
    const std::string named = Metadata("zooter.points");
    const auto points = TextList::Parse(named.empty() ? "[\"quality\"]" : named);
    if (std::find(points.begin(), points.end(), point) == points.end()) {
      std::string names;
      for (const auto& name : points) names += (names.empty() ? "" : ", ") + name;
      throw std::runtime_error("point " + Quoted(point) + ": expected " + names);
    }
    cost_weight_ = std::strtod(Metadata("zooter.point." + point + ".cost_weight").c_str(), nullptr);
    always_ = Metadata("zooter.point." + point + ".expert");
    for (const char* name : kOutputs) {
      if (Has(name)) outputs_.push_back(name);
    }
    const bool known = std::find(experts_.begin(), experts_.end(), always_) != experts_.end();
    if ((cost_weight_ && !Has("costs")) || (!always_.empty() && !known)) {
      throw std::runtime_error("the router lacks what its point " + Quoted(point) + " needs");
    }
  }

  const std::vector<std::string>& experts() const { return experts_; }

  Predicted Predict(const std::string& prompt) {
    Ort::AllocatorWithDefaultOptions allocator;
    const int64_t shape[] = {1};  // more prompts may share a call; the answers are the same
    Ort::Value query =
        Ort::Value::CreateTensor(allocator, shape, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
    // other ways to fill a string end at a NUL character
    std::memcpy(query.GetResizedStringTensorElementBuffer(0, prompt.size()), prompt.data(),
                prompt.size());
    const char* inputs[] = {"query"};
    const auto values = session_.Run(Ort::RunOptions{nullptr}, inputs, &query, 1, outputs_.data(),
                                     outputs_.size());
    Predicted predicted;
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].GetTensorTypeAndShapeInfo().GetElementCount() != experts_.size()) {
        throw std::runtime_error("the router names other experts than it answers for");
      }
      const float* row = values[i].GetTensorData<float>();
      predicted[outputs_[i]].assign(row, row + experts_.size());
    }
    return predicted;
  }

  // Position of the expert that the point takes; of equals the first.
  size_t Choose(const Predicted& predicted) const {
    if (!always_.empty()) {
      return std::find(experts_.begin(), experts_.end(), always_) - experts_.begin();
    }
    const std::vector<float>& probs = predicted.at("probs");
    std::vector<double> utilities(probs.begin(), probs.end());
    for (size_t i = 0; cost_weight_ && i < utilities.size(); ++i) {
      utilities[i] = predicted.at("rewards")[i] - cost_weight_ * predicted.at("costs")[i];
    }
    return std::max_element(utilities.begin(), utilities.end()) - utilities.begin();
  }

 private:
  static Ort::SessionOptions Options() {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);  // steadier than several beside other work
    return options;
  }

  // Empty where the graph does not say.
  std::string Metadata(const std::string& key) const {
    Ort::AllocatorWithDefaultOptions allocator;
    const Ort::ModelMetadata metadata = session_.GetModelMetadata();
    const auto value = metadata.LookupCustomMetadataMapAllocated(key.c_str(), allocator);
    return value ? value.get() : "";
  }

  bool Has(const std::string& output) const {
    Ort::AllocatorWithDefaultOptions allocator;
    for (size_t i = 0; i < session_.GetOutputCount(); ++i) {
      if (session_.GetOutputNameAllocated(i, allocator).get() == output) return true;
    }
    return false;
  }

  Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR, "route"};
  Ort::Session session_;
  std::vector<std::string> experts_;
  double cost_weight_ = 0;
  std::string always_;  // the one expert of the point, if it has one
  std::vector<const char*> outputs_;
};

std::string Number(const char* format, double value) {
  char number[32];
  std::snprintf(number, sizeof number, format, value);
  return number;
}

// Answer one prompt as a JSON object.
std::string Route(TextRouter& router, const std::string& prompt) {
  const auto start = std::chrono::steady_clock::now();
  const Predicted predicted = router.Predict(prompt);
  const size_t best = router.Choose(predicted);
  const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - start;
  const std::vector<std::string>& experts = router.experts();
  std::string json = " {\"expert\": " + Quoted(experts[best]) + ", \"probabilities\": {";
  for (size_t i = 0; i < experts.size(); ++i) {
    json += (i ? ", " : "") + Quoted(experts[i]) + ": " + Number("%.9g", predicted.at("probs")[i]);
  }
  json += "}";
  for (const std::string name : {"reward", "cost"}) {
    const auto values = predicted.find(name + "s");
    if (values == predicted.end()) continue;
    json += ", \"expected_" + name + "\": " + Number("%.9g", values->second[best]);
  }
  return json + ", \"ms\": " + Number("%.3f", ms.count()) + "}";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<std::string> arguments(argv + 1, argv + argc);
    std::string point = "quality";
    if (arguments.size() > 1 && arguments[0] == "--point") {
      point = arguments[1];
      arguments.erase(arguments.begin(), arguments.begin() + 2);
    }
    if (arguments.empty()) {
      throw std::runtime_error("usage: route [--point NAME] router.text.onnx [PROMPT ...]");
    }
    std::vector<std::string> prompts(arguments.begin() + 1, arguments.end());
    if (prompts.empty()) {
      prompts = TextList::Parse({std::istreambuf_iterator<char>(std::cin), {}});
    }
    TextRouter router(arguments[0].c_str(), point);
    std::cout << "[";
    for (size_t i = 0; i < prompts.size(); ++i) {
      std::cout << (i ? ",\n" : "\n") << Route(router, prompts[i]);
    }
    std::cout << "\n]\n";
  } catch (const std::exception& error) {
    std::cerr << "route: " << error.what() << "\n";
    return 2;
  }
}
