// Density and score in C# by ONNX Runtime (NuGet: Microsoft.ML.OnnxRuntime):
// dotnet run -- discoformer.onnx data.csv
using System;
using System.Globalization;
using System.IO;
using System.Linq;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

class Estimate
{
    static void Main(string[] arguments)
    {
        var cells = File.ReadLines(arguments[1]).Skip(1).SelectMany(line => line.Split(','));
        var context = cells.Select(cell => double.Parse(cell, CultureInfo.InvariantCulture)).ToArray();
        var n = context.Length / 2;
        var queries = new[] { 1.4, 0.2, 3.0, 0.8 };

        using var session = new InferenceSession(arguments[0]);
        using var found = session.Run(new[]
        {
            Tensor("context", context, 1, n, 2),           // (1, N, D): the sample, in any units
            Tensor("queries", queries, 1, 2, 2),           // (1, M, D): where to answer
            Tensor("log_weights", new double[n], 1, n),    // (1, N): every row counts alike
        }, new[] { "log_density", "score" });
        var logDensity = found.First().AsEnumerable<double>().ToArray();
        var score = found.Last().AsEnumerable<double>().ToArray();
        for (var m = 0; m < 2; m++)
            Console.WriteLine(FormattableString.Invariant($"{logDensity[m]:R} {score[2 * m]:R} {score[2 * m + 1]:R}"));
    }

    static NamedOnnxValue Tensor(string name, double[] values, params int[] shape) =>
        NamedOnnxValue.CreateFromTensor(name, new DenseTensor<double>(values, shape));
}
