// Density and score in Rust by ONNX Runtime: cargo add ort@2.0.0-rc.12, and
// cargo run -- discoformer.onnx data.csv
use ort::{inputs, session::Session, value::Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let text = std::fs::read_to_string(&arguments[2])?;
    let cells = text.lines().skip(1).flat_map(|line| line.split(','));
    let context = cells.map(|cell| cell.trim().parse()).collect::<Result<Vec<f64>, _>>()?;
    let n = context.len() / 2;
    let queries = vec![1.4, 0.2, 3.0, 0.8];

    let mut session = Session::builder()?.commit_from_file(&arguments[1])?;
    let found = session.run(inputs![
        "context" => Tensor::from_array(([1, n, 2], context))?, // (1, N, D): the sample, in any units
        "queries" => Tensor::from_array(([1, 2, 2], queries))?, // (1, M, D): where to answer
        "log_weights" => Tensor::from_array(([1, n], vec![0.0_f64; n]))?, // (1, N): every row counts alike
    ])?;
    let (_, log_density) = found["log_density"].try_extract_tensor::<f64>()?;
    let (_, score) = found["score"].try_extract_tensor::<f64>()?;
    for m in 0..2 {
        println!("{} {} {}", log_density[m], score[2 * m], score[2 * m + 1]);
    }
    Ok(())
}
