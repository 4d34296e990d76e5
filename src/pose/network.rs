//! One ONNX graph that takes a batch of images: memory bound once, filled and read in place.

use std::path::Path;

use ort::ep::{CUDA, ExecutionProviderDispatch, TensorRT};
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::manifest::{Layout, NetworkSpec};
use super::runtime::environment;
use super::{PoseError, Provider};

/// Runs before the first frame: providers choose kernels and grow their memory in the first ones.
const WARM_UP_RUNS: usize = 3;

/// A graph on its provider with its tensors.
pub(super) struct Network {
    session: Session,
    binding: IoBinding,
    input: Images,
    /// Inputs besides the images, in the order of `Decode::inputs`.
    extras: Vec<Tensor<f32>>,
    outputs: Vec<Output>,
}

/// The image input, in the element type that the graph takes.
enum Images {
    Floats(Tensor<f32>),
    /// sleap-nn exports take bytes; they are filled from `staging` before each run.
    Bytes {
        tensor: Tensor<u8>,
        staging: Vec<f32>,
    },
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
    /// Opens the graph, checks it against the manifest, binds memory for `batch` images, and warms it up.
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
        let element = check_input(file, spec, &session, &name, &shape)?;
        for wanted in spec.decode.outputs() {
            find(file, "output", session.outputs(), wanted)?;
        }
        let allocator = Allocator::default();
        let fail = |error: ort::Error| PoseError::graph(file, "run", error.message().to_owned());
        let input = Images::new(element, &allocator, shape).map_err(fail)?;
        let wanted = spec.decode.inputs(batch);
        let mut extras = Vec::new();
        for (wanted, shape) in &wanted {
            check_tensor(file, "input", session.inputs(), wanted, shape)?;
            extras.push(zeros(&allocator, shape).map_err(fail)?);
        }
        let is_given = |input: &&Outlet| input.name() == name || wanted.iter().any(|wanted| wanted.0 == input.name());
        if let Some(extra) = session.inputs().iter().find(|input| !is_given(input)) {
            let reason = format!("the graph needs {}, which this kind of model does not give", describe_one(extra));
            return Err(PoseError::graph(file, format!("input {:?}", extra.name()), reason));
        }
        let shapes = output_shapes(&mut session, &name, &input, &extras, spec).map_err(fail)?;
        let mut binding = session.create_binding().map_err(fail)?;
        match &input {
            Images::Floats(tensor) => binding.bind_input(&name, tensor),
            Images::Bytes { tensor, .. } => binding.bind_input(&name, tensor),
        }
        .map_err(fail)?;
        for ((name, _), tensor) in spec.decode.inputs(batch).iter().zip(&extras) {
            binding.bind_input(*name, tensor).map_err(fail)?;
        }
        let mut outputs = Vec::new();
        for (name, shape) in shapes {
            let mut tensor = zeros(&allocator, &shape).map_err(fail)?;
            binding.bind_output(&name, &mut tensor).map_err(fail)?;
            outputs.push(Output { name, shape, tensor });
        }
        let mut network = Self { session, binding, input, extras, outputs };
        for _ in 0..WARM_UP_RUNS {
            network.run().map_err(|reason| PoseError::graph(file, "run", reason))?;
        }
        Ok(network)
    }

    /// The images, to be filled before [`Network::run`].
    pub(super) fn input_mut(&mut self) -> &mut [f32] {
        match &mut self.input {
            Images::Floats(tensor) => tensor.extract_tensor_mut().1,
            Images::Bytes { staging, .. } => staging,
        }
    }

    /// An input besides the images, in the order of `Decode::inputs`, to be filled before [`Network::run`].
    pub(super) fn extra_mut(&mut self, index: usize) -> &mut [f32] {
        self.extras[index].extract_tensor_mut().1
    }

    /// Runs the graph on what is in the input.
    pub(super) fn run(&mut self) -> Result<(), String> {
        if let Images::Bytes { tensor, staging } = &mut self.input {
            for (byte, value) in tensor.extract_tensor_mut().1.iter_mut().zip(&*staging) {
                *byte = value.round() as u8;
            }
        }
        self.session.run_binding(&self.binding).map(drop).map_err(|error| error.message().to_owned())
    }

    /// The bound outputs, in the manifest's order.
    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }
}

impl Images {
    fn new(element: TensorElementType, allocator: &Allocator, shape: Vec<i64>) -> ort::Result<Self> {
        if element == TensorElementType::Uint8 {
            let staging = vec![0.0; shape.iter().product::<i64>() as usize];
            let mut tensor = Tensor::<u8>::new(allocator, shape)?;
            tensor.extract_tensor_mut().1.fill(0);
            return Ok(Self::Bytes { tensor, staging });
        }
        let mut tensor = Tensor::<f32>::new(allocator, shape)?;
        tensor.extract_tensor_mut().1.fill(0.0);
        Ok(Self::Floats(tensor))
    }
}

