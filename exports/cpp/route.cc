// Route prompts with the one-file router, router.text.onnx: onnxruntime and nothing else.
//
//   route router.text.onnx "What is 17 * 23?" "Write a haiku."
//   route router.text.onnx < prompts.json     # a JSON list of texts
//
// Prints a JSON list: for each prompt the expert, every expert's probability, and the
// milliseconds from text to decision.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
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

// Text in, probabilities out.
class TextRouter {
 public:
  explicit TextRouter(const char* path) : session_(environment_, path, Options()) {
    Ort::AllocatorWithDefaultOptions allocator;
    const Ort::ModelMetadata metadata = session_.GetModelMetadata();
    const auto names = metadata.LookupCustomMetadataMapAllocated("zooter.experts", allocator);
    if (!names) throw std::runtime_error(std::string(path) + " is not a router");
    experts_ = TextList::Parse(names.get());
  }

  const std::vector<std::string>& experts() const { return experts_; }

  // One probability for each expert.
  std::vector<float> Probabilities(const std::string& prompt) {
    Ort::AllocatorWithDefaultOptions allocator;
    const int64_t shape[] = {1};  // more prompts may share a call; the answers are the same
    Ort::Value query =
        Ort::Value::CreateTensor(allocator, shape, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
    // other ways to fill a string end at a NUL character
    std::memcpy(query.GetResizedStringTensorElementBuffer(0, prompt.size()), prompt.data(),
                prompt.size());
    const char* inputs[] = {"query"};
    const char* outputs[] = {"probs"};
    const auto found = session_.Run(Ort::RunOptions{nullptr}, inputs, &query, 1, outputs, 1);
    if (found[0].GetTensorTypeAndShapeInfo().GetElementCount() != experts_.size()) {
      throw std::runtime_error("the router names other experts than it answers for");
    }
    const float* probs = found[0].GetTensorData<float>();
    return {probs, probs + experts_.size()};
  }

 private:
  static Ort::SessionOptions Options() {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);  // steadier than several beside other work
    return options;
  }

  Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR, "route"};
  Ort::Session session_;
  std::vector<std::string> experts_;
};

// Answer one prompt as a JSON object.
std::string Route(TextRouter& router, const std::string& prompt) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<float> probs = router.Probabilities(prompt);
  const auto best = std::max_element(probs.begin(), probs.end()) - probs.begin();
  const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - start;
  std::string json = " {\"expert\": " + Quoted(router.experts()[best]) + ", \"probabilities\": {";
  char number[32];
  for (size_t i = 0; i < probs.size(); ++i) {
    std::snprintf(number, sizeof number, "%.9g", probs[i]);
    json += (i ? ", " : "") + Quoted(router.experts()[i]) + ": " + number;
  }
  std::snprintf(number, sizeof number, "%.3f", ms.count());
  return json + "}, \"ms\": " + number + "}";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 2) throw std::runtime_error("usage: route router.text.onnx [PROMPT ...]");
    std::vector<std::string> prompts(argv + 2, argv + argc);
    if (prompts.empty()) {
      prompts = TextList::Parse({std::istreambuf_iterator<char>(std::cin), {}});
    }
    TextRouter router(argv[1]);
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
