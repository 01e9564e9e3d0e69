// Density and score in C++ by ONNX Runtime: estimate discoformer.onnx data.csv
// g++ -std=c++20 estimate.cpp -I ONNXRUNTIME/include -L ONNXRUNTIME/lib -l onnxruntime -o estimate
#include <onnxruntime_cxx_api.h>
#include <array>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

int main(int, char** arguments) {
  std::vector<double> context;  // (1, N, D): the sample, in any units
  std::ifstream file(arguments[2]);
  std::string cell;
  std::getline(file, cell);  // the names of the columns
  for (double x, y; file >> x && file.ignore() && file >> y;) context.insert(context.end(), {x, y});
  const auto n = static_cast<int64_t>(context.size() / 2);
  std::vector<double> queries = {1.4, 0.2, 3.0, 0.8};  // (1, M, D): where to answer
  std::vector<double> log_weights(n, 0.0);             // (1, N): every row counts alike

  Ort::Env environment;
  Ort::Session session(environment, arguments[1], Ort::SessionOptions());
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto tensor = [&](std::vector<double>& values, std::vector<int64_t> shape) {
    return Ort::Value::CreateTensor<double>(memory, values.data(), values.size(), shape.data(), shape.size());
  };
  std::array given = {tensor(context, {1, n, 2}), tensor(queries, {1, 2, 2}), tensor(log_weights, {1, n})};
  const char* inputs[] = {"context", "queries", "log_weights"};
  const char* outputs[] = {"log_density", "score"};
  auto found = session.Run(Ort::RunOptions(), inputs, given.data(), 3, outputs, 2);
  const double* log_density = found[0].GetTensorData<double>();
  const double* score = found[1].GetTensorData<double>();
  for (int m = 0; m < 2; m++) std::printf("%.17g %.17g %.17g\n", log_density[m], score[2 * m], score[2 * m + 1]);
}
