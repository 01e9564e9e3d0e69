// Density and score in Java by ONNX Runtime (Maven: com.microsoft.onnxruntime:onnxruntime):
// java -cp onnxruntime.jar Estimate.java discoformer.onnx data.csv
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;

public class Estimate {
  public static void main(String[] arguments) throws Exception {
    double[][] context; // (N, D): the sample, in any units
    try (Stream<String> lines = Files.lines(Path.of(arguments[1]))) {
      context = lines.skip(1).map(Estimate::numbers).toArray(double[][]::new);
    }
    double[][] queries = {{1.4, 0.2}, {3.0, 0.8}}; // (M, D): where to answer
    double[] logWeights = new double[context.length]; // (N): every row counts alike

    try (var environment = OrtEnvironment.getEnvironment();
        var session = environment.createSession(arguments[0]);
        var sample = OnnxTensor.createTensor(environment, new double[][][] {context});
        var places = OnnxTensor.createTensor(environment, new double[][][] {queries});
        var weights = OnnxTensor.createTensor(environment, new double[][] {logWeights});
        var found = session.run(Map.of("context", sample, "queries", places, "log_weights", weights))) {
      double[] logDensity = ((double[][]) found.get("log_density").get().getValue())[0];
      double[][] score = ((double[][][]) found.get("score").get().getValue())[0];
      for (int m = 0; m < queries.length; m++) {
        System.out.println(logDensity[m] + " " + score[m][0] + " " + score[m][1]);
      }
    }
  }

  private static double[] numbers(String line) {
    return Stream.of(line.split(",")).mapToDouble(Double::parseDouble).toArray();
  }
}
