//! One ONNX graph of flat f32 tensors: memory bound once, filled and read in place.

use std::path::{Path, PathBuf};

use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::ImitationError;
use crate::pose::runtime::environment;

/// A tensor of a graph: its name and the size that the manifest expects, rows by columns.
pub(super) struct Port<'a> {
    pub(super) name: &'a str,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A graph with its tensors.
pub(super) struct Graph {
    file: PathBuf,
    session: Session,
    binding: IoBinding,
    inputs: Vec<Tensor<f32>>,
    outputs: Vec<Tensor<f32>>,
}

impl Graph {
    /// Opens the graph on one thread, checks it against the ports, binds memory, and runs it once.
    pub(super) fn load(file: &Path, inputs: &[Port<'_>], outputs: &[Port<'_>]) -> Result<Self, ImitationError> {
        let session = open(file)?;
        for port in inputs {
            check(file, "input", session.inputs(), port)?;
        }
        if let Some(extra) = session.inputs().iter().find(|outlet| inputs.iter().all(|p| p.name != outlet.name())) {
            let reason = "the graph needs it and the manifest does not give it".to_owned();
            return Err(ImitationError::graph(file, format!("input {:?}", extra.name()), reason));
        }
        for port in outputs {
            check(file, "output", session.outputs(), port)?;
        }
        let fail = |error: ort::Error| ImitationError::graph(file, "run", error.message().to_owned());
        let mut binding = session.create_binding().map_err(fail)?;
        let mut bound_inputs = Vec::with_capacity(inputs.len());
        for port in inputs {
            let tensor = zeros(port).map_err(fail)?;
            binding.bind_input(port.name, &tensor).map_err(fail)?;
            bound_inputs.push(tensor);
        }
        let mut bound_outputs = Vec::with_capacity(outputs.len());
        for port in outputs {
            let mut tensor = zeros(port).map_err(fail)?;
            binding.bind_output(port.name, &mut tensor).map_err(fail)?;
            bound_outputs.push(tensor);
        }
        let mut graph = Self { file: file.to_owned(), session, binding, inputs: bound_inputs, outputs: bound_outputs };
        graph.run()?;
        Ok(graph)
    }

    /// Input `index`, in the order of the ports, to be filled before [`Graph::run`].
    pub(super) fn input_mut(&mut self, index: usize) -> &mut [f32] {
        self.inputs[index].extract_tensor_mut().1
    }

    /// Output `index`, in the order of the ports, of the last run.
    pub(super) fn output(&self, index: usize) -> &[f32] {
        self.outputs[index].extract_tensor().1
    }

    /// Runs the graph on what is in the inputs.
    pub(super) fn run(&mut self) -> Result<(), ImitationError> {
        match self.session.run_binding(&self.binding) {
            Ok(_) => Ok(()),
            Err(error) => Err(ImitationError::graph(&self.file, "run", error.message().to_owned())),
        }
    }
}

fn open(file: &Path) -> Result<Session, ImitationError> {
    let fail = |error: ort::Error| ImitationError::graph(file, "ONNX", error.message().to_owned());
    let builder =
        Session::builder(environment().map_err(|reason| ImitationError::Runtime { reason })?).map_err(fail)?;
    // One thread without spinning: the other stages of the loop need the cores.
    let builder = builder.with_intra_threads(1).map_err(|error| ImitationError::runtime(&error.into()))?;
    let builder = builder.with_inter_threads(1).map_err(|error| ImitationError::runtime(&error.into()))?;
    let mut builder = builder.with_intra_op_spinning(false).map_err(|error| ImitationError::runtime(&error.into()))?;
    builder.commit_from_file(file).map_err(fail)
}

fn zeros(port: &Port<'_>) -> ort::Result<Tensor<f32>> {
    let mut tensor = Tensor::<f32>::new(&Allocator::default(), [port.rows as i64, port.columns as i64])?;
    tensor.extract_tensor_mut().1.fill(0.0);
    Ok(tensor)
}

fn check(file: &Path, role: &str, outlets: &[Outlet], port: &Port<'_>) -> Result<(), ImitationError> {
    let wanted = [port.rows as i64, port.columns as i64];
    let fits = outlets.iter().find(|outlet| outlet.name() == port.name).map(|outlet| match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            shape.len() == 2 && shape.iter().zip(wanted).all(|(&has, want)| has < 0 || has == want)
        }
        _ => false,
    });
    let place = format!("{role} {:?}", port.name);
    match fits {
        Some(true) => Ok(()),
        Some(false) => {
            let reason = format!("the manifest gives f32 {wanted:?}; the file has {}", describe(outlets));
            Err(ImitationError::graph(file, place, reason))
        }
        None => Err(ImitationError::graph(file, place, format!("not there; the file has {}", describe(outlets)))),
    }
}

fn describe(outlets: &[Outlet]) -> String {
    let one = |outlet: &Outlet| format!("{:?} {}", outlet.name(), outlet.dtype());
    outlets.iter().map(one).collect::<Vec<_>>().join("; ")
}
