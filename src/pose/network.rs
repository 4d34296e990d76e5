//! One ONNX graph that takes a batch of images: memory bound once, filled and read in place.

use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::manifest::{Layout, NetworkSpec};
use super::{PoseError, Provider};

/// The process has one ONNX Runtime environment; it is made on the first use and kept.
static ENVIRONMENT: OnceLock<Result<Environment, PoseError>> = OnceLock::new();

/// The shared environment; loads the library named by `ORT_DYLIB_PATH`, else the system's.
///
/// # Errors
/// [`PoseError::Runtime`] when the library is not there or too old.
pub(super) fn environment() -> Result<&'static Environment, PoseError> {
    let made = ENVIRONMENT.get_or_init(|| {
        let library = std::env::var_os("ORT_DYLIB_PATH").unwrap_or_else(|| "libonnxruntime.so".into());
        let builder = ort::init_from(&library).map_err(|error| PoseError::Runtime {
            reason: format!("{}: {error}; `cargo xtask setup` fetches the library", library.display()),
        })?;
        builder.with_name("mimicd").build().map_err(|error| PoseError::runtime(&error))
    });
    made.as_ref().map_err(Clone::clone)
}

/// A graph on its provider with its tensors.
pub(super) struct Network {
    session: Session,
    binding: IoBinding,
    input: Tensor<f32>,
    outputs: Vec<Output>,
}

/// A bound output.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    tensor: Tensor<f32>,
}

impl Output {
    /// The values of the last run, in the shape's order.
    pub(super) fn values(&self) -> &[f32] {
        self.tensor.extract_tensor().1
    }
}

impl Network {
    /// Opens the graph, checks it against the manifest, binds memory for `batch` images, and runs it once.
    pub(super) fn load(
        spec: &NetworkSpec,
        batch: usize,
        provider: Provider,
        threads: usize,
    ) -> Result<Self, PoseError> {
        let file = spec.file.as_path();
        let mut session = open(file, provider, threads)?;
        let name = input_name(file, spec, &session)?;
        let shape = image_shape(spec, batch);
        check_input(file, spec, &session, &name, &shape)?;
        for wanted in spec.decode.outputs() {
            find(file, "output", session.outputs(), wanted)?;
        }
        let allocator = Allocator::default();
        let fail = |error: ort::Error| PoseError::graph(file, "run", error.message().to_owned());
        let mut input = Tensor::<f32>::new(&allocator, shape.clone()).map_err(fail)?;
        input.extract_tensor_mut().1.fill(0.0);
        let shapes = output_shapes(&mut session, &name, &input, spec).map_err(fail)?;
        let mut binding = session.create_binding().map_err(fail)?;
        binding.bind_input(&name, &input).map_err(fail)?;
        let mut outputs = Vec::new();
        for (name, shape) in shapes {
            let dims: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            let mut tensor = Tensor::<f32>::new(&allocator, dims).map_err(fail)?;
            binding.bind_output(&name, &mut tensor).map_err(fail)?;
            outputs.push(Output { name, shape, tensor });
        }
        let mut network = Self { session, binding, input, outputs };
        network.run().map_err(|reason| PoseError::graph(file, "run", reason))?;
        Ok(network)
    }

    /// The images, to be filled before [`Network::run`].
    pub(super) fn input_mut(&mut self) -> &mut [f32] {
        self.input.extract_tensor_mut().1
    }

    /// Runs the graph on what is in the input.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.session.run_binding(&self.binding).map(drop).map_err(|error| error.message().to_owned())
    }

    /// The bound outputs, in the manifest's order.
    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }
}