/// Opens a graph on a provider.
pub(super) fn open(file: &Path, provider: Provider, threads: usize) -> Result<Session, PoseError> {
    let fail = |error: ort::Error| PoseError::graph(file, "ONNX", error.message().to_owned());
    let builder = Session::builder(environment().map_err(|reason| PoseError::Runtime { reason })?).map_err(fail)?;
    // Spinning would burn the core that the loop's other stages need.
    let builder = builder.with_intra_threads(threads).map_err(|e| PoseError::runtime(&e.into()))?;
    let builder = builder.with_inter_threads(1).map_err(|e| PoseError::runtime(&e.into()))?;
    let builder = builder.with_intra_op_spinning(false).map_err(|e| PoseError::runtime(&e.into()))?;
    let mut builder = match provider {
        Provider::Cpu => builder,
        Provider::Cuda | Provider::Tensorrt => builder.with_execution_providers(gpu(provider)).map_err(|error| {
            let said: ort::Error = error.into();
            let advice = "it needs an ONNX Runtime built with it (ORT_DYLIB_PATH), its libraries and a GPU";
            PoseError::Runtime { reason: format!("pose.provider {provider:?}: {}; {advice}", said.message().trim()) }
        })?,
    };
    builder.commit_from_file(file).map_err(fail)
}

/// The provider asked for, refused rather than replaced by the CPU when it is not there; CUDA runs what TensorRT cannot.
fn gpu(provider: Provider) -> Vec<ExecutionProviderDispatch> {
    let cuda = CUDA::default().build().error_on_failure();
    match provider {
        Provider::Tensorrt => vec![TensorRT::default().build().error_on_failure(), cuda],
        Provider::Cuda | Provider::Cpu => vec![cuda],
    }
}

pub(super) fn zeros(allocator: &Allocator, shape: &[usize]) -> ort::Result<Tensor<f32>> {
    let dims: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let mut tensor = Tensor::<f32>::new(allocator, dims)?;
    tensor.extract_tensor_mut().1.fill(0.0);
    Ok(tensor)
}

/// Checks a float input or output: it must be there with this shape, or leave open what differs.
pub(super) fn check_tensor(
    file: &Path,
    role: &str,
    outlets: &[Outlet],
    name: &str,
    wanted: &[usize],
) -> Result<(), PoseError> {
    let outlet = find(file, role, outlets, name)?;
    if let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = outlet.dtype()
        && shape.len() == wanted.len()
        && shape.iter().zip(wanted).all(|(&has, &want)| has < 0 || has == want as i64)
    {
        return Ok(());
    }
    let verb = if role == "output" { "gives" } else { "takes" };
    let reason = format!("the file {verb} {}; expected f32 {wanted:?}", describe_one(outlet));
    Err(PoseError::graph(file, format!("{role} {name:?}"), reason))
}

fn describe_one(outlet: &Outlet) -> String {
    describe(std::slice::from_ref(outlet))
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
) -> Result<TensorElementType, PoseError> {
    let outlet = find(file, "input", session.inputs(), name)?;
    if let ValueType::Tensor { ty, shape, .. } = outlet.dtype() {
        let sized = shape.len() == wanted.len() && shape.iter().zip(wanted).all(|(&has, &want)| has < 0 || has == want);
        match ty {
            TensorElementType::Float32 if sized => return Ok(*ty),
            TensorElementType::Uint8 if sized => {
                let plain = spec.scale == 1.0 && spec.mean == [0.0] && spec.sd == [1.0];
                let reason = "the file takes bytes; expected scale = 1, mean = [0], sd = [1] in the manifest";
                return plain.then_some(*ty).ok_or_else(|| PoseError::graph(file, format!("input {name:?}"), reason));
            }
            _ => {}
        }
    }
    let reason = format!(
        "the file takes {}; the manifest ({:?}, {} channels, {} x {} px, {} views) gives f32 or u8 {wanted:?}",
        describe_one(outlet),
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
    input: &Images,
    extras: &[Tensor<f32>],
    spec: &NetworkSpec,
) -> ort::Result<Vec<(String, Vec<usize>)>> {
    let mut inputs = match input {
        Images::Floats(tensor) => ort::inputs![input_name => tensor.view()],
        Images::Bytes { tensor, .. } => ort::inputs![input_name => tensor.view()],
    };
    for ((name, _), tensor) in spec.decode.inputs(0).into_iter().zip(extras) {
        inputs.push((name.into(), tensor.view().into()));
    }
    let outputs = session.run(inputs)?;
    let mut shapes = Vec::new();
    for name in spec.decode.outputs() {
        let (shape, _) = outputs[name].try_extract_tensor::<f32>()?;
        shapes.push((name.to_owned(), shape.iter().map(|&n| n as usize).collect()));
    }
    Ok(shapes)
}
