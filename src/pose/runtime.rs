//! The process's one ONNX Runtime.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use ort::environment::Environment;

/// ONNX Runtime allows one environment a process; it is made on the first use and kept.
static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();

/// The shared environment; loads the library named by `ORT_DYLIB_PATH`, else the one beside the installed program, else
/// the one that the set-up fetched, else the system's.
///
/// # Errors
/// What is wrong with the library, and what to do.
pub fn environment() -> Result<&'static Environment, String> {
    let made = ENVIRONMENT.get_or_init(|| {
        let library = library();
        let builder = ort::init_from(&library)
            .map_err(|error| format!("{}: {error}; `cargo xtask setup` fetches the library", library.display()))?;
        builder.with_name("mimicd").build().map_err(|error| error.message().to_owned())
    });
    made.as_ref().map_err(Clone::clone)
}

fn library() -> OsString {
    if let Some(named) = std::env::var_os("ORT_DYLIB_PATH") {
        return named;
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.parent()?.join("lib/mimicd/libonnxruntime.so")));
    let fetched = PathBuf::from(".deps/onnxruntime/libonnxruntime.so");
    let found = beside.into_iter().chain([fetched]).find(|path| path.is_file());
    found.map_or_else(|| "libonnxruntime.so".into(), PathBuf::into_os_string)
}