/// Opens a graph on a provider.
pub(super) fn open(file: &Path, provider: Provider, threads: usize) -> Result<Session, PoseError> {
    if provider != Provider::Cpu {
        return Err(PoseError::Runtime {
            reason: format!("provider {provider:?}: this build runs networks on the CPU"),
        });
    }
    let fail = |error: ort::Error| PoseError::graph(file, "ONNX", error.message().to_owned());
    let builder = Session::builder(environment()?).map_err(fail)?;
    // Spinning would burn the core that the loop's other stages need.
    let builder = builder.with_intra_threads(threads).map_err(|e| PoseError::runtime(&e.into()))?;
    let builder = builder.with_inter_threads(1).map_err(|e| PoseError::runtime(&e.into()))?;
    let mut builder = builder.with_intra_op_spinning(false).map_err(|e| PoseError::runtime(&e.into()))?;
    builder.commit_from_file(file).map_err(fail)
}

fn image_shape(spec: &NetworkSpec, batch: usize) -> Vec<i64> {
    let (h, w, c) = (i64::from(spec.height_px), i64::from(spec.width_px), spec.channels as i64);
    match spec.layout {
        Layout::Nchw => vec![batch as i64, c, h, w],
        Layout::Nhwc => vec![batch as i64, h, w, c],
    }
}

fn input_name(file: &Path, spec: &NetworkSpec, session: &Session) -> Result<String, PoseError> {
    match (&spec.input, session.inputs()) {
        (Some(name), inputs) => find(file, "input", inputs, name).map(|outlet| outlet.name().to_owned()),
        (None, [only]) => Ok(only.name().to_owned()),
        (None, inputs) => {
            let reason = format!("the graph has {} inputs ({}): name one", inputs.len(), describe(inputs));
            Err(PoseError::graph(file, "input", reason))
        }
    }
}

fn find<'a>(file: &Path, role: &str, outlets: &'a [Outlet], name: &str) -> Result<&'a Outlet, PoseError> {
    outlets.iter().find(|outlet| outlet.name() == name).ok_or_else(|| {
        PoseError::graph(file, format!("{role} {name:?}"), format!("not there; the file offers {}", describe(outlets)))
    })
}

/// Names, types and shapes in words.
pub(super) fn describe(outlets: &[Outlet]) -> String {
    let one = |outlet: &Outlet| match outlet.dtype() {
        ValueType::Tensor { ty, shape, dimension_symbols } => {
            let dims: Vec<String> = shape
                .iter()
                .zip(dimension_symbols.iter())
                .map(|(&n, symbol)| match (n, symbol.as_str()) {
                    (n, _) if n >= 0 => n.to_string(),
                    (_, "") => "?".to_owned(),
                    (_, symbol) => symbol.to_owned(),
                })
                .collect();
            format!("{:?} {ty} [{}]", outlet.name(), dims.join(", "))
        }
        other => format!("{:?} {other}", outlet.name()),
    };
    outlets.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn check_input(
    file: &Path,
    spec: &NetworkSpec,
    session: &Session,
    name: &str,
    wanted: &[i64],
) -> Result<(), PoseError> {
    let outlet = find(file, "input", session.inputs(), name)?;
    let fits = match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            shape.len() == wanted.len() && shape.iter().zip(wanted).all(|(&has, &want)| has < 0 || has == want)
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let reason = format!(
        "the file takes {}; the manifest ({:?}, {} channels, {} x {} px, {} views) gives f32 {wanted:?}",
        describe(std::slice::from_ref(outlet)),
        spec.layout,
        spec.channels,
        spec.width_px,
        spec.height_px,
        wanted[0],
    );
    Err(PoseError::graph(file, format!("input {name:?}"), reason))
}

/// Shapes of the outputs that the manifest reads, from a first run (graphs may leave them open).
fn output_shapes(
    session: &mut Session,
    input_name: &str,
    input: &Tensor<f32>,
    spec: &NetworkSpec,
) -> ort::Result<Vec<(String, Vec<usize>)>> {
    let outputs = session.run(ort::inputs![input_name => input.view()])?;
    let mut shapes = Vec::new();
    for name in spec.decode.outputs() {
        let (shape, _) = outputs[name].try_extract_tensor::<f32>()?;
        shapes.push((name.to_owned(), shape.iter().map(|&n| n as usize).collect()));
    }
    Ok(shapes)
}
